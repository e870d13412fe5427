#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ops/keda/scaledobject.yaml beside a real queue and the exporter's real output: what it names is there, and means what it
must mean. KEDA itself does not run here."""
import math
import os
import re
import subprocess
import sys
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import ROOT, QueueCase, rq  # noqa: E402
from test_cwcctl_depth import parse  # noqa: E402

PATH = os.path.join(ROOT, 'ops', 'keda', 'scaledobject.yaml')
# KEDA's documentation of the two scalers; all values are strings.
KNOWN = {
    'redis-streams': {'address', 'host', 'port', 'usernameFromEnv', 'passwordFromEnv', 'stream', 'consumerGroup', 'pendingEntriesCount',
                      'streamLength', 'lagCount', 'activationLagCount', 'enableTLS', 'unsafeSsl', 'databaseIndex', 'addressFromEnv',
                      'hostFromEnv', 'portFromEnv'},
    'prometheus': {'serverAddress', 'query', 'threshold', 'activationThreshold', 'namespace', 'customHeaders', 'ignoreNullValues',
                   'unsafeSsl', 'authModes'},
}


class Keda(QueueCase):
    def setUp(self):
        super().setUp()
        with open(PATH, encoding='utf-8') as f:
            documents = {d['kind']: d for d in yaml.safe_load_all(f)}
        self.object, self.access = documents['ScaledObject'], documents['TriggerAuthentication']
        self.trigger = {t['type']: t for t in self.object['spec']['triggers']}

    def meta(self, kind):
        return self.trigger[kind]['metadata']

    def exported(self):
        return parse(self.ctl('depth', '--prometheus').out)

    def test_form(self):
        self.assertEqual((self.object['apiVersion'], self.access['apiVersion']), ('keda.sh/v1alpha1', 'keda.sh/v1alpha1'))
        self.assertEqual(set(self.trigger), set(KNOWN))
        for kind, trigger in self.trigger.items():
            self.assertLessEqual(set(trigger['metadata']), KNOWN[kind])
            self.assertTrue(all(isinstance(v, str) for v in trigger['metadata'].values()), kind)
        self.assertEqual(self.trigger['redis-streams']['authenticationRef']['name'], self.access['metadata']['name'])
        self.assertEqual({x['parameter'] for x in self.access['spec']['secretTargetRef']}, {'username', 'password'})

    def test_wakes_from_none(self):
        """The stream is the door: what a producer adds is there at once, and gone when a worker has it."""
        meta = self.meta('redis-streams')
        self.assertEqual(self.r('XLEN', meta['stream']), 0)
        self.add('s')
        self.assertEqual((self.r('TYPE', meta['stream']), self.r('XLEN', meta['stream'])), ('stream', 1))
        self.take()
        self.assertEqual(self.r('XLEN', meta['stream']), 0)
        self.assertNotIn('consumerGroup', meta)
        self.assertEqual(self.object['spec']['minReplicaCount'], 0)

    def test_the_door_never_sizes(self):
        most = 1000000  # 4 GB of letters of 4 KB
        self.assertEqual(math.ceil(most / int(self.meta('redis-streams')['streamLength'])), 1)

    def test_size(self):
        """Each name in the query is a series of the exporter, and its value divided by the threshold the number."""
        meta = self.meta('prometheus')
        names = set(re.findall(r'\bcwcq_[a-z_]+', meta['query']))
        self.assertEqual(names, {'cwcq_desired_workers'})
        self.r('HSET', '{q}:scale', 'desired', 6, 'at', self.now())
        found = self.exported()
        self.assertLessEqual(names, {name for name, _ in found})
        self.assertEqual(math.ceil(found['cwcq_desired_workers', ''] / float(meta['threshold'])), 6)
        self.assertEqual(sum(name == 'cwcq_desired_workers' for name, _ in found), 1)
        rule = self.write('r.yml', yaml.safe_dump({'groups': [{'name': 'g', 'rules': [{'record': 'a:b', 'expr': meta['query']}]}]}))
        subprocess.run(['promtool', 'check', 'rules', rule], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def test_what_is_missing_is_no_zero(self):
        """Without a number, or with an old one, there is no series, and that is an error to KEDA."""
        self.assertEqual(self.meta('prometheus')['ignoreNullValues'], 'false')
        self.assertNotIn(('cwcq_desired_workers', ''), self.exported())
        self.r('HSET', '{q}:scale', 'desired', 6, 'at', self.now() - 3600 * 10**6)
        self.assertNotIn(('cwcq_desired_workers', ''), self.exported())

    def test_to_none_only_when_all_is_over(self):
        """Held and delayed letters keep the number above the threshold of activation."""
        self.add('s')
        self.intake()
        self.call('admin', 'hold', 'ops@host', 'house', self.now() + 3600 * 10**6, 'asked')
        options = ('--min', str(self.object['spec']['minReplicaCount']), '--max', str(self.object['spec']['maxReplicaCount']), '--json')
        self.assertEqual(self.ctl('scale', *options).json['desired'], 1)
        self.assertGreater(1, float(self.meta('prometheus')['activationThreshold']))
        self.r('FLUSHALL')
        self.assertEqual(self.ctl('scale', *options).json['desired'], 0)

    def test_its_user(self):
        """The secret is for a user that ops/redis has, and that may ask for the length of the stream."""
        with open(PATH, encoding='utf-8') as f:
            user, = re.findall(r'of the user `([a-z-]+)` of ops/redis', f.read())
        rules = subprocess.run([os.path.join(ROOT, 'ops/redis/make-acl'), '--access-string', user], stdout=subprocess.PIPE,
                               check=True, text=True).stdout
        self.r('ACL', 'SETUSER', user, 'reset', *re.findall(r'\([^)]*\)|\S+', rules), '>hush')
        self.addCleanup(self.r, 'ACL', 'DELUSER', user)
        client = rq.Client(self.server.path)
        self.addCleanup(client.close)
        client('AUTH', user, 'hush')
        self.assertEqual(client('XLEN', self.meta('redis-streams')['stream']), 0)

    def test_rights(self):
        """The role that the secret is for may ask for the length of the stream, and no more of it than that needs."""
        with open(os.path.join(ROOT, 'queue', 'PROTOCOL.md'), encoding='utf-8') as f:
            row = [line for line in f if line.startswith('| autoscaler | `+')][0].replace('\\|', '|')
        self.r('ACL', 'SETUSER', 'scaler', 'reset', 'on', '>hush', '~{q}:*', *re.findall(r'\+[a-z|]+', row))
        self.addCleanup(self.r, 'ACL', 'DELUSER', 'scaler')
        client = rq.Client(self.server.path)
        self.addCleanup(client.close)
        client('AUTH', 'scaler', 'hush')
        client('PING')
        self.assertEqual(client('XLEN', self.meta('redis-streams')['stream']), 0)
        password = self.write('scaler.pw', 'hush', 0o600)
        for args in (('depth',), ('depth', '--prometheus'), ('scale', '--publish')):
            self.ctl(*args, '--user', 'scaler', '--password-file', password)


if __name__ == '__main__':
    unittest.main()
