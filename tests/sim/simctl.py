#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client of the simulator's control channel, for tests and for people.

    simctl.py DIR stats | records [KEY=VALUE...] | count [KEY=VALUE...] | follow
    simctl.py DIR fault JSON | faults | clear [ID] | reset
    simctl.py DIR maintenance on|off [house|senate] | close-idle
    simctl.py DIR raw JSON

In tests:

    with Sim(agent="Prairie Civic Relay LLC") as sim:
        sim.fault(action="accept_then_500", office="HNE03", count=1)
        ...
        records = sim.wait_for(lambda records: len(records) == 3)
"""

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
START_TIMEOUT_S = 30


class SimError(RuntimeError):
    """The simulator refused a command or is not there."""


class Channel:
    """One connection to the control socket."""

    def __init__(self, path, timeout=30.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.pending = b""

    def close(self):
        self.socket.close()

    def lines(self, deadline=None):
        """All whole lines that are there, waiting for at least one; [] at the deadline."""
        while b"\n" not in self.pending:
            if deadline is not None:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 20)
            except socket.timeout:
                return []
            if not data:
                raise SimError("the simulator closed the control channel")
            self.pending += data
        whole, _, self.pending = self.pending.rpartition(b"\n")
        return [json.loads(line) for line in whole.split(b"\n")]

    def ask(self, cmd, /, **members):
        """Sends a command and returns its answer, with any records that came right behind it."""
        self.socket.sendall(json.dumps({"cmd": cmd, **members}).encode() + b"\n")
        answers = self.lines()
        if not answers:
            raise SimError("the simulator does not answer")
        if not answers[0]["ok"]:
            raise SimError("%s: %s" % (cmd, answers[0]["error"]))
        return answers[0], answers[1:]


class Client:
    """Commands to a simulator that runs in `directory`."""

    def __init__(self, directory):
        self.dir = directory
        self.channel = None

    def cmd(self, name, /, **members):
        if self.channel is None:
            try:
                self.channel = Channel(os.path.join(self.dir, "control"))
            except OSError as error:
                raise SimError("no simulator in %s: %s" % (self.dir, error)) from None
        return self.channel.ask(name, **members)[0]

    def disconnect(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def stats(self, chamber=None):
        """The counters of one chamber, or the whole answer."""
        answer = self.cmd("stats")
        return answer["stats"][chamber] if chamber else answer

    def records(self, **filters):
        """Records that match, e.g. records(office="HNE03", accepted=True); letters unless what="any"."""
        return self.cmd("records", **filters)["records"]

    def count(self, **filters):
        return self.cmd("count", **filters)["count"]

    def fault(self, **rule):
        """Adds a fault rule and returns its id."""
        return self.cmd("fault", rule=rule)["id"]

    def faults(self):
        return self.cmd("faults")["faults"]

    def clear_faults(self, number=None):
        return self.cmd("clear", **({} if number is None else {"id": number}))["removed"]

    def reset(self):
        self.cmd("reset")

    def set_offices(self, chamber, codes):
        self.cmd("offices", chamber=chamber, codes=list(codes))

    def set_agent(self, name, chamber=None):
        self.cmd("agent", name=name, **({"chamber": chamber} if chamber else {}))

    def set_keys(self, keys, chamber=None):
        self.cmd("keys", keys=list(keys), **({"chamber": chamber} if chamber else {}))

    def maintenance(self, on, chamber=None, retry_after=None):
        members = {"chamber": chamber, "retry_after": retry_after}
        self.cmd("maintenance", on=on, **{k: v for k, v in members.items() if v is not None})

    def tls(self, cert="server", maximum=None):
        self.cmd("tls", cert=cert, **({"max": maximum} if maximum else {}))

    def idle(self, seconds):
        self.cmd("idle", seconds=seconds)

    def close_idle(self):
        return self.cmd("close_idle")["closed"]

    def wait_for(self, predicate, timeout=20.0, what="message", **filters):
        """Waits until predicate(records) is true and returns these records. The predicate is asked anew whenever
        records come; they are filtered as in records(). Raises TimeoutError with their number."""
        channel = Channel(os.path.join(self.dir, "control"))
        deadline = time.monotonic() + timeout
        try:
            _, new = channel.ask("follow")
            records = []
            while True:
                records += [r for r in new if (what == "any" or r["what"] == what)
                            and all(r.get(key) == value for key, value in filters.items())]
                if predicate(records):
                    return records
                if time.monotonic() >= deadline:
                    raise TimeoutError("not within %g s; %d records match" % (timeout, len(records)))
                new = channel.lines(deadline)
        finally:
            channel.close()

    def wait_count(self, number, timeout=20.0, **filters):
        """Waits for at least this many matching records."""
        return self.wait_for(lambda records: len(records) >= number, timeout, **filters)


class Sim(Client):
    """Starts a simulator of its own and ends it. Ends also when this process dies."""

    def __init__(self, chamber="both", directory=None, agent=None, key=None, arguments=()):
        self.own_dir = directory is None
        super().__init__(directory or tempfile.mkdtemp(prefix="cwcsim-"))
        self.chamber = chamber
        self.agent = agent
        self.key = key or secrets.token_hex(16)
        self.arguments = list(arguments)
        self.key_file = os.path.join(self.dir, "api.key")
        self.process = None
        self.ready = {}

    def __enter__(self):
        return self.start()

    def __exit__(self, *_error):
        self.stop()

    @property
    def house(self):
        return self.ready["house"]

    @property
    def senate(self):
        return self.ready["senate"]

    @property
    def ca_file(self):
        return self.ready["ca"]

    @property
    def log_file(self):
        return self.ready["log"]

    def start(self):
        with open(os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
            out.write(self.key + "\n")
        command = [sys.executable, os.path.join(HERE, "cwcsim.py"), "--chamber", self.chamber, "--dir", self.dir,
                   "--key-file", self.key_file, "--stdin-eof"]
        agents = self.agent.items() if isinstance(self.agent, dict) else [(None, self.agent)] if self.agent else []
        for name, agent in agents:
            command += ["--agent", "%s=%s" % (name, agent) if name else agent]
        # Inheriting stderr keeps warnings and tracebacks of the simulator in the test's output.
        self.process = subprocess.Popen(command + self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        readable, _, _ = select.select([self.process.stdout], [], [], START_TIMEOUT_S)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.stop()
            raise SimError("the simulator did not start")
        self.ready = json.loads(line)
        return self

    def stop(self):
        """SIGTERM, then the exit status (None when it was not running)."""
        self.disconnect()
        status = None
        if self.process is not None:
            self.process.terminate()
            try:
                status = self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)
        return status


def filters_of(words):
    """KEY=VALUE words; a value that is JSON is taken as such, any other as text."""
    filters = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            filters[key] = json.loads(value)
        except ValueError:
            filters[key] = value
    return filters


def show(value):
    print(json.dumps(value, indent=None if isinstance(value, dict) and "conn" in value else 2))


def follow(directory):
    channel = Channel(os.path.join(directory, "control"), timeout=None)
    _, records = channel.ask("follow")
    while True:
        for record in records:
            print(json.dumps(record), flush=True)
        records = channel.lines()


def command(client, verb, words):
    if verb in ("records", "count"):
        answer = client.cmd(verb, **filters_of(words))
        for record in answer.get("records", ()):
            show(record)
        if verb == "count":
            print(answer["count"])
    elif verb == "fault":
        show(client.cmd("fault", rule=json.loads(words[0])))
    elif verb == "clear":
        show(client.cmd("clear", **({"id": int(words[0])} if words else {})))
    elif verb == "maintenance":
        client.maintenance(words[0] == "on", words[1] if len(words) > 1 else None)
    elif verb == "close-idle":
        show(client.cmd("close_idle"))
    elif verb == "raw":
        members = json.loads(words[0])
        show(client.cmd(members.pop("cmd"), **members))
    elif verb == "follow":
        follow(client.dir)
    elif verb in ("stats", "faults", "reset"):
        show(client.cmd(verb))
    else:
        return 64
    return 0


def main(argv):
    if len(argv) < 3:
        print(__doc__, file=sys.stderr)
        return 64
    try:
        status = command(Client(argv[1]), argv[2], argv[3:])
    except (SimError, ValueError, IndexError) as error:
        print("simctl: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if status == 64:
        print(__doc__, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
