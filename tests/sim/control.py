# SPDX-License-Identifier: Apache-2.0
"""The control channel: JSON lines in, JSON lines out, on the unix socket DIR/control.

Every command is an object with `cmd`; every answer has `ok` and, if false, `error`.

    {"cmd": "ping"}
    {"cmd": "stats"}                            counters per chamber, CPU time, memory
    {"cmd": "records", FILTER...}               the records that match; FILTER: any member of a
                                                record, e.g. chamber, office, delivery_id, accepted,
                                                fault; what (default "message"; "any"); from, limit
    {"cmd": "count", FILTER...}                 how many match
    {"cmd": "follow", "what": ..., "from": 0}   an ok line, then every record as it comes
    {"cmd": "reset"}                            forget records, counters, acceptances, fault rules
    {"cmd": "fault", "rule": {...}}             add a rule (faults.py); answers its id and seed
    {"cmd": "faults"}                           all rules with their counters
    {"cmd": "clear", "id": 3}                   remove one rule, or without id all
    {"cmd": "offices", "chamber": ..., "codes": [...] | "add": [...] | "remove": [...] | "default": true}
    {"cmd": "agent", "chamber": ..., "name": ... | null}
    {"cmd": "keys", "chamber": ..., "keys": [...]}
    {"cmd": "maintenance", "on": true, "chamber": ..., "retry_after": 120}
    {"cmd": "tls", "cert": "server" | "expired" | "wrong-host" | "other-ca", "max": "1.2" | "1.3"}
    {"cmd": "idle", "seconds": 5}               idle time-out from now on
    {"cmd": "close_idle"}                       close the kept-alive connections that wait

A command without `chamber` is for both.
"""

import asyncio
import json

import offices
import pki
from faults import BadRule

LINE_MAX = 1 << 20


class Refused(ValueError):
    """The command cannot be carried out; the text says why."""


class Control:
    """Answers commands on behalf of a simulator."""

    def __init__(self, simulator):
        self.simulator = simulator

    async def start(self, path):
        return await asyncio.start_unix_server(self.serve, path, limit=LINE_MAX)

    async def serve(self, reader, writer):
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                answer = self.handle(line)
                writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
                if answer.pop("follow", False):
                    self.follow(writer, answer)
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            if writer in self.simulator.followers:
                self.simulator.followers.remove(writer)
            writer.close()

    def follow(self, writer, answer):
        for record in self.simulator.records[answer["from"]:]:
            writer.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self.simulator.followers.append(writer)

    def handle(self, line):
        try:
            command = json.loads(line)
            if not isinstance(command, dict):
                raise Refused("a command is a JSON object")
            name = command.pop("cmd", None)
            method = getattr(self, "do_" + str(name), None)
            if method is None:
                raise Refused("no such command")
            return {"ok": True, **method(**command)}
        except (Refused, BadRule, TypeError, ValueError, KeyError) as error:
            return {"ok": False, "error": str(error)}

    def chosen(self, chamber):
        if chamber is None:
            return list(self.simulator.chambers.values())
        if chamber not in self.simulator.chambers:
            raise Refused("no such chamber here")
        return [self.simulator.chambers[chamber]]

    def matching(self, what="message", filters=None, start=0):
        records = self.simulator.records[start:] if start else self.simulator.records
        wanted = list((filters or {}).items())
        return [r for r in records if (what == "any" or r["what"] == what)
                and all(r.get(key) == value for key, value in wanted)]

    # --- commands ----------------------------------------------------------------------------

    def do_ping(self):
        return {}

    def do_stats(self):
        simulator = self.simulator
        stats = {name: dict(values, accepted_ids=len(simulator.chambers[name].accepted))
                 for name, values in simulator.stats.items()}
        return {"stats": stats, **simulator.usage(), "records": len(simulator.records)}

    def do_records(self, what="message", limit=None, **filters):
        start = filters.pop("from", 0)
        return {"records": self.matching(what, filters, start)[:limit], "next": len(self.simulator.records)}

    def do_count(self, what="message", **filters):
        start = filters.pop("from", 0)
        return {"count": len(self.matching(what, filters, start))}

    def do_follow(self, **where):
        return {"follow": True, "from": where.get("from", 0)}

    def do_reset(self):
        self.simulator.clear()
        self.simulator.faults.remove()
        return {}

    def do_fault(self, rule):
        added = self.simulator.faults.add(rule)
        return {"id": added.number, **({"seed": added.get("seed")} if added.chance is not None else {})}

    def do_faults(self):
        return {"faults": [rule.describe() for rule in self.simulator.faults.rules]}

    def do_clear(self, id=None):  # pylint: disable=redefined-builtin
        removed = self.simulator.faults.remove(id)
        if id is not None and not removed:
            raise Refused("no such rule")
        return {"removed": removed}

    def do_offices(self, chamber=None, codes=None, add=(), remove=(), default=False):
        if codes is not None and chamber is None:
            raise Refused("codes need a chamber")
        for one in self.chosen(chamber):
            base = codes if codes is not None else offices.default_lists()[one.name] if default else one.codes
            wanted = [code for code in base if code not in remove]
            one.set_offices(wanted + [code for code in add if code[:1] == one.name[0].upper() and code not in wanted])
        return {"offices": {one.name: len(one.codes) for one in self.simulator.chambers.values()}}

    def do_agent(self, name, chamber=None):
        for one in self.chosen(chamber):
            one.agent = name
        return {}

    def do_keys(self, keys, chamber=None):
        for one in self.chosen(chamber):
            one.keys = set(keys)
        return {}

    def do_maintenance(self, on, chamber=None, retry_after=None):
        for one in self.chosen(chamber):
            one.maintenance = {"retry_after": retry_after} if on else None
        return {}

    def do_tls(self, cert="server", max=None):  # pylint: disable=redefined-builtin
        if cert not in pki.VARIANTS or max not in (None, "1.2", "1.3"):
            raise Refused("cert is one of %s; max 1.2 or 1.3" % ", ".join(pki.VARIANTS))
        self.simulator.set_tls(cert, max)
        return {}

    def do_idle(self, seconds):
        self.simulator.idle_s = float(seconds)
        return {}

    def do_close_idle(self):
        return {"closed": self.simulator.close_idle()}
