# SPDX-License-Identifier: Apache-2.0
"""The instance metadata service that hands out a role's credentials, version 2 only: a token by PUT, then GETs with it.

Faults (one at a time, until another or None is set): expired, failed (Code is not Success), crlf (a line break in the
token), nul, oversized (a token of 64 KiB), no_role (404), not_json, stall.
"""

import base64
import datetime
import json
import os
import secrets
import string
import threading
import time

ROLES = "/latest/meta-data/iam/security-credentials/"
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "x-aws-ec2-metadata-token"
TTL_MAX = 21600
FAULTS = (None, "expired", "failed", "crlf", "nul", "oversized", "no_role", "not_json", "stall")
TEXT = "text/plain"


def utc(seconds):
    moment = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Metadata:
    """`rotate()` makes new credentials; older ones stay good until they expire, as at AWS."""

    def __init__(self, role, lifetime_s):
        self.role = role
        self.lifetime_s = lifetime_s
        self.fault = None
        self.tokens = {}
        self.issued = {}
        self.current = None
        self.requests = 0
        self.lock = threading.Lock()
        self.rotate()

    def rotate(self, lifetime_s=None):
        """Makes credentials that live so long (negative: they are over), and returns their access key."""
        alphabet = string.ascii_uppercase + string.digits
        name = "ASIA" + "".join(secrets.choice(alphabet) for _ in range(16))
        # As long as those of a role, and with all characters that may need care somewhere.
        token = "IQoJ" + base64.b64encode(os.urandom(700)).decode().replace("A", "/") + "+/=="
        expires = int(time.time()) + (self.lifetime_s if lifetime_s is None else lifetime_s)
        with self.lock:
            self.issued[name] = (base64.b64encode(os.urandom(30)).decode(), token, expires)
            self.current = name
        return name

    def expire(self):
        """All credentials that were handed out are over, whatever they say, and there are new ones."""
        with self.lock:
            for name, (secret, token, _expires) in self.issued.items():
                self.issued[name] = (secret, token, 0)
        return self.rotate()

    def find(self, access_key):
        with self.lock:
            return self.issued.get(access_key)

    def credentials(self):
        secret, token, expires = self.issued[self.current]
        answer = {"Code": "Success", "LastUpdated": utc(time.time()), "Type": "AWS-HMAC",
                  "AccessKeyId": self.current, "SecretAccessKey": secret, "Token": token, "Expiration": utc(expires)}
        if self.fault == "expired":
            answer["Expiration"] = utc(time.time() - 60)
        elif self.fault == "failed":
            answer = {"Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": utc(time.time())}
        elif self.fault == "crlf":
            answer["Token"] += "\r\nX-Amz-Target: TrentService.Encrypt"
        elif self.fault == "nul":
            answer["SecretAccessKey"] += "\0"
        elif self.fault == "oversized":
            answer["Token"] = "A" * 65536
        elif self.fault == "not_json":
            return b"<html>not JSON</html>"
        return json.dumps(answer, indent=2).encode()

    def handle(self, method, target, headers):
        """(status, body, content type)."""
        self.requests += 1
        if method == "PUT" and target == "/latest/api/token":
            return self.new_token(headers)
        # A forwarded request is one that an open proxy was talked into.
        if method != "GET" or "x-forwarded-for" in headers:
            return 403, b"", TEXT
        if self.tokens.get(headers.get(TOKEN_HEADER), 0) <= time.monotonic():
            return 401, b"", TEXT
        if target == ROLES and self.fault != "no_role":
            return 200, self.role.encode(), TEXT
        if target == ROLES + self.role and self.fault != "no_role":
            return 200, self.credentials(), TEXT
        return 404, b"", TEXT

    def new_token(self, headers):
        wanted = headers.get(TTL_HEADER, "")
        if not wanted.isascii() or not wanted.isdigit() or not 1 <= int(wanted) <= TTL_MAX:
            return 400, b"", TEXT
        token = secrets.token_urlsafe(40) + "=="
        self.tokens[token] = time.monotonic() + int(wanted)
        return 200, token.encode(), TEXT
