#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Signers come and go by grants of the authority that is measured into the image, in bundles."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
from life_case import letter  # noqa: E402
from ring_case import NO, RingCase, appserver, letters, wait_until  # noqa: E402

import formats  # noqa: E402


class Signers(RingCase):
    GRANTED_S = 8

    def begin(self, **options):
        self.authority = formats.x25519_secret()  # 32 random bytes: a seed
        self.app2 = appserver.AppServer('app-2')
        stack = self.start(jobs={'key_wait': '1s'}, **options,
                           measured_jobs={'authority': 'root-1 ' + formats.ed25519_public(self.authority).hex()})
        self.worker = stack.start_worker(ready=False)
        stack.first_keys(self.worker)
        self.worker.wait_event('ready')
        stack.ring = stack.newest_keys()
        return stack

    def grant(self, serial, *signers, seed=None, kid='root-1'):
        """By `cwcctl signer grant`, from a PEM. signers: (app server, not_before, not_after)"""
        s = self.stack
        der = bytes.fromhex('302e020100300506032b657004220420') + (seed or self.authority)
        body = formats.base64.b64encode(der).decode()
        pem = s.write('authority.pem', '-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n' % body, 0o600)
        lines = ['%s %s %s %s' % (app.kid, app.public.hex(), *(time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(t))
                                                             for t in (after, before))) for app, after, before in signers]
        file = s.new('grant')
        s.run('signer', 'grant', s.write('signers.txt', '\n'.join(lines) + '\n'), '--signer', pem, '--kid', kid, '--serial',
              str(serial), '--queue', s.queue, '--output', file)
        return file

    def proved(self):
        """What `cwcctl keys status` believes of it: the grant whose hash a document of now vouches for."""
        s = self.stack
        said = s.run('keys', 'status', '--json', '--status', self.worker.status, '--manifest', s.manifest, '--authority-key',
                     formats.ed25519_public(self.authority).hex()).json['grant']
        return said and (said['serial'], [x['kid'] for x in said['signers']])

    def submit(self, app, sid):
        self.stack.enqueue([app.entry(letter(sid), self.stack.ring)])

    def signers(self):
        grant = self.stack.keys_of(self.worker)['grant']
        return grant and (grant['serial'], [x['kid'] for x in grant['signers']])

    def no_grant(self, file):
        s = self.stack
        self.assertIsNone(s.asked(self.worker, 'signers', '--grant', file, code=NO))
        self.assertIn('the grant is refused', s.said)

    def wait_refused(self, sid, detail='job_signer'):
        wait_until(lambda: any(e['sid'] == sid for e in self.stack.stream('refused')), 20, 'refused ' + sid)
        entry, = (e for e in self.stack.stream('refused') if e['sid'] == sid)
        self.assertEqual((entry['why'], entry['detail']), ('verify', detail))

    def test_they_come_and_go(self):
        stack = self.begin()
        now = int(time.time())
        self.assertEqual((self.signers(), self.proved()), (None, None))
        self.submit(self.app2, 'stranger')
        self.wait_refused('stranger')
        until = int(time.time()) + self.GRANTED_S
        stack.put(bundle=stack.asked(self.worker, 'signers', '--grant',
                                     self.grant(5, (self.app2, now - 60, until))))
        stack.wait_bundle(self.worker, 2)
        self.assertEqual((self.signers(), self.proved()), ((5, ['app-2']), (5, ['app-2'])))
        self.submit(self.app2, 'granted')
        stack.wait_status('granted', letters.HOUSE, 'accepted')
        self.refused_grants(now)
        # The same keys go on, and the measured signer does not need a grant.
        self.submit(stack.app, 'measured')
        stack.wait_status('measured', letters.HOUSE, 'accepted')
        wait_until(lambda: time.time() >= until, what='end of the grant')
        self.submit(self.app2, 'over')
        self.submit(stack.app, 'measured-2')
        self.wait_refused('over')
        stack.wait_status('measured-2', letters.HOUSE, 'accepted')
        # A rotation carries the grant on; a newer one takes its place.
        stack.put(bundle=stack.asked(self.worker, 'rotate'))
        stack.wait_bundle(self.worker, 3)
        self.assertEqual((self.signers(), self.proved()), ((5, ['app-2']), (5, ['app-2'])))
        app3 = appserver.AppServer('app-3')
        stack.put(bundle=stack.asked(self.worker, 'signers', '--grant', self.grant(7, (app3, now - 60, now + 3600))))
        stack.wait_bundle(self.worker, 4)
        self.assertEqual((self.signers(), self.proved()), ((7, ['app-3']), (7, ['app-3'])))
        stack.ring = stack.newest_keys()
        self.submit(app3, 'third')
        stack.wait_status('third', letters.HOUSE, 'accepted')
        self.same_key_id(now)
        stack.wait_idle()
        last = account.check(self, stack)
        self.assertEqual({sid: r['state'] for (sid, _), r in last.items()}, dict.fromkeys(
            ('granted', 'measured', 'measured-2', 'third', 'measured-3'), 'accepted'))
        self.after_a_restart()

    def test_none_is_measured(self):
        """The image names the authority alone: a worker is ready without any signer, and takes those that are granted."""
        stack = self.begin(measured_signer=False)
        self.submit(stack.app, 'before')
        self.wait_refused('before')
        now = int(time.time())
        stack.put(bundle=stack.asked(self.worker, 'signers', '--grant',
                                     self.grant(1, (stack.app, now - 60, now + 3600))))
        stack.wait_bundle(self.worker, 2)
        self.submit(stack.app, 'granted')
        stack.wait_status('granted', letters.HOUSE, 'accepted')
        self.submit(self.app2, 'stranger')
        self.wait_refused('stranger')
        account.check(self, stack)

    def refused_grants(self, now):
        """Older than the one in use; by another key; by another key id; for another queue. None changes anything."""
        app, ever = self.app2, now + 3600
        self.no_grant(self.grant(4, (app, now - 60, ever)))
        self.no_grant(self.grant(6, (app, now - 60, ever), seed=formats.x25519_secret()))
        self.no_grant(self.grant(6, (app, now - 60, ever), kid='root-2'))
        queue, self.stack.queue = self.stack.queue, 'other'
        try:
            file = self.grant(6, (app, now - 60, ever))
        finally:
            self.stack.queue = queue
        self.no_grant(file)
        self.assertEqual((self.signers(), self.proved()), ((5, ['app-2']), (5, ['app-2'])))
        self.assertEqual(self.stack.keys_of(self.worker)['bundle'], 2)

    def same_key_id(self, now):
        """Under the key id of a measured signer a granted one never counts, as the documentation says."""
        stack = self.stack
        twin = appserver.AppServer(stack.app.kid)
        stack.put(bundle=stack.asked(self.worker, 'signers', '--grant', self.grant(8, (twin, now - 60, now + 3600))))
        stack.wait_bundle(self.worker, 5)
        self.submit(twin, 'twin')
        self.wait_refused('twin', 'job_signature')
        self.submit(stack.app, 'measured-3')
        stack.wait_status('measured-3', letters.HOUSE, 'accepted')
        said = ' '.join(stack.run('help', 'signer', 'grant').out.split())
        self.assertIn('A new key has a new key id', said)

    def after_a_restart(self):
        """What the bundle says is what a new boot knows."""
        self.assertEqual(self.worker.stop(), 0)
        self.worker = self.stack.start_worker('w2')
        self.assertEqual((self.signers(), self.proved()), ((8, [self.stack.app.kid]), (8, [self.stack.app.kid])))


if __name__ == '__main__':
    unittest.main()
