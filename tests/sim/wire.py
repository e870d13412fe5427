# SPDX-License-Identifier: Apache-2.0
"""One connection of the simulator: TLS and HTTP/1.1 by hand, so that every fault happens at an exact byte.

TLS runs over memory buffers (ssl.SSLObject), so that the raw socket stays in our hands: it can be
reset in the middle of a handshake or an answer, or be answered with something that is not TLS at all.
A connection goes through the states of State; requests on it are served one after the other, and
what arrives early waits in `plain`.
"""

import asyncio
import socket
import ssl
import struct
import time

import faults
from chambers import Request, scan_ids
from http1 import BODY_MAX, HEAD_MAX, REASONS, BadRequest, Head, render

READ_SIZE = 65536
STALL_S = 600
LINGER_RST = struct.pack("ii", 1, 0)

IDLE, HEAD, BODY, BUSY, DEAD = "idle", "head", "body", "busy", "dead"
LETTERS = ("message", "validate")

GARBAGE = b"220 not-a-tls-server ready\r\n"


class Connection(asyncio.Protocol):
    """A client of one chamber's listener. `server` is the simulator (cwcsim.Simulator)."""

    def __init__(self, server, chamber):
        self.server = server
        self.chamber = chamber
        self.number = 0
        self.requests = 0
        self.state = IDLE
        self.shaken = False
        self.sni = None
        self.head = None
        self.body = b""
        self.what = None
        self.plain = bytearray()
        self.fault = None       # the rule that this request meets
        self.tls_fault = None   # the rule that this connection meets
        self.timer = None
        self.asked = set()      # reset_mid_body rules that this request was counted for
        self.office = None      # counted as in flight
        self.last = time.monotonic()

    # --- transport ---------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        self.number = self.server.opened(self)
        self.tls_fault = self.server.faults.pick(faults.CONNECT, self.chamber.name)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.server.tls.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.tls.connection = self

    def data_received(self, data):
        if self.state == DEAD:
            return
        self.last = time.monotonic()
        if self.tls_fault is not None:
            self.break_handshake()
            return
        self.incoming.write(data)
        try:
            self.receive()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.flush()
            self.advance()
            if self.state != BUSY:
                self.broken_off()
                self.close()
            return
        except ssl.SSLError:
            self.flush()
            if not self.shaken:
                self.server.count(self.chamber.name, "handshakes_failed")
            self.close()
            return
        self.flush()
        self.advance()

    def receive(self):
        if not self.shaken:
            self.tls.do_handshake()
            self.shaken = True
            self.server.count(self.chamber.name, "handshakes")
        while True:
            chunk = self.tls.read(READ_SIZE)
            if not chunk:
                raise ssl.SSLZeroReturnError()
            self.plain += chunk

    def break_handshake(self):
        rule = self.tls_fault
        if self.timer is not None:
            return
        self.server.record_tls(self, rule)
        if rule.action == "tls_stall":
            self.timer = self.server.loop.call_later(STALL_S, self.reset)
        elif rule.action == "tls_garbage":
            self.transport.write(GARBAGE)
            self.close()
        elif rule.get("reset"):
            self.reset()
        else:
            self.close()

    def flush(self):
        data = self.outgoing.read()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def eof_received(self):
        return False

    def connection_lost(self, _error):
        self.broken_off()
        self.die()
        self.server.closed(self)

    def broken_off(self):
        """The client left in the middle of a letter: the record says so."""
        if self.state == BODY and self.what in LETTERS:
            seen = self.body + self.plain if self.head.chunked else self.plain[:self.head.length]
            self.server.record(self, bytes(seen), complete=False)

    def die(self):
        self.state = DEAD
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.leave()

    def leave(self):
        if self.office is not None:
            self.server.answered(self.chamber.name, self.office)
            self.office = None

    def close(self):
        """FIN, after what was written."""
        self.head = None
        self.die()
        self.transport.close()

    def reset(self):
        """RST: what is still buffered is thrown away. On a unix socket the peer sees a close."""
        self.head = None
        self.die()
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self.transport.abort()

    # --- requests ----------------------------------------------------------------------------

    def advance(self):
        """Serves what is in `plain`, until a request is incomplete, held back or the end."""
        try:
            while self.state not in (BUSY, DEAD):
                if self.state == IDLE and not self.begin():
                    return
                if self.state == HEAD and not self.read_head():
                    return
                if self.state == BODY and not self.read_body():
                    return
        except BadRequest as error:
            self.server.count(self.chamber.name, "bad_requests")
            self.head = None
            self.send(error.status, b"", "text/plain", (), keep_alive=False)

    def begin(self):
        if not self.plain:
            return False
        self.requests += 1
        self.state, self.head, self.body, self.fault, self.what = HEAD, None, b"", None, None
        self.asked = set()
        what = "message" if self.plain[:1] == b"P" else "offices"
        rule = self.server.faults.pick(faults.FIRST, self.chamber.name, what)
        if rule is not None:
            self.fault = rule
            self.server.record(self, None, complete=False)
            self.reset()
        return rule is None

    def read_head(self):
        end = self.plain.find(b"\r\n\r\n", 0, HEAD_MAX)
        if end < 0:
            if len(self.plain) >= HEAD_MAX:
                raise BadRequest(431)
            return False
        self.head = Head(bytes(self.plain[:end]))
        del self.plain[:end + 4]
        self.what = self.chamber.classify(self.head.method, self.head.path)
        self.state = BODY
        self.fault = self.server.faults.pick(faults.HEADERS, self.chamber.name, self.what)
        if self.fault is not None:
            return self.fault_at_headers()
        self.send_continue()
        return True

    def send_continue(self):
        if self.head.headers.get("expect", "").lower() == "100-continue" and not self.plain:
            self.tls.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.flush()

    def fault_at_headers(self):
        if self.fault.action == "reset_after_headers":
            self.server.record(self, None, complete=False)
            self.reset()
            return False
        # delay or stall before the body is read: the kernel keeps what arrives, and even a client
        # that has gone meanwhile is read to its end, as a slow server would.
        self.state = BUSY
        self.transport.pause_reading()
        if self.fault.action == "delay":
            self.timer = self.server.loop.call_later(self.fault.get("ms") / 1000, self.resume)
        else:
            self.server.record(self, None, complete=False)
            self.timer = self.server.loop.call_later(STALL_S, self.reset)
        return False

    def resume(self):
        self.timer = None
        if self.state != BUSY:
            return
        self.state = BODY
        self.send_continue()
        self.transport.resume_reading()
        self.advance()

    def read_body(self):
        if self.fault is None and self.what in LETTERS and self.server.faults.has(faults.MIDDLE):
            if not self.fault_in_body():
                return False
        if not (self.read_chunks() if self.head.chunked else self.read_length()):
            return False
        self.state = BUSY
        self.serve()
        return True

    def read_length(self):
        if len(self.plain) < self.head.length:
            return False
        self.body = bytes(self.plain[:self.head.length])
        del self.plain[:self.head.length]
        return True

    def read_chunks(self):
        while True:
            end = self.plain.find(b"\r\n", 0, 128)
            if end < 0:
                if len(self.plain) >= 128:
                    raise BadRequest(400)
                return False
            try:
                size = int(bytes(self.plain[:end]).partition(b";")[0], 16)
            except ValueError:
                raise BadRequest(400) from None
            if size < 0 or len(self.body) + size > BODY_MAX:
                raise BadRequest(413)
            if len(self.plain) < end + 2 + size + 2:
                return False
            self.body += bytes(self.plain[end + 2:end + 2 + size])
            del self.plain[:end + 2 + size + 2]
            if size == 0:
                return True

    def fault_in_body(self):
        """reset_mid_body: decided when half of the body, or what the rule asks for, is there."""
        for rule in self.server.faults.by_moment[faults.MIDDLE]:
            at = min(rule.get("at", self.head.length // 2), max(self.head.length - 1, 0))
            if len(self.plain) < at:
                continue
            ids = scan_ids(bytes(self.plain))
            if not rule.is_for(self.chamber.name, self.what, ids):
                continue
            if rule.number in self.asked:
                continue
            self.asked.add(rule.number)
            if rule.applies():
                self.fault = rule
                self.server.record(self, bytes(self.plain[:at]), complete=False, ids=ids)
                self.reset()
                return False
        return True

    # --- answers -----------------------------------------------------------------------------

    def serve(self):
        """The request is complete: decide, record, answer (or misbehave)."""
        head = self.head
        request = Request(head.method, head.path, head.query, head.key, head.content_type, self.body)
        letter = self.chamber.read(self.body) if self.what in LETTERS else None
        ids = letter.ids if letter is not None else None
        if letter is not None:
            self.office = ids["office"] or "?"
            self.server.entered(self.chamber.name, self.office)
        if self.fault is None:
            self.fault = self.server.faults.pick(faults.BODY, self.chamber.name, self.what, ids)
        answer = self.chamber.answer(self.what, request, letter)
        if self.fault is None or self.fault.moment == faults.HEADERS:
            self.server.record(self, self.body, answer=answer, ids=ids)
            self.reply(answer)
            return
        self.misbehave(answer, ids)

    def misbehave(self, answer, ids):
        rule = self.fault
        take = rule.get("record", True) and rule.action != "status"
        silent = rule.action in ("stall", "reset_after_body", "close_after_body", "partial_status")
        if rule.action == "status":
            answer = self.faulty_status(answer, rule)
        elif rule.action == "accept_then_500":
            status = rule.get("status", 500)
            reason = REASONS.get(status, "Error").encode() + b"\n"
            answer = answer._replace(status=status, body=reason, content_type="text/plain")
        self.server.record(self, self.body, answer=answer, ids=ids, take=take, silent=silent)
        wait = rule.get("ms") if rule.action == "delay" else rule.get("delay_ms", 0)
        if wait:
            self.timer = self.server.loop.call_later(wait / 1000, self.finish, answer)
        else:
            self.finish(answer)

    def faulty_status(self, answer, rule):
        body = rule.get("body", "").encode()
        if rule.get("echo"):
            body = self.body
        if rule.get("size"):
            body += b"x" * (rule.get("size") - len(body))
        headers = ()
        if rule.get("retry_after") is not None:
            headers = (("Retry-After", str(rule.get("retry_after"))),)
        if 300 <= rule.get("status") < 400:
            headers += (("Location", "https://elsewhere.example.org/"),)
        return answer._replace(status=rule.get("status"), body=body, headers=headers, accepted=False,
                               content_type=rule.get("content_type", "text/plain"))

    def finish(self, answer):
        """Carries out a body fault, after its delay."""
        self.timer = None
        if self.state != BUSY:
            return
        rule, action = self.fault, self.fault.action
        if action == "stall":
            self.timer = self.server.loop.call_later(STALL_S, self.reset)
        elif action == "reset_after_body":
            self.reset()
        elif action == "close_after_body":
            self.close()
        elif action == "partial_status":
            self.write(b"HTTP/1.1 %d" % (answer.status // 10))
            self.close()
        elif action == "truncate_answer":
            self.truncate(answer, rule)
        elif action == "trickle":
            data = whole(answer, self.head.keep_alive)
            self.trickle(data, rule.get("bytes", 1), rule.get("ms", 10) / 1000)
        elif action == "drop_connection_after_answer":
            self.write(whole(answer, True))
            self.close()
        else:
            self.reply(answer)
        if self.state != BUSY:
            self.advance()

    def truncate(self, answer, rule):
        """A whole header that promises more body than comes."""
        if not answer.body:
            answer = answer._replace(body=b"." * 64)
        data = whole(answer, True)
        start = data.index(b"\r\n\r\n") + 4
        self.write(data[:start + rule.get("bytes", len(answer.body) // 2)][:len(data) - 1])
        self.close()

    def trickle(self, data, size, pause_s):
        self.timer = None
        if self.state != BUSY:
            return
        self.write(data[:size])
        if len(data) > size:
            self.timer = self.server.loop.call_later(pause_s, self.trickle, data[size:], size, pause_s)
        else:
            self.done(self.head.keep_alive)
            self.advance()

    def reply(self, answer):
        self.send(answer.status, answer.body, answer.content_type, answer.headers, self.head.keep_alive)

    def send(self, status, body, content_type, headers, keep_alive):
        self.write(render(status, body, content_type, headers, keep_alive))
        self.done(keep_alive)

    def done(self, keep_alive):
        self.leave()
        self.head = None
        self.state = IDLE
        if not keep_alive:
            self.goodbye()

    def goodbye(self):
        """close_notify and FIN."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self.flush()
        self.close()

    def write(self, data):
        try:
            self.tls.write(data)
        except ssl.SSLError:
            self.reset()
            return
        self.flush()


def whole(answer, keep_alive):
    return render(answer.status, answer.body, answer.content_type, answer.headers, keep_alive)
