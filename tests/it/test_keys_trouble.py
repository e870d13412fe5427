#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""KMS away, unwilling or strange, under load and at a start. Who has the ring goes on; who has it not waits, takes no
letter, and comes back by itself."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ring_case import UNAVAILABLE, Producer, TroubleCase, wait_until  # noqa: E402
from status_client import ask  # noqa: E402


class Clock(TroubleCase):
    def test_no_key_is_lost_by_a_wrong_clock(self):
        """A worker whose clock is not that of its device has a ring whose older keys are over by that clock: it keeps
        them, and makes none. One whose clock is good lets them go."""
        stack = self.begin(measured_keys={'overlap': '0s'})
        bad = stack.start_worker('w2', ready=False, env={'CWC_SIM_CLOCK_MS': '5000'})
        bad.wait_event('clock_signed')
        stack.wait_bundle(bad, 1)
        self.assertIsNone(stack.asked(bad, 'rotate', code=UNAVAILABLE))
        self.assertIn("clock is not the security module's", stack.said)
        stack.put(bundle=stack.asked(self.first, 'rotate'))
        for worker in (self.first, bad):
            stack.wait_bundle(worker, 2)
        destroyed = [e for e in self.first.events('key_changed') if e['state'] == 'destroyed']
        self.assertEqual(len(destroyed), 2)
        self.assertEqual((len(stack.keys_of(self.first)['keys']), len(stack.keys_of(bad)['keys'])), (3, 5))
        self.assertEqual(bad.events('bundle_refused'), [])


class Device(TroubleCase):
    def test_an_exit_does_not_wait_for_it(self):
        """A call to KMS hangs in the device, and cannot be broken off: the worker says that it stopped, and ends."""
        stack = self.begin()
        worker = stack.start_worker('w2', ready=False, env={'CWC_SIM_HANG': '1'})

        def hangs():
            answer = ask(worker.status, '/attestation?nonce=' + 32 * '00', accept='application/json')
            return answer.json().get('reason') == 'device'
        wait_until(hangs, 30, 'device that hangs')
        begun = time.monotonic()
        self.assertEqual(worker.stop(timeout=20), 0)
        self.assertLess(time.monotonic() - begun, 10)
        self.assertEqual(len(worker.events('stopped')), 1)
        # One that does not hang does not wait.
        begun = time.monotonic()
        self.assertEqual(self.first.stop(), 0)
        self.assertLess(time.monotonic() - begun, 4)


class Kms(TroubleCase):
    def test_away_under_load(self):
        stack = self.begin()
        second = stack.start_worker('w2')
        p = Producer(stack)
        p.until(lambda: len(stack.results()) >= 20, 'first letters')
        stack.kms_place.away()
        # Nothing of it shows in those that run, but when they are asked for a bundle.
        n = len(stack.results())
        p.until(lambda: len(stack.results()) >= n + 30, 'letters without KMS')
        self.no_bundle_from(self.first, 'rotate', 'connect')
        n = len(stack.results())
        p.until(lambda: len(stack.results()) >= n + 10, 'letters after that')
        self.assertEqual([e['code'] for e in self.first.events('keys_asked')], ['ok', 'connect'])
        # One that starts now waits beside the other, which has the letters for itself.
        self.assertEqual(second.stop(), 0)
        third = stack.start_worker('w3', ready=False)
        self.waits_for_kms(third)
        n = len(stack.results())
        p.until(lambda: len(stack.results()) >= n + 10, 'letters of one worker')
        # Without any worker letters wait, and KMS does not come back because somebody looks.
        self.assertEqual(self.first.stop(), 0)
        wait_until(lambda: not stack.redis('EXISTS', stack.key('workers')), 20, 'empty fleet')
        before = stack.redis('XLEN', stack.key('in'))
        some = self.enqueue_some(p, 12)
        failed = len(self.failures(third))
        wait_until(lambda: len(self.failures(third)) > failed, 20, 'another try')
        self.untouched(before + len(some))
        self.assertEqual(stack.ready(third), (503, 'kms'))
        stack.kms_place.back()
        third.wait_event('ready')
        self.all_arrived(p)
        self.assertEqual(set(self.failures(third)), {'connect'})
        self.assertEqual(third.events('bundle_refused'), [])
        self.assertEqual([e['reason'] for e in third.events('keys_missing')], ['kms'])
        stack.put(bundle=stack.asked(third, 'rotate'))
        stack.wait_bundle(third, 2)

    FAULTS = [('throttle', 'kms_throttled'), ('internal', 'kms_unavailable'), ('unavailable', 'kms_unavailable'),
              ('access_denied', 'kms_denied'), ('error_200', 'kms_syntax'), ('plaintext', 'kms_plaintext'),
              ('other_recipient', 'kms_cms')]

    def test_strange_answers_at_a_start(self):
        """One after the other; then the answer is right, and the same boot goes on from there."""
        stack = self.begin()
        self.assertEqual(self.first.stop(), 0)
        p = Producer(stack)
        some = self.enqueue_some(p, 6)
        faults = self.FAULTS[:4] if 'CWC_LONG' not in os.environ else self.FAULTS
        for action, _ in faults:
            stack.kms.fault(action=action, count=1, operation='Decrypt')
        worker = stack.start_worker('w2', ready=False)
        wait_until(lambda: len(self.failures(worker)) >= 2, 20, 'failures')
        self.untouched(len(some))
        worker.wait_event('ready')
        self.assertEqual(self.failures(worker), [why for _, why in faults])
        self.all_arrived(p)
        # A strange answer to a request is not the end of the bundle that is in use.
        stack.kms.fault(action='no_recipient', count=1, operation='GenerateDataKey')
        self.no_bundle_from(worker, 'rotate', 'kms_no_recipient')
        self.assertEqual(stack.keys_of(worker)['bundle'], 1)


if __name__ == '__main__':
    unittest.main()
