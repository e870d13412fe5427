#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What it takes to send to Congress in earnest: the worker's environment, the URLs and the job's own word must all say so.
Each combination with one of them missing sends nothing. A worker of production has a security module here, which is
simulated."""
import itertools
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from stack import wait_until  # noqa: E402
from test_authenticity import HOUSE, SENATE, Case, letter, signed  # noqa: E402

EX_CONFIG = 78
LIVE = {'house': {'url': 'https://cwc.house.gov/v2/message', 'offices_url': 'https://cwc.house.gov/v2/offices'},
        'senate': {'url': 'https://soapbox.senate.gov/api/production-messages/',
                   'offices_url': 'https://soapbox.senate.gov/api/active_offices/'}}


class Switches(Case):
    """Two switches for sending in earnest, the worker's environment and the URLs, and the job's own word. The hosts of
    production are the simulator's here as those of the sandbox are."""

    def config(self, environment, house, senate):
        def of(live, chamber):
            return {**(LIVE if live else stacks.URLS)[chamber]}
        return {'environment': environment, 'key_source': 'boot',
                'jobs': {'key_wait': '1h' if environment == 'production' else '1s'}, 'measured_house': of(house, 'house'),
                'measured_senate': of(senate, 'senate')}

    def test_what_does_not_start(self):
        for environment, house, senate in itertools.product(('production', 'sandbox'), (False, True), (False, True)):
            fits = house == senate == (environment == 'production')
            with self.subTest(environment, house=house, senate=senate):
                stack = self.start(**self.config(environment, house, senate))
                stack.enqueue([{'sid': 's', 'offices': HOUSE, 'job': b'x'}])
                args = [stack.program, *stack.write_config('w1'), '--check-config']
                p = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
                self.assertEqual(p.returncode, 0 if fits else EX_CONFIG, p.stderr)
                if not fits:
                    self.assertIn('while worker.environment is ' + environment, p.stderr)
                    worker = stack.start_worker(ready=False)
                    self.assertEqual(worker.process.wait(20), EX_CONFIG)
                    self.assertEqual((stack.keys(), stack.sim.count()), ([stack.key('in')], 0))
                stack.close()

    def test_no_host_file_turns_a_switch(self):
        stack = self.start(**self.config('sandbox', False, False))
        for section, line in (('worker', 'environment = production'), ('house', 'url = ' + LIVE['house']['url']),
                              ('senate', 'url = ' + LIVE['senate']['url'])):
            args = stack.write_config('w1')
            with open(args[3], 'a', encoding='utf-8') as f:
                f.write('[%s]\n%s\n' % (section, line))
            p = subprocess.run([stack.program, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                               check=False)
            self.assertEqual(p.returncode, EX_CONFIG, p.stderr)
            self.assertEqual(stack.keys(), [])

    def both(self, environment):
        """A job of the other environment and one of this: only the latter goes. In the sandbox for the same letters; a
        worker of production leaves the wrong one to others for an hour at least."""
        live = environment == 'production'
        stack = self.start(**self.config(environment, live, live))
        worker = stack.start_worker()
        other = 'sandbox' if live else 'production'
        submissions = [letter('h', HOUSE), letter('s', SENATE)]
        strays = [letter('x' + s['sid'], s['offices'][0]) for s in submissions] if live else submissions
        wrong = [signed(stack, s, environment=other) for s in strays]
        stack.enqueue(wrong if live else (self.bad(e, 'verify', 'job_environment') for e in wrong))

        def deferred():
            return [stack.job(s['sid'], s['offices'][0]).get('state') for s in strays] == ['later', 'later']
        wait_until(deferred, what='deferred jobs')  # a worker of another environment might know them
        stack.submit(*submissions)
        if live:
            stack.wait_results(2)
            last = account.last_results(stack)
            self.assertEqual(set(last), {('h', HOUSE), ('s', SENATE)})
            self.assertTrue(deferred())
        else:
            last = self.check(submissions)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertEqual(stack.sim.count(), 2)
        hosts = {r['chamber']: r['sni'] for r in stack.sim.records()}
        self.assertEqual(hosts, {c: (LIVE if live else stacks.URLS)[c]['url'].split('/')[2] for c in ('house', 'senate')})
        return worker

    def test_production(self):
        worker = self.both('production')
        self.assertEqual(self.stack.stream('attestations')[-1]['environment'], 'production')
        ids = {r['delivery_id'] for r in self.stack.sim.records()}
        self.assertEqual(ids & {account.delivery_id(s, o) for s, o in (('h', HOUSE), ('s', SENATE))}, set())
        self.assertEqual(worker.events('unattested'), [])

    def test_sandbox(self):
        self.both('sandbox')

    def test_production_takes_no_debug_enclave(self):
        stack = self.start(**self.config('production', True, True))
        worker = stack.start_worker(ready=False, env={'CWC_SIM_DEBUG': '1'})
        self.assertEqual(worker.process.wait(20), EX_CONFIG)
        self.assertIn('debug mode', worker.tail())
        self.assertEqual(stack.keys(), [])


if __name__ == '__main__':
    unittest.main()
