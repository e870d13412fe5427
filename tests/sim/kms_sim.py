#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated AWS KMS (GenerateDataKey and Decrypt with a Recipient) and instance metadata service.

    kms_sim.py --dir DIR --policy FILE --verifier COMMAND [options]

Serves KMS over HTTPS and the metadata service over HTTP. A request must be signed (sigv4.py) with an access key of the
metadata service or of --access-keys; its attestation document is verified by COMMAND (kms_service.py says what that
must print), and the key's policy decides (kms_policy.py). DIR gets the socket `control` (JSON lines) and, in pki/, a
throw-away PKI. Prints one JSON line with its addresses when it is ready; ends on SIGTERM and SIGINT.

Control: every command is an object with `cmd`; every answer has `ok` and, if false, `error`.

    {"cmd": "ping"}
    {"cmd": "stats"}                             requests, by type of answer; handshakes that failed; metadata requests
    {"cmd": "records"}                           one for each KMS request: operation, key, context, type, status, fault
    {"cmd": "reset"}                             forget records, counters, fault rules
    {"cmd": "fault", "rule": {...}}              kms_service.py; answers its id
    {"cmd": "clear"}                             remove all fault rules
    {"cmd": "shape", "shape": "A" | "A16" | "B"} of CiphertextForRecipient, kms_cms.py
    {"cmd": "policy", "policy": {...}, "key": ARN}
    {"cmd": "state", "state": "enabled" | "disabled" | "pending_deletion" | "deleted", "key": ARN}
    {"cmd": "unwrap", "key": ARN, "blob": BASE64, "context": {...}}    answers what only an enclave gets: {"plaintext": HEX}
    {"cmd": "tls", "cert": "kms" | "kms-expired" | "kms-wrong-host" | "kms-other-ca"}
    {"cmd": "imds", "fault": NAME | null}        kms_imds.py
    {"cmd": "rotate", "lifetime_s": 3600}        new credentials of the role; answers the access key
    {"cmd": "expire"}                            all credentials are over, whatever they say; new ones, as above
    {"cmd": "credentials"}                       what the metadata service hands out: {"json": TEXT}
"""

import argparse
import base64
import http.server
import json
import os
import resource
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time

import pki
from kms_imds import FAULTS, Metadata
from kms_policy import BadPolicy
from kms_service import STATES, Key, Service

BODY_MAX = 1 << 20
TIMEOUT_S = 60
STALL_S = 600
CERTIFICATES = {"kms": "ca", "kms-expired": "ca", "kms-wrong-host": "ca", "kms-other-ca": "stranger"}
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


def make_pki(directory, host):
    """The project's test CA with certificates for KMS beside those of the chambers; returns the path of ca.pem."""
    ca = pki.make(directory)
    for name, issuer in CERTIFICATES.items():
        hosts = ("elsewhere.example.org",) if name == "kms-wrong-host" else (host, "localhost")
        pki.make_server(directory, name, issuer, hosts, -1 if name == "kms-expired" else pki.DAYS)
    return ca


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listener on tcp:HOST:PORT or unix:PATH."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address, handler, simulator):
        kind, _, rest = address.partition(":")
        self.simulator = simulator
        self.address_family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        host, _, port = rest.rpartition(":")
        if kind == "unix" and os.path.exists(rest):
            os.unlink(rest)
        if kind not in ("unix", "tcp") or (kind == "tcp" and not port.isdigit()):
            raise SystemExit("kms_sim: an address is tcp:HOST:PORT or unix:PATH")
        super().__init__(rest if kind == "unix" else (host, int(port)), handler)
        self.address = address if kind == "unix" else "tcp:%s:%d" % (host, self.server_address[1])

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that goes away is none of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    """What both services have in common: a request is read whole, and an answer has a length."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def log_message(self, *_args):  # pylint: disable=arguments-differ
        pass

    def lower_headers(self):
        headers = {}
        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = headers[name] + "," + value if name in headers else value
        return headers

    def read_body(self):
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > BODY_MAX:
            self.close_connection = True
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def render(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stall(self):
        time.sleep(STALL_S)
        self.close_connection = True

    def serve(self):
        raise NotImplementedError

    do_GET = do_POST = do_PUT = lambda self: self.serve()


class KmsHandler(Handler):
    """HTTPS; the handshake takes place in the connection's own thread."""

    def setup(self):
        self.request.settimeout(TIMEOUT_S)
        try:
            self.request = self.server.simulator.tls.wrap_socket(self.request, server_side=True)
        except OSError:
            self.server.simulator.handshakes_failed += 1
            raise
        super().setup()

    def finish(self):
        """The server closes the socket that it accepted, which has become the TLS object's."""
        super().finish()
        self.request.close()

    def serve(self):
        simulator = self.server.simulator
        body = self.read_body()
        if body is None:
            return
        record = {"t": round(time.time(), 6), "operation": None, "fault": None}
        status, answer, fault = simulator.service.handle(self.command, self.path, self.lower_headers(), body, record)
        simulator.append(record)
        if fault["action"] == "stall":
            self.stall()
            return
        if fault["action"] == "slow":
            time.sleep(fault.get("ms", 1000) / 1000)
        if isinstance(answer, dict):
            answer = json.dumps(answer).encode()
        if fault["action"] == "cut":
            self.cut(status, answer, fault.get("bytes", len(answer) // 2))
        else:
            self.render(status, answer, "application/x-amz-json-1.1")

    def cut(self, status, body, size):
        """The whole head, so many bytes of the body, and the end of the connection without a word."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:size])
        self.wfile.flush()
        self.close_connection = True


class MetadataHandler(Handler):
    """Plain HTTP."""

    def serve(self):
        metadata = self.server.simulator.metadata
        if self.read_body() is None:
            return
        if metadata.fault == "stall":
            self.stall()
            return
        self.render(*metadata.handle(self.command, self.path, self.lower_headers()))


class ControlHandler(socketserver.StreamRequestHandler):
    """One connection to the control socket."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(json.dumps(self.server.simulator.command(line)).encode() + b"\n")


class Simulator:
    """Both services, records, and commands."""

    def __init__(self, options):
        self.options = options
        self.host = "kms.%s.amazonaws.com" % options.region
        self.pki_dir = options.pki or os.path.join(options.dir, "pki")
        self.ca = make_pki(self.pki_dir, self.host)
        self.metadata = Metadata(options.role, options.lifetime)
        self.service = Service(options.region, options.verifier, options.dir, self.find_credentials)
        for arn in options.key:
            self.service.keys[arn] = Key(arn, options.policy)
        self.lock = threading.Lock()
        self.records = []
        self.handshakes_failed = 0
        self.do_tls("kms")

    def find_credentials(self, access_key):
        if access_key in self.options.access_keys:
            known = self.options.access_keys[access_key]
            return known["secret"], known.get("token"), None
        return self.metadata.find(access_key)

    def append(self, record):
        with self.lock:
            self.records.append(record)

    def command(self, line):
        try:
            command = json.loads(line)
            method = getattr(self, "do_" + str(command.pop("cmd", None)), None)
            if method is None:
                raise ValueError("no such command")
            return {"ok": True, **(method(**command) or {})}
        except (TypeError, ValueError, KeyError, AttributeError, BadPolicy) as error:
            return {"ok": False, "error": str(error)}

    # --- commands ------------------------------------------------------------------------------

    def do_ping(self):
        pass

    def do_stats(self):
        types = {}
        with self.lock:
            for record in self.records:
                types[record["type"]] = types.get(record["type"], 0) + 1
            return {"requests": len(self.records), "types": types, "handshakes_failed": self.handshakes_failed,
                    "imds_requests": self.metadata.requests,
                    "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}

    def do_records(self):
        with self.lock:
            return {"records": list(self.records)}

    def do_reset(self):
        with self.lock:
            self.records = []
            self.handshakes_failed = self.metadata.requests = 0
        self.do_clear()

    def do_fault(self, rule):
        return {"id": self.service.faults.add(rule)}

    def do_clear(self):
        self.service.faults.rules = []

    def do_shape(self, shape):
        if shape != "B" and (shape[:1] != "A" or not (shape[1:] or "1").isdigit()):
            raise ValueError("a shape is A, A and a number, or B")
        self.service.shape = shape

    def do_policy(self, policy, key=None):
        for arn in [key] if key is not None else self.service.keys:
            # The key stays: what it wrapped can still be opened.
            self.service.keys[arn].policy = Key(arn, policy).policy

    def do_state(self, state, key):
        if state not in STATES:
            raise ValueError("state is one of %s" % ", ".join(STATES))
        self.service.keys[key].state = state

    def do_unwrap(self, key, blob, context):
        """For a test that must know what to look for."""
        return {"plaintext": self.service.keys[key].unwrap(base64.b64decode(blob), context).hex()}

    def do_tls(self, cert):
        if cert not in CERTIFICATES:
            raise ValueError("cert is one of %s" % ", ".join(CERTIFICATES))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        path = os.path.join(self.pki_dir, cert)
        context.load_cert_chain(path + ".pem", path + ".key")
        self.tls = context

    def do_imds(self, fault):
        if fault not in FAULTS:
            raise ValueError("fault is one of %s" % ", ".join(str(name) for name in FAULTS))
        self.metadata.fault = fault

    def do_rotate(self, lifetime_s=None):
        return {"access_key": self.metadata.rotate(lifetime_s)}

    def do_expire(self):
        return {"access_key": self.metadata.expire()}

    def do_credentials(self):
        return {"json": self.metadata.credentials().decode()}


def run(simulator, options):
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: stop.set())
    kms = Server(options.listen, KmsHandler, simulator)
    imds = Server(options.imds, MetadataHandler, simulator)
    control = Server("unix:" + os.path.join(options.dir, "control"), ControlHandler, simulator)
    for server in (kms, imds, control):
        server.start()
    print(json.dumps({"pid": os.getpid(), "kms": kms.address, "imds": imds.address, "control": control.address,
                      "ca": simulator.ca, "host": simulator.host, "keys": options.key, "role": options.role}),
          flush=True)
    if options.stdin_eof:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), stop.set()), daemon=True).start()
    stop.wait()
    for server in (kms, imds, control):
        server.shutdown()
    os.unlink(os.path.join(options.dir, "control"))


def read_json(path):
    with open(path, encoding="utf-8") as text:
        return json.load(text)


def parse(argv):
    parser = argparse.ArgumentParser(prog="kms_sim.py", description="Simulated AWS KMS and metadata service.")
    parser.add_argument("--dir", required=True, help="working directory: control socket, PKI")
    parser.add_argument("--policy", required=True, type=read_json, metavar="FILE", help="key policy, JSON")
    parser.add_argument("--verifier", required=True, metavar="COMMAND", help="verifies the document in the file {}")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--key", action="append", metavar="ARN", help="default: one key in the region")
    parser.add_argument("--listen", default="tcp:127.0.0.1:0", help="KMS: tcp:HOST:PORT or unix:PATH")
    parser.add_argument("--imds", default="tcp:127.0.0.1:0", help="metadata service")
    parser.add_argument("--role", default="cwc-worker")
    parser.add_argument("--lifetime", type=int, default=21600, metavar="S", help="of the role's credentials")
    parser.add_argument("--access-keys", type=read_json, default={}, metavar="FILE",
                        help='more credentials: {ACCESS-KEY: {"secret": ..., "token": ...}}')
    parser.add_argument("--pki", metavar="DIR", help="use (and add to) this PKI, such as that of cwcsim.py")
    parser.add_argument("--stdin-eof", action="store_true", help="also end when standard input is closed")
    options = parser.parse_args(argv)
    options.dir = os.path.abspath(options.dir)
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    options.key = options.key or ["arn:aws:kms:%s:111122223333:key/%s" % (options.region, KEY_ID)]
    return options


def main(argv):
    options = parse(argv)
    try:
        simulator = Simulator(options)
    except BadPolicy as error:
        print("kms_sim: the policy: %s" % error, file=sys.stderr)
        return 65
    run(simulator, options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
