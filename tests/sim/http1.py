# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 messages: reading the head of a request, rendering an answer."""

import email.utils
import http
import time
from urllib.parse import unquote_plus

HEAD_MAX = 16384
BODY_MAX = 1 << 20

REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class BadRequest(Exception):
    """The request cannot be understood; holds the status of the answer."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


class Head:
    """Request line and headers."""

    __slots__ = ("method", "path", "query", "key", "headers", "length", "chunked", "keep_alive", "content_type")

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[1].startswith("/") or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequest(400)
        self.method = words[0]
        self.path, _, self.query = words[1].partition("?")
        self.key = None
        for pair in self.query.split("&"):
            if pair.startswith("apikey="):
                self.key = unquote_plus(pair[7:])
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequest(400)
            self.headers[name.lower()] = value.strip()
        self.frame(words[2])

    def frame(self, version):
        headers = self.headers
        if version == "HTTP/1.1" and "host" not in headers:
            raise BadRequest(400)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise BadRequest(400)
        self.length = int(length)
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if self.chunked and "content-length" in headers:
            raise BadRequest(400)
        if self.length > BODY_MAX:
            raise BadRequest(413)
        wish = headers.get("connection", "").lower()
        self.keep_alive = wish != "close" and (version == "HTTP/1.1" or wish == "keep-alive")
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()


DATE = [0.0, b""]


def date_header():
    now = time.time()
    if now - DATE[0] >= 1:
        DATE[0], DATE[1] = now, email.utils.formatdate(now, usegmt=True).encode()
    return DATE[1]


def render(status, body, content_type, headers, keep_alive):
    lines = [b"HTTP/1.1 %d %s" % (status, REASONS.get(status, "Unknown").encode()),
             b"Date: " + date_header(), b"Server: cwcsim",
             b"Content-Type: " + content_type.encode(), b"Content-Length: %d" % len(body)]
    lines += [("%s: %s" % pair).encode() for pair in headers]
    lines.append(b"Connection: " + (b"keep-alive" if keep_alive else b"close"))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
