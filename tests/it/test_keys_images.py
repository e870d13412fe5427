#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Images that the key's policy does not name, and a metadata service that is away: no key, no letter; and how it comes to
an end."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ring_case import Producer, TroubleCase, wait_until  # noqa: E402

import kms_ctl  # noqa: E402


class Images(TroubleCase):
    def test_an_image_that_is_not_ours(self):
        """The ring's maker is not its like; KMS gives it no data key, neither for our bundle nor for one of its own."""
        stack = self.begin()
        self.assertEqual(self.first.stop(), 0)
        p = Producer(stack)
        some = self.enqueue_some(p, 6)
        bad = stack.start_worker('bad', ready=False, env={'CWC_SIM_IMAGE': 'changed'})
        bad.wait_event('bundle_refused')
        self.assertEqual((bad.events('bundle_refused')[0]['reason'], bad.events('bundle_refused')[0]['code']),
                         ('maker', 'policy'))
        stack.release.store.wait_fetched(3)
        self.assertEqual(stack.ready(bad), (503, 'no_bundle'))
        stack.manifest, ours = stack.write('bad.txt', 'release bad\npcr0 %s\n' % bad.events('attested')[0]['pcr0'].ljust(
            96, '0')), stack.manifest
        self.no_bundle_from(bad, 'request', 'kms_denied')
        stack.manifest = ours
        self.assertEqual([r['type'] for r in stack.kms.records() if r.get('pcr0') != stack.release.pcrs[0]],
                         ['AccessDeniedException'])
        self.untouched(len(some))
        self.assertEqual(bad.events('ready') + bad.events('queue_up') + bad.events('secret_loaded'), [])
        self.assertEqual(bad.stop(), 0)
        self.debug_mode()
        self.policy_without_us(p, some)

    def policy_without_us(self, p, some):
        """The image is ours, and the policy has another: it waits with the reason, until somebody puts it right."""
        stack = self.stack
        stack.kms.cmd('policy', policy=kms_ctl.policy('ab' * 48), key=stack.release.arn)
        worker = stack.start_worker('w2', ready=False)
        self.waits_for_kms(worker)
        wait_until(lambda: len(self.failures(worker)) >= 2, 20, 'another try')
        self.assertEqual(set(self.failures(worker)), {'kms_denied'})
        self.untouched(len(some))
        stack.kms.cmd('policy', policy=stack.release.policy(), key=stack.release.arn)
        worker.wait_event('ready')
        self.all_arrived(p)

    def debug_mode(self):
        """Zeros for measurements: the simulated KMS refuses the document itself."""
        stack = self.stack
        worker = stack.start_worker('debug', ready=False, env={'CWC_SIM_DEBUG': '1'})
        self.assertEqual(worker.events('attested'), [])
        worker.wait_event('bundle_refused')
        self.assertEqual(stack.ready(worker), (503, 'no_bundle'))
        self.no_bundle_from(worker, 'request', 'kms_refused')
        self.assertEqual(worker.stop(), 0)


class Metadata(TroubleCase):
    def test_away_and_strange(self):
        stack = self.begin()
        # What is known is used: KMS answers, and the metadata service is not asked again.
        asked = stack.kms.stats()['imds_requests']
        stack.imds_place.away()
        second = stack.asked(self.first, 'rotate')
        self.assertEqual(stack.kms.stats()['imds_requests'], asked)
        # A worker that starts has no credentials.
        worker = stack.start_worker('w2', ready=False)
        self.waits_for_kms(worker)
        self.assertEqual(set(self.failures(worker)), {'imds'})
        stack.kms.cmd('imds', fault='not_json')
        stack.imds_place.back()
        wait_until(lambda: 'imds_syntax' in self.failures(worker), 20, 'strange credentials')
        stack.kms.cmd('imds', fault=None)
        worker.wait_event('ready')
        # Credentials that are over before their time are fetched anew, and the call is made again.
        stack.kms.cmd('expire')
        stack.put(bundle=second)
        for w in (self.first, worker):
            stack.wait_bundle(w, 2)
            self.assertNotIn('kms_credentials', self.failures(w))
        p = Producer(stack)
        self.enqueue_some(p, 6)
        self.all_arrived(p)


if __name__ == '__main__':
    unittest.main()
