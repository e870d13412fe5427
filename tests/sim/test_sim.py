#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the simulator itself: its answers, its records, its sample letters, its programs."""

import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

from lxml import etree

import letters
import offices
from simctl import Client, Sim, SimError
from simtest import AGENT, HERE, Case, Wire, error_texts, house_letter, senate_letter

GOLDEN = os.path.join(HERE, "..", "golden")


class HouseAnswers(Case):
    def test_accepts(self):
        body = house_letter()
        response = self.house(body)
        self.assertEqual((response.status, response.reason), (200, "OK"))
        record = self.last()
        self.assertEqual({key: record[key] for key in ("chamber", "what", "office", "complete", "accepted", "duplicate",
                                                       "status", "fault", "content_type", "key_ok", "agent", "sni")},
                         {"chamber": "house", "what": "message", "office": "HNE03", "complete": True, "accepted": True,
                          "duplicate": False, "status": 200, "fault": None, "content_type": "application/xml",
                          "key_ok": True, "agent": AGENT, "sni": "uat-cwc.house.gov"})
        self.assertEqual(record["delivery_id"], letters.delivery_id({"sid": "bad-house-0"}, "HNE03"))
        self.assertEqual(record["bytes"], len(body))
        self.assertRegex(record["sha256"], "^[0-9a-f]{64}$")

    def test_golden_samples(self):
        names = sorted(glob.glob(os.path.join(GOLDEN, "*house*.xml")))
        if not names:
            self.skipTest("no golden files")
        for name in names:
            with self.subTest(name=os.path.basename(name)), open(name, "rb") as xml:
                self.sim.set_agent(None)
                self.assertEqual(self.house(xml.read()).status, 200)

    def test_schema_failure(self):
        response = self.house(house_letter(Zip=None))
        self.assertEqual(response.status, 400)
        self.assertIn("application/xml", response.headers["Content-Type"])
        texts = error_texts(response)
        self.assertTrue(any("Zip" in text or "interleave" in text for text in texts), texts)
        self.assertFalse(self.last()["accepted"])

    def test_malformed(self):
        response = self.house(house_letter().replace(b"</CWC>", b""))
        self.assertEqual(response.status, 400)
        self.assertTrue(error_texts(response))
        self.assertEqual(self.last()["office"], "HNE03")

    def test_entities_are_not_resolved(self):
        body = house_letter().replace(b"<CWC>", b'<!DOCTYPE CWC [<!ENTITY e SYSTEM "file:///etc/hostname">]><CWC>')
        body = body.replace(b"<FirstName>Rosa", b"<FirstName>&e;")
        self.assertEqual(self.house(body).status, 400)

    def test_agent_only_on_message(self):
        body = house_letter()
        self.sim.set_agent("Somebody Else Inc")
        response = self.house(body)
        self.assertEqual((response.status, error_texts(response)), (400, ["DeliveryAgent Mismatch"]))
        response = self.house(body, path="/v2/validate")
        self.assertEqual((response.status, response.content), (200, b"Validation Passed"))
        self.assertEqual(self.sim.count(), 1)
        self.assertEqual(self.sim.count(what="validate", accepted=False), 1)

    def test_office_not_enabled(self):
        response = self.house(house_letter(office="HNE09"))
        self.assertEqual((response.status, error_texts(response)),
                         (400, ["Message delivery is not enabled for HNE09"]))
        self.sim.cmd("offices", chamber="house", add=["HNE09"])
        self.assertEqual(self.house(house_letter(office="HNE09")).status, 200)

    def test_key(self):
        for key in ("", "wrong"):
            response = self.house(key=key)
            self.assertEqual(response.status, 401)
            self.assertIs(self.last()["key_ok"], False)
        self.assertEqual(self.sim.count(accepted=True), 0)

    def test_key_is_percent_decoded(self):
        self.sim.set_keys(["a+b/c=&"])
        self.assertEqual(self.house(key="a%2Bb%2Fc%3D%26").status, 200)

    def test_content_type(self):
        self.assertEqual(self.house(content_type="text/plain").status, 400)
        self.assertEqual(self.house(content_type=None).status, 400)
        self.assertEqual(self.house(content_type="text/xml").status, 200)
        self.assertEqual(self.house(content_type="application/xml; charset=utf-8").status, 200)

    def test_duplicates_are_taken_and_told(self):
        for expected in (False, True, True):
            self.assertEqual(self.house().status, 200)
            self.assertIs(self.last()["duplicate"], expected)
        self.assertEqual(self.sim.stats("house")["duplicates"], 2)

    def test_offices(self):
        response = self.wire().get("/v2/offices?apikey=" + self.sim.key)
        codes = json.loads(response.content)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(codes), 442)
        self.assertIn("MP00", codes)
        self.assertIn("HAQ00", codes)
        self.assertEqual(self.wire().get("/v2/offices").status, 401)
        self.sim.set_offices("house", ["HNE03"])
        self.assertEqual(json.loads(self.wire().get("/v2/offices?apikey=" + self.sim.key).content), ["HNE03", "MP00"])
        self.assertEqual(self.sim.count(what="offices"), 3)

    def test_paths_and_methods(self):
        self.assertEqual(self.house(path="/").status, 404)
        self.assertEqual(self.house(path="/v2/message/").status, 404)
        self.assertEqual(self.wire().get("/v2/message").status, 405)
        self.assertEqual(self.house(path="/v2/offices").status, 405)


class SenateAnswers(Case):
    def test_accepts_once(self):
        response = self.senate()
        self.assertEqual((response.status, response.reason, response.content), (201, "Created", b""))
        response = self.senate()
        self.assertEqual(response.status, 409)
        self.assertTrue(error_texts(response))
        self.assertEqual([r["accepted"] for r in self.sim.records()], [True, False])
        self.assertEqual(self.senate(path="/api/production-messages/").status, 409)
        self.assertEqual(self.senate(senate_letter(2), path="/api/production-messages/").status, 201)

    def test_rejected_id_is_not_used_up(self):
        self.assertEqual(self.senate(senate_letter(Zip=None)).status, 400)
        self.assertEqual(self.senate(content_type="text/xml").status, 415)
        self.assertEqual(self.senate().status, 201)

    def test_rules_of_its_own(self):
        self.assertEqual(self.senate(senate_letter(Prefix="Mx.")).status, 400)
        self.assertEqual(self.house(house_letter(Prefix="Mx.")).status, 200)

    def test_content_type(self):
        for wrong in ("text/xml", "application/json", None):
            self.assertEqual(self.senate(content_type=wrong).status, 415)

    def test_slash(self):
        for path in ("/api/testing-messages", "/api/production-messages"):
            response = self.senate(path=path)
            self.assertEqual(response.status, 301)
            self.assertEqual(response.headers["Location"], "%s/?apikey=%s" % (path, self.sim.key))
        self.assertEqual(self.sim.count(accepted=True), 0)

    def test_sandbox_takes_every_seat(self):
        quiet = next(code for code in offices.senate_offices() if code not in offices.senate_active())
        body = senate_letter(office=quiet)
        response = self.senate(body, path="/api/production-messages/")
        self.assertEqual((response.status, error_texts(response)), (400, ["%s is not an active office" % quiet]))
        self.assertEqual(self.senate(body).status, 201)

    def test_active_offices(self):
        for path in ("/api/active_offices/", "/api/active_offices", "/api/active_offices.json",
                     "/api/active_offices/?format=json"):
            rows = json.loads(self.wire("senate").get(path).content)
            self.assertEqual(len(rows), 54)
            self.assertEqual(set(rows[0]), {"name", "office_code"})
            self.assertRegex(rows[0]["name"], r"\[bioguide_id: X[0-9]{6}\]$")
            good = [row for row in rows if len(row["office_code"]) == 5]
            self.assertEqual(len(good), 53)

    def test_key_and_agent(self):
        self.assertEqual(self.senate(key="wrong").status, 401)
        self.sim.set_agent("Somebody Else Inc", "senate")
        self.assertEqual(error_texts(self.senate()), ["DeliveryAgent Mismatch"])
        self.assertEqual(self.house().status, 200)

    def test_paths_and_methods(self):
        self.assertEqual(self.senate(path="/api/messages/").status, 404)
        self.assertEqual(self.wire("senate").get("/api/testing-messages/").status, 405)


class Letters(Case):
    def test_samples_are_accepted(self):
        self.sim.set_offices("senate", offices.senate_offices())
        wires = {"H": self.wire("house"), "S": self.wire("senate")}
        sent = 0
        for submission in letters.sample(150, seed=3):
            self.assertTrue(1 <= len(submission["offices"]) <= 3)
            for code in submission["offices"]:
                response = wires[code[0]].post(letters.render(submission, code),
                                               **({"path": "/api/production-messages/"} if code[0] == "S" else {}))
                self.assertIn(response.status, (200, 201), (submission["name"], code, response.content))
                sent += 1
        self.assertEqual(self.sim.count(accepted=True), sent)
        self.assertEqual(self.sim.count(duplicate=True), 0)
        self.assertTrue(self.sim.count(chamber="senate") > 20 and self.sim.count(chamber="house") > 20)

    def test_samples_repeat(self):
        self.assertEqual(list(letters.sample(5, seed=9)), list(letters.sample(5, seed=9)))
        self.assertNotEqual(list(letters.sample(5, seed=9)), list(letters.sample(5, seed=10)))
        only = list(letters.sample(20, profiles=("witness",), chambers=("house",)))
        self.assertEqual({s["profile"] for s in only}, {"witness"})
        self.assertEqual({code[0] for s in only for code in s["offices"]}, {"H"})

    def test_bad_elements_are_bad(self):
        """What the worker must refuse by the schema's rules, the schema refuses, too."""
        own_rules = ("same-body", "line-break-in-name", "mx-prefix")
        for submission in letters.bad_elements():
            if submission["name"] in own_rules:
                continue
            with self.subTest(name=submission["name"]):
                response = self.house(letters.render(submission, letters.HOUSE))
                self.assertEqual(response.status, 400)

    def test_bases_are_good(self):
        for profile in ("letter", "witness"):
            self.assertEqual(self.house(letters.render(letters.base("x-" + profile, profile), "HNE03")).status, 200)

    def test_every_expectation_is_complete(self):
        table = letters.bad()
        for name, submission in table.items():
            self.assertEqual(submission["name"], name)
            self.assertLessEqual(set(submission["spoil"]), set(letters.SPOILS), name)
            for code in submission["offices"]:
                expect = letters.expected(submission, code)
                self.assertEqual(set(expect), {"stream", "outcome", "detail"}, name)
            self.assertRegex(submission["sid"], "^[A-Za-z0-9_-]{1,64}$")
        self.assertEqual(letters.expected(table["mx-prefix"], letters.SENATE)["detail"], "Prefix:value")
        self.assertEqual(letters.expected(table["mx-prefix"], letters.HOUSE)["outcome"], "accepted")

    def test_renderer_agrees_with_golden_files(self):
        names = sorted(glob.glob(os.path.join(GOLDEN, "*.json")))
        pairs = [(name, name[:-5] + ".xml") for name in names if os.path.exists(name[:-5] + ".xml")]
        if not pairs:
            self.skipTest("no golden files")
        parser = etree.XMLParser(remove_blank_text=True)
        for values, xml in pairs:
            with self.subTest(name=os.path.basename(values)), open(values, encoding="utf-8") as source:
                document = json.load(source)
                ours = etree.fromstring(letters.render_elements(document))
                golden = etree.parse(xml, parser)
                self.assertEqual(values_of(ours), values_of(golden.getroot()))


def values_of(root):
    """Paths and values, without regard for the case of Y/N and pro/con, which a renderer may settle."""
    free = ("ProOrCon", "IsResponseRequested", "NewsletterOptIn", "AddressValidation", "EmailValidation")
    tree = etree.ElementTree(root)
    return [(tree.getpath(e), (e.text or "").lower() if e.tag in free else (e.text or "").replace("\r\n", "\n"))
            for e in root.iter() if len(e) == 0]


class Records(Case):
    def test_nothing_personal(self):
        with open(self.sim.log_file, encoding="utf-8") as log:
            start = log.seek(0, os.SEEK_END)
        self.house()
        self.house(house_letter(1, Email="rosa.lindqvist"))
        self.senate(senate_letter())
        half = house_letter(2)[:-200]
        with self.wire() as wire:
            wire.send(wire.head(house_letter(2)) + half)
        self.sim.wait_for(lambda records: len(records) == 4)
        with open(self.sim.log_file, encoding="utf-8") as log:
            log.seek(start)
            text = log.read()
        self.assertEqual(text.count("\n"), 4)
        for word in ("Lindqvist", "Rosa", "Depot", "Ogallala", "308-555", "mail.example.org", "broadband",
                     self.sim.key):
            self.assertFalse(word in text, word)

    def test_log_holds_what_memory_holds(self):
        with open(self.sim.log_file, encoding="utf-8") as log:
            log.seek(0, os.SEEK_END)
            self.house()
            self.senate()
            lines = [json.loads(line) for line in log]
        self.assertEqual(lines, self.sim.records(what="any"))

    def test_body_that_breaks_off(self):
        body = house_letter()
        for cut in (10, len(body) - 1):
            self.sim.reset()
            wire = self.wire()
            wire.send(wire.head(body) + body[:cut])
            wire.close()
            record = self.sim.wait_count(1)[0]
            self.assertEqual((record["complete"], record["accepted"], record["status"], record["bytes"]),
                             (False, False, None, cut))
            self.assertEqual(record["office"], "HNE03" if cut > 1000 else None)

    def test_body_that_breaks_off_by_close_notify(self):
        wire = self.wire()
        wire.send(wire.head(house_letter()) + b"<CWC>")
        wire.sock.unwrap()
        self.assertFalse(self.sim.wait_count(1)[0]["complete"])

    def test_filters_and_wait(self):
        self.house()
        self.house(house_letter(1), key="wrong")
        self.senate()
        self.assertEqual(self.sim.count(), 3)
        self.assertEqual(self.sim.count(chamber="house", accepted=True), 1)
        self.assertEqual(self.sim.count(status=401), 1)
        self.assertEqual(len(self.sim.cmd("records", limit=2)["records"]), 2)
        self.assertEqual(len(self.sim.cmd("records", **{"from": 2})["records"]), 1)
        self.assertEqual(len(self.sim.wait_count(1, chamber="senate")), 1)
        with self.assertRaises(TimeoutError):
            self.sim.wait_count(2, timeout=0.05, chamber="senate")

    def test_stats(self):
        self.house()
        self.house(house_letter(1, Zip=None))
        stats = self.sim.stats("house")
        self.assertEqual((stats["posts"], stats["accepted"], stats["status"], stats["offices"]),
                         (2, 1, {"200": 1, "400": 1}, {"HNE03": 1}))
        self.assertEqual((stats["in_flight"], stats["peak"]), (0, 1))
        self.assertEqual(self.sim.stats("senate")["posts"], 0)


class Program(unittest.TestCase):
    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            sim = Sim(chamber="house").start()
            try:
                self.assertNotIn("senate", sim.ready)
                sim.process.send_signal(number)
                self.assertEqual(sim.process.wait(10), 0)
                self.assertFalse(os.path.exists(os.path.join(sim.dir, "control")))
            finally:
                sim.stop()

    def test_ends_with_its_parent(self):
        sim = Sim().start()
        try:
            sim.process.stdin.close()
            self.assertEqual(sim.process.wait(10), 0)
        finally:
            sim.stop()

    def test_unix_listeners_and_options(self):
        with tempfile.TemporaryDirectory() as directory:
            codes = os.path.join(directory, "offices")
            with open(codes, "w", encoding="ascii") as out:
                out.write("HNE01 HNE02\nSNE02\n")
            arguments = ["--listen", "house=unix:%s/house" % directory, "--listen", "senate=unix:%s/senate" % directory,
                         "--offices", codes, "--log", os.path.join(directory, "log")]
            with Sim(agent={"house": AGENT, "senate": "Another Name"}, arguments=arguments) as sim:
                self.assertEqual(sim.house, "unix:%s/house" % directory)
                with Wire(sim, "house") as wire:
                    self.assertEqual(wire.post(house_letter(office="HNE02")).status, 200)
                    self.assertEqual(wire.post(house_letter(office="HNE03")).status, 400)
                with Wire(sim, "senate") as wire:
                    self.assertEqual(error_texts(wire.post(senate_letter())), ["DeliveryAgent Mismatch"])
                self.assertEqual(sim.log_file, os.path.join(directory, "log"))
                sim.fault(action="reset_after_body", count=1)
                with Wire(sim, "house") as wire:
                    wire.send(wire.head(house_letter()) + house_letter())
                    try:
                        self.assertEqual(wire.rest(), b"")
                    except ConnectionError:
                        pass

    def test_without_schemas(self):
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, os.path.join(HERE, "cwcsim.py"), "--dir", directory, "--stdin-eof",
                       "--schema-dir", directory]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as process:
                client = Client(directory)
                client.ready, client.key = json.loads(process.stdout.readline()), "any"
                client.ca_file = client.ready["ca"]
                with Wire(client, "house") as wire:
                    self.assertEqual(wire.post(house_letter(Zip=None)).status, 200)
                    self.assertEqual(wire.post(b"<CWC/>").status, 400)
                    self.assertEqual(wire.post(b"").status, 400)
                client.disconnect()
                _, warnings = process.communicate("", timeout=10)
            self.assertEqual(process.returncode, 0)
            self.assertEqual(warnings.count("warning"), 2)

    def test_commands_that_fail(self):
        with Sim(chamber="senate") as sim:
            for command in ({"cmd": "nonsense"}, {}, {"cmd": "offices", "codes": []}, {"cmd": "tls", "cert": "x"},
                            {"cmd": "agent", "chamber": "house", "name": "x"}, {"cmd": "clear", "id": 99}):
                members = dict(command)
                with self.assertRaises(SimError, msg=str(command)):
                    sim.cmd(members.pop("cmd", None), **members)
            sim.channel.socket.sendall(b"not json\n")
            self.assertFalse(sim.channel.lines()[0]["ok"])
            self.assertTrue(sim.cmd("ping")["ok"])

    def test_command_line_client(self):
        def simctl(*words):
            done = subprocess.run([sys.executable, os.path.join(HERE, "simctl.py"), sim.dir, *words], timeout=20,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
            return done.returncode, done.stdout
        with Sim() as sim:
            self.assertEqual(simctl("fault", '{"action": "status", "status": 500, "count": 1}')[0], 0)
            with Wire(sim, "house") as wire:
                self.assertEqual(wire.post(house_letter()).status, 500)
                self.assertEqual(wire.post(house_letter()).status, 200)
            self.assertEqual(simctl("count", "accepted=true"), (0, "1\n"))
            rows = simctl("records", "office=HNE03")[1].splitlines()
            self.assertEqual([json.loads(row)["status"] for row in rows], [500, 200])
            self.assertEqual(json.loads(simctl("stats")[1])["stats"]["house"]["posts"], 2)
            self.assertEqual(simctl("maintenance", "on", "house")[0], 0)
            self.assertEqual(simctl("reset")[0], 0)
            self.assertEqual(simctl("count"), (0, "0\n"))
            self.assertEqual(simctl("fault", "{}")[0], 1)
            self.assertEqual(simctl("nonsense")[0], 64)

    def test_sample_command_line(self):
        done = subprocess.run([sys.executable, os.path.join(HERE, "letters.py"), "sample", "3", "5"],
                              stdout=subprocess.PIPE, text=True, timeout=20, check=True)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], list(letters.sample(3, seed=5)))


if __name__ == "__main__":
    unittest.main()
