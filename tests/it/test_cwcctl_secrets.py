#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl secrets, signer grant and keys store: what is sealed opens, what is signed verifies, by other means than the
program's; and whom it does not trust, it does not seal to."""
import base64
import hashlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import CONFIG, CTL, NO, UNAVAILABLE, USAGE, Case, wait_until  # noqa: E402
from keys_case import DAY, DEVELOPMENT, SIMULATOR, KeysCase, as_json, bundle, key, open_secret  # noqa: E402

import formats  # noqa: E402

BUILT = os.path.exists(SIMULATOR) and os.path.exists(DEVELOPMENT)
SECRET = 'a-Key of/the House=='
EVER = ['2026-01-01T00:00:00Z', '2099-01-01T00:00:00Z']


class SecretCase(KeysCase):
    def setUp(self):
        super().setUp()
        self.out = self.path('sealed-%d' % id(self))
        self.file = self.write('house.key', SECRET + '\n', 0o600)

    def seal(self, *args, name='house.api_key', **kw):
        return self.dev('secrets', 'seal', name, *args, *self.status, '--output', self.out, '--manifest', self.releases,
                        **kw)

    def opened(self, secret=None):
        with open(self.out, 'rb') as f:
            raw = f.read()
        os.unlink(self.out)
        return open_secret(raw, secret or self.seal_secret)

    def not_sealed(self, code, pattern, *args, **kw):
        r = self.refuses(code, pattern, 'secrets', 'seal', *args, **kw)
        self.assertNotIn(SECRET, r.err)
        self.assertFalse(os.path.lexists(self.out))


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Seal(SecretCase):
    def test_it_opens(self):
        for name in ('house.api_key', 'senate.api_key', 'queue.password'):
            r = self.seal(self.file, name=name)
            self.assertEqual(stat.S_IMODE(os.stat(self.out).st_mode), 0o644)
            header, plain = self.opened()
            self.assertEqual(plain, SECRET.encode())
            self.assertEqual(header, {'v': 1, 'kid': self.keys[2]['id'], 'name': name, 'queue': 'q',
                                      'environment': 'sandbox'})
            self.assertNotIn(SECRET, r.out + r.err)
            j = self.seal(self.file, '--json', name=name).json
            self.opened()
            section, what = name.split('.')
            line = 'api_key_sha256 = ' + hashlib.sha256(SECRET.encode()).hexdigest()
            self.assertEqual((j['section'], j['line']), (section, line) if what == 'api_key' else (None, None))
            self.assertEqual(line in r.out, what == 'api_key')
        for args in ((), ('-',)):
            for text in (SECRET, SECRET + '\r\n\n'):
                self.seal(*args, stdin=text.encode())
                self.assertEqual(self.opened()[1], SECRET.encode())
        self.seal(stdin=b'x' * 2048)
        self.assertEqual(self.opened()[1], b'x' * 2048)
        self.members = {'environment': 'production', 'queue': 'letters.2'}
        j = self.seal(self.file, '--json').json
        self.assertEqual((j['environment'], j['queue'], j['release'], j['attested'], j['kid']),
                         ('production', 'letters.2', '1.4.0', True, self.keys[2]['id']))
        header, _ = self.opened()
        self.assertEqual((header['environment'], header['queue']), ('production', 'letters.2'))

    def test_secrets_that_are_none(self):
        args = ('house.api_key', *self.status, '--output', self.out, '--manifest', self.releases)
        for stdin in (b'', b'\n', b'two\nlines', 'caf\u00e9'.encode(), b'nul\0', b'\0', b'x' * 2049, b'x' * 100000, b'\x1b[2J'):
            self.not_sealed(NO, 'house.api_key must have 1 to 2048', *args, stdin=stdin)
        for name, mode, pattern in (('open', 0o644, 'mode 0600'), ('group', 0o640, 'mode 0600')):
            self.not_sealed(CONFIG, pattern, 'house.api_key', self.write(name, SECRET, mode), *args[1:])
        self.not_sealed(CONFIG, 'not empty', 'house.api_key', self.write('empty', '', 0o600), *args[1:])
        self.not_sealed(CONFIG, 'larger', 'house.api_key', self.write('large', 'x' * 3000, 0o600), *args[1:])
        self.not_sealed(NO, 'printable', 'house.api_key', self.write('lines', 'a\nb', 0o600), *args[1:])
        self.not_sealed(CONFIG, 'none', 'house.api_key', self.path('none'), *args[1:])

    def test_who_is_not_trusted(self):
        """Nothing is read, let alone sealed, before it is clear who will read it."""
        args = ('house.api_key', self.file, *self.status, '--output', self.out)
        self.not_sealed(NO, 'refused: policy', *args, '--manifest', self.other)
        self.not_sealed(NO, 'is of the queue q\n', *args, '--manifest', self.releases, '--queue', 'letters')
        for fields in ({'nonce': bytes(32)}, {'user_data': bytes(32)}, {'time': int(time.time() * 1000) - 400000}):
            self.fields = fields
            self.not_sealed(NO, 'refused: ', *args, '--manifest', self.releases)
        self.fields = {}

        def other_key(request, query, body):
            answer = json.loads(self.attestation(request, query, body)[2])
            self.keys[2] = key('secret')
            return as_json({**answer, 'statement': base64.b64encode(self.statement()).decode()})
        self.worker.answers['/attestation'] = other_key
        self.not_sealed(NO, 'refused: user_data', *args, '--manifest', self.releases)
        self.worker.answers['/attestation'] = as_json({'reason': 'busy'}, 429)
        self.not_sealed(UNAVAILABLE, 'try again', *args, '--manifest', self.releases)
        self.ctl('secrets', 'seal', *args, '--manifest', self.releases, code=UNAVAILABLE)
        self.worker.answers['/attestation'] = self.attestation
        self.assertIn('chain_anchor', self.ctl('secrets', 'seal', *args, '--manifest', self.releases, code=NO).err)
        self.assertFalse(os.path.exists(self.out))

    def test_which_key(self):
        now, secrets = int(time.time()), [formats.x25519_secret() for _ in range(4)]
        old, newer, newest, coming = secrets
        self.keys = [key('letter'), key('secret', newer, activate=now - 2 * DAY), key('secret', newest, activate=now - DAY),
                     key('secret', old, activate=now - 9 * DAY, retire=now - 5, destroy=now + DAY),
                     key('secret', coming, activate=now + DAY), key('witness')]
        self.seal(self.file)
        self.assertEqual(self.opened(newest)[0]['kid'], self.keys[2]['id'])
        del self.keys[1:3]
        self.not_sealed(NO, 'no active key of the profile secret', 'house.api_key', self.file, *self.status, '--output',
                        self.out, '--manifest', self.releases)

    def test_a_bundle_that_is_not_stated_yet(self):
        """The worker's ring is newer than what it proves: some seconds later there is a key."""
        args = ('house.api_key', self.file, *self.status, '--output', self.out, '--manifest', self.releases)
        good, self.keys = self.keys, []
        for stated, taken, code, pattern in ((0, 1, UNAVAILABLE, 'version 1 and proves version 0 still: try again in some s'),
                                             (3, 4, UNAVAILABLE, 'version 4 and proves version 3 still: try again in some s'),
                                             (3, 3, NO, 'no active key'), (3, 2, NO, 'no active key'),
                                             (3, '9', NO, 'no active key'), (3, None, NO, 'no active key')):
            with self.subTest(stated=stated, taken=taken):
                self.members = {'bundle': stated} if stated else {'bundle': None}
                self.extra['bundle'] = taken
                self.not_sealed(code, pattern, *args)
        self.keys, self.members, self.extra['bundle'] = good, {}, 4
        self.seal(self.file)    # with a key that is proved nothing else counts
        self.assertEqual(self.opened()[1], SECRET.encode())

    def test_usage(self):
        good = ('--manifest', self.releases, '--output', self.out)
        for pattern, args in (
                ('NAME must be', ('house.key', self.file, *self.status, *good)),
                ('NAME must be', ('', self.file, *self.status, *good)),
                ('either --status', ('house.api_key', self.file, *good)),
                ('either --status', ('house.api_key', self.file, *self.status, '--keys', self.file, *good)),
                ('--manifest says it', ('house.api_key', self.file, *self.status, '--output', self.out)),
                ('--manifest says it', ('house.api_key', self.file, *self.status, *good, '--unattested')),
                ('--max-age is for --keys', ('house.api_key', self.file, *self.status, *good, '--max-age', '1h')),
                ('--output is needed', ('house.api_key', self.file, *self.status, '--manifest', self.releases)),
                ('usage: ', ('house.api_key', self.file, 'more', *self.status, *good))):
            self.not_sealed(USAGE, pattern, *args)
        self.write(os.path.basename(self.out), 'mine')
        self.refuses(NO, 'is there already', 'secrets', 'seal', 'house.api_key', self.file, *self.status, *good)
        self.assertEqual(self.worker.asked, [])
        os.unlink(self.out)

    def test_unattested(self):
        args = ('house.api_key', self.file, *self.status, '--output', self.out)
        self.not_sealed(NO, 'not --unattested', *args, '--unattested')
        self.no_device()
        self.not_sealed(NO, 'UNATTESTED', *args, '--manifest', self.releases)
        r = self.dev('secrets', 'seal', *args, '--unattested', '--json')
        self.assertIn('UNATTESTED', r.err)
        self.assertFalse(r.json['attested'])
        self.assertEqual(self.opened()[1], SECRET.encode())
        self.members = {'environment': 'production'}
        self.not_sealed(NO, 'sandbox alone', *args, '--unattested')
        # "No document" may be a lie: then /keys must not have one either.
        self.members = {}
        self.worker.answers['/keys'] = self.keys_answer
        self.not_sealed(UNAVAILABLE, 'try again', *args, '--unattested')

    def test_keys_that_were_saved(self):
        saved = self.write('keys.json', json.dumps(self.keys_json()))
        args = ('house.api_key', self.file, '--output', self.out, '--manifest', self.releases)
        r = self.dev('secrets', 'seal', *args, '--keys', saved)
        self.assertIn('NOT FRESH', r.err)
        self.assertEqual(self.opened()[1], SECRET.encode())
        self.assertEqual(self.worker.asked, [])
        self.fields = {'time': int(time.time() * 1000) - 7200000}
        old = self.write('old.json', json.dumps(self.keys_json()))
        self.not_sealed(NO, 'refused: stale', *args, '--keys', old)
        self.not_sealed(NO, 'refused: stale', *args, '--keys', old, '--max-age', '119min')
        self.dev('secrets', 'seal', *args, '--keys', old, '--max-age', '3h')
        self.opened()
        for age in ('0', 'x', '', '-1'):
            self.not_sealed(USAGE, '--max-age must', *args, '--keys', old, '--max-age', age)
        self.fields = {'user_data': bytes(32)}
        self.not_sealed(NO, 'refused: user_data', *args, '--keys',
                        self.write('bad.json', json.dumps(self.keys_json())))
        self.fields = {}
        self.not_sealed(NO, 'UNATTESTED', *args, '--keys', self.write('none.json', json.dumps(self.keys_json(False))))
        for text in ('', '{', '[]', '{}', '{"statement":"*","document":null}', '{"statement":"eA=="}'):
            self.not_sealed(CONFIG, 'bad.json: ', *args, '--keys', self.write('bad.json', text))
        self.not_sealed(CONFIG, 'No such file', *args, '--keys', self.path('nokeys'))

    def test_show(self):
        self.seal(self.file, name='queue.password')
        r = self.ctl('secrets', 'show', self.out)
        for text in ('queue.password', self.keys[2]['id'], 'sandbox'):
            self.assertIn(text, r.out)
        self.assertEqual(self.ctl('secrets', 'show', self.out, '--json').json,
                         {'name': 'queue.password', 'kid': self.keys[2]['id'], 'environment': 'sandbox', 'queue': 'q'})
        with open(self.out, 'rb') as f:
            raw = f.read()
        for bad in (b'', raw + b'\0', raw[:-1], raw.replace(b'queue.password', b'queue.passw0rd'), bundle(1), bytes(5000)):
            self.assertIn('no sealed secret', self.ctl('secrets', 'show', self.write('bad', bad), code=CONFIG).err)


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Terminal(SecretCase):
    def begin(self):
        primary, secondary = pty.openpty()
        self.addCleanup(os.close, primary)
        process = subprocess.Popen([DEVELOPMENT, 'secrets', 'seal', 'house.api_key', *self.status, '--output', self.out,
                                    '--manifest', self.releases], stdin=secondary, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.end, process)
        self.secondary = secondary
        self.addCleanup(os.close, secondary)
        self.said = b''
        return process, primary

    def echo(self):
        return bool(termios.tcgetattr(self.secondary)[3] & termios.ECHO)

    def wait_prompt(self, process, text):
        while text not in self.said:
            got = os.read(process.stderr.fileno(), 4096)
            self.assertTrue(got, self.said)
            self.said += got

    def type(self, first, second):
        process, primary = self.begin()
        self.wait_prompt(process, b'house.api_key: ')
        self.assertFalse(self.echo())
        os.write(primary, first + b'\n')
        self.wait_prompt(process, b', again: ')
        os.write(primary, second + b'\n')
        out, err = process.communicate(timeout=30)
        self.assertTrue(self.echo())
        shown = out + err + self.said
        self.assertNotIn(b'Key of', shown)
        return process.returncode, shown

    def test_twice_without_echo(self):
        self.assertEqual(self.type(SECRET.encode(), SECRET.encode())[0], 0)
        self.assertEqual(self.opened()[1], SECRET.encode())
        code, shown = self.type(SECRET.encode(), SECRET.encode() + b'x')
        self.assertEqual(code, NO)
        self.assertIn(b'not the same twice', shown)
        code, shown = self.type(b'', b'')
        self.assertEqual(code, NO)
        self.assertIn(b'is empty', shown)
        self.assertFalse(os.path.exists(self.out))

    def test_an_interrupt_gives_the_echo_back(self):
        process, _ = self.begin()
        self.wait_prompt(process, b'house.api_key: ')
        self.assertFalse(self.echo())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        wait_until(self.echo, 5, 'echo')
        self.assertFalse(os.path.exists(self.out))


class Grant(Case):
    def setUp(self):
        self.authority = self.pem('authority.pem')
        self.authority_key = self.seed_public('authority.pem')
        self.out = self.path('grant-%d' % id(self))
        self.rows = [('app-1', self.public.hex(), *EVER), ('app-2', formats.ed25519_public(bytes(32)).hex(), *EVER)]
        self.args = ('--signer', self.authority, '--kid', 'authority-1', '--serial', '4', '--output', self.out)

    def text(self, *rows):
        return self.write('signers.txt', '# who\n\n' + ''.join('%s\n' % ' '.join(r) for r in rows or self.rows))

    def grant(self, *args, **kw):
        return self.ctl('signer', 'grant', self.text(), *self.args, *args, **kw)

    def read(self):
        with open(self.out, 'rb') as f:
            raw = f.read()
        kid, payload = formats.verify1(formats.decode(raw), b'cwc-signers-v1', {b'authority-1': self.authority_key})
        return kid, formats.decode(payload)

    def test_it_verifies(self):
        r = self.grant('--environment', 'production', '--queue', 'letters')
        self.assertEqual(r.err, '')
        kid, said = self.read()
        self.assertEqual(kid, b'authority-1')
        signers = said.pop('signers')
        self.assertEqual(said, {'v': 1, 'queue': 'letters', 'serial': 4, 'environment': 'production'})
        self.assertEqual([(s['kid'], s['key'].hex(), s['not_before'], s['not_after']) for s in signers],
                         [(k, h, 1767225600, 4070908800) for k, h, _, _ in self.rows])
        for text in ('letters', 'production', 'app-2', self.public.hex()):
            self.assertIn(text, r.out)
        self.refused(NO, 'is there already', self.text(), *self.args)

    def refused(self, code, pattern, *args):
        r = self.ctl('signer', 'grant', *args, code=code)
        self.assertRegex(r.err, pattern)
        self.assertEqual(r.out, '')

    def test_files_that_are_refused(self):
        hexes, (begin, end) = self.public.hex(), EVER
        for pattern, row in (('3: must be KID', ('a', hexes, begin)), ('3: must be KID', ('a', hexes, begin, end, 'x')),
                             ('3: KID must', ('a b'.replace(' ', '/'), hexes, begin, end)),
                             ('3: KID must', ('a' * 65, hexes, begin, end)), ('3: HEX must', ('a', hexes[1:], begin, end)),
                             ('3: HEX must', ('a', 'g' + hexes[1:], begin, end)),
                             ('3: NOT-BEFORE must', ('a', hexes, 'now', end)),
                             ('3: NOT-AFTER must', ('a', hexes, begin, '2026-13-01T00:00:00Z')),
                             ('3: NOT-AFTER must be later', ('a', hexes, begin, begin)),
                             ('3: NOT-AFTER must be later', ('a', hexes, end, begin))):
            self.refused(CONFIG, 'signers.txt:' + pattern, self.text(row), *self.args)
        self.refused(CONFIG, 'signers.txt:4: a KID stands there twice', self.text(self.rows[0], self.rows[0]), *self.args)
        nine = [('a%d' % i, hexes, begin, end) for i in range(9)]
        self.refused(CONFIG, 'signers.txt:11: more than 8', self.text(*nine), *self.args)
        # What does not fit must not be cut off in silence: the second signer would be missing in the grant.
        first, second = ('%s %s %s %s\n' % (kid, hexes, begin, end) for kid in 'ab')
        large = self.write('large.txt', first + '#' * (65536 - len(first) - 1) + '\n' + second)
        self.refused(CONFIG, 'large.txt: larger than 64 KiB', large, *self.args)
        self.refused(CONFIG, 'no signer', self.write('none.txt', '# none\n'), *self.args)
        self.refused(CONFIG, 'No such file', self.path('nosuch'), *self.args)
        self.refused(CONFIG, 'PKCS#8', self.text(), '--signer', self.write('x.pem', 'x', 0o600), *self.args[2:])
        self.assertFalse(os.path.exists(self.out))
        self.assertIn('has ended already', self.ctl('signer', 'grant', self.text(('a', hexes, begin, '2026-01-02T00:00:00Z')),
                                                    *self.args).err)

    def test_usage(self):
        a = dict(zip(self.args[::2], self.args[1::2]))
        for leave, pattern in (('--signer', '--signer is needed'), ('--kid', '--kid is needed'),
                               ('--serial', '--serial is needed'), ('--output', '--output is needed')):
            self.refused(USAGE, pattern, self.text(), *[x for k, v in a.items() if k != leave for x in (k, v)])
        for serial in ('0', '-1', 'x', '', '9007199254740992', '1.5'):
            self.refused(USAGE, '--serial is needed', self.text(), *self.args[:5], serial, *self.args[6:])
        self.refused(USAGE, '--environment must', self.text(), *self.args, '--environment', 'test')
        self.refused(USAGE, '--queue must', self.text(), *self.args, '--queue', 'a b')

    def test_show(self):
        self.grant()
        r = self.ctl('signer', 'show-grant', self.out)
        self.assertIn('NOT VERIFIED', r.err)
        self.assertIn('app-2', r.out)
        j = self.ctl('signer', 'show-grant', self.out, '--authority-key', self.authority_key.hex(), '--json').json
        self.assertEqual((j['verified'], j['serial'], j['authority'], j['signers'][0]),
                         (True, 4, 'authority-1', {'kid': 'app-1', 'public_key': self.public.hex(), 'not_before': EVER[0],
                                                   'not_after': EVER[1]}))
        r = self.ctl('signer', 'show-grant', self.out, '--authority-key', self.public.hex(), code=NO)
        self.assertEqual((r.out, 'has not signed it' in r.err), ('', True))
        self.assertIn('64 hex', self.ctl('signer', 'show-grant', self.out, '--authority-key', 'x', code=USAGE).err)
        with open(self.out, 'rb') as f:
            raw = f.read()
        forged = self.write('forged', raw.replace(b'app-1', b'app-9'))
        self.assertIn('app-9', self.ctl('signer', 'show-grant', forged).out)
        r = self.ctl('signer', 'show-grant', forged, '--authority-key', self.authority_key.hex(), code=NO)
        self.assertNotIn('app-9', r.out)
        for bad in (b'', b'x', raw + b'\0', bytes(5000)):
            r = self.ctl('signer', 'show-grant', self.write('bad', bad), code=CONFIG)
            self.assertIn('no grant of signers', r.err)


@unittest.skipUnless(BUILT, 'there is no simulator, or no development build')
class Store(SecretCase):
    def setUp(self):
        super().setUp()
        self.store = self.path('store-%d' % id(self))

    def secret(self, name, file=None):
        path = self.path(file or name)
        if os.path.exists(path):
            os.unlink(path)
        self.dev('secrets', 'seal', name, self.file, *self.status, '--output', path, '--manifest', self.releases)
        return path

    def bundle(self, version, name=None, **fields):
        return self.write(name or 'bundle-%d' % version, bundle(version, **fields))

    def put(self, *files, **kw):
        return self.ctl('keys', 'store', *files, '--output', self.store, **kw)

    def content(self):
        with open(self.store, 'rb') as f:
            return f.read()

    def refused(self, code, pattern, *files):
        before = self.content() if os.path.exists(self.store) else None
        r = self.put(*files, code=code)
        self.assertRegex(r.err, pattern)
        self.assertEqual(self.content() if os.path.exists(self.store) else None, before)
        self.assertFalse([n for n in os.listdir(self.dir) if n.endswith('.new')])

    def test_one_behind_the_other(self):
        house, senate, two = self.secret('house.api_key'), self.secret('senate.api_key'), self.bundle(2)
        r = self.put(two, house, senate, '--json')
        wanted = b''
        for path in (two, house, senate):
            with open(path, 'rb') as f:
                wanted += f.read()
        self.assertEqual(self.content(), wanted)
        self.assertEqual(stat.S_IMODE(os.stat(self.store).st_mode), 0o644)
        self.assertEqual((r.json['version'], r.json['secrets'], r.json['queue']), (2, ['house.api_key', 'senate.api_key'], 'q'))
        self.put(two, house, senate)
        inode = os.stat(self.store).st_ino
        self.put(senate, house, self.bundle(3))
        self.assertNotEqual(os.stat(self.store).st_ino, inode)

    def test_what_one_left_that_was_killed(self):
        """Numbers of processes come again, in a container the same one each time."""
        def left():
            with open('%s.%d.new' % (self.store, os.getpid()), 'x', encoding='ascii') as f:
                f.write('half')
        subprocess.run([CTL, 'keys', 'store', self.bundle(1), '--output', self.store], stdout=subprocess.DEVNULL, check=True,
                       timeout=30, preexec_fn=left)
        self.assertTrue(os.path.exists(self.store))
        os.unlink(next(self.path(n) for n in os.listdir(self.dir) if n.endswith('.new')))

    def test_never_back(self):
        house, five = self.secret('house.api_key'), self.bundle(5)
        self.put(five, house)
        self.refused(NO, 'has bundle version 5, and this one is version 4', self.bundle(4), house)
        self.refused(NO, 'another bundle of the same version 5', self.bundle(5, 'other'), house)
        self.refused(NO, 'has a bundle, and no FILE is one', house)
        self.refused(NO, 'has the secret house.api_key', self.bundle(6), self.secret('queue.password'))
        self.refused(CONFIG, 'different environments or queues', self.bundle(6, queue='r'), house)
        self.members = {'queue': 'r'}
        elsewhere = self.secret('house.api_key', 'elsewhere')
        self.refused(NO, 'store of another environment or queue', self.bundle(6, queue='r'), elsewhere)
        self.put(self.bundle(6), house)
        for text in ('text', b'\x80', bundle(1) + b'\0'):
            with open(self.store, 'wb') as f:
                f.write(text if isinstance(text, bytes) else text.encode())
            self.refused(CONFIG, 'is there, and is no store', self.bundle(7), house)

    def test_what_is_refused(self):
        house, two = self.secret('house.api_key'), self.bundle(2)
        self.refused(CONFIG, 'not a store', two, self.bundle(3))
        self.refused(CONFIG, 'a secret is given twice', two, house, self.secret('house.api_key', 'again'))
        self.refused(CONFIG, 'different environments', self.bundle(2, 'p', environment='production'), house)
        for bad in (b'', b'x', bundle(2) + b'\0', bundle(2) * 2, bytes(70000)):
            self.refused(CONFIG, 'neither a sealed bundle nor a sealed secret', two, self.write('bad', bad))
        self.refused(CONFIG, 'No such file', two, self.path('nosuch'))
        self.refused(USAGE, 'usage: ')
        self.assertIn('--output is needed', self.ctl('keys', 'store', two, code=USAGE).err)
        r = self.ctl('keys', 'store', two, '--output', self.path('no/folder/store'), code=NO)
        self.assertIn('folder', r.err)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
