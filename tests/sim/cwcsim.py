#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Simulated House (CWC) and Senate (SOAPBox) endpoints.

    cwcsim.py --chamber house|senate|both --dir DIR [options]

Serves HTTPS on one listener per chamber, validates letters against the RELAX NG schemas, records every
POST (one JSON line in the log; nothing personal), and misbehaves on demand: see faults.py. DIR
gets the socket `control` (line-delivered JSON, see Control) and, in pki/, a throw-away PKI.
Prints one JSON line with its addresses when it is ready; ends on SIGTERM and SIGINT.
What it answers, and what had to be chosen: see chambers.py.
"""

import argparse
import asyncio
import hashlib
import json
import os
import resource
import signal
import ssl
import sys
import time

import chambers
import offices
import pki
from control import Control
from faults import Faults
from wire import IDLE, Connection

HERE = os.path.dirname(os.path.abspath(__file__))
LETTERS = ("message", "validate")


def new_stats():
    return {"connections": 0, "open": 0, "handshakes": 0, "handshakes_failed": 0, "bad_requests": 0, "requests": 0,
            "posts": 0, "accepted": 0, "duplicates": 0, "in_flight": 0, "peak": 0, "status": {}, "faults": {},
            "offices": {}, "office_peak": {}}


class Simulator:
    """Both chambers, the records, and what connections report."""

    def __init__(self, options, loop):
        self.loop = loop
        self.dir = options.dir
        self.faults = Faults()
        self.idle_s = options.idle_timeout
        self.chambers = {}
        for name in (("house", "senate") if options.chamber == "both" else (options.chamber,)):
            chamber = chambers.CHAMBERS[name](options.schema_dir, options.keys[name], options.agents[name],
                                              options.lists[name])
            if chamber.schema is None:
                print("cwcsim: warning: no %s: letters to the %s are not validated"
                      % (os.path.join(options.schema_dir, chamber.schema_file), name.title()), file=sys.stderr)
            self.chambers[name] = chamber
        self.ca_file = pki.make(os.path.join(options.dir, "pki"))
        self.set_tls("server", options.tls_max)
        self.log = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.connections = set()
        self.numbers = 0
        self.followers = []
        self.clear()

    def clear(self):
        """Forgets records, counters, acceptances; connections and rules stay."""
        self.records = []
        still_open = {name: sum(1 for c in self.connections if c.chamber.name == name) for name in self.chambers}
        self.stats = {name: new_stats() for name in self.chambers}
        self.flying = {name: {} for name in self.chambers}
        for name, chamber in self.chambers.items():
            self.stats[name]["open"] = still_open[name]
            chamber.accepted = {}

    def set_tls(self, certificate, maximum=None):
        """New connections get this certificate (a name of pki.VARIANTS) and TLS version."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = os.path.join(self.dir, "pki", certificate)
        context.load_cert_chain(path + ".pem", path + ".key")
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if maximum == "1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = self.sni
        self.tls = context

    @staticmethod
    def sni(tls, name, _context):
        tls.connection.sni = name

    # --- what connections report ---------------------------------------------------------------

    def opened(self, connection):
        self.numbers += 1
        self.connections.add(connection)
        stats = self.stats[connection.chamber.name]
        stats["connections"] += 1
        stats["open"] += 1
        return self.numbers

    def closed(self, connection):
        if connection in self.connections:
            self.connections.discard(connection)
            self.stats[connection.chamber.name]["open"] -= 1

    def count(self, chamber, what):
        self.stats[chamber][what] += 1

    def entered(self, chamber, office):
        stats, flying = self.stats[chamber], self.flying[chamber]
        stats["in_flight"] += 1
        stats["peak"] = max(stats["peak"], stats["in_flight"])
        flying[office] = flying.get(office, 0) + 1
        stats["office_peak"][office] = max(stats["office_peak"].get(office, 0), flying[office])

    def answered(self, chamber, office):
        # A reset in between has forgotten it already.
        if self.flying[chamber].get(office):
            self.flying[chamber][office] -= 1
            self.stats[chamber]["in_flight"] -= 1

    def record(self, connection, body, complete=True, answer=None, ids=None, take=True, silent=False):
        """One request. `take` false: thrown away; `silent`: no status line goes out."""
        chamber, head, rule = connection.chamber, connection.head, connection.fault
        if ids is None:
            ids = chambers.scan_ids(body) if body and connection.what in LETTERS else {}
        accepted = bool(complete and take and answer is not None and answer.accepted)
        duplicate = accepted and chamber.accept(ids["delivery_id"])
        status = answer.status if answer is not None and not silent else None
        key_ok = answer.key_ok if answer is not None else None
        self.append({
            "t": round(time.time(), 6), "chamber": chamber.name, "conn": connection.number, "req": connection.requests,
            "what": connection.what or ("message" if rule is not None else None), "path": head.path if head else None,
            "delivery_id": ids.get("delivery_id"), "office": ids.get("office"), "campaign": ids.get("campaign"),
            "sha256": hashlib.sha256(body).hexdigest() if body else None, "bytes": len(body) if body else 0,
            "complete": complete, "accepted": accepted, "duplicate": duplicate, "status": status,
            "fault": rule.action if rule is not None else None, "rule": rule.number if rule is not None else None,
            "content_type": head.content_type if head else None, "key_ok": key_ok, "agent": ids.get("agent"),
            "sni": connection.sni})

    def record_tls(self, connection, rule):
        self.append({"t": round(time.time(), 6), "chamber": connection.chamber.name, "conn": connection.number,
                     "req": 0, "what": "tls", "accepted": False, "complete": False, "status": None,
                     "fault": rule.action, "rule": rule.number})

    def append(self, record):
        stats = self.stats[record["chamber"]]
        stats["requests"] += record["what"] != "tls"
        stats["posts"] += record["what"] == "message"
        if record["accepted"]:
            stats["accepted"] += 1
            stats["duplicates"] += record["duplicate"]
            stats["offices"][record["office"]] = stats["offices"].get(record["office"], 0) + 1
        if record["what"] != "tls":
            key = str(record["status"]) if record["status"] is not None else "none"
            stats["status"][key] = stats["status"].get(key, 0) + 1
        if record["fault"] is not None:
            stats["faults"][record["fault"]] = stats["faults"].get(record["fault"], 0) + 1
        self.records.append(record)
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        os.write(self.log, line)
        for follower in self.followers:
            follower.write(line)

    # --- life ------------------------------------------------------------------------------------

    def close_idle(self, older_s=0.0):
        """Closes kept-alive connections that wait for a request; returns how many."""
        now = time.monotonic()
        idle = [c for c in self.connections if c.state == IDLE and c.tls_fault is None and now - c.last >= older_s]
        for connection in idle:
            connection.goodbye()
        return len(idle)

    async def sweep(self):
        while True:
            await asyncio.sleep(max(0.02, min(0.25, self.idle_s / 4 or 0.25)))
            if self.idle_s > 0:
                self.close_idle(self.idle_s)

    def usage(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpu_s": round(used.ru_utime + used.ru_stime, 6), "rss_kib": used.ru_maxrss}


async def listen(loop, simulator, name, address):
    """Starts the chamber's listener and returns its server and address."""
    def factory():
        return Connection(simulator, simulator.chambers[name])

    kind, _, rest = address.partition(":")
    if kind == "unix":
        if os.path.exists(rest):
            os.unlink(rest)
        return await loop.create_unix_server(factory, rest, backlog=1024), address
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isdigit():
        raise SystemExit("cwcsim: --listen takes tcp:HOST:PORT or unix:PATH")
    server = await loop.create_server(factory, host.strip("[]"), int(port), backlog=1024)
    return server, "tcp:%s:%d" % (host, server.sockets[0].getsockname()[1])


async def run(options):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.stdin_eof:
        loop.add_reader(0, lambda: None if os.read(0, 4096) else (loop.remove_reader(0), stop.set()))
    simulator = Simulator(options, loop)
    ready = {"pid": os.getpid(), "ca": simulator.ca_file, "log": options.log,
             "control": "unix:" + os.path.join(options.dir, "control")}
    servers = []
    for name in simulator.chambers:
        server, ready[name] = await listen(loop, simulator, name, options.addresses[name])
        servers.append(server)
    control = Control(simulator)
    servers.append(await control.start(os.path.join(options.dir, "control")))
    sweeper = loop.create_task(simulator.sweep())
    print(json.dumps(ready), flush=True)
    await stop.wait()
    sweeper.cancel()
    for server in servers:
        server.close()
    for connection in list(simulator.connections):
        connection.reset()
    os.unlink(os.path.join(options.dir, "control"))


def per_chamber(values):
    """{"house": V, "senate": V} from values of the form V (where none is set yet) or CHAMBER=V."""
    result = {"house": None, "senate": None}
    for value in values or ():
        name, equals, rest = value.partition("=")
        if equals and name in result:
            result[name] = rest
        else:
            result = {key: value if old is None else old for key, old in result.items()}
    return result


def read_keys(path):
    """Lines `KEY` (both chambers) or `CHAMBER KEY`."""
    keys = {"house": set(), "senate": set()}
    if path is not None:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                words = line.split()
                for name in (words[:1] if len(words) == 2 else keys):
                    if words:
                        keys[name].add(words[-1])
    return keys


def read_offices(path):
    """A JSON object of two arrays, or plain codes separated by white space."""
    lists = offices.default_lists()
    if path is not None:
        with open(path, encoding="utf-8") as text:
            content = text.read()
        if content.lstrip().startswith("{"):
            lists.update(json.loads(content))
        else:
            codes = content.split()
            lists = {"house": [c for c in codes if c[0] == "H"], "senate": [c for c in codes if c[0] == "S"]}
    return lists


def parse(argv):
    parser = argparse.ArgumentParser(prog="cwcsim.py", description="Simulated CWC endpoints of House and Senate.")
    parser.add_argument("--chamber", choices=("house", "senate", "both"), default="both")
    parser.add_argument("--dir", required=True, help="working directory: control socket, PKI, log")
    parser.add_argument("--listen", action="append", metavar="[CHAMBER=]ADDRESS",
                        help="tcp:HOST:PORT (0: any) or unix:PATH; default tcp:127.0.0.1:0")
    parser.add_argument("--key-file", help="accepted API keys; without it any key that is not empty will do")
    parser.add_argument("--agent", action="append", metavar="[CHAMBER=]NAME",
                        help="registered DeliveryAgent; without it any name will do")
    parser.add_argument("--offices", metavar="FILE", help="active offices; default: all of the House, 53 Senate seats")
    parser.add_argument("--log", metavar="FILE", help="record log; default DIR/posts.jsonl")
    parser.add_argument("--schema-dir", default=os.path.join(HERE, "..", "schema"))
    parser.add_argument("--idle-timeout", type=float, default=60.0, metavar="S",
                        help="close kept-alive connections after this time; 0: never")
    parser.add_argument("--tls-max", choices=("1.2", "1.3"), default="1.3")
    parser.add_argument("--stdin-eof", action="store_true", help="also end when standard input is closed")
    options = parser.parse_args(argv)
    options.dir = os.path.abspath(options.dir)
    options.schema_dir = os.path.abspath(options.schema_dir)
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    options.log = os.path.abspath(options.log or os.path.join(options.dir, "posts.jsonl"))
    options.addresses = per_chamber((options.listen or []) + ["tcp:127.0.0.1:0"])
    house, senate = options.addresses.values()
    if options.chamber == "both" and house == senate and not house.endswith(":0"):
        parser.error("two chambers need two listeners: --listen house=... --listen senate=...")
    options.agents = per_chamber(options.agent)
    options.keys = read_keys(options.key_file)
    options.lists = read_offices(options.offices)
    return options


def main(argv):
    asyncio.run(run(parse(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
