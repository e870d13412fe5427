#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the simulator itself: HTTP, TLS and every fault, seen from a plain TLS client."""

import socket
import ssl
import time
import unittest

import faults
import letters
from simctl import SimError
from simtest import Case, house_letter, senate_letter


class Http(Case):
    def test_keep_alive_and_close(self):
        wire = self.wire()
        for number in range(3):
            self.assertEqual(wire.post(house_letter(number)).status, 200)
        self.assertEqual([(r["conn"], r["req"]) for r in self.sim.records()],
                         [(self.sim.records()[0]["conn"], n) for n in (1, 2, 3)])
        response = wire.post(house_letter(4), extra=["Connection: close"])
        self.assertEqual(response.headers["Connection"], "close")
        self.assertEqual(wire.rest(), b"")

    def test_pipelining(self):
        wire = self.wire()
        self.sim.fault(action="delay", ms=50, count=1)
        bodies = [house_letter(n, office=code) for n, code in enumerate(("HNE01", "HNE02", "HNE03"))]
        wire.send(b"".join(wire.head(body) + body for body in bodies) + wire.head(b"", path="/gone"))
        reader = wire.sock.makefile("rb")
        seen = []
        for _ in range(4):
            seen.append(int(reader.readline().split()[1]))
            length = 0
            for line in iter(reader.readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)
        self.assertEqual(seen, [200, 200, 200, 404])
        self.assertEqual([r["office"] for r in self.sim.records()], ["HNE01", "HNE02", "HNE03"])

    def test_byte_by_byte(self):
        wire = self.wire()
        body = house_letter()
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire.head(body) + body[:20]:
            wire.send(bytes((byte,)))
        wire.send(body[20:])
        self.assertEqual(wire.answer().status, 200)

    def test_chunked(self):
        wire = self.wire()
        body = house_letter()
        wire.send(("POST /v2/message?apikey=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n" % self.sim.key).encode())
        for start in range(0, len(body), 1000):
            part = body[start:start + 1000]
            wire.send(b"%x\r\n%s\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")
        self.assertEqual(wire.answer().status, 200)
        self.assertEqual(self.last()["bytes"], len(body))

    def test_expect_continue(self):
        wire = self.wire()
        body = house_letter()
        wire.send(wire.head(body, extra=["Expect: 100-continue"]))
        self.assertEqual(wire.sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.send(body)
        self.assertEqual(wire.answer().status, 200)

    def test_bad_requests(self):
        cases = ((b"NONSENSE\r\n\r\n", 400), (b"POST /v2/message HTTP/1.1\r\n\r\n", 400),
                 (b"POST /v2/message HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
                 (b"POST /v2/message HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413),
                 (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000, 431))
        for data, status in cases:
            wire = self.wire()
            wire.send(data)
            self.assertEqual(wire.answer().status, status)
            self.assertEqual(wire.rest(), b"")
        self.assertEqual(self.sim.count(what="any"), 0)

    def test_idle_timeout(self):
        wire = self.wire()
        self.assertEqual(wire.post(house_letter()).status, 200)
        self.sim.idle(0.05)
        self.assertEqual(wire.rest(), b"")

    def test_close_idle(self):
        wire = self.wire()
        self.assertEqual(wire.post(house_letter()).status, 200)
        self.assertGreaterEqual(self.sim.close_idle(), 1)
        self.assertEqual(wire.rest(), b"")

    def test_maintenance(self):
        self.sim.maintenance(True, "senate", retry_after=120)
        response = self.senate()
        self.assertEqual((response.status, response.headers["Retry-After"]), (503, "120"))
        self.assertEqual(self.wire("senate").get("/api/active_offices/").status, 503)
        self.assertEqual(self.house().status, 200)
        self.sim.maintenance(False)
        self.assertEqual(self.senate().status, 201)


class Tls(Case):
    def test_versions(self):
        self.assertEqual(self.wire().sock.version(), "TLSv1.3")
        self.sim.tls(maximum="1.2")
        self.assertEqual(self.wire().sock.version(), "TLSv1.2")
        self.assertEqual(self.house().status, 200)

    def test_names(self):
        for host in ("cwc.house.gov", "uat-cwc.house.gov", "soapbox.senate.gov", "localhost"):
            self.assertEqual(self.wire(host=host).post(house_letter()).status, 200)
            self.assertEqual(self.last()["sni"], host)

    def test_bad_certificates(self):
        for name, text in (("expired", "expired"), ("wrong-host", "Hostname mismatch"), ("other-ca", "issuer")):
            self.sim.tls(name)
            with self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.wire()
            self.assertIn(text, str(caught.exception))
        self.sim.tls()
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.wire(ca=False)
        self.assertEqual(self.house().status, 200)

    def test_not_tls(self):
        wire = self.wire(handshake=False)
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        wire.rest()
        self.assertEqual(self.sim.stats("house")["handshakes_failed"], 1)

    def test_refuse(self):
        self.sim.fault(action="tls_refuse", chamber="house", count=2)
        for _ in range(2):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                self.wire()
        self.assertEqual(self.senate().status, 201)
        self.assertEqual(self.house().status, 200)
        self.assertEqual(self.sim.count(what="tls", fault="tls_refuse"), 2)

    def test_refuse_by_reset(self):
        self.sim.fault(action="tls_refuse", reset=True, count=1)
        with self.assertRaises(ConnectionResetError):
            self.wire()

    def test_garbage(self):
        self.sim.fault(action="tls_garbage", count=1)
        with self.assertRaises(ssl.SSLError) as caught:
            self.wire()
        self.assertIn("WRONG_VERSION_NUMBER", str(caught.exception))
        self.assertEqual(self.house().status, 200)

    def test_stall(self):
        self.sim.fault(action="tls_stall", count=1)
        wire = self.wire(handshake=False)
        context = ssl.create_default_context(cafile=self.sim.ca_file)
        wire.sock.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            context.wrap_socket(wire.sock, server_hostname=wire.host)
        self.assertEqual(self.sim.count(what="tls", fault="tls_stall"), 1)


class Faults(Case):
    def fails(self, expected, body=None):
        """Posts a letter to the House; the connection must end so, without an answer."""
        wire = self.wire()
        wire.send(wire.head(body or house_letter()) + (body or house_letter()))
        self.assertEqual(wire.ending(), expected)

    def check(self, **expected):
        record = self.last()
        self.assertEqual({key: record[key] for key in expected}, expected)

    def test_status(self):
        self.sim.fault(action="status", status=429, body="slow down", retry_after=7, count=1)
        response = self.house()
        self.assertEqual((response.status, response.content, response.headers["Retry-After"]), (429, b"slow down", "7"))
        self.check(accepted=False, complete=True, status=429, fault="status")
        self.assertEqual(self.house().status, 200)

    def test_status_variants(self):
        self.sim.fault(action="status", status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", count=1)
        self.assertEqual(self.house().headers["Retry-After"], "Wed, 21 Oct 2026 07:28:00 GMT")
        self.sim.fault(action="status", status=500, size=300000, count=1)
        self.assertEqual(len(self.house().content), 300000)
        self.sim.fault(action="status", status=400, echo=True, content_type="application/xml", count=1)
        response = self.house()
        self.assertEqual((response.content, response.headers["Content-Type"]), (house_letter(), "application/xml"))
        self.sim.fault(action="status", status=302, count=1)
        self.assertIn("elsewhere", self.house().headers["Location"])

    def test_status_of_offices(self):
        self.sim.fault(action="status", status=500, on="offices", chamber="senate")
        self.assertEqual(self.wire("senate").get("/api/active_offices/").status, 500)
        self.assertEqual(self.senate().status, 201)

    def test_delay_before_answer(self):
        self.sim.fault(action="delay", ms=300)
        wire = self.wire()
        begun = time.monotonic()
        wire.send(wire.head(house_letter()) + house_letter())
        self.assertTrue(self.sim.wait_count(1)[0]["accepted"])
        self.assertEqual(self.sim.stats("house")["in_flight"], 1)
        self.assertEqual(wire.answer().status, 200)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        self.check(status=200, fault="delay")
        self.assertEqual(self.sim.stats("house")["in_flight"], 0)

    def test_delay_before_reading(self):
        self.sim.fault(action="delay", when="read", ms=300, count=1)
        wire = self.wire()
        begun = time.monotonic()
        wire.send(wire.head(house_letter()) + house_letter())
        self.assertEqual(self.sim.count(), 0)
        self.assertEqual(wire.answer().status, 200)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        self.check(status=200, fault="delay", complete=True)

    def test_slow_reader_takes_letters_of_clients_that_left(self):
        self.sim.fault(action="delay", when="read", ms=200, count=1)
        wire = self.wire()
        wire.send(wire.head(house_letter()) + house_letter())
        wire.close()
        self.assertTrue(self.sim.wait_count(1)[0]["accepted"])

    def test_peaks(self):
        self.sim.fault(action="delay", ms=200)
        wires = [self.wire() for _ in range(4)]
        for number, wire in enumerate(wires):
            body = house_letter(number, office="HNE0%d" % (1 + number % 2))
            wire.send(wire.head(body) + body)
        for wire in wires:
            self.assertEqual(wire.answer().status, 200)
        stats = self.sim.stats("house")
        self.assertEqual((stats["peak"], stats["office_peak"]), (4, {"HNE01": 2, "HNE02": 2}))

    def test_reset_before_read(self):
        self.sim.fault(action="reset_before_read", count=1)
        self.fails("reset")
        self.check(complete=False, accepted=False, status=None, fault="reset_before_read", delivery_id=None)
        self.assertEqual(self.house().status, 200)

    def test_reset_before_read_on_reused_connection(self):
        self.sim.fault(action="reset_before_read", after=1, count=1)
        wire = self.wire()
        self.assertEqual(wire.post(house_letter()).status, 200)
        wire.send(wire.head(house_letter()) + house_letter())
        self.assertEqual(wire.ending(), "reset")

    def test_reset_after_headers(self):
        self.sim.fault(action="reset_after_headers", count=1)
        wire = self.wire()
        wire.send(wire.head(house_letter()))
        self.assertEqual(wire.ending(), "reset")
        self.check(complete=False, accepted=False, status=None, fault="reset_after_headers")

    def test_reset_mid_body(self):
        self.sim.fault(action="reset_mid_body", count=1, at=1500, office="HNE03", campaign="none")
        self.sim.fault(action="reset_mid_body", count=1, at=1500, office="HNE03")
        self.assertEqual(self.house(house_letter(office="HNE01")).status, 200)
        wire, body = self.wire(), house_letter()
        wire.send(wire.head(body) + body[:1600])
        self.assertEqual(wire.ending(), "reset")
        self.check(complete=False, accepted=False, fault="reset_mid_body", bytes=1500, office="HNE03")
        self.assertEqual([f["matched"] for f in self.sim.faults()], [0, 1])
        self.assertEqual(self.house().status, 200)

    def test_reset_mid_body_counts_a_request_once(self):
        self.sim.fault(action="reset_mid_body", at=100, every=2)
        wire, body = self.wire(), house_letter()
        wire.send(wire.head(body))
        for start in range(0, len(body), 600):
            time.sleep(0.02)  # so that the pieces arrive apart; together they would only test less
            wire.send(body[start:start + 600])
        self.assertEqual(wire.answer().status, 200)
        self.fails("reset")

    def test_reset_after_body(self):
        self.sim.fault(action="reset_after_body", count=1)
        self.sim.fault(action="reset_after_body", count=1, record=False)
        for accepted in (True, False):
            self.fails("reset")
            self.check(complete=True, accepted=accepted, status=None, fault="reset_after_body")

    def test_close_after_body(self):
        self.sim.fault(action="close_after_body", count=1)
        self.fails("closed")
        self.check(complete=True, accepted=True, status=None, fault="close_after_body")

    def test_unacceptable_letters_stay_unaccepted(self):
        self.sim.fault(action="close_after_body")
        self.fails("closed", body=house_letter(Zip=None))
        self.check(accepted=False, status=None)

    def test_truncate_answer(self):
        self.sim.fault(action="truncate_answer", bytes=3, count=1)
        wire = self.wire()
        wire.send(wire.head(house_letter()) + house_letter())
        data = wire.rest()
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(len(data.partition(b"\r\n\r\n")[2]), 3)
        self.assertIn(b"Content-Length: 26", data)
        self.check(accepted=True, status=200)

    def test_truncate_empty_answer(self):
        self.sim.fault(action="truncate_answer", count=1)
        wire = self.wire("senate")
        wire.send(wire.head(senate_letter()) + senate_letter())
        data = wire.rest()
        self.assertTrue(data.startswith(b"HTTP/1.1 201"))
        self.assertIn(b"Content-Length: 64", data)
        self.assertEqual(len(data.partition(b"\r\n\r\n")[2]), 32)

    def test_partial_status(self):
        self.sim.fault(action="partial_status", count=1)
        wire = self.wire()
        wire.send(wire.head(house_letter()) + house_letter())
        self.assertEqual(wire.rest(), b"HTTP/1.1 20")
        self.check(accepted=True, status=None, fault="partial_status")

    def test_trickle(self):
        self.sim.fault(action="trickle", bytes=20, ms=5, count=1)
        wire = self.wire()
        begun = time.monotonic()
        response = wire.post(house_letter())
        self.assertEqual((response.status, response.content), (200, b"Message saved for delivery"))
        self.assertGreaterEqual(time.monotonic() - begun, 0.04)
        self.assertEqual(wire.post(house_letter()).status, 200)

    def test_stall(self):
        self.sim.fault(action="stall", count=1)
        self.sim.fault(action="stall", when="read", count=1)
        for accepted in (False, True):
            wire = self.wire()
            wire.send(wire.head(house_letter()) + house_letter())
            records = self.sim.wait_for(lambda r: any(x["accepted"] is accepted for x in r))
            self.assertEqual((records[-1]["status"], records[-1]["fault"]), (None, "stall"))
            wire.sock.settimeout(0.1)
            with self.assertRaises(TimeoutError):
                wire.sock.recv(1)

    def test_accept_then_500(self):
        self.sim.fault(action="accept_then_500", count=1, chamber="senate")
        self.sim.fault(action="accept_then_500", count=1, status=503)
        self.assertEqual(self.senate().status, 500)
        self.check(accepted=True, status=500, fault="accept_then_500")
        self.assertEqual(self.senate().status, 503)
        self.assertEqual(self.senate().status, 409)

    def test_drop_connection_after_answer(self):
        self.sim.fault(action="drop_connection_after_answer", count=1)
        wire = self.wire()
        response = wire.post(house_letter())
        self.assertEqual((response.status, response.headers["Connection"]), (200, "keep-alive"))
        self.assertEqual(wire.rest(), b"")

    def test_delay_of_other_faults(self):
        self.sim.fault(action="accept_then_500", delay_ms=200, count=1)
        wire = self.wire()
        begun = time.monotonic()
        self.assertEqual(wire.post(house_letter()).status, 500)
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_matchers_and_order(self):
        self.sim.fault(action="status", status=501, office="HNE01")
        self.sim.fault(action="status", status=502, delivery_id=letters.delivery_id({"sid": "bad-house-5"}, "HNE02"))
        self.sim.fault(action="status", status=504, chamber="senate")
        self.sim.fault(action="status", status=505)
        self.sim.fault(action="status", status=506)
        self.assertEqual(self.house(house_letter(office="HNE01")).status, 501)
        self.assertEqual(self.house(house_letter(5, office="HNE02")).status, 502)
        self.assertEqual(self.senate().status, 504)
        self.assertEqual(self.house().status, 505)
        self.assertEqual([f["applied"] for f in self.sim.faults()], [1, 1, 1, 1, 0])

    def test_counters(self):
        self.sim.fault(action="status", status=500, after=1, every=2, count=2)
        wire = self.wire()
        self.assertEqual([wire.post(house_letter()).status for _ in range(8)],
                         [200, 200, 500, 200, 500, 200, 200, 200])

    def test_probability(self):
        def outcomes(**rule):
            self.sim.reset()
            answer = self.sim.cmd("fault", rule={"action": "status", "status": 500, "probability": 0.5, **rule})
            wire = self.wire()
            return answer["seed"], [wire.post(house_letter()).status for _ in range(40)]
        seed, first = outcomes()
        self.assertEqual(outcomes(seed=seed), (seed, first))
        self.assertEqual(set(first), {200, 500})

    def test_clear(self):
        first = self.sim.fault(action="status", status=500)
        self.sim.fault(action="status", status=502)
        self.assertEqual(self.sim.clear_faults(first), 1)
        self.assertEqual(self.house().status, 502)
        self.assertEqual(self.sim.clear_faults(), 1)
        self.assertEqual(self.house().status, 200)

    def test_bad_rules(self):
        for rule in ({}, {"action": "nonsense"}, {"action": "status"}, {"action": "delay"},
                     {"action": "status", "status": "500"}, {"action": "status", "status": 99},
                     {"action": "status", "status": 500, "typo": 1}, {"action": "reset_before_read", "office": "HNE03"},
                     {"action": "delay", "ms": 1, "when": "read", "office": "HNE03"},
                     {"action": "tls_refuse", "count": 0}, {"action": "status", "status": 500, "probability": 2},
                     {"action": "stall", "chamber": "lords"}, {"action": "stall", "on": "sunday"},
                     {"action": "stall", "record": 1}):
            with self.assertRaises(SimError, msg=str(rule)):
                self.sim.cmd("fault", rule=rule)
        self.assertEqual(self.sim.faults(), [])

    def test_every_action_is_tested(self):
        """The names of all actions occur in this file as rules."""
        with open(__file__, encoding="utf-8") as source:
            text = source.read()
        for action in faults.ACTIONS:
            self.assertIn('action="%s"' % action, text)


class Speed(Case):
    def test_cost_of_a_letter(self):
        """1,500 letters a second on one core: counted in the simulator's own CPU time, so that load does not matter."""
        wires = [self.wire() for _ in range(4)]
        bodies = [wires[0].head(house_letter(n)) + house_letter(n) for n in range(50)]
        before = self.sim.stats()["cpu_s"]
        rounds = 8
        for number in range(rounds * len(bodies)):
            wires[number % 4].send(bodies[number % len(bodies)])
            self.assertIn(b" 200 OK", wires[number % 4].sock.recv(4096))
        used = self.sim.stats()["cpu_s"] - before
        self.assertLess(used / (rounds * len(bodies)), 1 / 1500)


if __name__ == "__main__":
    unittest.main()
