#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The enclave's image: the Dockerfile read strictly, its file system and bill of materials made for real, pin and build-eif
against stand-ins for docker and nitro-cli."""
import datetime
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from attest_case import CMDLINE, KERNEL, METADATA, RAMDISK, image  # noqa: E402
from host_case import Case, executable  # noqa: E402
from stack import BUILD, ROOT  # noqa: E402

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

IMAGE = os.path.join(ROOT, 'ops', 'image')
EXAMPLE = os.path.join(IMAGE, 'measured.example.conf')
HOST_CONF = os.path.join(ROOT, 'ops', 'host', 'host.conf')
EPOCH = '1700000000'
DIGEST = 'sha256:' + 'ab' * 32


def instructions():
    """[(instruction, arguments)] of the Dockerfile, continued lines joined, comments left out."""
    with open(os.path.join(IMAGE, 'Dockerfile'), encoding='utf-8') as f:
        text = ''.join(line for line in f if not line.startswith('#')).replace('\\\n', ' ')
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Dockerfile(unittest.TestCase):
    def test_only_known_instructions(self):
        for name, _ in instructions():
            self.assertIn(name, {'ARG', 'FROM', 'ENV', 'COPY', 'WORKDIR', 'RUN', 'ENTRYPOINT'})

    def test_no_digest_no_build(self):
        """The base has no tag alone, and its digest no default: without one the reference is none, and docker says so."""
        lines = instructions()
        self.assertEqual(lines[0], ('ARG', 'BASE_DIGEST'))
        self.assertEqual([a for n, a in lines if n == 'ARG' and '=' in a], [])
        bases = [a.split() for n, a in lines if n == 'FROM']
        self.assertEqual([b[0] for b in bases if b[0] != 'scratch'], ['debian:bookworm-slim@${BASE_DIGEST}'])
        self.assertEqual([(b[1], b[2]) for b in bases], [('AS', 'build'), ('AS', 'artifacts'), ('AS', 'release')])
        # The grammar of references: a digest is needed behind the @.
        reference = r'[a-z0-9]+([._-][a-z0-9]+)*(:\w[\w.-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,})?'
        self.assertRegex(bases[0][0].replace('${BASE_DIGEST}', DIGEST), '^%s$' % reference)
        self.assertNotRegex(bases[0][0].replace('${BASE_DIGEST}', ''), '^%s$' % reference)

    def test_final_stages_have_nothing_but_what_was_laid_out(self):
        stages, current = {}, None
        for name, args in instructions()[1:]:
            if name == 'FROM':
                current = stages.setdefault(args.split()[2], [])
            else:
                current.append((name, args))
        self.assertEqual(stages['artifacts'], [('COPY', '--from=build /out/ /')])
        self.assertEqual([n for n, _ in stages['release']], ['COPY', 'ENTRYPOINT'])
        self.assertEqual(stages['release'][0][1], '--from=build /rootfs/ /')
        # The lock before the tree, so that a changed line of code does not fetch everything anew.
        self.assertEqual([a for n, a in stages['build'] if n == 'COPY'],
                         ['ops/image/packages.lock /src/ops/image/packages.lock', '. /src'])
        self.assertNotRegex(str(stages), r'curl |wget |http|ADD |:latest|sudo|chmod 777')

    def test_entry_point_is_in_the_image(self):
        words = json.loads(instructions()[-1][1])
        self.assertEqual(words[0], '/usr/sbin/cwc-init')
        worker = words[words.index('--') + 1:]
        self.assertEqual(worker, ['/usr/sbin/cwc-worker', '--config', '/etc/cwc-worker/cwc-worker.conf'])
        self.assertEqual(words[words.index('--user') + 1], '10001')


class Made(Case):
    """rootfs and sbom, on the packages of this machine."""

    @classmethod
    def make(cls, at, epoch=EPOCH, conf=EXAMPLE):
        env = {**os.environ, 'SOURCE_DATE_EPOCH': epoch}
        return subprocess.run([os.path.join(IMAGE, 'rootfs'), BUILD, conf, at], capture_output=True, text=True, timeout=120,
                              env=env, cwd=ROOT)

    def bill(self, at, out, epoch=EPOCH):
        env = {**os.environ, 'SOURCE_DATE_EPOCH': epoch}
        return subprocess.run([os.path.join(IMAGE, 'sbom'), at, out], capture_output=True, text=True, timeout=120, env=env)

    @staticmethod
    def tree(at):
        found = {}
        for folder, dirs, names in os.walk(at):
            for name in dirs + names:
                path = os.path.join(folder, name)
                st = os.lstat(path)
                content = open(path, 'rb') if os.path.isfile(path) else None
                found[os.path.relpath(path, at)] = (st.st_mode, int(st.st_mtime),
                                                    hashlib.sha256(content.read()).hexdigest() if content else None)
                if content:
                    content.close()
        return found

    def test_root(self):
        at = self.path('r')
        r = self.make(at)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        tree = self.tree(at)
        self.assertLessEqual({'proc', 'sys', 'dev', 'run', 'tmp', 'usr/sbin/cwc-worker', 'usr/sbin/cwc-init', 'etc/passwd',
                              'etc/ssl/certs/ca-certificates.crt', 'etc/cwc-worker/cwc-worker.conf'}, set(tree))
        self.assertFalse({p for p in tree if re.search(r'bin/(sh|bash|dash|perl|python|apt|dpkg)', p)})
        self.assertEqual({t for _, t, _ in tree.values()}, {int(EPOCH)})
        self.assertEqual({oct(m & 0o7777) for m, _, _ in tree.values()}, {'0o755', '0o644', '0o1777'})
        self.assertTrue(executable(os.path.join(at, 'usr/sbin/cwc-init')))
        # Again, elsewhere: the same to the bit.
        self.assertEqual(self.make(self.path('again')).returncode, 0)
        self.assertEqual(self.tree(self.path('again')), tree)
        self.assertEqual(self.make(at).returncode, 64)

    def test_a_configuration_that_the_worker_refuses(self):
        conf = self.write('bad.conf', '[worker]\nenvironment = production\n')
        self.assertNotEqual(self.make(self.path('r'), conf=conf).returncode, 0)
        self.assertFalse(os.path.exists(self.path('r')))

    @unittest.skipUnless(os.geteuid() == 0, 'needs root for chroot')
    def test_it_runs_in_there(self):
        """All libraries are inside, and the user may read all that it needs."""
        at = self.path('r')
        self.assertEqual(self.make(at).returncode, 0)
        os.chmod(self.dir, 0o755)
        with open(HOST_CONF, 'rb') as f:
            self.write(os.path.join(at, 'run/host.conf'), f.read())
        self.write(os.path.join(at, 'dev/null'), '')     # a device in an enclave
        words = json.loads(instructions()[-1][1])
        worker = words[words.index('--') + 1:]
        r = subprocess.run(['chroot', at, '/usr/sbin/cwc-init', '--user', '10001', '--', *worker, '--host-config', '/run/host.conf',
                            '--check-config'], capture_output=True, text=True, timeout=60)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        r = subprocess.run(['chroot', '--userspec=10001:10001', at, *worker, '--host-config', '/run/host.conf', '--check-config'],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual((r.returncode, r.stdout), (0, 'cwc-worker: the configuration is good\n'), r.stderr)

    def test_bill_of_materials(self):
        at, out = self.path('r'), self.path('out')
        self.assertEqual(self.make(at).returncode, 0)
        r = self.bill(at, out)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        with open(os.path.join(out, 'sbom.spdx.json'), encoding='utf-8') as f:
            text = f.read()
        self.spdx(json.loads(text))
        o = json.loads(text)
        tree = self.tree(at)
        self.assertEqual({f['fileName'][2:]: f['checksums'][1]['checksumValue'] for f in o['files']},
                         {p: h for p, (_, _, h) in tree.items() if h})
        packages = {p['name']: p for p in o['packages']}
        self.assertLessEqual({'cwc-worker', 'libc6', 'libsodium23', 'ca-certificates', 'libcurl4'}, set(packages))
        for name in ('libc6', 'libsodium23', 'zlib1g'):
            said = subprocess.run(['dpkg-query', '-W', '-f=${Version}', name], capture_output=True, text=True).stdout
            self.assertEqual(packages[name]['versionInfo'], said)
        # Nothing of when and where it was made.
        self.assertEqual(self.bill(at, self.path('out2')).returncode, 0)
        with open(self.path('out2/sbom.spdx.json'), encoding='utf-8') as f:
            self.assertEqual(f.read(), text)

    def spdx(self, o):
        """SPDX 2.3: what its schema requires, and that every reference leads somewhere."""
        self.assertEqual((o['spdxVersion'], o['dataLicense'], o['SPDXID']), ('SPDX-2.3', 'CC0-1.0', 'SPDXRef-DOCUMENT'))
        self.assertEqual(o['creationInfo']['created'], '2023-11-14T22:13:20Z')
        self.assertRegex(o['creationInfo']['creators'][0], r'^(Tool|Person|Organization): ')
        self.assertRegex(o['documentNamespace'], r'^https://[^#]+$')
        ids = ['SPDXRef-DOCUMENT']
        for p in o['packages']:
            self.assertEqual({'SPDXID', 'name', 'versionInfo', 'downloadLocation', 'filesAnalyzed', 'licenseConcluded',
                              'licenseDeclared', 'copyrightText'} - set(p), set())
            for e in p.get('externalRefs', []):
                self.assertEqual(set(e), {'referenceCategory', 'referenceType', 'referenceLocator'})
                self.assertRegex(e['referenceLocator'], r'^pkg:deb/debian/[a-z0-9.%+-]+@[A-Za-z0-9.:~%+-]+\?arch=\w+$')
            ids.append(p['SPDXID'])
        for f in o['files']:
            self.assertEqual({'SPDXID', 'fileName', 'checksums'} - set(f), set())
            self.assertEqual([(c['algorithm'], len(c['checksumValue'])) for c in f['checksums']], [('SHA1', 40), ('SHA256', 64)])
            ids.append(f['SPDXID'])
        self.assertEqual(len(ids), len(set(ids)))
        for i in ids:
            self.assertRegex(i, r'^SPDXRef-[A-Za-z0-9.-]+$')
        contained = set()
        for r in o['relationships']:
            self.assertLessEqual({r['spdxElementId'], r['relatedSpdxElement']}, set(ids))
            self.assertIn(r['relationshipType'], {'DESCRIBES', 'DEPENDS_ON', 'CONTAINS'})
            if r['relationshipType'] == 'CONTAINS':
                contained.add(r['relatedSpdxElement'])
        self.assertEqual(contained, {f['SPDXID'] for f in o['files']})

    def test_what_nobody_owns_is_refused(self):
        self.write('r/usr/lib/stray.so', 'x')
        r = self.bill(self.path('r'), self.path('out'))
        self.assertNotEqual(r.returncode, 0)
        self.assertIn('no package owns /usr/lib/stray.so', r.stderr)


class Pin(Case):
    def setUp(self):
        super().setUp()
        for name in ('pin',):
            with open(os.path.join(IMAGE, name), encoding='utf-8') as f:
                self.write('ops/image/' + name, f.read(), 0o755)
        with open(os.path.join(ROOT, 'ops', 'install-deps'), encoding='utf-8') as f:
            self.write('ops/install-deps', f.read())

    def pin(self, digest=DIGEST, lock='gcc=4:12.2.0-3\nlibsodium-dev=1.0.18-1\n'):
        self.write('lock', lock)
        self.stub('docker', 'case $1 in image) echo debian@%s;; run) cat %s;; esac' % (digest, self.path('lock')))
        return subprocess.run([self.path('ops/image/pin')], capture_output=True, text=True, timeout=30, env=self.env)

    def test_written(self):
        r = self.pin()
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertEqual(self.read(self.path('ops/image/base.digest')), DIGEST + '\n')
        self.assertEqual(self.read(self.path('ops/image/packages.lock')).splitlines()[1:],
                         ['gcc=4:12.2.0-3', 'libsodium-dev=1.0.18-1'])
        run = ' '.join(self.calls())
        self.assertIn('debian@' + DIGEST, run)
        for package in ('gcc', 'libsodium-dev', 'libseccomp-dev', 'ca-certificates', 'binutils'):
            self.assertRegex(run, r' %s( |$)' % package)

    def test_what_apt_says(self):
        """What is new, and what the base has in an older version, which apt names in brackets; nothing else of its answer."""
        said = ('Inst libssl3 [3.0.11-1~deb12u2] (3.0.17-1~deb12u2 Debian:12.12/oldstable [arm64])\n'
                'Inst make (4.3-4.1 Debian:12.12/oldstable [arm64])\n'
                'Inst libssl-dev (3.0.17-1~deb12u2 Debian:12.12/oldstable [arm64]) []\n'
                'Conf libssl3 (3.0.17-1~deb12u2 Debian:12.12/oldstable [arm64])\n')
        self.write('said', said)
        self.stub('apt-get', 'case $1 in install) cat %s;; esac' % self.path('said'))
        self.stub('docker', 'case $1 in image) echo debian@%s;; run) shift 3; exec "$@";; esac' % DIGEST)
        r = subprocess.run([self.path('ops/image/pin')], capture_output=True, text=True, timeout=30, env=self.env)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertEqual(self.read(self.path('ops/image/packages.lock')).splitlines()[1:],
                         ['libssl-dev=3.0.17-1~deb12u2', 'libssl3=3.0.17-1~deb12u2', 'make=4.3-4.1'])

    def test_nothing_is_written_of_a_bad_answer(self):
        for more in ({'digest': 'latest'}, {'digest': ''}, {'lock': ''}):
            self.assertNotEqual(self.pin(**more).returncode, 0)
            self.assertFalse(os.path.exists(self.path('ops/image/base.digest')))


class BuildEif(Case):
    """In a repository of its own, with the real cwcctl, and a nitro-cli that packs images as AWS's does."""

    def setUp(self):
        super().setUp()
        for tool in ('git', 'tar', 'openssl', 'diff'):
            os.symlink('/usr/bin/' + tool if os.path.exists('/usr/bin/' + tool) else '/bin/' + tool, os.path.join(self.bin, tool))
        self.repo = self.path('repo')
        for name in ('ops/build-eif', 'ops/image/Dockerfile'):
            with open(os.path.join(ROOT, name), encoding='utf-8') as f:
                self.write('repo/' + name, f.read(), 0o755)
        self.env.update(HOME=self.dir, CWCCTL=os.path.abspath(os.path.join(ROOT, BUILD, 'cwcctl')), GIT_CONFIG_NOSYSTEM='1',
                        GIT_AUTHOR_NAME='a', GIT_AUTHOR_EMAIL='a@example.org', GIT_COMMITTER_NAME='a',
                        GIT_COMMITTER_EMAIL='a@example.org', GIT_COMMITTER_DATE='@%s +0000' % EPOCH)
        self.git('init', '-q')
        self.git('add', '-A')
        self.git('commit', '-qm', 'one')
        self.write('repo/ops/image/measured.conf', 'measured\n')
        self.write('repo/ops/image/base.digest', DIGEST + '\n')
        self.write('repo/ops/image/packages.lock', 'gcc=1\n')
        self.fixtures()

    def git(self, *args):
        return subprocess.run(['git', '-C', self.repo, *args], capture_output=True, text=True, check=True, env=self.env).stdout.strip()

    def eif(self, name, seed=1):
        rnd = random.Random(seed)
        raw = image([(KERNEL, b'kernel'), (CMDLINE, b'reboot=k'), (METADATA, b'{"BuildTime":"%d"}' % rnd.randrange(1 << 30)),
                     (RAMDISK, b'boot'), (RAMDISK, b'app%d' % (seed > 99))])
        path = self.write(name, raw)
        said = subprocess.run([self.env['CWCCTL'], 'attest', 'measure', path, '--json'], capture_output=True, text=True, check=True)
        return {('PCR' + k): v for k, v in json.loads(said.stdout)['pcrs'].items()}

    def fixtures(self, second=2, lie=None):
        artifacts = {'sbom.spdx.json': '{}', 'packages.txt': 'libc6 2.36-9 arm64\n',
                     'files.txt': '%s %s cwc-worker /usr/sbin/cwc-worker\n%s %s libc6 /lib/libc.so.6\n' % ('a' * 64, 'b' * 40, 'c' * 64, 'd' * 40)}
        for name, text in artifacts.items():
            self.write('artifacts/' + name, text)
        for n, seed in ((1, 1), (2, second)):
            pcrs = self.eif('eif-%d' % n, seed)
            if lie:
                pcrs.update(lie)
            self.write('said-%d' % n, json.dumps({'Measurements': {'HashAlgorithm': 'Sha384 { ... }', **pcrs}}))
        # Without BuildKit, which is not the default of Debian's docker, there is no --output.
        self.stub('docker', '''[ "$DOCKER_BUILDKIT" = 1 ] || { echo '"--output" requires BuildKit' >&2; exit 125; }
for a; do case $a in type=local,dest=*) cp %s/* "${a#type=local,dest=}";; esac; done
for last; do :; done
cat "$last/ops/image/measured.conf" "$last/ops/image/packages.lock" >/dev/null''' % self.path('artifacts'))
        self.stub('nitro-cli', '''[ "$1" != --version ] || { echo "Nitro CLI 1.4.2"; exit; }
n=1; [ ! -e %(d)s/built ] || n=2; touch %(d)s/built
while [ $# -gt 1 ]; do [ "$1" != --output-file ] || cp %(d)s/eif-$n "$2"; shift; done
cat %(d)s/said-$n''' % {'d': self.dir})

    def build(self, *args, out='out'):
        return subprocess.run([os.path.join(self.repo, 'ops/build-eif'), '--out', self.path(out), '--release', '1.4.0', *args],
                              capture_output=True, text=True, timeout=60, env=self.env)

    def test_release(self):
        r = self.build()
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        release = json.loads(self.read(self.path('out/release.json')))
        with open(self.path('out/cwc-worker.eif'), 'rb') as f:
            self.assertEqual(release['eif']['sha256'], hashlib.sha256(f.read()).hexdigest())
        said = json.loads(self.read(self.path('said-1')))['Measurements']
        self.assertEqual(release['pcrs'], {k[3:]: v for k, v in said.items() if k.startswith('PCR')})
        self.assertEqual((release['commit'], release['base']['digest'], release['source_date_epoch'], release['signed'],
                          release['reproduced'], release['certificate_not_after']),
                         (self.git('rev-parse', 'HEAD'), DIGEST, int(EPOCH), False, False, None))
        self.assertEqual(release['programs'], {'/usr/sbin/cwc-worker': 'a' * 64})
        self.assertEqual(release['packages'], [{'name': 'libc6', 'version': '2.36-9', 'architecture': 'arm64'}])
        self.assertEqual(release['measured_conf_sha256'], hashlib.sha256(b'measured\n').hexdigest())
        manifest = self.read(self.path('out/releases.txt'))
        self.assertTrue(manifest.startswith('release 1.4.0\npcr0 %s\n' % said['PCR0']))
        # What the runner and preflight ask.
        self.assertEqual(subprocess.run([self.env['CWCCTL'], 'attest', 'diff', self.path('out/releases.txt'),
                                         self.path('out/cwc-worker.eif')], capture_output=True).returncode, 0)
        docker = self.calls('docker build')
        self.assertEqual(len(docker), 2)
        for call in docker:
            self.assertIn('--build-arg BASE_DIGEST=%s --build-arg SOURCE_DATE_EPOCH=%s' % (DIGEST, EPOCH), call)
        self.assertIn('--no-cache', docker[0])
        self.assertRegex(self.calls('nitro-cli build-enclave')[0],
                         r'^nitro-cli build-enclave --docker-uri cwc-worker:1\.4\.0 --output-file \S+/cwc-worker\.eif$')
        self.assertEqual(self.build().returncode, 1, 'made twice')

    def test_measurements_that_differ(self):
        self.fixtures(lie={'PCR2': 'ab' * 48})
        r = self.build()
        self.assertEqual(r.returncode, 1)
        self.assertIn('measure different things', r.stderr)
        self.assertFalse(os.path.exists(self.path('out')))

    def test_twice(self):
        self.assertEqual(self.build('--twice').returncode, 0)
        self.assertIs(json.loads(self.read(self.path('out/release.json')))['reproduced'], True)
        self.assertEqual(len(self.calls('docker build')), 4)
        os.unlink(self.path('built'))
        self.fixtures(second=100)
        r = self.build('--twice', out='out2')
        self.assertEqual(r.returncode, 1)
        self.assertIn('a second build measures something else', r.stderr)

    def certificate(self, days):
        """A signer whose certificate ends in so many days."""
        key, now = ec.generate_private_key(ec.SECP384R1()), datetime.datetime.now(datetime.timezone.utc)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'releases')])
        cert = x509.CertificateBuilder(name, name, key.public_key(), 7, now - datetime.timedelta(days=10),
                                       now + datetime.timedelta(days=days)).sign(key, hashes.SHA384())
        self.write('k.pem', key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()), 0o600)
        self.write('c.pem', cert.public_bytes(serialization.Encoding.PEM))
        return ['--key', self.path('k.pem'), '--certificate', self.path('c.pem')]

    def test_signed(self):
        r = self.build(*self.certificate(1000))
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertIn('--private-key %s --signing-certificate %s' % (self.path('k.pem'), self.path('c.pem')),
                      self.calls('nitro-cli build-enclave')[0])
        self.assertRegex(json.loads(self.read(self.path('out/release.json')))['certificate_not_after'], r'GMT$')
        self.assertIn('within 90 days', self.build(*self.certificate(30), out='out2').stderr)
        self.assertIn('E36', self.build(*self.certificate(-1), out='out3').stderr)
        self.assertFalse(os.path.exists(self.path('out3')))

    def test_refused(self):
        self.assertIn('go together', self.build('--key', 'x').stderr)
        self.assertEqual(self.build('--what').returncode, 64)
        os.unlink(os.path.join(self.repo, 'ops/image/measured.conf'))
        self.assertIn('measured.conf', self.build().stderr)
        self.write('repo/ops/image/base.digest', 'latest\n')
        self.assertIn('no digest', self.build().stderr)
        os.unlink(os.path.join(self.repo, 'ops/image/base.digest'))
        self.assertIn('not pinned', self.build().stderr)
        self.assertEqual(self.calls('docker'), [])

    def test_a_tree_with_changes(self):
        self.write('repo/ops/image/Dockerfile', 'FROM x\n')
        self.assertIn('in no commit', self.build().stderr)
        self.assertEqual(self.build('--allow-dirty').returncode, 0)


if __name__ == '__main__':
    unittest.main()
