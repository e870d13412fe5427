#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host's files: what is installed, the units as systemd reads them, the ports, and the real socat on unix sockets."""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host_case import HOST, REDIS, REGION, Case, executable  # noqa: E402
from stack import BUILD, ROOT  # noqa: E402

import yaml  # noqa: E402

MEASURED = os.path.join(ROOT, 'ops', 'image', 'measured.example.conf')
ROOT_MEANS = ('cwc-lifecycle.service',)
# What every service must have, so that a bridge that is broken into is not the machine.
HARDENED = ['NoNewPrivileges=yes', 'CapabilityBoundingSet=', 'ProtectSystem=strict', 'ProtectHome=yes', 'PrivateTmp=yes',
            'MemoryDenyWriteExecute=yes', 'RestrictNamespaces=yes', 'SystemCallFilter=@system-service', 'LimitCORE=0',
            'ProtectKernelTunables=yes', 'RestrictSUIDSGID=yes', 'LockPersonality=yes']


def env_file(path):
    with open(path, encoding='utf-8') as f:
        return dict(line.strip().split('=', 1) for line in f if '=' in line and not line.startswith('#'))


def text_of(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def units():
    folder = os.path.join(HOST, 'systemd')
    return {n: text_of(os.path.join(folder, n)) for n in os.listdir(folder) if n.endswith(('.service', '.timer', '.target'))}


def field(text, name):
    return re.findall(r'(?m)^%s=(.*)$' % name, text)


def instances(kind):
    folder = os.path.join(HOST, {'cwc-bridge': 'bridges', 'cwc-serve': 'serve'}[kind])
    return {'%s@%s' % (kind, name[:-4]): env_file(os.path.join(folder, name)) for name in os.listdir(folder)}


def ports_table():
    with open(os.path.join(HOST, 'PORTS.md'), encoding='utf-8') as f:
        rows = [[c.strip().strip('`') for c in line.strip().strip('|').split('|')] for line in f if re.match(r'\| \d', line)]
    return {int(r[0]): dict(zip(('direction', 'unit', 'to', 'allowed', 'by'), r[1:])) for r in rows}


def allow_list(path=os.path.join(HOST, 'vsock-proxy.yaml')):
    with open(path, encoding='utf-8') as f:
        return {(row['address'], row['port']) for row in yaml.safe_load(f)['allowlist']}


def host_conf():
    """section.key -> value"""
    found, section = {}, None
    with open(os.path.join(HOST, 'host.conf'), encoding='utf-8') as f:
        for line in f:
            if line.startswith('['):
                section = line.strip('[]\n')
            elif '=' in line and not line.startswith('#'):
                key, value = line.split('=', 1)
                found['%s.%s' % (section, key.strip())] = value.strip()
    return found


class Units(Case):
    def lay_out(self):
        """All that the units name, below a root of its own."""
        r = self.install('--asg', 'letters', '--hook', 'letters-end')
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, '', ''))
        for program in ('vsock-proxy', 'socat', 'systemd-cat', 'journalctl', 'nitro-enclaves-allocator'):
            self.write(os.path.join(self.root, 'usr/bin', program), '#!/bin/sh\n', 0o755)
        folder = os.path.join(self.root, 'etc/systemd/system')
        self.write(os.path.join(folder, 'nitro-enclaves-allocator.service'),
                   '[Unit]\nDescription=a\n[Service]\nType=oneshot\nExecStart=/usr/bin/nitro-enclaves-allocator\n')
        # What a unit of a machine rests on; from this machine's systemd.
        for name in os.listdir('/lib/systemd/system'):
            if name.endswith('.target') or name.endswith('.slice') or name.startswith('systemd-journald'):
                at = os.path.join(self.root, 'lib/systemd/system', name)
                os.makedirs(os.path.dirname(at), exist_ok=True)
                shutil.copy(os.path.join('/lib/systemd/system', name), at, follow_symlinks=False)
        return folder

    def verify(self, folder):
        names = [n.replace('@.', '@redis.' if 'bridge' in n else '@store.') for n in units()]
        r = subprocess.run(['systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', '--root=' + self.root,
                            *[os.path.join('/etc/systemd/system', n) for n in names], 'nitro-enclaves-allocator.service'],
                           capture_output=True, text=True, timeout=120)
        said = [line for line in (r.stdout + r.stderr).splitlines() if 'cwc' in line or 'allocator' in line]
        return r.returncode, said

    def test_verified(self):
        folder = self.lay_out()
        self.assertEqual(self.verify(folder), (0, []))
        # And it would be seen: a key that is misspelt, and a program that is not there.
        path = os.path.join(folder, 'cwc-bridge@.service')
        good = self.read(path)
        self.write(path, good.replace('RestartSec=1', 'RestartSecs=1'))
        self.assertIn('RestartSecs', ' '.join(self.verify(folder)[1]))
        self.write(path, good)
        os.unlink(os.path.join(self.root, 'usr/bin/vsock-proxy'))
        self.assertNotEqual(self.verify(folder)[0], 0)

    def test_hardened(self):
        for name, text in units().items():
            if not name.endswith('.service'):
                continue
            with self.subTest(unit=name):
                lines = text.splitlines()
                self.assertEqual([h for h in HARDENED if h not in lines], [])
                self.assertEqual(len(field(text, 'RestrictAddressFamilies')), 1)
                owner = field(text, 'User') or field(text, 'DynamicUser')
                self.assertEqual(bool(owner), name not in ROOT_MEANS)
                # Each comes back by itself, however often it fails.
                if 'Type=oneshot' not in lines:
                    self.assertIn(field(text, 'Restart'), (['always'], ['on-failure']))
                    self.assertEqual(field(text, 'StartLimitIntervalSec'), ['0'])

    def test_a_home_for_the_aws_command(self):
        """It makes a folder of its own in its home, and says "fatal error: [Errno 13]" where it may not."""
        texts = units()
        folder = os.path.join(ROOT, 'ops/aws/units')
        texts.update({n: text_of(os.path.join(folder, n)) for n in os.listdir(folder)})
        found = []
        for name, text in texts.items():
            if re.search(r'/usr/bin/aws\b|/cwc-lifecycle$', '\n'.join(field(text, 'ExecStart')), re.M):
                found.append(name)
                self.assertEqual((field(text, 'Environment'), field(text, 'PrivateTmp')), (['HOME=/tmp'], ['yes']), name)
        self.assertEqual(sorted(found), ['cwc-lifecycle.service', 'cwc-store-refresh.service'])

    def test_no_debug_mode(self):
        for folder, _, names in os.walk(HOST):
            for name in names:
                with open(os.path.join(folder, name), encoding='utf-8') as f:
                    self.assertNotRegex(f.read(), r'--(debug-mode|attach-console)', name)

    def test_what_a_drain_needs_ends_after_it(self):
        """When a machine goes down all units are stopped at once, those that are ordered after others first. A worker that drains needs
        its bridges (the queue, answers on the wire), its store, its log, and the status port."""
        for name, text in units().items():
            if name.startswith(('cwc-bridge@', 'cwc-serve@', 'cwc-log.', 'cwc-log-file.', 'cwc-status.')):
                self.assertIn('cwc-enclave.service', ' '.join(field(text, 'Before')).split(), name)
        # And the network, since the unit itself gives the order to drain.
        self.assertIn('network-online.target', ' '.join(field(units()['cwc-enclave.service'], 'After')).split())

    def test_time_to_stop(self):
        """The drain fits: the worker's own, the runner's, the unit's, and all into a Spot notice."""
        settings, conf = env_file(os.path.join(HOST, 'enclave.env')), host_conf()
        wait = int(settings['DRAIN_WAIT'].rstrip('s'))
        stop = int(field(units()['cwc-enclave.service'], 'TimeoutStopSec')[0])
        self.assertLess(int(conf['worker.drain_timeout'].rstrip('s')), wait)
        self.assertLess(wait + 5, stop)
        self.assertLess(stop, 120)

    def test_logrotate_and_agent_take_the_file_that_is_written(self):
        written = field(units()['cwc-log-file.service'], 'StandardOutput')[0].replace('append:', '')
        with open(os.path.join(HOST, 'cloudwatch-agent.json'), encoding='utf-8') as f:
            agent = json.load(f)['logs']
        self.assertEqual([x['file_path'] for x in agent['logs_collected']['files']['collect_list']], [written])
        self.assertIn('emf', agent['metrics_collected'])
        with open(os.path.join(HOST, 'logrotate.conf'), encoding='utf-8') as f:
            self.assertIn(written + ' {', f.read())


class Ports(unittest.TestCase):
    def test_table_units_and_files(self):
        table = ports_table()
        at = {int(e['VSOCK_PORT']): name for kind in ('cwc-bridge', 'cwc-serve') for name, e in instances(kind).items()}
        at[int(re.search(r'VSOCK-LISTEN:(\d+)', units()['cwc-log.service']).group(1))] = 'cwc-log'
        at[int(re.search(r'VSOCK-CONNECT:\S+:(\d+)', units()['cwc-status.service']).group(1))] = 'cwc-status'
        self.assertEqual(at, {port: row['unit'] for port, row in table.items()})
        self.assertEqual(len(at), len(instances('cwc-bridge')) + len(instances('cwc-serve')) + 2, 'a port is used twice')
        self.assertEqual({p for p, row in table.items() if row['direction'] == 'in'}, {9464})
        self.assertTrue(all(3 < p != 9000 for p in table))

    def test_destinations(self):
        """The allow-list has the bridges' destinations, and no others."""
        table, bridges = ports_table(), instances('cwc-bridge')
        to = {(e['REMOTE_HOST'], int(e['REMOTE_PORT'])) for e in bridges.values()}
        self.assertEqual(to, allow_list())
        self.assertEqual({'%s:%d' % t for t in to}, {row['to'] for row in table.values() if row['allowed'] == 'yes'})
        for row in table.values():
            if row['unit'] in bridges:
                e = bridges[row['unit']]
                self.assertEqual((row['to'], row['allowed']), ('%s:%s' % (e['REMOTE_HOST'], e['REMOTE_PORT']), 'yes'))
        serve = instances('cwc-serve')
        self.assertEqual({r['unit']: r['to'] for r in table.values() if r['unit'] in serve},
                         {name: e['FILE'] for name, e in serve.items()})

    def test_host_configuration(self):
        """Each address is the port of the unit that PORTS.md names for it; workers of bridges are enough."""
        table, conf = ports_table(), host_conf()
        addresses = {k: int(v.rsplit(':', 1)[1]) for k, v in conf.items() if v.startswith('vsock:')}
        named = {row['by'].split(',')[0].strip('`'): port for port, row in table.items()
                 if re.fullmatch(r'[a-z]+\.[a-z_]+(, production)?', row['by'].replace('`', ''))}
        self.assertEqual(addresses, named)
        bridges = instances('cwc-bridge')
        for chamber, names in (('house', ('house', 'house-uat')), ('senate', ('senate',))):
            for name in names:
                self.assertGreaterEqual(int(bridges['cwc-bridge@' + name]['WORKERS']), int(conf[chamber + '.concurrency']) + 4)

    def test_init_arguments(self):
        with open(os.path.join(ROOT, 'ops', 'image', 'Dockerfile'), encoding='utf-8') as f:
            words = json.loads(re.search(r'(?m)^ENTRYPOINT (\[.*\])$', f.read()).group(1))
        table = {row['unit']: port for port, row in ports_table().items()}
        self.assertEqual(words[words.index('--log') + 1], 'vsock:3:%d' % table['cwc-log'])
        self.assertEqual(words[words.index('--host-config') + 1], 'vsock:3:%d' % table['cwc-serve@hostconf'])

    def test_configuration_is_good(self):
        r = subprocess.run([os.path.join(BUILD, 'cwc-worker'), '--config', MEASURED, '--host-config',
                            os.path.join(HOST, 'host.conf'), '--check-config'], capture_output=True, text=True, timeout=30)
        self.assertEqual((r.returncode, r.stderr), (0, ''))

    def test_allocator_sets_aside_what_is_taken(self):
        with open(os.path.join(HOST, 'allocator.yaml'), encoding='utf-8') as f:
            aside = yaml.safe_load(f)
        taken = env_file(os.path.join(HOST, 'enclave.env'))
        self.assertEqual(aside, {'memory_mib': int(taken['MEMORY_MIB']), 'cpu_count': int(taken['CPU_COUNT'])})


class Install(Case):
    def test_samples_are_replaced(self):
        self.assertEqual(self.install('--environment', 'production', '--cpus', '1', '--memory', '768').returncode, 0)
        host, port = REDIS.split(':')
        for folder, _, names in os.walk(self.root):
            for name in names:
                self.assertNotRegex(self.read(os.path.join(folder, name)), r'us-east-1|redis\.example', name)
        listed = allow_list(os.path.join(self.root, 'etc/cwc-enclave/vsock-proxy.yaml'))
        self.assertLessEqual({('kms.%s.amazonaws.com' % REGION, 443), (host, int(port))}, listed)
        self.assertEqual(len(listed), 6)
        redis = env_file(os.path.join(self.root, 'etc/cwc-enclave/bridges/redis.env'))
        self.assertEqual((redis['VSOCK_PORT'], redis['REMOTE_HOST'], redis['REMOTE_PORT']), ('6379', host, port))
        senate = env_file(os.path.join(self.root, 'etc/cwc-enclave/bridges/senate.env'))
        self.assertEqual(senate['REMOTE_PORT'], '443')
        self.assertIn('tcp:%s ' % REDIS, self.read('etc/cwc-enclave/cwcctl.env'))
        self.assertIn('vsock:3:8443', self.read('etc/cwc-enclave/host.conf'))
        self.assertIn('vsock:3:6379', self.read('etc/cwc-enclave/host.conf'))
        self.assertEqual(yaml.safe_load(self.read('etc/nitro_enclaves/allocator.yaml')), {'memory_mib': 768, 'cpu_count': 1})
        self.assertIn('MEMORY_MIB=768\n', self.read('etc/cwc-enclave/enclave.env'))
        for name in ('cwc-enclave', 'cwc-lifecycle', 'cwc-metrics', 'preflight'):
            self.assertTrue(executable(os.path.join(self.root, 'usr/lib/cwc-enclave', name)))

    def test_ca_bundle(self):
        """Debian and Amazon Linux keep it in different places; Redis is not reached with one that is not there."""
        self.write(os.path.join(self.root, 'etc/pki/tls/certs/ca-bundle.crt'), 'x')
        self.assertEqual(self.install().returncode, 0)
        self.assertIn(' --ca /etc/pki/tls/certs/ca-bundle.crt\n', self.read('etc/cwc-enclave/cwcctl.env'))
        os.unlink(os.path.join(self.root, 'etc/cwc-enclave/cwcctl.env'))
        self.write(os.path.join(self.root, 'etc/ssl/certs/ca-certificates.crt'), 'x')
        self.assertEqual(self.install().returncode, 0)
        self.assertIn(' --ca /etc/ssl/certs/ca-certificates.crt\n', self.read('etc/cwc-enclave/cwcctl.env'))

    def test_the_sandbox_has_its_own_house(self):
        self.install()
        self.assertIn('vsock:3:8442', self.read('etc/cwc-enclave/host.conf'))

    def test_what_was_changed_is_kept(self):
        self.install()
        self.edit('etc/cwc-enclave/enclave.env', 'WATCH_S=5', 'WATCH_S=9')
        r = self.install()
        self.assertIn('enclave.env is kept', r.stderr)
        self.assertIn('WATCH_S=9', self.read('etc/cwc-enclave/enclave.env'))
        self.assertIn('WATCH_S=5', self.read('etc/cwc-enclave/enclave.env.new'))
        self.assertFalse(os.path.exists(os.path.join(self.root, 'etc/cwc-enclave/host.conf.new')))

    def test_refused(self):
        for args in (['--region', 'x; rm'], ['--redis', 'host'], ['--redis', 'a/b:1'], ['--environment', 'test'], ['--cpus', '0'],
                     ['--memory', 'x'], ['--asg', 'a b'], ['--hook', 'a|b'], ['--what'], ['--region']):
            with self.subTest(args=args):
                self.assertEqual(self.install(*args).returncode, 64)

    def test_enabled(self):
        for name in ('systemctl', 'systemd-sysusers', 'systemd-tmpfiles'):
            self.stub(name)
        self.assertEqual(self.install('--asg', 'a', '--hook', 'h', '--enable').returncode, 0)
        enabled = self.calls('systemctl enable --now ')[0].split()[3:]
        self.assertIn('cwc-bridge@house-uat.service', enabled)
        self.assertNotIn('cwc-bridge@house.service', enabled)
        self.assertEqual({re.sub('@[^.]*', '@', n) for n in enabled} - {'nitro-enclaves-allocator.service', 'cwc-metrics.timer'},
                         set(units()) - {'cwc-metrics.service', 'cwc-metrics.timer'})
        self.assertIn('ASG_NAME=a\n', self.read('etc/cwc-enclave/lifecycle.env'))


class Socat(Case):
    """The commands of the units with the real socat; unix sockets stand for vsock."""

    def command(self, unit, env, *changes):
        line = field(units()[unit], 'ExecStart')[0]
        for key, value in env.items():
            line = line.replace('${%s}' % key, value)
        for old, new in changes:
            self.assertRegex(line, old)
            line = re.sub(old, lambda _, new=new: new, line)
        self.assertNotIn('${', line)
        self.assertNotIn('VSOCK', line)
        p = subprocess.Popen(shlex.split(line), stdin=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(p.wait)
        self.addCleanup(os.killpg, p.pid, signal.SIGTERM)
        return p

    def connect(self, path):
        self.wait_for(lambda: os.path.exists(path))
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        self.addCleanup(s.close)
        self.wait_for(lambda: s.connect_ex(path) == 0)
        return s

    @staticmethod
    def rest(s):
        text = b''
        while True:
            more = s.recv(65536)
            if not more:
                return text
            text += more

    def test_a_file_is_served_whole_and_again(self):
        content = os.urandom(100000)
        path = self.write('store', content)
        self.command('cwc-serve@.service', {'FILE': path}, (r'VSOCK-LISTEN:\$\{VSOCK_PORT\}', 'UNIX-LISTEN:' + self.path('s')))
        for _ in range(3):
            s = self.connect(self.path('s'))
            self.assertEqual(self.rest(s), content)
        with open(path, 'rb') as f:
            self.assertEqual(f.read(), content)

    def test_the_log(self):
        out = self.path('journal')
        self.write('cat', '#!/bin/sh\nexec cat >>%s\n' % out, 0o755)
        self.command('cwc-log.service', {}, (r'VSOCK-LISTEN:7003', 'UNIX-LISTEN:' + self.path('l')),
                     (r'/usr/bin/systemd-cat --identifier=cwc-worker', self.path('cat')))
        for text in ('{"event":"one"}\n', '{"event":"two"}\n'):
            s = self.connect(self.path('l'))
            s.sendall(text.encode())
            s.close()
            self.wait_for(lambda text=text: os.path.exists(out) and text in text_of(out))

    def test_the_status(self):
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path('worker'))
        server.listen(1)
        probe = socket.socket()
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
        probe.close()
        self.command('cwc-status.service', {'STATUS_PORT': str(port)},
                     (r'VSOCK-CONNECT:\$\{ENCLAVE_CID\}:9464', 'UNIX-CONNECT:' + self.path('worker')))
        s = socket.socket()
        self.addCleanup(s.close)
        s.settimeout(10)
        self.wait_for(lambda: s.connect_ex(('127.0.0.1', port)) == 0)
        s.sendall(b'GET')
        inside, _ = server.accept()
        self.addCleanup(inside.close)
        self.assertEqual(inside.recv(10), b'GET')
        inside.sendall(b'200')
        self.assertEqual(s.recv(10), b'200')


if __name__ == '__main__':
    unittest.main()
