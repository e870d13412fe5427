# SPDX-License-Identifier: Apache-2.0
"""Runs what an instance runs at its first start, taken out of ops/aws/fleet.yaml, in an empty directory and with commands of
its own in place of dnf, systemctl, aws, nitro-cli and curl, which write down what they were asked for. Nothing of AWS is
reached; whether AWS's own commands do what is asked of them is not shown here."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import templates  # noqa: E402

CTL = os.path.join(os.environ.get('CWC_BUILD', os.path.join(templates.ROOT, 'build', 'release')), 'cwcctl')
PCRS = {0: '0a' * 48, 1: '1b' * 48, 2: '2c' * 48}
STUB = r'''#!/bin/bash
name=$(basename "$0")
echo "$name $*" >>"$STUB_LOG"
if [ -e "$STUB_DIR/fail" ] && printf '%s\n' "$name $*" | grep -q -f "$STUB_DIR/fail"; then
	echo "stub: $name says no" >&2
	exit 1
fi
case "$name $*" in
'aws s3 cp '*)
	from=${@: -2:1} to=${@: -1}
	cp "$STUB_DIR/s3/${from#s3://}" "$to" || exit 1
	;;
'nitro-cli describe-eif '*) cat "$STUB_DIR/eif.json" ;;
*'/latest/api/token'*) echo token ;;
*'/latest/meta-data/instance-id'*) echo i-0123456789abcdef0 ;;
*'/health'*) printf 200 ;;
esac
exit 0
'''
PREFLIGHT = '#!/bin/bash\necho "preflight $*" >>"$STUB_LOG"\nexit "$(cat "$STUB_DIR/preflight-says" 2>/dev/null || echo 0)"\n'


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class UserData(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='cwc-user-data-')
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ('bin', 'root', 's3/images/1.4.0', 's3/store/1.4.0'):
            os.makedirs(os.path.join(self.dir, name))
        for command in ('dnf', 'systemctl', 'systemd-sysusers', 'systemd-tmpfiles', 'aws', 'nitro-cli', 'curl', 'sleep',
                        'amazon-cloudwatch-agent-ctl', 'chown'):
            self.write('bin/' + command, STUB, 0o755)
        self.write('s3/images/1.4.0/cwc-worker.eif', 'an image')
        self.write('s3/images/1.4.0/releases.txt', 'release 1.4.0\n' + ''.join('pcr%d %s\n' % p for p in PCRS.items()))
        self.write('s3/store/1.4.0/store', 'sealed')
        self.write('s3/store/1.4.0/redis-password', 'a password of sixteen\n')
        self.pack()
        self.sums()
        self.measured(PCRS)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def read(self, name):
        with open(self.path(name), 'rb') as f:
            return f.read()

    def pack(self):
        """The host's part as it is, but for preflight, which looks at the machine and has tests of its own."""
        self.write('preflight', PREFLIGHT, 0o755)
        with tarfile.open(self.path('s3/images/1.4.0/cwc-host.tar.gz'), 'w:gz') as t:
            t.add(os.path.join(templates.ROOT, 'ops/host'), 'ops/host')
            t.add(os.path.join(templates.ROOT, 'ops/aws/units'), 'ops/aws/units')
            t.add(os.path.join(templates.ROOT, 'ops/aws/cwc-scale'), 'ops/aws/cwc-scale')
            t.add(self.path('preflight'), 'ops/preflight')

    def sums(self):
        names = ('cwc-worker.eif', 'releases.txt', 'cwc-host.tar.gz')
        text = ''.join('%s  %s\n' % (sha256(self.read('s3/images/1.4.0/' + n)), n) for n in names)
        self.write('s3/images/1.4.0/SHA256SUMS', text)
        self.sha256 = sha256(text.encode())

    def measured(self, pcrs):
        inner = ', '.join('"PCR%d": "%s"' % p for p in pcrs.items())
        self.write('eif.json', '{"EifVersion": 4, "Measurements": {"HashAlgorithm": "Sha384 { ... }", %s}}' % inner)

    def script(self):
        names = {'cwc-data-ImageBucket': 'images', 'cwc-data-StoreBucket': 'store', 'cwc-data-RedisHost': 'redis.example.net',
                 'cwc-data-RedisPort': '6380', 'cwc-data-QueueName': 'letters'}
        stack = templates.Stack(templates.read('fleet'), imports=lambda name: names.get(name, name), Release='1.4.0',
                                KeysStack='cwc-keys', ReleaseSha256=self.sha256,
                                **{'Pcr%d' % i: v for i, v in PCRS.items()})
        text = stack.resources()['LaunchTemplate']['LaunchTemplateData']['UserData']
        self.assertLess(len(text), 16384, 'EC2 takes 16 KiB')
        self.assertEqual(text.count('\nROOT=\n'), 1)
        return text

    def run_it(self, status=0):
        self.write('user-data', self.script().replace('\nROOT=\n', "\nROOT='%s'\n" % self.path('root')), 0o755)
        if os.path.exists(self.path('log')):
            os.unlink(self.path('log'))
        env = {'PATH': self.path('bin') + ':/usr/bin:/bin', 'STUB_DIR': self.dir, 'STUB_LOG': self.path('log'), 'HOME': self.dir}
        r = subprocess.run([self.path('user-data')], env=env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60, check=False, text=True)
        self.assertEqual(r.returncode, status, r.stdout)
        with open(self.path('log'), encoding='utf-8') as f:
            self.log = f.read().splitlines()
        return r.stdout

    def answers(self):
        return [line.rsplit(' ', 1)[1] for line in self.log if 'complete-lifecycle-action' in line]

    def started(self):
        return any('enable --now' in line and 'cwc-enclave.service' in line for line in self.log)

    def fails(self, message, step):
        out = self.run_it(status=1)
        self.assertIn(message, out)
        self.assertIn('user-data: FAILED at: ' + step, out)
        self.assertFalse(self.started(), 'nothing may start')
        self.assertEqual(self.answers(), ['ABANDON'])

    # --- it works

    def test_whole(self):
        out = self.run_it()
        self.assertIn('user-data: release 1.4.0 runs', out)
        self.assertEqual(self.read('root/etc/nitro_enclaves/allocator.yaml').decode(), '---\nmemory_mib: 1024\ncpu_count: 2\n')
        order = [next(i for i, line in enumerate(self.log) if what in line) for what in (
            'dnf install -y aws-nitro-enclaves-cli', 'systemctl enable --now nitro-enclaves-allocator.service', 'SHA256SUMS',
            'cwc-worker.eif', 'nitro-cli describe-eif', 's3://store/1.4.0/store', 'systemctl daemon-reload',
            'cwc-enclave.service cwc.target', 'amazon-cloudwatch-agent-ctl', 'preflight', '/health', 'complete-lifecycle-action')]
        self.assertEqual(order, sorted(order), self.log)
        self.assertEqual(self.answers(), ['CONTINUE'])
        self.assertIn('--auto-scaling-group-name cwc-1.4.0 --instance-id i-0123456789abcdef0', '\n'.join(self.log))

    def test_files(self):
        """What the units and the enclave's runner find."""
        self.run_it()
        state = 'root/var/lib/cwc-enclave/'
        self.assertEqual(self.read(state + 'store'), b'sealed')
        self.assertEqual(self.read(state + 'cwc-worker.eif'), b'an image')
        self.assertIn(('pcr0 ' + PCRS[0]).encode(), self.read(state + 'releases.txt'))
        etc = 'root/etc/cwc-enclave/'
        self.assertEqual(self.read(etc + 'redis-password'), b'a password of sixteen\n')
        self.assertEqual(os.stat(self.path(etc + 'redis-password')).st_mode & 0o777, 0o600)
        self.assertIn(b'name = letters\n', self.read(etc + 'host.conf'))
        self.assertIn(b'--queue letters ', self.read(etc + 'cwcctl.env'))
        self.assertIn(b'\nNAMESPACE=CWC\n', self.read(etc + 'cwcctl.env'))
        self.assertIn(b'tcp:redis.example.net:6380', self.read(etc + 'cwcctl.env'))
        self.assertIn(b'REMOTE_HOST=redis.example.net\nREMOTE_PORT=6380\n', self.read(etc + 'bridges/redis.env'))
        self.assertIn(b'kms.us-east-1.', self.read(etc + 'vsock-proxy.yaml'))
        self.assertIn(b'vsock:3:8442', self.read(etc + 'host.conf'), 'the sandbox dials the test endpoint')
        self.assertIn(b'ASG_NAME=cwc-1.4.0\nHOOK_NAME=terminating\n', self.read(etc + 'lifecycle.env'))
        agent = json.loads(self.read(etc + 'cloudwatch-agent.json'))
        files = agent['logs']['logs_collected']['files']['collect_list']
        self.assertEqual([f['log_group_name'] for f in files], ['/cwc/1.4.0/worker'])
        self.assertEqual(self.read(etc + 'store-refresh.env'), b'STORE_URL=s3://store/1.4.0/store\nAWS_DEFAULT_REGION=us-east-1\n')
        self.assertEqual(self.read(etc + 'scale.env'), b'NAMESPACE=CWC\nSCALE_MIN=2\nSCALE_MAX=6\n')
        for unit in ('cwc-scale.timer', 'cwc-store-refresh.service', 'cwc-store-refresh.timer', 'cwc-enclave.service'):
            self.assertTrue(os.path.exists(self.path('root/etc/systemd/system/' + unit)))

    def test_units(self):
        folder = os.path.join(templates.ROOT, 'ops/aws/units')
        self.write('aws-bin', '', 0o755)
        for unit in os.listdir(folder):
            with open(os.path.join(folder, unit), encoding='utf-8') as f:
                text = f.read().replace('/usr/bin/aws', self.path('aws-bin')).replace('/usr/lib/cwc-enclave/cwc-scale', self.path('aws-bin'))
            self.write(unit, text)
        units = [self.path(u) for u in os.listdir(folder)]
        r = subprocess.run(['systemd-analyze', 'verify', '--man=no', *units], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           check=False, text=True)
        self.assertEqual((r.returncode, r.stdout), (0, ''))

    def test_wanted_number(self):
        """cwc-scale: a line for the agent with the log group in it; nothing at all when cwcctl does not know."""
        command = os.path.join(templates.ROOT, 'ops/aws/cwc-scale')
        self.write('bin/cwcctl', '#!/bin/sh\necho "$*" >"$STUB_DIR/asked"\n'
                   'echo \'{"_aws":{"Timestamp":1},"queue":"q","DesiredWorkers":3}\'\n', 0o755)
        env = {'PATH': self.path('bin') + ':/usr/bin:/bin', 'STUB_DIR': self.dir, 'NAMESPACE': 'CWC', 'SCALE_MIN': '2', 'SCALE_MAX': '6',
               'CWCCTL_ARGS': '--redis tcp:r:1 --queue q', 'EMF': 'OPEN:%s,creat,append' % self.path('agent')}
        subprocess.run([command], env=env, check=True)
        self.assertEqual(json.loads(self.read('agent')), {'_aws': {'Timestamp': 1, 'LogGroupName': '/cwc/metrics'}, 'queue': 'q',
                                                          'DesiredWorkers': 3})
        self.assertEqual(self.read('asked'), b'scale --publish --emf --namespace CWC --min 2 --max 6 --redis tcp:r:1 --queue q\n')
        for away in ('exit 69', 'exit 0', 'echo sorry'):
            self.write('bin/cwcctl', '#!/bin/sh\n%s\n' % away, 0o755)
            self.assertNotEqual(subprocess.run([command], env=env, stderr=subprocess.DEVNULL, check=False).returncode, 0, away)
            self.assertEqual(len(self.read('agent').splitlines()), 1)

    def test_only_its_own_commands(self):
        """What it may ask of AWS is what the role allows."""
        self.run_it()
        asked = {' '.join(line.split()[1:3]) for line in self.log if line.startswith('aws ')}
        self.assertEqual(asked, {'s3 cp', 'autoscaling complete-lifecycle-action'})

    def test_shellcheck(self):
        self.write('user-data', self.script(), 0o755)
        r = subprocess.run(['shellcheck', self.path('user-data')], stdout=subprocess.PIPE, check=False, text=True)
        self.assertEqual(r.stdout, '')

    # --- it does not

    def test_wrong_sums(self):
        self.sha256 = '5d' * 32
        self.fails('SHA256SUMS of release 1.4.0 is not the one that this fleet was made for', 'the release')

    def test_wrong_image(self):
        self.write('s3/images/1.4.0/cwc-worker.eif', 'another image')
        self.fails('a file of the release is not the one that SHA256SUMS names', 'the release')

    def test_wrong_host_archive(self):
        self.write('s3/images/1.4.0/cwc-host.tar.gz', 'something')
        self.fails('a file of the release is not the one', 'the release')

    def test_image_not_listed(self):
        text = '\n'.join(x for x in self.read('s3/images/1.4.0/SHA256SUMS').decode().split('\n') if 'eif' not in x)
        self.write('s3/images/1.4.0/SHA256SUMS', text)
        self.sha256 = sha256(text.encode())
        self.fails('SHA256SUMS does not list cwc-worker.eif', 'the release')

    def test_missing_object(self):
        for name, step in (('images/1.4.0/SHA256SUMS', 'the release'), ('images/1.4.0/cwc-worker.eif', 'the release'),
                           ('store/1.4.0/store', 'the store')):
            with self.subTest(name):
                os.rename(self.path('s3/' + name), self.path('away'))
                self.fails('cannot get s3://' + name, step)
                self.assertEqual(len([x for x in self.log if x.endswith(os.path.basename(name)) and 's3 cp' in x]), 5)
                os.rename(self.path('away'), self.path('s3/' + name))

    def test_wrong_measurements(self):
        for i in PCRS:
            with self.subTest(i):
                self.measured({**PCRS, i: 'ff' * 48})
                self.fails('PCR%d of the image is %s, not %s' % (i, 'ff' * 48, PCRS[i]), 'measurements of the image')
        self.measured({0: PCRS[0], 1: PCRS[1]})
        self.fails('PCR2 of the image is missing', 'measurements of the image')

    def test_wrong_manifest(self):
        self.write('s3/images/1.4.0/releases.txt', 'release 1.4.0\npcr0 %s\npcr1 %s\npcr2 %s\n' % (PCRS[0], 'ff' * 48, PCRS[2]))
        self.sums()
        self.fails('the manifest releases.txt does not have this PCR1', 'measurements of the image')

    def failing(self, pattern):
        self.write('fail', pattern + '\n')

    def test_packages(self):
        self.failing('^dnf install')
        self.fails('the packages cannot be installed', 'packages')

    def test_allocator(self):
        self.failing('allocator')
        self.fails('the allocator cannot set aside 1024 MiB and 2 CPUs', 'memory and CPUs for the enclave')

    def test_nitro_cli(self):
        self.failing('^nitro-cli')
        self.fails('nitro-cli cannot read the image', 'measurements of the image')

    def test_preflight(self):
        self.write('preflight-says', '2')
        out = self.run_it(status=1)
        self.assertIn('preflight says no', out)
        self.assertIn('systemctl stop cwc-enclave.service cwc.target', self.log)
        self.assertEqual(self.answers(), ['ABANDON'])

    def test_preflight_warns(self):
        self.write('preflight-says', '1')
        self.assertIn('release 1.4.0 runs', self.run_it())

    def test_units_that_do_not_start(self):
        self.failing('cwc-enclave.service')
        out = self.run_it(status=1)
        self.assertIn('the units do not start', out)
        self.assertEqual(self.answers(), ['ABANDON'])

    def test_worker_that_does_not_answer(self):
        self.failing('/health')
        out = self.run_it(status=1)
        self.assertIn('the worker does not answer on its status port', out)
        self.assertEqual(self.answers(), ['ABANDON'])
        self.assertEqual(len([x for x in self.log if '/health' in x]), 60)

    def test_group_that_does_not_listen(self):
        """An answer that is not taken changes nothing of what was decided."""
        self.failing('complete-lifecycle-action')
        self.assertIn('the group does not take the answer CONTINUE', self.run_it())


class Pack(unittest.TestCase):
    """ops/aws/pack-release: what an instance fetches."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='cwc-pack-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.built = os.path.join(self.dir, 'built')
        os.mkdir(self.built)
        self.write('cwc-worker.eif', 'an image')
        self.write('release.json', '{}')
        self.manifest()

    def write(self, name, text):
        with open(os.path.join(self.built, name), 'w', encoding='utf-8') as f:
            f.write(text)

    def manifest(self, pcrs=None, release='1.4.0'):
        lines = ['release 1.3.0'] + ['pcr%d %s' % (i, 'ee' * 48) for i in range(3)] + ['release ' + release]
        self.write('releases.txt', '\n'.join(lines + ['pcr%d %s' % p for p in (pcrs or PCRS).items()]) + '\n')

    def pack(self, status=0, output='out', **changes):
        options = {'release': '1.4.0', 'build': self.built, 'cwcctl': CTL, 'output': os.path.join(self.dir, output), **changes}
        args = [x for item in options.items() for x in ('--' + item[0], item[1])]
        r = subprocess.run([os.path.join(templates.ROOT, 'ops/aws/pack-release'), *args], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, check=False, text=True)
        self.assertEqual(r.returncode, status, r.stderr)
        return r.stdout if status == 0 else r.stderr

    def test_folder(self):
        said = dict(line.split('=', 1) for line in self.pack().splitlines())
        self.assertEqual({k: v for k, v in said.items() if k.startswith('Pcr')}, {'Pcr%d' % i: v for i, v in PCRS.items()})
        out = os.path.join(self.dir, 'out')
        self.assertEqual(sorted(os.listdir(out)), ['SHA256SUMS', 'cwc-host.tar.gz', 'cwc-worker.eif', 'release.json', 'releases.txt'])
        subprocess.run(['sha256sum', '--check', '--quiet', '--strict', 'SHA256SUMS'], cwd=out, check=True)
        with open(os.path.join(out, 'SHA256SUMS'), 'rb') as f:
            self.assertEqual(said['ReleaseSha256'], sha256(f.read()))
        parameters = templates.read('fleet')['Parameters']
        self.assertLessEqual(set(said), set(parameters))

    def test_host(self):
        """Its cwcctl brings its libraries along, and the loader that it was linked for."""
        self.pack()
        with tarfile.open(os.path.join(self.dir, 'out', 'cwc-host.tar.gz')) as t:
            names = t.getnames()
        subprocess.run(['tar', '-xzf', os.path.join(self.dir, 'out', 'cwc-host.tar.gz'), '-C', self.dir], check=True)
        self.assertLessEqual({'ops/host/install', 'ops/preflight', 'ops/aws/units/cwc-store-refresh.timer', 'bin/cwcctl'}, set(names))
        os.symlink(os.path.join(self.dir, 'bin/cwcctl'), os.path.join(self.dir, 'linked'))
        for program in ('bin/cwcctl', 'linked'):
            r = subprocess.run([os.path.join(self.dir, program), 'help', 'depth'], env={'PATH': '/usr/bin:/bin'}, check=True,
                               stdout=subprocess.PIPE, text=True)
            self.assertIn('usage: cwcctl depth', r.stdout)

    def test_same_input_same_folder(self):
        first, second = self.pack(), self.pack(output='again')
        self.assertEqual(first, second)

    def test_refused(self):
        self.assertIn('has no release 1.5.0', self.pack(64, release='1.5.0'))
        self.assertIn('--release', self.pack(64, release='a b'))
        self.assertIn('there is no file', self.pack(64, cwcctl='/nonexistent'))
        self.assertIn('there is no file', self.pack(64, build='/nonexistent'))
        self.assertIn('is there already', self.pack(64, output='built'))
        self.manifest({**PCRS, 1: '0' * 96})
        self.assertIn('pcr1 is zero', self.pack(64))
        self.manifest({0: PCRS[0], 1: PCRS[1]})
        self.assertIn('has no pcr2 of release 1.4.0', self.pack(64))


if __name__ == '__main__':
    unittest.main()
