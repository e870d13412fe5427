#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ops/preflight: a machine on which all is well, made of files and stubs; then each thing that can be wrong, which must be
found, alone, with a sentence that says how to mend it."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host_case import ROOT, Case  # noqa: E402

PREFLIGHT = os.path.join(ROOT, 'ops', 'preflight')
CHECKS = {'nitro-cli', 'programs', 'device', 'family', 'cpus', 'memory', 'image', 'allocator', 'hugepages', 'measured', 'debug',
          'ways', 'units', 'ports', 'store', 'clock', 'ca', 'redis', 'durable'}
INFO = 'maxmemory_policy:%s\\r\\naof_enabled:%d\\r\\nconnected_slaves:%d\\r\\n'
ENV, CONF = 'etc/cwc-enclave/enclave.env', 'etc/cwc-enclave/host.conf'


class Preflight(Case):
    def setUp(self):
        super().setUp()
        self.assertEqual(self.install('--environment', 'production').returncode, 0)
        self.file('dev/nitro_enclaves')
        self.file('sys/devices/system/cpu/present', '0-3\n')
        self.file('sys/devices/system/cpu/smt/active', '0\n')
        self.file('proc/meminfo', 'MemTotal:        8000000 kB\n')
        self.file('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '0\n')
        self.file('sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages', '1\n')
        self.file('var/lib/cwc-enclave/cwc-worker.eif', b'e' * (20 << 20))
        self.file('var/lib/cwc-enclave/releases.txt', 'release 1\n')
        self.file('var/lib/cwc-enclave/store', 'sealed')
        self.file('etc/cwc-enclave/redis-password', 'secret-word')
        self.file('etc/ssl/certs/ca-certificates.crt', 'certificates')
        for name in ('vsock-proxy', 'socat', 'systemd-cat', 'cwcctl'):
            self.stub(name)
        self.stub('nitro-cli', 'case $1 in --version) echo "Nitro CLI 1.4.2";; *) echo "[]";; esac')
        self.stub('curl', 'case "$*" in *api/token*) echo t;; *instance-type*) printf c6g.xlarge;; *) exit 22;; esac')
        self.stub('systemctl')
        self.stub('ss')
        self.stub('timedatectl', 'echo yes')
        self.stub('redis-cli', 'echo "auth=$REDISCLI_AUTH" >>%s; printf "%s"' % (self.calls_path, INFO % ('noeviction', 1, 1)))

    def file(self, name, text=''):
        self.write(os.path.join(self.root, name), text)

    def run_it(self, *args):
        return subprocess.run([PREFLIGHT, *args], capture_output=True, text=True, timeout=60, env=self.env)

    def checks(self, *args):
        r = self.run_it('--json', *args)
        self.assertEqual(r.stderr, '')
        o = json.loads(r.stdout)
        self.assertEqual((o['worst'], o['failed'], o['warned']),
                         (r.returncode, *(sum(c['status'] == s for c in o['checks']) for s in ('fail', 'warn'))))
        return r.returncode, {c['id']: c for c in o['checks']}

    def found(self, check, pattern, *args, status='fail'):
        """This check alone is not well, and says what and how to mend it."""
        code, checks = self.checks(*args)
        self.assertEqual({i for i, c in checks.items() if c['status'] != 'ok'}, {check}, checks)
        self.assertEqual((checks[check]['status'], code), (status, {'fail': 2, 'warn': 1}[status]))
        self.assertRegex(checks[check]['what'], pattern)
        self.assertGreater(len(checks[check]['mend'].split()), 1)

    def test_all_is_well(self):
        code, checks = self.checks()
        self.assertEqual((code, {c['status'] for c in checks.values()}, set(checks)), (0, {'ok'}, CHECKS), checks)
        self.assertEqual(self.run_it('--quiet').stdout, '')
        self.assertIn('0 failed', self.run_it().stdout)
        # The words go where no list of processes shows them.
        self.assertIn('auth=secret-word', self.calls())
        self.assertEqual([c for c in self.calls('redis-cli') if 'secret' in c], [])
        self.assertIn('redis-cli -h cache.internal -p 6380 --user cwc-host --tls --cacert /etc/ssl/certs/ca-certificates.crt INFO',
                      self.calls())

    def test_people_read_it_too(self):
        os.unlink(os.path.join(self.root, 'dev/nitro_enclaves'))
        r = self.run_it('--quiet')
        self.assertEqual(r.returncode, 2)
        self.assertRegex(r.stdout, r'^fail  device .*\n +-> launch .*\n1 failed, 0 may be wrong\n$')

    def test_usage(self):
        for args in (['--instance-type'], ['--verbose'], ['x']):
            self.assertEqual(self.run_it(*args).returncode, 64)

    def test_programs(self):
        self.stub('nitro-cli', '[ $1 != --version ] && echo "[]"')
        self.found('nitro-cli', 'no nitro-cli')
        self.stub('nitro-cli', 'case $1 in --version) echo 1;; *) echo "[]";; esac')
        os.unlink(os.path.join(self.bin, 'vsock-proxy'))
        self.found('programs', 'missing: vsock-proxy$')

    def test_device(self):
        os.unlink(os.path.join(self.root, 'dev/nitro_enclaves'))
        self.found('device', 'nitro_enclaves')

    def test_family(self):
        for kind in ('t4g.small', 'a1.large', 'c7gn.xlarge', 'm7g.large', 'r7gd.2xlarge', 'hpc7g.4xlarge', 'is4gen.large'):
            self.found('family', kind, '--instance-type', kind)
        self.found('family', 'was on', '--instance-type', 'm7g.large', '--allow-family', status='warn')
        self.stub('curl', 'exit 7')
        self.found('family', 'metadata', status='warn')

    def test_cpus(self):
        self.file('sys/devices/system/cpu/present', '0-1\n')
        self.found('cpus', '2 of 2 CPUs')
        self.file('sys/devices/system/cpu/present', '0-3\n')
        self.file('sys/devices/system/cpu/smt/active', '1\n')
        self.assertEqual(self.checks()[0], 0)
        self.edit(ENV, 'CPU_COUNT=2', 'CPU_COUNT=1')
        self.found('cpus', 'no full cores')
        self.edit(ENV, 'CPU_COUNT=1', 'CPU_COUNT=2')
        self.file('sys/devices/system/cpu/present', '0-2\n')
        self.found('cpus', 'leave less than 2')

    def test_memory(self):
        self.file('proc/meminfo', 'MemTotal:        1500000 kB\n')
        self.found('memory', '1024 of 1464 MiB')
        self.file('proc/meminfo', '')
        self.assertEqual(self.checks()[1]['memory']['status'], 'warn')

    def test_image(self):
        """Four times its size: to the byte."""
        eif = 'var/lib/cwc-enclave/cwc-worker.eif'
        self.file(eif, b'')
        os.truncate(os.path.join(self.root, eif), 256 << 20)
        self.assertEqual(self.checks()[0], 0)
        os.truncate(os.path.join(self.root, eif), (256 << 20) + 1)
        self.found('image', 'needs 1025 MiB')
        os.unlink(os.path.join(self.root, eif))
        self.found('image', 'no image')

    def test_settings(self):
        self.edit(ENV, 'MEMORY_MIB=1024', 'MEMORY_MIB=1G')
        self.found('settings', 'not numbers')

    def test_allocator(self):
        path = 'etc/nitro_enclaves/allocator.yaml'
        for text, pattern in (('memory_mib: 512\ncpu_count: 2\n', '512 MiB'), ('memory_mib: 1024\ncpu_count: 1\n', '1 CPUs'),
                              ('memory_mib: 1024\ncpu_pool: 1\n', '1 CPUs'), ('cpu_count: 2\n', 'does not say'),
                              ('memory_mib: 1024\ncpu_count: 2\ncpu_pool: 1-2\n', 'cpu_count and cpu_pool')):
            self.file(path, text)
            self.found('allocator', pattern)
        self.file(path, 'memory_mib: 1024 # MiB\ncpu_pool: 1,3\n')
        self.assertEqual(self.checks()[0], 0)
        self.stub('systemctl', 'case "$*" in *is-active*allocator*) exit 3;; esac')
        self.found('allocator', 'has not done')
        os.unlink(os.path.join(self.root, path))
        self.found('allocator', 'there is no')

    def test_hugepages(self):
        self.file('sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages', '0\n')
        self.file('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '511\n')
        self.found('hugepages', '1022 MiB')
        self.file('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '512\n')
        self.assertEqual(self.checks()[0], 0)

    def test_measured(self):
        self.stub('cwcctl', 'exit 1')
        self.found('measured', 'no release')
        self.assertIn('cwcctl attest diff %s/var/lib/cwc-enclave/releases.txt %s/var/lib/cwc-enclave/cwc-worker.eif'
                      % (self.root, self.root), self.calls())
        os.unlink(os.path.join(self.root, 'var/lib/cwc-enclave/releases.txt'))
        self.found('measured', 'releases.txt')

    def test_debug(self):
        said = '[{"EnclaveName":"cwc-worker","Flags":"%s"},{"EnclaveName":"other","Flags":"DEBUG_MODE"}]'
        self.stub('nitro-cli', "case $1 in --version) echo 1;; *) echo '%s';; esac" % (said % 'NONE'))
        self.assertEqual(self.checks()[0], 0)
        self.stub('nitro-cli', "case $1 in --version) echo 1;; *) echo '%s';; esac" % (said % 'DEBUG_MODE'))
        self.found('debug', 'debug mode')
        self.stub('nitro-cli', 'case $1 in --version) echo 1;; *) exit 1;; esac')
        self.found('debug', 'does not say', status='warn')

    def test_ways(self):
        allowed = 'etc/cwc-enclave/vsock-proxy.yaml'
        for host in ('cwc.house.gov, port: 443', 'soapbox.senate.gov, port: 443', 'kms.us-west-2.amazonaws.com, port: 443',
                     'cache.internal, port: 6380', '169.254.169.254, port: 80'):
            text = self.read(allowed)
            self.edit(allowed, '- {address: ' + host, '# - {address: ' + host)
            self.found('ways', 'does not allow ' + host.split(',')[0])
            self.write(os.path.join(self.root, allowed), text)
        self.edit(CONF, 'vsock:3:8446', 'vsock:3:8447')
        self.found('ways', 'nothing serves port 8447')
        os.unlink(os.path.join(self.root, CONF))
        self.found('ways', 'host.conf')

    def test_units(self):
        for unit in ('cwc-bridge@house', 'cwc-bridge@redis', 'cwc-serve@store', 'cwc-enclave', 'nitro-enclaves-allocator', 'cwc-log'):
            self.stub('systemctl', 'case "$*" in *is-enabled*%s.service) exit 1;; esac' % unit)
            self.found('units', unit)

    def test_ports(self):
        self.stub('ss', 'echo "v_str LISTEN 0 0 *:8444 *:*"; echo "v_str LISTEN 0 0 3:7001 *:*"')
        self.assertEqual(self.checks()[0], 0)       # ours
        self.stub('systemctl', 'case "$*" in *is-active*kms*) exit 3;; esac')
        self.found('ports', r'8444 \(cwc-bridge@kms\)$')
        self.stub('ss', 'exit 1')
        self.found('ports', 'no ss', status='warn')

    def test_store(self):
        self.file('var/lib/cwc-enclave/store')
        self.found('store', 'empty', status='warn')

    def test_clock(self):
        self.stub('timedatectl', 'echo no')
        self.found('clock', 'not synchronised')
        self.stub('chronyc', 'echo "Leap status     : Normal"')
        self.assertEqual(self.checks()[0], 0)
        self.stub('chronyc', 'echo "Leap status     : Not synchronised"')
        self.found('clock', 'not synchronised')

    def test_redis(self):
        def says(*values):
            self.stub('redis-cli', 'printf "%s"' % (INFO % values))
        says('allkeys-lru', 1, 0)
        self.found('redis', 'allkeys-lru')
        says('noeviction', 0, 0)
        self.found('durable', 'neither', status='warn')
        says('noeviction', 0, 1)
        self.assertEqual(self.checks()[0], 0)
        self.stub('redis-cli', 'exit 1')
        self.found('redis', 'does not answer')
        os.unlink(os.path.join(self.bin, 'redis-cli'))
        self.found('redis', 'no redis-cli', status='warn')
        # The names that it has on Amazon Linux.
        for client in ('redis6-cli', 'valkey-cli'):
            self.stub(client, 'printf "%s"' % (INFO % ('allkeys-lru', 1, 0)))
            self.found('redis', 'allkeys-lru')
            os.unlink(os.path.join(self.bin, client))

    def test_ca(self):
        os.unlink(os.path.join(self.root, 'etc/ssl/certs/ca-certificates.crt'))
        code, checks = self.checks()
        self.assertEqual((code, checks['ca']['status']), (2, 'fail'))
        self.assertIn('/etc/ssl/certs/ca-certificates.crt', checks['ca']['what'])


if __name__ == '__main__':
    unittest.main()
