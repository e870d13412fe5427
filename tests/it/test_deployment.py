# SPDX-License-Identifier: Apache-2.0
"""ops/DEPLOYMENT.md: its table has each trap and names files that are there; its commands run, one after the other, in a
directory of their own, with stand-ins for AWS and for what needs an enclave or a container builder. What they are given is held
against the templates and against the help of cwcctl."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import templates  # noqa: E402

ROOT = templates.ROOT
PAGE = os.path.join(ROOT, 'ops', 'DEPLOYMENT.md')
CTL = os.path.abspath(os.path.join(os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release')), 'cwcctl'))
PCRS = ['0a' * 48, '1b' * 48, '2c' * 48]
OUTPUTS = {'EgressAddresses': '192.0.2.1,192.0.2.2', 'ImageBucket': 'images', 'StoreBucket': 'store', 'RedisHost': 'redis.example.org',
           'KeyArn': 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'}
# Services and commands that the page may use; whether AWS has them was looked up, not tried.
AWS = {'cloudformation deploy', 'cloudformation describe-stacks', 'kms list-grants', 's3 cp', 'ssm start-session',
       'autoscaling describe-auto-scaling-groups'}
RECORD = '''#!/usr/bin/python3
import json, os, sys
with open(os.environ['STUB_LOG'], 'a') as f:
    f.write(json.dumps([os.path.basename(sys.argv[0])] + sys.argv[1:]) + chr(10))
'''
AWS_STUB = RECORD + '''
outputs = %r
query = sys.argv[sys.argv.index('--query') + 1] if '--query' in sys.argv else ''
for name, value in outputs.items():
    if "'%%s'" %% name in query:
        print(value)
if sys.argv[1:3] == ['ssm', 'start-session']:
    open('begun-' + sys.argv[-1].rsplit('=', 1)[1], 'w').close()
if 'InstanceId' in query:
    print('i-0123456789abcdef0')
if sys.argv[1:3] == ['s3', 'cp'] and not os.path.exists([a for a in sys.argv[3:] if not a.startswith('-')][0]):
    sys.exit('there is no such file')
''' % OUTPUTS
# A tunnel takes a moment: whoever asks first finds nobody.
THROUGH = RECORD + '''
for port in '9464', '6379':
    if '127.0.0.1:' + port in ' '.join(sys.argv) and not os.path.exists('tunnel-' + port):
        if os.path.exists('begun-' + port):
            os.rename('begun-' + port, 'tunnel-' + port)
        sys.exit('nobody listens on ' + port)
'''
CTL_STUB = THROUGH + '''
import subprocess
args = sys.argv[1:]
if args[:2] == ['signer', 'show']:
    os.execv(os.environ['REAL_CTL'], [os.environ['REAL_CTL'], *args])
for option in ('--manifest', '--password-file', '--ring', '--signer'):
    if option in args and not os.path.exists(args[args.index(option) + 1]):
        sys.exit('there is no ' + args[args.index(option) + 1])
if '--output' in args:
    path = args[args.index('--output') + 1]
    if os.path.exists(path):
        sys.exit(path + ' is there')
    open(path, 'w').close()
'''
EIF_STUB = RECORD + '''
out, release = (sys.argv[sys.argv.index(o) + 1] for o in ('--out', '--release'))
os.makedirs(out)
open(out + '/cwc-worker.eif', 'w').close()
open(out + '/release.json', 'w').write('{}')
open(out + '/releases.txt', 'w').write('release ' + release + chr(10) + ''.join('pcr%%d %%s%%s' %% (i, p, chr(10)) for i, p in enumerate(%r)))
''' % PCRS


def read():
    with open(PAGE, encoding='utf-8') as f:
        return f.read()


class Table(unittest.TestCase):
    def rows(self):
        table = read().split('## Where each trap is handled')[1]
        return re.findall(r'^\| (S\d+) \| (.+?) \| (.+) \|$', table, re.M)

    def test_each_trap(self):
        self.assertEqual([r[0] for r in self.rows()], ['S%d' % i for i in range(1, 27)])

    def test_files(self):
        for number, _trap, here in self.rows():
            named = [n for n in re.findall(r'`([^`]+)`', here) if '/' in n and ' ' not in n]
            for name in named:
                self.assertTrue(os.path.exists(os.path.join(ROOT, name)), (number, name))
            self.assertTrue(named or number == 'S22', number)

    def test_links(self):
        text = read()
        anchors = {re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-') for h in re.findall(r'^#+ (.+)$', text, re.M)}
        for target in re.findall(r'\]\(([^)]+)\)', text):
            if target.startswith('#'):
                self.assertIn(target[1:], anchors)
            else:
                self.assertTrue(os.path.exists(os.path.join(ROOT, 'ops', target.split('#')[0])), target)

    def test_names(self):
        """Files and resources that the text names in passing."""
        for name in re.findall(r'`((?:ops|tests|queue|worker|attest)/[A-Za-z0-9_./@-]+)`', read()):
            if name != 'ops/image/measured.conf':  # of whoever builds
                self.assertTrue(os.path.exists(os.path.join(ROOT, name)), name)
        resources = {r for t in templates.everything().values() for r in (*t['Resources'], *t['Parameters'])}
        for name in ('ClientSecurityGroup', 'FollowWanted', 'NoWorkers', 'ClockEvent', 'KeyAdministrator', 'InterfaceEndpoints'):
            self.assertIn('`%s`' % name, read())
            self.assertIn(name, resources)

    def test_no_prices(self):
        self.assertIsNone(re.search(r'(\$|USD|EUR) ?[0-9]', read()))


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix='cwc-deployment-')
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        for name in ('bin', 'ops/image', 'build/release', 'secrets'):
            os.makedirs(os.path.join(cls.dir, name))
        for name in os.listdir(os.path.join(ROOT, 'ops')):
            if name not in ('build-eif', 'image'):
                os.symlink(os.path.join(ROOT, 'ops', name), os.path.join(cls.dir, 'ops', name))
        os.symlink(CTL, os.path.join(cls.dir, 'build/release/cwcctl'))
        for name, text in (('bin/aws', AWS_STUB), ('bin/cwcctl', CTL_STUB), ('bin/curl', THROUGH), ('ops/build-eif', EIF_STUB),
                           ('ops/image/pin', RECORD)):
            cls.write(name, text, 0o755)
        for name in ('secrets/house.key', 'secrets/senate.key', 'letter.json', 'signer.key', 'signer.pem'):
            cls.write(name, 'x\n')
        blocks = re.findall(r'^```sh\n(.*?)^```$', read(), re.M | re.S)
        script = 'set -eu\n' + '\n'.join(blocks) + '\nwait\n'
        env = {'PATH': os.path.join(cls.dir, 'bin') + ':/usr/bin:/bin', 'STUB_LOG': os.path.join(cls.dir, 'log'), 'REAL_CTL': CTL,
               'HOME': cls.dir}
        cls.ran = subprocess.run(['bash', '-c', script], cwd=cls.dir, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=120, check=False, text=True)
        with open(os.path.join(cls.dir, 'log'), encoding='utf-8') as f:
            cls.log = [json.loads(line) for line in f]

    @classmethod
    def write(cls, name, text, mode=0o600):
        path = os.path.join(cls.dir, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)

    def test_they_run(self):
        self.assertEqual(self.ran.returncode, 0, self.ran.stdout)

    def test_aws(self):
        asked = {' '.join(c[1:3]) for c in self.log if c[0] == 'aws'}
        self.assertEqual(asked, AWS)

    def deployments(self):
        """(name of the template, stack's name, parameters), in order"""
        for c in self.log:
            if c[:3] == ['aws', 'cloudformation', 'deploy']:
                options = c[c.index('--parameter-overrides') + 1:] if '--parameter-overrides' in c else []
                if options and options[0].startswith('file://'):
                    with open(os.path.join(self.dir, options[0][7:]), encoding='utf-8') as f:
                        given = json.load(f)['Parameters']
                else:
                    given = dict(o.split('=', 1) for o in options)
                yield os.path.basename(c[c.index('--template-file') + 1])[:-5], c[c.index('--stack-name') + 1], given, c

    def test_templates(self):
        """Each template is used, in an order in which whatever it imports is there, with parameters that it takes."""
        order, there = [], set()
        for name, stack, given, command in self.deployments():
            order.append(name)
            self.assertRegex(stack, r'^[A-Za-z][A-Za-z0-9-]*$')
            t = templates.read(name)
            made = templates.Stack(t, imports=lambda n: self.assertIn(n, there) or 'x', **given)
            made.resources()
            for o in t['Outputs'].values():
                if 'Export' in o:
                    there.add(o['Export']['Name']['Fn::Sub'].replace('${AWS::StackName}', stack))
            roles = any(r['Type'].startswith('AWS::IAM') for r in t['Resources'].values())
            self.assertEqual('--capabilities' in command, roles, name)
            # Inline templates have a limit, and these commands name no bucket for larger ones.
            self.assertLess(os.path.getsize(os.path.join(templates.FOLDER, name + '.yaml')), 51200, name)
        self.assertEqual(order, ['network', 'data', 'monitoring', 'keys', 'keys', 'fleet'])

    def test_key_in_two_steps(self):
        first, second = [given for name, _stack, given, _c in self.deployments() if name == 'keys']
        self.assertFalse([p for p in first if p.startswith('Pcr')])
        self.assertEqual([second['Pcr%d' % i] for i in range(3)], PCRS)
        self.assertEqual({k: v for k, v in second.items() if not k.startswith('Pcr')}, first)

    def test_no_secret_on_a_command_line(self):
        words = ' '.join(w for c in self.log for w in c)
        for name in os.listdir(os.path.join(self.dir, 'secrets')):
            if name.startswith('redis-'):
                with open(os.path.join(self.dir, 'secrets', name), encoding='utf-8') as f:
                    self.assertNotIn(f.read().strip(), words)

    def test_upload(self):
        """What user data fetches is what was uploaded, under the same names."""
        to = {c[-1] for c in self.log if c[:3] == ['aws', 's3', 'cp']}
        self.assertEqual(to, {'s3://images/1.4.0', 's3://store/1.4.0/store', 's3://store/1.4.0/redis-password'})
        folder = set(os.listdir(os.path.join(self.dir, 'build/pack-1.4.0')))
        with open(os.path.join(templates.FOLDER, 'fleet.yaml'), encoding='utf-8') as f:
            text = f.read()
        fetched = set(re.search(r'for file in (.+); do', text).group(1).split()) | {'SHA256SUMS'}
        self.assertLessEqual(fetched, folder)

    def test_cwcctl(self):
        """Each command is one of cwcctl's, with options that it has."""
        for c in self.log:
            if c[0] != 'cwcctl':
                continue
            words = [w for w in c[1:3] if re.fullmatch('[a-z]+', w)]
            for n in (len(words), 1):
                r = subprocess.run([CTL, 'help', *words[:n]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True)
                if r.returncode == 0:
                    break
            self.assertEqual(r.returncode, 0, c)
            common = subprocess.run([CTL, 'help'], stdout=subprocess.PIPE, check=True, text=True).stdout
            known = set(re.findall(r'^  (--[a-z-]+)', r.stdout + common, re.M))
            self.assertEqual({w for w in c if w.startswith('--')} - known, set(), c)

    def test_tunnels(self):
        """That nobody asks through one before it is there, test_they_run shows. The certificate of Redis is checked for the name that it has,
        not for that of the tunnel."""
        for c in self.log:
            if c[0] == 'cwcctl' and '--redis' in c:
                self.assertEqual(c[c.index('--redis') + 1], 'tcp:127.0.0.1:6379', c)
                self.assertEqual(c[c.index('--tls-host') + 1], OUTPUTS['RedisHost'], c)
        hosts = [c[-1] for c in self.log if c[:3] == ['aws', 'ssm', 'start-session']]
        self.assertEqual(hosts, ['portNumber=9464,localPortNumber=9464', 'host=redis.example.org,portNumber=6379,localPortNumber=6379'])

    def test_secrets_stay_while_they_are_needed(self):
        text = read()
        self.assertGreater(text.index('Nothing in `secrets/`'), max(m.start() for m in re.finditer(r'secrets/redis-operator', text)))

    def test_acl_file(self):
        with open(os.path.join(self.dir, 'secrets/users.acl'), encoding='utf-8') as f:
            self.assertEqual([line.split()[1] for line in f], ['default', 'cwc-worker', 'cwc-producer', 'cwc-app', 'cwc-host', 'cwc-operator'])


if __name__ == '__main__':
    unittest.main()
