#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing personal and no secret leaves the worker but through TLS to a chamber. Each personal field of a batch
carries a marker of its own; afterwards the markers are looked for wherever the operator, Redis or a core dump could see
them."""
import base64
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from stack import letters, wait_until  # noqa: E402

NOBODY = 65534


class Markers:
    """Makes random values that fit the fields of a letter, and remembers them."""

    def __init__(self):
        self.of = {}    # value: what it is

    def note(self, what, value):
        self.of[value] = what
        return value

    def word(self, what):
        """As a name: letters only."""
        return self.note(what, 'Mk' + ''.join(secrets.choice('abcdefghijkmnpqrstuvwxyz') for _ in range(14)))

    def digits(self, n):
        return ''.join(random.SystemRandom().choice('23456789') for _ in range(n))

    def phone(self, what):
        d = self.digits(10)
        self.note(what, d)
        return self.note(what, '%s-%s-%s' % (d[:3], d[3:6], d[6:]))

    def hex_field(self, what):
        return '0x' + self.note(what, secrets.token_hex(32))

    def person(self, name):
        def w(field):
            return self.word('%s.%s' % (name, field))
        return {'FirstName': w('FirstName'), 'MiddleName': w('MiddleName'), 'LastName': w('LastName'),
                'Address1': '12 %s Street' % w('Address1'), 'Address2': w('Address2'), 'City': w('City'),
                'Zip': self.note(name + '.Zip', '6%s-%s' % (self.digits(4), self.digits(4))),
                'Phone': self.phone(name + '.Phone'),
                'Email': '%s@%s.example.org' % (w('Email'), w('Email host').lower())}

    def letter(self, name, code):
        s = letters.base(name, 'letter', code)
        s['sid'] = name
        s['sealed'].update(self.person(name))
        for field in ('Subject', 'OrganizationStatement', 'ConstituentMessage'):
            s['sealed'][field] = 'About %s, and <more> "%s".' % (self.word(name + '.' + field), 'text')
        s['sealed']['ConstituentMessage'] += ' filler' * 1000 + self.word(name + '.end of the message')
        return s

    def witness(self, name, code):
        s = letters.base(name, 'witness', code)
        s['sid'] = name
        sealed, person = s['sealed'], self.person(name)
        for field in ('userRoot', 'cellMapRoot', 'engagementRoot', 'userSecret', 'cellId', 'registrationSalt',
                      'identityCommitment'):
            sealed[field] = self.hex_field('%s.%s' % (name, field))
        sealed['userPath'] = [self.hex_field(name + '.userPath') for _ in range(3)]
        sealed['deliveryAddress'].update({
            'name': '%s %s' % (person['FirstName'], person['LastName']), 'email': person['Email'],
            'street': person['Address1'], 'city': person['City'], 'zip': person['Zip'], 'phone': person['Phone'],
            'congressional_district': self.word(name + '.district')})
        return s


def forms(value):
    """How a value may look: as it is, in either hex, in base64 at each of its three alignments, reversed."""
    raw = value if isinstance(value, bytes) else value.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), raw[::-1]}
    for shift in range(3):
        whole = len(raw) - (len(raw) + shift) % 3  # so that the last group is complete
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(shift) + raw[:whole])[4 if shift else 0:])
    return found


class Search:
    """Looks for many values, in all their forms, in many places."""

    def __init__(self):
        self.forms = {}

    def add(self, value, what):
        for form in forms(value):
            self.forms[form.lower()] = what

    def hits(self, data):
        lower = data.lower()
        return sorted({what for form, what in self.forms.items() if form in lower})


def redis_contents(client):
    """Names and values of everything in Redis, as bytes, one key after the other."""
    def flat(value):
        if isinstance(value, list):
            return b'\n'.join(flat(v) for v in value)
        return value if isinstance(value, bytes) else str(value).encode()
    read = {'string': ('GET',), 'hash': ('HGETALL',), 'list': ('LRANGE', 0, -1), 'set': ('SMEMBERS',),
            'zset': ('ZRANGE', 0, -1, 'WITHSCORES'), 'stream': ('XRANGE', '-', '+')}
    cursor = '0'
    while True:
        cursor, keys = client('SCAN', cursor, 'COUNT', 1000)
        for key in keys:
            command, *more = read[client('TYPE', key)]
            yield key, key.encode() + b'\n' + flat(client(command, key, *more))
        if cursor == '0':
            return


def readable_memory(pid):
    """(mapping, bytes) of everything that the process could write or has written."""
    with open('/proc/%d/maps' % pid, encoding='utf-8') as f:
        rows = [line.split(None, 5) for line in f]
    with open('/proc/%d/mem' % pid, 'rb', 0) as mem:
        for row in rows:
            low, high = (int(x, 16) for x in row[0].split('-'))
            if 'w' not in row[1] or high - low > 1 << 30:
                continue
            try:
                mem.seek(low)
                data = b''
                while len(data) < high - low:
                    data += mem.read(high - low - len(data))
                yield (row[5].strip() if len(row) > 5 else 'anonymous') + ' ' + row[0], data
            except OSError:
                pass  # guard pages


class Batch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.password = 'Pw' + secrets.token_hex(20)
        cls.stack = stacks.Stack(password=cls.password, jobs={'attempts': 2, 'backoff_base': '20ms',
                                                              'backoff_cap': '50ms', 'key_wait': '0s'},
                                 chamber={'total_timeout': '2s', 'first_byte_timeout': '1s', 'connect_timeout': '1s'})
        cls.addClassCleanup(cls.stack.close)
        cls.stack.start()
        os.mkdir(cls.stack.path('tmp'))
        cls.worker = cls.stack.start_worker(env={'TMPDIR': cls.stack.path('tmp')})
        cls.markers = Markers()
        cls.submissions = []
        cls.run_batch()
        cls.search = Search()
        for value, what in cls.markers.of.items():
            cls.search.add(value, what)
        cls.personal = Search()
        cls.personal.forms = dict(cls.search.forms)
        cls.search.add(cls.stack.sim.key, 'api key')
        cls.search.add(cls.password, 'password of Redis')
        for profile, secret in cls.stack.ring_secret.items():
            cls.search.add(secret, 'ring secret ' + profile)
            cls.search.add(secret.hex(), 'ring secret ' + profile)

    @classmethod
    def submit(cls, submission, **fault):
        if fault:
            cls.stack.sim.fault(**fault, office=submission['offices'][0])
        cls.submissions.append(submission)
        cls.stack.submit(submission)

    @classmethod
    def run_batch(cls):
        """Every way that a letter can take. `echo`: the chamber answers with the letter itself."""
        m, house, senate = cls.markers, iter(letters.offices.house_offices()), iter(letters.offices.senate_active())
        for profile in (m.letter, m.witness):
            p = profile.__name__
            cls.submit(profile(p + '-accepted', next(house)))
            cls.submit(profile(p + '-accepted-s', next(senate)))
            for chamber, code in (('h', next(house)), ('s', next(senate))):
                cls.submit(profile('%s-refused-%s' % (p, chamber), code), action='status', status=400, echo=True)
            cls.submit(profile(p + '-throttled', next(house)), action='status', status=429, echo=True, count=2)
            cls.submit(profile(p + '-unknown', next(house)), action='status', status=500, echo=True)
            cls.submit(profile(p + '-half', next(house)), action='reset_mid_body')
            cls.submit(profile(p + '-stalled', next(house)), action='stall')
            cls.submit(profile(p + '-again', next(senate)), action='accept_then_500', count=1)
            unsealed = profile(p + '-unopened', next(house))
            unsealed['spoil'] = {'ciphertext': 'flip'}
            cls.submit(unsealed)
            unread = profile(p + '-unread', next(house))
            unread['spoil'] = {'plaintext': '{"' + m.word(p + '-unread.plaintext') * 3}
            cls.submit(unread)
            forged = profile(p + '-forged', next(house))
            forged['spoil'] = {'signer': 'forger'}
            cls.stack.submit(forged)
        invalid = m.letter('invalid', next(house))
        invalid['sealed'].update({field: m.word('invalid.' + field) for field in ('Email', 'Zip', 'Prefix')})
        cls.submit(invalid)
        unknown = m.letter('unknown-element', next(house))
        unknown['sealed'][m.word('unknown-element.name')] = m.word('unknown-element.value')
        cls.submit(unknown)
        jobs = len(cls.submissions)
        wait_until(lambda: len(account.last_results(cls.stack)) == jobs, what='%d results' % jobs)
        cls.stack.sim.close_idle()
        cls.stack.sim.fault(action='tls_refuse')
        for code in (next(house), next(senate)):
            cls.submit(m.letter('dead-' + code, code))
        wait_until(lambda: len(account.last_results(cls.stack)) == jobs + 2, what='dead letters')
        cls.stack.sim.clear_faults()

    def clean(self, where, data, search=None):
        self.assertEqual((search or self.search).hits(data), [], where)

    def test_the_batch_took_every_way(self):
        last = account.check(self, self.stack, self.submissions)
        self.assertEqual({r['outcome'] for r in last.values()},
                         {'accepted', 'rejected_by_chamber', 'outcome_unknown', 'accepted_earlier', 'envelope_refused',
                          'letter_unreadable', 'letter_invalid', 'attempts_exhausted'})
        self.assertEqual(len(self.stack.stream('refused')), 2)
        self.assertEqual(len(self.markers.of), len(set(self.markers.of)))

    def test_the_search_finds_what_is_there(self):
        value = next(v for v, what in self.markers.of.items() if what == 'letter-accepted.LastName')
        for text in (value, value.lower(), 'x' + value, value.encode().hex()):
            self.assertIn('letter-accepted.LastName', self.search.hits(text.encode()))
        for before in range(4):
            coded = base64.b64encode(b'?' * before + value.encode() + b'!')
            self.assertIn('letter-accepted.LastName', self.search.hits(coded))

    def test_logs(self):
        with open(self.worker.log_path, 'rb') as f:
            log = f.read()
        self.assertIn(b'"level":"debug"', log)
        self.clean('log', log)

    def test_redis(self):
        found = set()
        for key, data in redis_contents(self.stack.redis):
            self.clean(key, data)
            found.add(key)
        self.assertTrue({self.stack.key(k) for k in ('results', 'dead', 'refused', 'attestations', 'lists', 'unknown')}
                        <= found, found)

    def test_files(self):
        secret = {'ring.keys', 'redis.password'}
        for folder, _, names in os.walk(self.stack.dir):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and name not in secret:
                    with open(path, 'rb') as f:
                        self.clean(path, f.read())
        with open(self.stack.sim.log_file, 'rb') as f:
            self.clean('records of the simulator', f.read())
        self.assertEqual(os.listdir(self.stack.path('tmp')), [])

    def test_process(self):
        pid = self.worker.pid
        for name in ('cmdline', 'environ', 'comm', 'status'):
            with open('/proc/%d/%s' % (pid, name), 'rb') as f:
                self.clean(name, f.read())
        files = [os.readlink('/proc/%d/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%d/fd' % pid)]
        regular = {f for f in files if f.startswith('/') and not f.startswith('/dev/')}
        self.assertEqual(regular, {self.worker.log_path})

    def test_memory(self):
        """Of letters that are finished, nothing is left in the worker's memory."""
        with open('/proc/%d/maps' % self.worker.pid, encoding='utf-8') as f:
            if 'libasan' in f.read():
                self.skipTest('the sanitizer keeps what was freed')
        seen = 0
        for where, data in readable_memory(self.worker.pid):
            seen += len(data)
            self.clean(where, data, self.personal)
        self.assertGreater(seen, 1 << 20)


class CoreDumps(unittest.TestCase):
    def test_none(self):
        """Neither by limit nor by ptrace of the same user: /proc belongs to root then."""
        stack = stacks.Stack()
        self.addCleanup(stack.close)
        stack.start()
        args = stack.write_config('w1')
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        folder = tempfile.mkdtemp(prefix='cwc-')
        self.addCleanup(shutil.rmtree, folder)
        # Copies that the other user may read, under the paths that the copied configuration names.
        for path in (*args[1::2], stack.path('ring.keys'), stack.sim.key_file, stack.sim.ca_file):
            shutil.copy(path, folder)
        for name in ('measured.conf', 'w1.conf'):
            with open(os.path.join(folder, name), encoding='utf-8') as f:
                text = f.read()
            for old in (stack.sim.ca_file, stack.sim.key_file, stack.path('ring.keys')):
                text = text.replace(old, os.path.join(folder, os.path.basename(old)))
            text = text.replace(stack.path('w1.bridge'), os.path.join(folder, 'bridge'))
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
                f.write(text)
        program = shutil.copy(stack.program, folder)
        for name in [''] + os.listdir(folder):
            os.chown(os.path.join(folder, name), user, -1)
            os.chmod(os.path.join(folder, name), 0o500 if name in ('cwc-worker', '') else 0o400)
        os.chmod(folder, 0o700)
        log = os.path.join(folder, 'log')
        with open(log, 'wb') as f:
            p = subprocess.Popen([program, '--config', folder + '/measured.conf', '--host-config', folder + '/w1.conf'],
                                 stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                 **({'user': user} if os.geteuid() == 0 else {}))
        self.addCleanup(p.kill)

        def up():
            with open(log, encoding='utf-8') as f:
                text = f.read()
            self.assertIsNone(p.poll(), text)
            return 'queue_' in text
        wait_until(up, what='a worker that tries to reach Redis')
        self.assertEqual(os.stat('/proc/%d/mem' % p.pid).st_uid, 0)
        with open('/proc/%d/limits' % p.pid, encoding='ascii') as f:
            core = [line.split() for line in f if line.startswith('Max core file size')][0]
        self.assertEqual(core[4:6], ['0', '0'])
        p.send_signal(signal.SIGABRT)
        _, status = os.waitpid(p.pid, 0)
        p.returncode = -signal.SIGABRT
        self.assertFalse(os.WCOREDUMP(status))


if __name__ == '__main__':
    unittest.main()
