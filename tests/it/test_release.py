#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a release program is made of: one root, and nothing of the simulator. It refuses what the simulator makes at the
root, whatever is asked behind it, and takes no configuration that names what is simulated. A development build, which has
and takes all that, shows that these tests can fail."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import STAGES, AttestCase, manifest, some_pcr  # noqa: E402
from cwcctl_case import BUILD, CONFIG, CTL, NO, ROOT, Case  # noqa: E402

DEVELOPMENT = os.environ.get('CWC_DEV_BUILD', os.path.join(ROOT, 'build', 'dev'))
SIMULATOR = os.path.join(BUILD, 'tools', 'nsm_sim')
LIBRARY = os.path.join(BUILD, 'libsim.a')
PROGRAMS = ('cwcctl', 'cwc-worker')
# A certificate is SEQUENCE { SEQUENCE { [0] { INTEGER 2 } ..., with lengths in one of the three forms that those of a
# certificate have.
LENGTH = rb'(?:[\x00-\x7f]|\x81.|\x82..)'
CERTIFICATE = re.compile(rb'\x30' + LENGTH + rb'\x30' + LENGTH + rb'\xa0\x03\x02\x01\x02', re.DOTALL)
PEM = re.compile(rb'-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/]')
# `anchor_simulated` asks whether a root is the hypervisor's: a release program asks, and the answer is yes. CWC_SIM_: the
# simulated device's environment.
NAMES = re.compile(rb'[ -~]*(?:nsm_sim|pki_sim|anchor_sim(?!ulated)|tests/sim|sim\.nitro-enclaves|simulated root|CWC_SIM_)[ -~]*')
SYMBOL = re.compile(r'nsm_sim|pki_|anchor_sim(?!ulated$)')  # also what libsim.a does not have
PRIVATE = bytes.fromhex('bd82902d9514920f5c885507848fc4d3')  # of the simulated root's private key
# What plays the device in a worker.
DEVICE = {'attest_anchor_sim', 'attestor_simulate', 'nsm_sim_new', 'nsm_sim_exchange', 'pki_chain_new', 'anchor_sim_key'}


def content(path):
    with open(path, 'rb') as f:
        return f.read()


def symbols(path, *options):
    """Of all that nm lists: debug information does not count, a static function does."""
    out = subprocess.run(['nm', *options, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    return {line.split()[-1] for line in out.stdout.splitlines() if len(line.split()) > 1}


def simulated_root():
    return subprocess.run([SIMULATOR, '--root'], stdout=subprocess.PIPE, check=True, timeout=30).stdout


def point(der):
    """The key of a P-384 certificate."""
    at = der.index(bytes.fromhex('2b81040022036200')) + 8
    return der[at:at + 97]


def program(build, name):
    path = os.path.join(build, name)
    if not os.path.exists(path):
        raise unittest.SkipTest('there is no %s' % path)
    return path


class Binary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(SIMULATOR) or not os.path.exists(LIBRARY):
            raise unittest.SkipTest('the simulator of the security module is not built')
        cls.aws = content(os.path.join(ROOT, 'tests', 'vectors', 'nitro', 'aws-nitro-root-g1.der'))
        cls.simulated = simulated_root()
        # What the simulator alone has: none of it is a name of the programs, too.
        cls.names = symbols(LIBRARY, '-g', '--defined-only')

    def test_simulator(self):
        """What is looked for is what there is."""
        self.assertLess(DEVICE | {'pki_root_key'}, self.names)
        self.assertIn(PRIVATE, content(LIBRARY))
        self.assertIn(b'CWC_SIM_', content(LIBRARY))
        self.assertEqual([m.start() for m in CERTIFICATE.finditer(self.simulated)], [0])
        self.assertEqual([m.start() for m in CERTIFICATE.finditer(self.aws)], [0])
        self.assertRegex(self.simulated, rb'sim\.nitro-enclaves')
        self.assertNotEqual(point(self.aws), point(self.simulated))

    def test_release(self):
        for name in PROGRAMS:
            with self.subTest(name):
                path = program(BUILD, name)
                raw, names = content(path), symbols(path)
                self.assertGreater(len(names), 500, 'the program has lost its symbols, and this test its eyes')
                self.assertEqual(names & self.names, set())
                self.assertEqual({n for n in names if SYMBOL.match(n)}, set())
                self.assertEqual([m.group() for m in NAMES.finditer(raw)], [])
                for part in (self.simulated, self.simulated[4:-4], point(self.simulated), PRIVATE):
                    self.assertNotIn(part, raw)
                self.assertIsNone(PEM.search(raw))
                # All certificates are the one root. (A place that has the form by chance would be seen here, too.)
                found = [raw[m.start():m.start() + len(self.aws)] for m in CERTIFICATE.finditer(raw)]
                self.assertEqual(found, [self.aws])
                self.assertEqual(raw.count(self.aws), 1)
                self.assertEqual(raw.count(point(self.aws)), 1)
                self.assertIn('attest_anchor_aws', names)

    def test_development(self):
        """The same looks at what has a simulator find it."""
        for name in PROGRAMS:
            with self.subTest(name):
                path = program(DEVELOPMENT, name)
                raw, names = content(path), symbols(path)
                self.assertIn('attest_anchor_sim', names & self.names)
                self.assertTrue(NAMES.search(raw))
                for part in (self.simulated, self.simulated[4:-4], point(self.simulated), self.aws):
                    self.assertIn(part, raw)
                self.assertEqual(len(CERTIFICATE.findall(raw)), 2)
        names, raw = symbols(program(DEVELOPMENT, 'cwc-worker')), content(program(DEVELOPMENT, 'cwc-worker'))
        self.assertLessEqual(DEVICE, names)
        self.assertTrue({n for n in names if SYMBOL.match(n)})
        for part in (PRIVATE, b'CWC_SIM_'):
            self.assertIn(part, raw)


@unittest.skipUnless(os.path.exists(SIMULATOR), 'the simulator of the security module is not built')
class Documents(AttestCase):
    """Every kind of document that the simulator makes, under every policy: the root comes first, and ends it."""
    PCRS = {i: some_pcr('sim%d' % i) for i in range(3)}
    KINDS = {
        'newest': (), 'definite': ('--definite',), 'debug': ('--debug',), 'debug, definite': ('--debug', '--definite'),
        'all fields': ('--nonce', '5a' * 20, '--user-data', '01' * 32, '--public-key', '30' * 294),
        'empty fields': ('--nonce', '', '--user-data', ''),
        'largest fields': ('--nonce', '5a' * 512, '--user-data', '01' * 512, '--public-key', '30' * 1024),
        'region': ('--region', 'eu-central-1'), 'role': ('--role', 'arn:aws:iam::111122223333:role/worker'),
        'instance': ('--instance', 'i-0123456789abcdef0', '--enclave', '0123456789abcdef'),
        'locked': ('--pcr', '16=' + some_pcr('locked'), '--pcr', '31=' + some_pcr('last')),
        'signed image': ('--pcr', '8=' + some_pcr('signer')), 'old': ('--time', '1770918962000'),
    }

    def simulated(self, *args):
        pcrs = [x for i, v in self.PCRS.items() for x in ('--pcr', '%d=%s' % (i, v))]
        raw = subprocess.run([SIMULATOR, *pcrs, *args], stdout=subprocess.PIPE, check=True, timeout=30).stdout
        return self.write('simulated.cbor', raw)

    def policies(self):
        own = ','.join('%d=%s' % row for row in self.PCRS.items())
        releases = self.write('releases.txt', manifest(own=self.PCRS, other={0: some_pcr('other')}))
        return {'own': ('--pcr', own), 'manifest': ('--manifest', releases), 'other': ('--pcr', '0=' + some_pcr('other')),
                'chain only': ('--chain-only',), 'its nonce': ('--pcr', own, '--nonce', '5a' * 20),
                'another nonce': ('--pcr', own, '--nonce', '5b' * 20), 'its time': ('--pcr', own, '--at', '1770918963'),
                'any age': ('--pcr', own, '--max-age', '365d'), 'long ago': ('--pcr', own, '--at', '2020-01-01T00:00:00Z')}

    def test_refused_at_the_root(self):
        policies = self.policies()
        for kind, options in self.KINDS.items():
            path = self.simulated(*options)
            for policy, args in policies.items():
                with self.subTest(kind=kind, policy=policy):
                    j = self.refused('chain_anchor', path, *args, stage='chain')
                    behind = STAGES[STAGES.index('chain') + 1:]
                    self.assertEqual([j['stages'][s] for s in behind], ['not asked'] * len(behind))
                    self.assertEqual((j['stages']['envelope'], j['stages']['payload']), ('passed', 'passed'))
                    self.assertEqual((j['simulated'], j['anchor'], j['release'], j['certificate']), (False, None, None, 0))

    def test_development_takes_them(self):
        """What is refused for its root is refused for nothing else."""
        dev = program(DEVELOPMENT, 'cwcctl')
        args = ('--manifest', self.policies()['manifest'][1])
        for kind, options in self.KINDS.items():
            at = ('--at', '1770918963') if kind == 'old' else ()
            path = self.simulated(*options)
            r = subprocess.run([dev, 'attest', 'verify', path, *args, *at], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, timeout=30, check=False)
            # The simulator sets what it is told to: these are not zero, and so not of debug mode.
            self.assertEqual(r.returncode, 0, (kind, r.stderr))
            self.assertRegex(r.stderr, r'^cwcctl: SIMULATED: ')


MEASURED = """[worker]
environment = sandbox
[jobs]
signer = app-2026 %s
[attest]
device = %%s
[keys]
source = %%s
%%s
""" % ('ab' * 32)


class Configuration(Case):
    """The words for what is simulated are none in a release program."""

    def said(self, argv, text):
        """What it has against a configuration, by key; of a file that has more wrong with it than what is asked here."""
        path = self.write('measured.conf', text)
        r = subprocess.run([*argv, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           timeout=30, check=False)
        found = {}
        for line in (r.stdout + r.stderr).splitlines():
            m = re.search(r'measured\.conf:(?:\d+: )?(?:\d+:)? ?([a-z]+\.[a-z_]+): (.+)', line)
            if m:
                found.setdefault(m[1], m[2])
        return r.returncode, found

    def programs(self, build):
        return ([program(build, 'cwc-worker'), '--config'], [program(build, 'cwcctl'), 'config', 'check'])

    def test_release(self):
        for argv in self.programs(BUILD):
            with self.subTest(argv[0]):
                _, plain = self.said(argv, MEASURED % ('none', 'boot', ''))
                self.assertNotIn('attest.device', plain)
                self.assertNotIn('keys.source', plain)
                code, found = self.said(argv, MEASURED % ('simulated', 'boot', ''))
                self.assertEqual(code, CONFIG)
                self.assertRegex(found['attest.device'], r'\bnsm\b.*\bnone\b')
                self.assertNotIn('simulated', found['attest.device'])
                code, found = self.said(argv, MEASURED % ('none', 'file', ''))
                self.assertEqual(code, CONFIG)
                self.assertRegex(found['keys.source'], r'\bboot\b.*\bsealed\b')
                self.assertNotIn('file', found['keys.source'])
                code, found = self.said(argv, MEASURED % ('none', 'boot', 'file = /etc/ring'))
                self.assertEqual(code, CONFIG)
                self.assertIn('keys.file', found)

    def test_development(self):
        for argv in self.programs(DEVELOPMENT):
            with self.subTest(argv[0]):
                _, found = self.said(argv, MEASURED % ('simulated', 'file', 'file = /etc/ring'))
                for key in ('attest.device', 'keys.source', 'keys.file'):
                    self.assertNotIn(key, found)
                _, found = self.said(argv, MEASURED % ('imagined', 'thin air', ''))
                self.assertIn('simulated', found['attest.device'])
                self.assertIn('file', found['keys.source'])

    def test_not_shown(self):
        """Nor does its manual speak of them."""
        for word in ('measured', 'man'):
            text = subprocess.run([CTL, 'config', 'example', word], stdout=subprocess.PIPE, check=True, text=True).stdout
            self.assertNotIn('simulated', text)
        self.assertNotEqual(NO, CONFIG)


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
