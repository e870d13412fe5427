# SPDX-License-Identifier: Apache-2.0
"""Starts the simulated KMS for a test, and speaks to its control channel.

    with KmsSim(policy) as sim:
        sim.fault(action="throttle", count=1)
        ...
        self.assertEqual(sim.stats()["types"], {"ThrottlingException": 1, "ok": 1})
"""

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile

from simctl import Channel, SimError

HERE = os.path.dirname(os.path.abspath(__file__))
START_TIMEOUT_S = 60
UNVERIFIED = "%s %s" % (shlex.quote(sys.executable), shlex.quote(os.path.join(HERE, "attest_unverified.py")))


def policy(pcr0, operations=("kms:Decrypt", "kms:GenerateDataKey"), **more):
    """Both operations for an image; `more`: further condition keys, such as PCR3=... or context_purpose=..."""
    keys = {"kms:RecipientAttestation:ImageSha384": pcr0}
    for name, value in more.items():
        kind, _, rest = name.partition("_")
        keys["kms:EncryptionContext:" + rest if kind == "context" else "kms:RecipientAttestation:" + name] = value
    return {"Version": "2012-10-17", "Statement": [{"Sid": "Enclave", "Effect": "Allow", "Principal": {"AWS": "*"},
                                                    "Action": list(operations), "Resource": "*",
                                                    "Condition": {"StringEqualsIgnoreCase": keys}}]}


class KmsSim:
    """A simulator of its own in a directory of its own. `verifier` is a command; without it documents are believed."""

    def __init__(self, key_policy, *arguments, verifier=UNVERIFIED):
        self.dir = tempfile.mkdtemp(prefix="kms-")
        path = os.path.join(self.dir, "policy.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(key_policy, out)
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "kms_sim.py"), "--dir", self.dir, "--policy", path, "--verifier",
             verifier, "--stdin-eof", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.channel = None
        try:
            if not select.select([self.process.stdout], [], [], START_TIMEOUT_S)[0]:
                raise SimError("the simulator does not start")
            line = self.process.stdout.readline()
            if not line:
                raise SimError("the simulator ended: %d" % self.process.wait(START_TIMEOUT_S))
            self.ready = json.loads(line)
            self.channel = Channel(os.path.join(self.dir, "control"))
        except (OSError, SimError):
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        """Ends the process by closing its standard input, and removes the directory."""
        if self.channel is not None:
            self.channel.close()
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def cmd(self, name, /, **members):
        return self.channel.ask(name, **members)[0]

    def fault(self, **rule):
        return self.cmd("fault", rule=rule)["id"]

    def stats(self):
        return self.cmd("stats")

    def records(self):
        return self.cmd("records")["records"]

    def reset(self):
        """As after the start, but for keys, policy and credentials."""
        self.cmd("reset")
        self.cmd("shape", shape="B")
        self.cmd("tls", cert="kms")
        self.cmd("imds", fault=None)
