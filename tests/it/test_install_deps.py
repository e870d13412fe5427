#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What ops/install-deps leaves of a machine: no service of a package runs, now or after the next boot, and what kept them from
it does not stay behind, not even when it is interrupted. What installs is a stub, and the machine a folder.
"""
import os
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host_case import Case  # noqa: E402
from stack import ROOT  # noqa: E402

POLICY = 'usr/sbin/policy-rc.d'
UNITS = 'lib/systemd/system/'


class InstallDeps(Case):
    def setUp(self):
        super().setUp()
        self.write('root/usr/sbin/nginx', '')
        self.write('root/' + UNITS + 'nginx.service', '')
        self.env['INSTALL_ROOT'] = self.root
        os.symlink(shutil.which('tee'), os.path.join(self.bin, 'tee'))
        self.stub('id', 'echo 1000')
        self.stub('sudo', 'exec "$@"')
        self.stub('systemctl')
        self.stub('dpkg-query', 'case $* in *redis-server*|*prometheus*) exit 1;; esac; echo "ii "')
        self.stub('apt-get', 'case $1 in install) cp "$INSTALL_ROOT/%s" "$INSTALL_ROOT/seen"\n'
                             '\t: >"$INSTALL_ROOT/%sprometheus.service";; esac' % (POLICY, UNITS))

    def begin(self):
        return self.start(os.path.join(ROOT, 'ops', 'install-deps'), 'test')

    def there(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def test_what_is_new_is_neither_started_nor_enabled(self):
        p = self.begin()
        self.assertEqual((p.communicate(timeout=30)[0], p.returncode), ('installing: redis-server prometheus\n', 0))
        self.assertIn('exit 101', self.read('seen'))
        self.assertFalse(self.there(POLICY))
        self.assertEqual(self.calls('systemctl'), ['systemctl --quiet disable prometheus.service'])

    def test_a_policy_of_the_machine_stays(self):
        self.write('root/' + POLICY, 'theirs')
        p = self.begin()
        p.communicate(timeout=30)
        self.assertEqual((p.returncode, self.read(POLICY)), (0, 'theirs'))

    def test_interrupted(self):
        self.stub('apt-get', ': >"$INSTALL_ROOT/seen"; sleep 30')
        for number in (signal.SIGINT, signal.SIGTERM):
            p = self.begin()
            self.wait_for(lambda: self.there('seen'))
            self.assertTrue(self.there(POLICY))
            os.killpg(p.pid, number)
            p.communicate(timeout=30)
            self.assertEqual((p.returncode, self.there(POLICY)), (130, False))
            os.unlink(os.path.join(self.root, 'seen'))


if __name__ == '__main__':
    unittest.main()
