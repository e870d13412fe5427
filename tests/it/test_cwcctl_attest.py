#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl attest verify and show: genuine documents of enclaves against all that can be asked of them."""
import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import (RELEASE_PCRS, STAGES, VECTORS, ZERO, AttestCase, genuine, manifest, some_pcr,  # noqa: E402
                         vector)
from cwcctl_case import BUILD, CONFIG, CTL, NO, OK, ROOT, USAGE  # noqa: E402

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

SIMULATOR = os.path.join(BUILD, 'tools', 'nsm_sim')
DEVELOPMENT = os.environ.get('CWCCTL_DEV', os.path.join(ROOT, 'build', 'dev', 'cwcctl'))


class Verify(AttestCase):
    def test_genuine_documents(self):
        """Each at its own time, by a manifest that has its release among others."""
        documents = genuine()
        self.assertGreater(len(documents), 9)
        for d in documents:
            with self.subTest(d.name):
                wanted = {i: d.pcrs[i] for i in RELEASE_PCRS}
                if d.debug:
                    wanted = {0: some_pcr('debug')}
                other = {**wanted, 0: some_pcr('other')}
                path = self.write('releases.txt', '# all\n\n' + manifest(**{'old-1': other, '2.0_rc+1': wanted}))
                args = (d.path, '--manifest', path, '--at', d.at())
                if d.debug:
                    self.refused('debug', *args, stage='debug')
                    self.refused('debug', d.path, '--chain-only')
                    continue
                j = self.verified(*args)
                self.assertEqual(j['release'], '2.0_rc+1')
                self.assertEqual(j['anchor'], 'AWS Nitro Enclaves Root-G1')
                self.assertEqual(j['module_id'], d.payload['module_id'])
                self.assertEqual(j['instance'], d.payload['module_id'].split('-enc')[0])
                self.assertEqual(j['pcrs'], {str(i): v for i, v in d.pcrs.items()})
                self.assertEqual(j['time'], d.at(0)[:-1] + '.%03dZ' % (d.payload['timestamp'] % 1000))
                self.assertEqual(j['at'], d.at()[:-1] + '.000Z')
                for member in ('nonce', 'user_data', 'public_key'):
                    self.assertEqual(j[member], d.hex(member))
                self.assertEqual(j['stages'], {**dict.fromkeys(STAGES, 'passed'), 'binding': 'not asked'})
                self.assertEqual([row['stage'] for row in j['explained']], STAGES)
                self.assertTrue(all(len(row['means']) > 20 for row in j['explained']))
                r = self.ctl('attest', 'verify', *args)
                self.assertEqual(r.err, '')
                self.assertRegex(r.out, r'(?m)^VERIFIED$')
                self.assertRegex(r.out, r'(?m)^release +2\.0_rc\+1$')
                for text in (d.payload['module_id'], d.pcrs[0], j['time'], *STAGES):
                    self.assertIn(text, r.out)

    def test_empty_is_not_absent(self):
        j = self.verified(vector('22b').path, '--chain-only')
        self.assertEqual((j['user_data'], j['nonce']), ('', None))

    def test_ways_in(self):
        """From standard input, in base64, in lines: always the same."""
        args = ('--pcr', self.doc.list(), '--at', self.doc.at())
        wanted = self.verified(self.doc.path, *args)
        b64 = base64.b64encode(self.doc.raw).decode()
        wrapped = '\r\n'.join(b64[i:i + 64] for i in range(0, len(b64), 64)) + '\r\n'
        for text in (b64, b64 + '\n', wrapped, ' ' + b64):
            path = self.write('document.txt', text)
            self.assertEqual(self.verified(path, *args), wanted)
            self.assertEqual(self.verified('-', *args, stdin=text), wanted)
        with open(self.doc.path, 'rb') as f:
            r = subprocess.run([CTL, 'attest', 'verify', '-', '--json', *args], stdin=f, stdout=subprocess.PIPE,
                               check=True)
        self.assertEqual(json.loads(r.stdout), wanted)
        self.refused('envelope_syntax', self.write('cut.txt', b64[:-2]), *args)
        self.refused('envelope_syntax', self.write('url.txt', b64.replace('+', '-').replace('/', '_')), *args)

    def test_sizes(self):
        args = ('--chain-only',)
        raw = self.doc.raw
        for n, code in ((0, 'envelope_size'), (1, 'envelope_syntax'), (len(raw) - 1, 'envelope_syntax')):
            self.refused(code, self.write('cut.cbor', raw[:n]), *args, stage='envelope')
        for n, code in ((len(raw) + 1, 'envelope_trailing'), (12288, 'envelope_trailing'), (12289, 'envelope_size'),
                        (20480, 'envelope_size'), (20481, 'envelope_size'), (5000000, 'envelope_size')):
            padded = raw + bytes(n - len(raw))
            self.refused(code, self.write('long.cbor', padded), *args)
            self.refused(code if n < 12290 else 'envelope_size', self.write('long.txt', base64.b64encode(padded)), *args)
        self.refused('envelope_tag', self.write('tagged.cbor', b'\xd2' + raw), *args)

    def test_forgeries(self):
        self.refused('cabundle_count', os.path.join(VECTORS, 'neg-oyster-mock-pki.cbor'), '--chain-only', stage='payload')
        self.refused('chain_anchor', self.foreign(), '--chain-only', stage='chain')
        self.refused('signature', os.path.join(VECTORS, 'neg-veracruz-bad-sig.cbor'), '--chain-only')
        raw = bytearray(self.doc.raw)
        raw[raw.index(b'public_key') + 12] ^= 1  # in the value
        self.refused('signature', self.write('changed.cbor', bytes(raw)), '--chain-only', stage='signature')
        zonal = self.doc.payload['cabundle'][2]
        raw[raw.index(zonal) + len(zonal) - 1] ^= 1  # in its signature
        j = self.refused('chain_signature', self.write('changed.cbor', bytes(raw)), '--chain-only', stage='chain')
        self.assertEqual(j['certificate'], 2)
        self.assertIsNone(j['anchor'])

    def test_time(self):
        d, pcr = self.doc, ('--pcr', self.doc.list(0))
        self.refused('stale', d.path, *pcr, stage='time')
        self.refused('stale', d.path, *pcr, '--at', 'now')
        self.refused('stale', d.path, *pcr, '--at', d.at(302))
        self.refused('stale', d.path, *pcr, '--at', d.at(61), '--max-age', '60')
        self.refused('future', d.path, *pcr, '--at', d.at(-60))
        for after, more in ((300, ()), (-59, ()), (60, ('--max-age', '60')), (60, ('--max-age', '1min')),
                            (7200, ('--max-age', '2h'))):
            self.verified(d.path, *pcr, '--at', d.at(after), *more)
        self.verified(d.path, *pcr, '--at', str(d.seconds + 5))
        self.verified(d.path, *pcr, '--at', d.at()[:-1] + '+00:00')

    def test_nonce(self):
        d = self.doc
        args = (d.path, '--pcr', d.list(0), '--at', d.at())
        nonce = d.hex('nonce')
        for right in (nonce, nonce.upper()):
            j = self.verified(*args, '--nonce', right)
            self.assertEqual(j['stages']['binding'], 'passed')
        for wrong in (nonce[:-2], nonce + '00', nonce[:-1] + '0', '00'):
            self.refused('nonce', *args, '--nonce', wrong, stage='binding')
        without = vector('19-')
        self.refused('nonce', without.path, '--pcr', without.list(0), '--at', without.at(), '--nonce', nonce)

    def test_measurements(self):
        d = self.doc
        at = ('--at', d.at())
        for pcrs in ((0,), (2, 0, 1), (0, 1, 2, 3, 4, 8), (0, 15)):
            self.assertIsNone(self.verified(d.path, *at, '--pcr', d.list(*pcrs))['release'])
        for wrong in (dict(p0=some_pcr('x')), dict(p1=some_pcr('x')), dict(p8=some_pcr('x')), dict(p3=some_pcr('role'))):
            self.refused('policy', d.path, *at, '--pcr', d.list(**wrong), stage='policy')
        self.refused('policy', d.path, *at, '--pcr', d.list() + ',16=' + some_pcr('x'))
        # Half of one release and half of the other.
        a = {0: d.pcrs[0], 1: some_pcr('a'), 2: some_pcr('a')}
        b = {0: some_pcr('b'), 1: d.pcrs[1], 2: d.pcrs[2]}
        path = self.write('mixed.txt', manifest(a=a, b=b))
        self.refused('policy', d.path, *at, '--manifest', path)
        many = {'r%d' % i: {0: some_pcr(str(i))} for i in range(15)}
        path = self.write('many.txt', manifest(**many, last={0: d.pcrs[0]}))
        self.assertEqual(self.verified(d.path, *at, '--manifest', path)['release'], 'last')
        with open(path, encoding='ascii') as f:
            text = f.read()
        self.assertEqual(self.verified(d.path, *at, '--manifest', '-', stdin=text)['release'], 'last')

    def test_chain_only(self):
        r = self.ctl('attest', 'verify', self.doc.path, '--chain-only')
        self.assertEqual(r.err.count('\n'), 1)
        self.assertIn('NOT ASKED', r.err)
        self.assertIn('NOT ASKED', r.out)
        self.assertNotIn('VERIFIED', r.out)
        r = self.ctl('attest', 'verify', self.doc.path, '--chain-only', '--json')
        self.assertIn('NOT ASKED', r.err)
        j = r.json
        self.assertEqual((j['code'], j['policy'], j['chain_only'], j['release'], j['at']),
                         ('ok', 'not asked', True, None, None))
        self.assertEqual([s for s in STAGES if j['stages'][s] == 'not asked'], ['time', 'policy', 'binding'])

    def test_usage(self):
        p, pcr = self.doc.path, self.doc.list(0)
        path = self.write('good.txt', manifest(a={0: some_pcr('a')}))
        for args in ((), (p,), (p, '--at', 'now'), (p, p, '--pcr', pcr), (p, '--pcr', pcr, '--manifest', path),
                     (p, '--chain-only', '--pcr', pcr), (p, '--chain-only', '--manifest', path),
                     (p, '--chain-only', '--nonce', '00'), (p, '--chain-only', '--at', 'now'),
                     (p, '--chain-only', '--max-age', '60'), (p, '--pcr', pcr, '--at', 'yesterday'),
                     (p, '--pcr', pcr, '--at', '-5'), (p, '--pcr', pcr, '--at', '2026-02-30T00:00:00Z'),
                     (p, '--pcr', pcr, '--max-age', '0'), (p, '--pcr', pcr, '--max-age', '0s'),
                     (p, '--pcr', pcr, '--max-age', '-1'), (p, '--pcr', pcr, '--max-age', '1y'),
                     (p, '--pcr', pcr, '--max-age', '31536001'), (p, '--pcr', pcr, '--nonce', ''),
                     (p, '--pcr', pcr, '--nonce', '0'), (p, '--pcr', pcr, '--nonce', '0x00'),
                     (p, '--pcr', pcr, '--nonce', '00' * 513), ('-', '--manifest', '-'), (p, '--pcr', pcr, '--pcr', pcr)):
            r = self.ctl('attest', 'verify', *args, code=USAGE)
            self.assertEqual((r.out, r.err.count('\n')), ('', 1), args)
        for bad in ('', ',', pcr + ',', ',' + pcr, '0', '0=', '=' + some_pcr('a'), pcr + ',' + pcr, self.doc.list(1),
                    self.doc.list(1, 2, 8), '32=' + some_pcr('a'), '00=' + some_pcr('a'), '-0=' + some_pcr('a'),
                    '0=0x' + some_pcr('a')[2:], '0=' + some_pcr('a').upper(), '0=' + some_pcr('a')[:-1],
                    '0=' + some_pcr('a') + '0', '0=' + ZERO, pcr + ',1=' + ZERO, pcr + ',2=' + ZERO, pcr + ' ', 'PCR' + pcr):
            r = self.ctl('attest', 'verify', p, '--pcr', bad, code=USAGE)
            self.assertRegex(r.err, r'^cwcctl: --pcr: [^\n]+\n$')

    def test_manifests(self):
        a, b = some_pcr('a'), some_pcr('b')
        long = 'n' * 63
        good = ('release %s\npcr0 %s' % (long, a), 'release a\npcr0 %s\npcr3 %s\npcr8 %s\n' % (a, ZERO, ZERO))
        bad = {
            '': '{}: there is no release in it', '\n# none\n': '{}: there is no release in it',
            'release a\n': '{}:1: the release above has no PCR0',
            'release a\npcr1 %s\n' % a: '{}:2: the release above has no PCR0',
            'release a\nrelease b\npcr0 %s\n' % a: '{}:2: the release above has no PCR0',
            'pcr0 %s\n' % a: '{}:1: a PCR before', 'release \n': '{}:1: the name', 'release\n': '{}:1: the name',
            'release %sn\npcr0 %s\n' % (long, a): '{}:1: the name', 'release a b\n': '{}:1: the name',
            'release a\n# x\n\npcr0 %s\npcr0 %s\n' % (a, a): '{}:5: this PCR is there twice',
            'release a\npcr0 %s\nrelease a\npcr0 %s\n' % (a, b): '{}:3: this release is there twice',
            'release a\npcr0 %s\nrelease b\npcr0 %s\n' % (a, a): '{}:4: the release above has the measurements',
            'release a\npcr0 %s\nrelease b\npcr0 %s\npcr8 %s\n' % (a, a, ZERO): '{}:5: another release allows all',
            'release a\npcr8 %s\npcr0 %s\nrelease b\npcr0 %s\n' % (b, a, a): '{}:5: the release above allows all',
            'release a\npcr0 %s\n' % ZERO: '{}:2: PCR0, PCR1 and PCR2 are zero',
            'release a\npcr0 %s\npcr2 %s\n' % (a, ZERO): '{}:3: PCR0, PCR1 and PCR2 are zero',
            'release a\npcr0 0x%s\n' % a: '{}:2: a PCR must be 96', 'release a\npcr0 0x%s\n' % a[2:]: '{}:2: a PCR must',
            'release a\npcr0 %s\n' % a.upper(): '{}:2: a PCR must', 'release a\npcr0 %s\n' % a[:-1]: '{}:2: a PCR must',
            'release a\npcr0 %s0\n' % a: '{}:2: a PCR must', 'release a\npcr0 %s\r\n' % a: '{}:2: a PCR must',
            'release a\npcr0  %s\n' % a: '{}:2: a PCR must', 'release a\npcr0 %s \n' % a: '{}:2: a PCR must',
            'release a\npcr0\n': '{}:2: a PCR must', 'release a\npcr %s\n' % a: '{}:2: must be `release',
            'release a\npcr32 %s\n' % a: '{}:2: the number', 'release a\npcr00 %s\n' % a: '{}:2: the number',
            'release a\nPCR0 %s\n' % a: '{}:2: must be `release', 'release a\n pcr0 %s\n' % a: '{}:2: must be `release',
            'Release a\n': '{}:1: must be', '\ufeffrelease a\n': '{}:1: must be', 'release a\0\n': '{}:1: the name',
            manifest(**{'r%d' % i: {0: some_pcr(str(i))} for i in range(17)}): '{}:33: more than 16',
            '#' + 'x' * 65535 + '\n': '{}: larger than 64 KiB',
        }
        for text in good:
            self.refused('policy', self.doc.path, '--at', self.doc.at(), '--manifest', self.write('m.txt', text))
        for text, wanted in bad.items():
            path = self.write('m.txt', text)
            r = self.ctl('attest', 'verify', self.doc.path, '--manifest', path, code=CONFIG)
            self.assertEqual((r.out, r.err.count('\n')), ('', 1))
            self.assertTrue(r.err.startswith('cwcctl: ' + wanted.format(path)), (text[:80], r.err))
        self.ctl('attest', 'verify', self.doc.path, '--manifest', self.path('none'), code=CONFIG)
        for path in (self.path('none'), self.dir):
            for args in (('verify', path, '--chain-only'), ('show', path)):
                r = self.ctl('attest', *args, code=CONFIG)
                self.assertEqual((r.out, r.err.count('\n')), ('', 1))


@unittest.skipUnless(os.path.exists(SIMULATOR), 'the simulator of the security module is not built')
class Simulated(AttestCase):
    """What the simulator makes is refused by a release program, whatever the policy is, and named by a development one."""
    PCRS = {i: some_pcr('sim%d' % i) for i in range(3)}

    def simulated(self, *args):
        pcrs = [x for i, v in self.PCRS.items() for x in ('--pcr', '%d=%s' % (i, v))]
        raw = subprocess.run([SIMULATOR, *pcrs, *args], stdout=subprocess.PIPE, check=True, timeout=30).stdout
        return self.write('simulated.cbor', raw)

    def setUp(self):
        self.args = (self.simulated('--nonce', '5a' * 20), '--pcr', ','.join('%d=%s' % row for row in self.PCRS.items()),
                     '--nonce', '5a' * 20)

    def test_release_refuses(self):
        self.refused('chain_anchor', *self.args, stage='chain')
        self.refused('chain_anchor', self.args[0], '--chain-only', stage='chain')
        self.assertIsNone(self.ctl('attest', 'show', self.args[0], '--json').json['root'])

    def dev(self, *args, code=OK):
        r = subprocess.run([DEVELOPMENT, 'attest', 'verify', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, code, r.stderr)
        return r

    @unittest.skipUnless(os.path.exists(DEVELOPMENT), 'there is no development build')
    def test_development(self):
        r = self.dev(*self.args)
        self.assertRegex(r.stderr, r'^cwcctl: SIMULATED: [^\n]+\n$')
        self.assertIn('\nSIMULATED: ', r.stdout)
        self.assertNotIn('VERIFIED', r.stdout)
        j = json.loads(self.dev(*self.args, '--json').stdout)
        self.assertEqual((j['code'], j['simulated'], j['anchor']), ('ok', True, 'simulated root'))
        self.assertEqual(j['stages'], dict.fromkeys(STAGES, 'passed'))
        self.assertIn('SIMULATED', self.dev(self.args[0], '--chain-only').stderr)
        r = self.dev(*self.args[:-1], '5b' * 20, code=NO)
        self.assertRegex(r.stderr, r'SIMULATED: [^\n]+\n[^\n]*refused: nonce: ')
        self.assertIn('refused: debug: ', self.dev(self.simulated('--pcr', '1=' + ZERO), '--chain-only', code=NO).stderr)
        # And what is genuine stays so, as does what is neither.
        j = json.loads(self.dev(self.doc.path, '--chain-only', '--json').stdout)
        self.assertEqual((j['simulated'], j['anchor']), (False, 'AWS Nitro Enclaves Root-G1'))
        r = self.dev(self.foreign(), '--chain-only', code=NO)
        self.assertNotIn('SIMULATED', r.stderr)
        self.assertIn('refused: chain_anchor: ', r.stderr)


class Show(AttestCase):
    def test_genuine_documents(self):
        for d in genuine():
            j = self.ctl('attest', 'show', d.path, '--json').json
            self.assertEqual((j['proved'], j['debug'], j['bytes']), (False, d.debug, len(d.raw)))
            self.assertEqual((j['module_id'], j['nonce']), (d.payload['module_id'], d.hex('nonce')))
            self.assertEqual(j['root'], 'AWS Nitro Enclaves Root-G1')
            ders = d.payload['cabundle'] + [d.payload['certificate']]
            self.assertEqual([c['place'] for c in j['certificates']], ['root', 'regional', 'zonal', 'instance', 'leaf'])
            for said, der in zip(j['certificates'], ders):
                x = x509.load_der_x509_certificate(der)
                self.assertEqual(int(said['serial'], 16), x.serial_number)
                self.assertEqual(said['sha256'], hashlib.sha256(der).hexdigest())
                self.assertEqual(said['from'], x.not_valid_before.strftime('%Y-%m-%dT%H:%M:%SZ'))
                self.assertEqual(said['until'], x.not_valid_after.strftime('%Y-%m-%dT%H:%M:%SZ'))
                for name, text in ((x.subject, said['subject']), (x.issuer, said['issuer'])):
                    cn = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
                    self.assertIn('CN=' + cn, text.split(','))
            out = self.ctl('attest', 'show', d.path).out
            self.assertTrue(out.startswith('NOT PROVED'))
            for said in j['certificates']:
                self.assertIn(said['serial'], out)

    def test_hostile(self):
        """Whoever writes a document writes what stands in its certificates."""
        path = self.document(cabundle=[b'\x30\x03no!', self.certificate('\x1b[2J\u202e\n')])
        j = self.ctl('attest', 'show', path, '--json').json
        self.assertEqual([c['place'] for c in j['certificates']], ['root', 'intermediate', 'leaf'])
        self.assertEqual(j['certificates'][0]['error'], 'this is no certificate')
        self.assertIsNone(j['root'])
        self.assertRegex(self.ctl('attest', 'show', path).out, r'\A[\x20-\x7e\n]+\Z')
        self.refused('chain_anchor', path, '--chain-only')

    @staticmethod
    def certificate(name):
        """Signed by itself; that does not matter here."""
        key = ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime(2026, 1, 1)
        return x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()) \
            .serial_number(7).not_valid_before(now).not_valid_after(now).sign(key, hashes.SHA384()).public_bytes(
                serialization.Encoding.DER)

    def test_form_is_asked(self):
        for n in (0, 1, 100, len(self.doc.raw) - 1):
            r = self.ctl('attest', 'show', '-', code=NO, stdin=base64.b64encode(self.doc.raw[:n]).decode())
            self.assertEqual(r.out, '')
            self.assertRegex(r.err, r'^cwcctl: standard input: refused: envelope_\w+: [^\n]+\n$')


class Pipes(AttestCase):
    def test_output_that_cannot_be_written(self):
        with open('/dev/full', 'wb') as full:
            for args in (('show', self.doc.path), ('verify', self.doc.path, '--chain-only')):
                r = subprocess.run([CTL, 'attest', *args], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(r.returncode, 70)

    def test_help(self):
        text = self.ctl('help', 'attest', 'verify').out
        for word in ('release NAME', 'pcrN HEX', '--chain-only', '--manifest FILE', '--pcr N=HEX', '12288'):
            self.assertIn(word, ' '.join(text.split()))
        self.assertIn('verify, show, measure, diff', self.ctl('attest', code=USAGE).err)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
