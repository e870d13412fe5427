# SPDX-License-Identifier: Apache-2.0
"""What the tests of cwcctl share: running it, keys, letters, and a queue with a worker that the test plays itself.

CWC_BUILD names the directory of the build; CWCCTL another program than its cwcctl."""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for folder in ('it', 'queue'):
    sys.path.insert(0, os.path.join(ROOT, 'tests', folder))

import cbor2  # noqa: E402
import formats  # noqa: E402
import rq  # noqa: E402
from rq import wait_until  # noqa: E402,F401

BUILD = os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release'))
CTL = os.environ.get('CWCCTL', os.path.join(BUILD, 'cwcctl'))
KID = 'app-2026'
OK, NO, USAGE, UNAVAILABLE, CONFIG = 0, 1, 64, 69, 78
SECOND = 1000000
PERSON = {'Prefix': 'Ms.', 'FirstName': 'Rosa', 'LastName': 'Lindqvist', 'Address1': '410 East Depot Street',
          'City': 'Ogallala', 'StateAbbreviation': 'NE', 'Zip': '69153', 'Email': 'rosa.lindqvist@mail.example.org'}
PUBLIC = {'CampaignId': 'libraries-26', 'Subject': 'Keep the library grants',
          'LibraryOfCongressTopics': ['Education', 'Law'],
          'Bills': [{'BillCongress': '119', 'BillTypeAbbreviation': 'hr', 'BillNumber': '12'}],
          'ConstituentMessage': 'Our reading room is the only free internet in town – please keep it.'}
WITNESS = {'nullifier': '0x' + '1a' * 32, 'actionDomain': '0x' + '2b' * 32, 'userSecret': '0x' + '3c' * 32,
           'districts': ['0x1', '0x2'], 'engagementTier': 3,
           'deliveryAddress': {'name': 'Rosa Lindqvist', 'email': 'rosa.lindqvist@mail.example.org',
                               'street': '410 East Depot Street', 'city': 'Ogallala', 'state': 'NE', 'zip': '69153'}}


def letter(sid=None, offices=('HNE03',), **members):
    """A line of `enqueue`. A member that is None is left out."""
    line = {'sid': sid, 'offices': list(offices), 'letter': {**PUBLIC, **PERSON}, **members}
    return {k: v for k, v in line.items() if v is not None}


def without(mapping, *names, **changes):
    return {**{k: v for k, v in mapping.items() if k not in names}, **changes}


def lines(*documents):
    return ''.join(json.dumps(d) + '\n' for d in documents)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


class Case(unittest.TestCase):
    """A directory with a signer's key and ring keys."""
    redis = ()  # options of every call

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix='cwcctl-')
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.signer = cls.pem('app.pem')
        cls.public = cls.seed_public('app.pem')
        cls.ring_secret = {'witness': formats.x25519_secret(), 'letter': formats.x25519_secret()}
        cls.ring_lines = '\n'.join(cls.ring_line(p) for p in ('witness', 'letter'))
        cls.ring = cls.write('ring.keys', '# both\n\n' + cls.ring_lines + '\n')
        cls.sealing = ['--signer', cls.signer, '--kid', KID]

    @classmethod
    def path(cls, name):
        return os.path.join(cls.dir, name)

    @classmethod
    def write(cls, name, text, mode=0o644):
        path = cls.path(name)
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path

    @classmethod
    def pem(cls, name, algorithm='ed25519', *more):
        subprocess.run(['openssl', 'genpkey', '-algorithm', algorithm, '-out', cls.path(name), *more], check=True,
                       stderr=subprocess.DEVNULL)
        os.chmod(cls.path(name), 0o600)
        return cls.path(name)

    @classmethod
    def seed_public(cls, name):
        der = subprocess.run(['openssl', 'pkey', '-in', cls.path(name), '-pubout', '-outform', 'DER'], check=True,
                             stdout=subprocess.PIPE).stdout
        return der[-32:]

    @classmethod
    def ring_line(cls, profile):
        public = formats.x25519_public(cls.ring_secret[profile])
        contexts = ' ' + formats.WITNESS_CONTEXT if profile == 'witness' else ''
        return '%s %s %s%s' % (profile, formats.ring_kid(public), public.hex(), contexts)

    # --- running

    def ctl(self, *args, code=OK, stdin=None):
        """Runs it; the exit status must be `code`, and then there is one line or more on stderr when it says no."""
        r = subprocess.run([CTL, *args, *self.redis], input=stdin.encode() if stdin is not None else None,
                           stdin=subprocess.DEVNULL if stdin is None else None, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60, check=False)
        result = Result(r.returncode, r.stdout.decode(), r.stderr.decode())
        self.assertEqual(result.code, code, (args, result.out[-2000:], result.err[-2000:]))
        return result

    def start(self, *args, **kw):
        process = subprocess.Popen([CTL, *args, *self.redis], text=True, stderr=subprocess.PIPE,
                                   **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, **kw})
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.communicate()

    # --- opening what was sealed

    def open_job(self, job, profile='letter'):
        """(claims, plaintext, what the envelope binds)"""
        claims, envelope = formats.verify_job(job, {KID: self.public})
        self.assertEqual(claims['profile'], profile)
        if profile == 'witness':
            return claims, json.loads(formats.open_witness(envelope, self.ring_secret['witness'])), None
        plain, bound = formats.open_letter(envelope, self.ring_secret['letter'])
        self.assertEqual(formats.encode(formats.decode(plain)), plain)
        return claims, cbor2.loads(plain), bound

    def open_line(self, line, profile='letter'):
        return self.open_job(base64.b64decode(line['job']), profile)


class QueueCase(Case):
    """With a redis-server of its own, emptied for each test; the test is the worker w1/1."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = rq.Server()
        cls.addClassCleanup(cls.server.stop)
        cls.redis = ('--redis', 'unix:' + cls.server.path)

    def setUp(self):
        self.r = self.server.r
        self.r('FLUSHALL')
        self.sha = rq.load(self.r)
        self.take_id = 0
        self.receipt_seed = os.urandom(32)
        self.publish()
        self.call('beat', 'w1/1', 60 * SECOND, 'join', self.now(), 1, '')

    @staticmethod
    def now():
        return int(time.time() * SECOND)

    def publish(self, seed=None, **fields):
        public = formats.ed25519_public(seed or self.receipt_seed)
        entry = {'worker': 'w1/1', 'version': '0', 'environment': 'sandbox', 'receipt_key_id': formats.receipt_kid(public),
                 'receipt_key': public.hex(), 'keys': self.ring_lines, **fields}
        self.r('XADD', '{q}:attestations', '*', *[x for item in entry.items() for x in item])

    def call(self, script, *args):
        return self.r('EVALSHA', self.sha[script], 1, rq.META, *args)

    # --- the queue as a worker sees it

    def add(self, sid, offices='HNE03', job='bytes'):
        self.r('XADD', '{q}:in', '*', 'sid', sid, 'offices', offices, 'job', job)

    def intake(self):
        self.call('enqueue', 1000)

    def take(self, chamber='house', n=16):
        self.take_id += 1
        reply = self.call('take', chamber, 'w1/1', 'w1/1.%d' % self.take_id, n, self.now(), 1, 100000, 0, 0, 100, 1)
        return {x[0]: x for x in reply[2:]}

    def begin(self, taken, delivery_id='d' * 32):
        sid, office, token = taken[:3]
        reply = self.call('begin', 'w1/1', sid, office, token, delivery_id, '20260302', 0, self.now() + 3600 * SECOND,
                          self.now())
        self.assertEqual(reply[0], 'GO')

    def settle(self, taken, state, outcome, status=0, cls='ended', receipt=b'', detail=''):
        sid, office, token = taken[:3]
        reply = self.call('settle', 'w1/1', sid, office, token, 'end', state, outcome, cls, 0, detail, status, 0, self.now(),
                          self.now(), receipt, b'', -1, 0, 0)
        self.assertEqual(reply[0], 'OK')

    def ended(self, sid, state, outcome, office='HNE03', **settle):
        """A job that was sent once and has ended so."""
        self.add(sid, office)
        taken = self.take('house' if office[0] == 'H' else 'senate')[sid]
        self.begin(taken)
        self.settle(taken, state, outcome, **settle)

    def dead(self, *sids):
        for sid in sids:
            self.ended(sid, 'dead', 'attempts_exhausted', status=503, detail='no answer')

    def receipt(self, sid, seed=None, **members):
        return formats.sign_receipt({'sid': sid, 'queue': 'q', 'office': 'HNE03', 'attempt': 1, 'outcome': 'accepted',
                                     'environment': 'sandbox', 'generation': 0, 'http_status': 200,
                                     'delivery_id': 'd' * 32, 'begun_ms': 1, 'ended_ms': 2, **members},
                                    seed or self.receipt_seed)

    def accepted(self, sid, seed=None, **members):
        self.ended(sid, 'accepted', 'accepted', status=200, cls='accepted', receipt=self.receipt(sid, seed, **members))

    def state(self, sid, office='HNE03'):
        return self.r('HGET', '{q}:job:%s:%s' % (sid, office), 'state')
