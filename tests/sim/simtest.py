# SPDX-License-Identifier: Apache-2.0
"""What the simulator's own tests share: a plain TLS client, letters, a simulator per test class."""

import http.client
import os
import socket
import ssl
import sys
import unittest

from lxml import etree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import letters  # noqa: E402
from simctl import Sim  # noqa: E402

HOSTS = {"house": "uat-cwc.house.gov", "senate": "soapbox.senate.gov"}
PATHS = {"house": "/v2/message", "senate": "/api/testing-messages/"}
AGENT = letters.AGENT["DeliveryAgent"]
TIMEOUT_S = 20


class Wire:
    """A TLS connection to a chamber, with as little help as possible."""

    def __init__(self, sim, chamber, host=None, ca=True, handshake=True):
        self.sim, self.chamber = sim, chamber
        self.host = host or HOSTS[chamber]
        kind, _, rest = sim.ready[chamber].partition(":")
        if kind == "unix":
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(TIMEOUT_S)
            raw.connect(rest)
        else:
            address, _, port = rest.rpartition(":")
            raw = socket.create_connection((address, int(port)), TIMEOUT_S)
        context = ssl.create_default_context(cafile=sim.ca_file if ca else None)
        try:
            self.sock = context.wrap_socket(raw, server_hostname=self.host) if handshake else raw
        except (OSError, ssl.SSLError):
            raw.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def head(self, body, path=None, key=None, content_type="application/xml", extra=()):
        key = self.sim.key if key is None else key
        lines = ["POST %s%s HTTP/1.1" % (path or PATHS[self.chamber], "?apikey=" + key if key else ""),
                 "Host: " + self.host, "Content-Length: %d" % len(body)]
        if content_type:
            lines.append("Content-Type: " + content_type)
        return "\r\n".join(lines + list(extra)).encode() + b"\r\n\r\n"

    def answer(self):
        """The next answer on this connection."""
        response = http.client.HTTPResponse(self.sock, method="POST")
        response.begin()
        response.content = response.read()
        return response

    def post(self, body, **options):
        self.send(self.head(body, **options) + body)
        return self.answer()

    def get(self, path):
        self.send(("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, self.host)).encode())
        return self.answer()

    def ending(self):
        """How TCP ends, "reset" or "closed": ssl tells no difference once the handshake is done."""
        with socket.socket(fileno=os.dup(self.sock.fileno())) as raw:
            raw.settimeout(TIMEOUT_S)
            try:
                while raw.recv(65536):
                    pass
            except ConnectionResetError:
                return "reset"
        return "closed"

    def rest(self):
        """Everything up to the end of the connection."""
        data = b""
        while True:
            chunk = self.sock.recv(65536)
            if not chunk:
                return data
            data += chunk


def house_letter(number=0, office="HNE03", **changes):
    return make_letter("house-%d" % number, office, changes)


def senate_letter(number=0, office="SNE02", **changes):
    return make_letter("senate-%d" % number, office, changes)


def make_letter(name, office, changes):
    submission = letters.base(name, code=office)
    submission["sealed"].update(changes)
    for key in [key for key, value in submission["sealed"].items() if value is None]:
        del submission["sealed"][key]
    return letters.render(submission, office)


def error_texts(response):
    root = etree.fromstring(response.content)
    assert root.tag == "Errors", root.tag
    return [child.text for child in root]


class Case(unittest.TestCase):
    """Each test finds a simulator in its first state."""

    @classmethod
    def setUpClass(cls):
        cls.sim = Sim(agent=AGENT).start()

    @classmethod
    def tearDownClass(cls):
        cls.sim.stop()

    def setUp(self):
        self.sim.reset()
        self.wires = []

    def tearDown(self):
        for wire in self.wires:
            wire.close()
        self.sim.maintenance(False)
        self.sim.tls()
        self.sim.idle(60)
        self.sim.set_agent(AGENT)
        self.sim.set_keys([self.sim.key])
        self.sim.cmd("offices", default=True)

    def wire(self, chamber="house", **options):
        self.wires.append(Wire(self.sim, chamber, **options))
        return self.wires[-1]

    def house(self, body=None, **options):
        return self.wire("house").post(body or house_letter(), **options)

    def senate(self, body=None, **options):
        return self.wire("senate").post(body or senate_letter(), **options)

    def last(self, **filters):
        return self.sim.records(**filters)[-1]
