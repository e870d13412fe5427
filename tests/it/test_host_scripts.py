#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host's programs, with stubs for what only AWS has: the enclave's runner, the watcher of the instance's end, the
metrics. What they would do is what the stubs wrote down."""
import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from host_case import HOST, Case  # noqa: E402

INSTANCE = 'i-0123456789abcdef0'
# A metadata service: answers by the last part of the path from files; no file is a 404.
IMDS = '''
for url; do :; done
case $url in
*/api/token) echo token ;;
*/health) [ -e "$STATE/health" ] || exit 22 ;;
*) f=$STATE/$(basename "$url"); [ -e "$f" ] || exit 22; cat "$f" ;;
esac
'''
NITRO = '''
case $1 in
run-enclave) [ ! -e "$STATE/norun" ] || exit 1
	echo NONE >"$STATE/enclave"; echo '{"EnclaveID":"x"}' ;;
terminate-enclave) rm -f "$STATE/enclave" ;;
describe-enclaves)
	[ ! -e "$STATE/blind" ] || exit 1
	if flags=$(cat "$STATE/enclave" 2>/dev/null); then
		printf '[{"EnclaveName":"other","EnclaveID":"y","State":"RUNNING","Flags":"DEBUG_MODE","EnclaveCID":4},'
		printf '{"EnclaveName":"cwc-worker","EnclaveID":"x","State":"%s","Flags":"%s","EnclaveCID":%s}]' \\
			"$(cat "$STATE/state" 2>/dev/null || echo RUNNING)" "$flags" \\
			"$(cat "$STATE/cid" 2>/dev/null || echo 16)"
	else echo '[]'; fi ;;
esac
'''


class Scripts(Case):
    def setUp(self):
        super().setUp()
        self.state = self.path('state')
        os.mkdir(self.state)
        self.stub('curl', IMDS)
        self.stub('nitro-cli', NITRO)
        self.stub('cwcctl', '[ ! -e "$STATE/cwcctl-$1" ] || exit 1; [ ! -e "$STATE/says-$1" ] || cat "$STATE/says-$1"')
        self.stub('aws', '[ ! -e "$STATE/noaws" ] || exit 1')
        self.stub('systemctl', '[ ! -e "$STATE/slow" ] || while [ -e "$STATE/slow" ]; do sleep 0.05; done')
        self.stub('socat', 'cat >>"$STATE/sent"')
        for name in ('eif', 'manifest'):
            self.write(name, name)
        self.env.update(STATE=self.state, RUN=self.path('run'), EIF=self.path('eif'), MANIFEST=self.path('manifest'),
                        HOST_CONF=os.path.join(HOST, 'host.conf'), WATCH_S='0.1', POLL_S='0.1', HEARTBEAT_S='0.1',
                        CWCCTL_ARGS='--redis tcp:r:1 --user cwc-host')
        self.set('instance-id', INSTANCE)
        self.set('region', 'us-west-2')

    def set(self, name, text=''):
        """All at once: a stub may read it meanwhile."""
        os.rename(self.write('set', text), os.path.join(self.state, name))

    def unset(self, name):
        os.unlink(os.path.join(self.state, name))

    def run_script(self, name, *args, **env):
        p = self.start(os.path.join(HOST, name), *args, **env)
        return p, lambda: p.communicate(timeout=30)[0]


class Runner(Scripts):
    def running(self, **env):
        p, said = self.run_script('cwc-enclave', 'run', **env)
        self.wait_for(lambda: len(self.calls('nitro-cli describe-enclaves')) >= 2)
        return p, said

    def test_starts_watches_drains_and_ends(self):
        p, said = self.running()
        self.assertEqual(self.calls('nitro-cli run-enclave'),
                         ['nitro-cli run-enclave --enclave-name cwc-worker --cpu-count 2 --memory 1024 --eif-path %s '
                          '--enclave-cid 16' % self.env['EIF']])
        conf = self.read(self.path('run/host.conf'))
        self.assertTrue(conf.endswith('\n[worker]\nname = %s\n' % INSTANCE))
        self.assertIn('vsock:3:6379', conf)
        self.assertEqual(self.calls('cwcctl attest'), ['cwcctl attest diff %s %s' % (self.env['MANIFEST'], self.env['EIF'])])
        self.assertIsNone(p.poll())
        p.send_signal(signal.SIGTERM)
        out = said()
        self.assertEqual(p.returncode, 0, out)
        calls = self.calls()
        drain = 'cwcctl workers drain %s --wait 90s --redis tcp:r:1 --user cwc-host' % INSTANCE
        self.assertIn(drain, calls)
        self.assertLess(calls.index(drain), calls.index('nitro-cli terminate-enclave --enclave-name cwc-worker'))
        self.assertIn('given back', out)

    def test_ends_it_although_it_cannot_be_drained(self):
        self.set('cwcctl-workers')
        p, said = self.running()
        p.send_signal(signal.SIGTERM)
        self.assertIn('was not drained', said())
        self.assertEqual(p.returncode, 0)
        self.assertTrue(self.calls('nitro-cli terminate-enclave'))

    def test_a_drained_enclave_has_ended_by_itself(self):
        p, said = self.running()
        self.stub('cwcctl', 'rm "$STATE/enclave"')
        p.send_signal(signal.SIGTERM)
        said()
        self.assertEqual((p.returncode, self.calls('nitro-cli terminate-enclave')), (0, []))

    def ended(self, pattern, **env):
        p, said = self.run_script('cwc-enclave', 'run', **env)
        out = said()
        self.assertEqual(p.returncode, 1, out)
        self.assertRegex(out, pattern)

    def test_an_enclave_that_ends(self):
        p, said = self.running()
        self.unset('enclave')
        self.assertIn('has ended', said())
        self.assertEqual((p.returncode, self.calls('cwcctl workers')), (1, []))

    def test_what_is_not_what_was_started(self):
        for name, text, pattern in (('enclave', 'DEBUG_MODE', 'debug mode'), ('cid', '17', 'another CID'),
                                    ('state', 'TERMINATING', 'is ending')):
            with self.subTest(name):
                p, said = self.running()
                self.set(name, text)
                self.assertRegex(said(), pattern)
                self.assertEqual(p.returncode, 1)
                if name != 'state':
                    self.assertTrue(self.calls('nitro-cli terminate-enclave'))
                for n in ('enclave', 'cid', 'state', '../calls'):
                    if os.path.exists(os.path.join(self.state, n)):
                        self.unset(n)

    def test_a_worker_that_falls_silent(self):
        p, said = self.running(HEALTH_FAILURES='3')
        self.set('health')
        n = len(self.calls('curl -sf -m 5'))
        self.wait_for(lambda: len(self.calls('curl -sf -m 5')) > n + 1)
        self.unset('health')
        self.assertIn('does not answer any more', said())
        self.assertEqual(p.returncode, 1)
        self.assertTrue(self.calls('nitro-cli terminate-enclave'))

    def test_a_worker_that_waits_for_its_keys_is_left_alone(self):
        p, _ = self.running(HEALTH_FAILURES='2')
        self.wait_for(lambda: len(self.calls('curl -sf -m 5')) > 6)
        self.assertIsNone(p.poll())

    def test_nitro_cli_that_fails(self):
        p, said = self.running()
        self.set('blind')
        self.assertIn('does not say what runs', said())
        self.assertEqual(p.returncode, 1)

    def test_what_is_left_is_ended_first(self):
        self.set('enclave', 'NONE')
        self.running()
        calls = [c.split()[1] for c in self.calls('nitro-cli')]
        self.assertEqual(calls[:3], ['describe-enclaves', 'terminate-enclave', 'run-enclave'])

    def test_not_started(self):
        self.set('cwcctl-attest')
        self.ended('is no release')
        self.assertEqual(self.calls('nitro-cli run-enclave'), [])
        self.unset('cwcctl-attest')
        self.ended('DRAIN_WAIT', DRAIN_WAIT='2min')
        self.ended('no image', EIF=self.path('nothing'))
        self.ended('cannot be read', MANIFEST=self.path('nothing'))
        self.set('norun')
        self.ended('could not start')

    def test_names(self):
        conf = self.write('host.conf', '[queue]\nname = q\n[worker]\nname = w-7\n')
        self.running(HOST_CONF=conf)
        self.assertEqual(self.read(self.path('run/host.conf')), self.read(conf))
        self.assertEqual(self.calls('curl -sf -m 2'), [])

    def test_usage(self):
        p, said = self.run_script('cwc-enclave', 'debug')
        said()
        self.assertEqual(p.returncode, 64)


class Lifecycle(Scripts):
    GROUP = {'ASG_NAME': 'letters', 'HOOK_NAME': 'letters-end'}
    ACTION = ('--region us-west-2 --auto-scaling-group-name letters --lifecycle-hook-name letters-end --instance-id %s'
              % INSTANCE)
    STOP = 'systemctl stop cwc-enclave.service'

    def watching(self, **env):
        p, said = self.run_script('cwc-lifecycle', **env)
        self.wait_for(lambda: len(self.calls('curl')) > 8)
        self.assertEqual((p.poll(), self.calls('systemctl'), self.calls('aws')), (None, [], []))
        return p, said

    def test_scale_in(self):
        self.set('target-lifecycle-state', 'InService')
        p, said = self.watching(**self.GROUP)
        self.set('slow')
        self.set('target-lifecycle-state', 'Terminated')
        self.wait_for(lambda: len(self.calls('aws')) >= 2)
        self.assertEqual(set(self.calls('aws')), {'aws autoscaling record-lifecycle-action-heartbeat ' + self.ACTION})
        self.unset('slow')
        out = said()
        self.assertEqual(p.returncode, 0, out)
        self.assertEqual(self.calls('systemctl'), [self.STOP])
        complete = 'aws autoscaling complete-lifecycle-action %s --lifecycle-action-result CONTINUE' % self.ACTION
        self.assertEqual([c for c in self.calls() if c in (self.STOP, complete)], [self.STOP, complete])

    def test_spot(self):
        """Drains at once, then waits for what the group says; the unit is stopped once."""
        p, said = self.watching(**self.GROUP)
        self.set('instance-action', '{"action":"terminate","time":"2026-11-23T17:00:00Z"}')
        self.wait_for(lambda: self.calls('systemctl'))
        n = len(self.calls('curl'))
        self.wait_for(lambda: len(self.calls('curl')) > n + 8)
        self.assertEqual((self.calls('systemctl'), p.poll(), self.calls('aws')), ([self.STOP], None, []))
        self.set('target-lifecycle-state', 'Terminated')
        said()
        self.assertEqual((p.returncode, self.calls('systemctl')), (0, [self.STOP]))
        self.assertTrue(self.calls('aws autoscaling complete-lifecycle-action'))

    def test_without_a_group(self):
        p, said = self.watching()
        self.set('target-lifecycle-state', 'Terminated')
        said()
        self.assertEqual((p.returncode, self.calls('aws'), self.calls('systemctl')), (0, [], [self.STOP]))

    def test_a_group_that_cannot_be_told(self):
        self.set('noaws')
        self.set('target-lifecycle-state', 'Terminated')
        p, said = self.run_script('cwc-lifecycle', **self.GROUP)
        self.assertIn('could not be told', said())
        self.assertEqual((p.returncode, len(self.calls('aws autoscaling complete'))), (0, 3))

    def test_no_metadata(self):
        self.unset('instance-id')
        p, said = self.run_script('cwc-lifecycle')
        self.assertIn('does not answer', said())
        self.assertEqual(p.returncode, 1)

    def test_session_tokens_only(self):
        self.watching()
        asked = self.calls('curl')
        self.assertTrue(all(' X-aws-ec2-metadata-token' in c for c in asked), asked)


class Metrics(Scripts):
    AT = 1790000000
    DEPTH = ''.join('{"_aws":{"Timestamp":1790000000000,"CloudWatchMetrics":[]},"queue":"q","chamber":"%s"}\n' % c for c in ('house', 'senate'))
    WORKER = """# HELP cwc_ready 1: takes letters.
# TYPE cwc_ready gauge
cwc_ready 1
cwc_not_ready{reason="kms"} 0
cwc_clock_skew_seconds 0.002
cwc_key_next_change_seconds 1790000600
cwc_key_active_since_seconds 1789999000.5
cwc_signers_end_seconds 1789999999
process_start_time_seconds 1
"""

    def published(self):
        p, said = self.run_script('cwc-metrics')
        out = said()
        self.assertEqual(p.returncode, 0, out)
        with open(os.path.join(self.state, 'sent'), encoding='utf-8') as f:
            lines = [json.loads(line) for line in f]
        self.unset('sent')
        self.assertEqual({line['_aws']['LogGroupName'] for line in lines}, {'/cwc/metrics'})
        return lines, out

    def test_published(self):
        self.set('says-depth', self.DEPTH)
        self.set('metrics', self.WORKER)
        lines, out = self.published()
        self.assertEqual(out, '')
        self.assertEqual(self.calls('cwcctl'), ['cwcctl depth --emf --namespace CWC --redis tcp:r:1 --user cwc-host'])
        self.assertEqual(self.calls('curl'), ['curl -sf -m 5 http://127.0.0.1:9464/metrics'])
        self.assertEqual(self.calls('socat'), ['socat -u STDIN tcp:127.0.0.1:25888'])
        self.assertEqual([line.get('chamber') for line in lines], ['house', 'senate', None])
        want = {'Ready': 1, 'ClockSkew': 0.002, 'KeyChangesIn': 600, 'KeyAge': 999.5, 'SignersEndIn': 0}
        directive, = lines[2]['_aws'].pop('CloudWatchMetrics')
        self.assertEqual(lines[2], {'_aws': {'Timestamp': self.AT * 1000, 'LogGroupName': '/cwc/metrics'}, 'queue': 'q', **want})
        units = {m['Name']: m['Unit'] for m in directive.pop('Metrics')}
        self.assertEqual(units, {n: 'Count' if n == 'Ready' else 'Seconds' for n in want})
        self.assertEqual(directive, {'Namespace': 'CWC', 'Dimensions': [['queue']]})

    def test_what_is_not_known_is_no_metric(self):
        self.set('says-depth', self.DEPTH)
        for worker, want in (('cwc_ready 0\ncwc_key_next_change_seconds 0\ncwc_signers_end_seconds 0\ncwc_key_active_since_seconds 0\n',
                              {'Ready'}), ('', None), ('<html>sorry</html>', None), (None, None)):
            with self.subTest(worker):
                if worker is None:
                    self.unset('metrics')
                else:
                    self.set('metrics', worker)
                lines, out = self.published()
                self.assertEqual(len(lines), 2 if want is None else 3)
                if want is None:
                    self.assertIn('only the depth is published', out)
                else:
                    self.assertEqual(set(lines[2]) - {'_aws', 'queue'}, want)
                    self.assertEqual(lines[2]['Ready'], 0)

    def test_nothing_is_better_than_a_zero(self):
        for said_by_ctl in ('', '{}', 'waiting 0', '{"_aws":{}}\n{}'):
            self.set('says-depth', said_by_ctl)
            p, said = self.run_script('cwc-metrics')
            said()
            self.assertEqual((p.returncode, self.calls('socat')), (1, []), said_by_ctl)
        self.set('cwcctl-depth')
        p, said = self.run_script('cwc-metrics')
        said()
        self.assertNotEqual(p.returncode, 0)
        self.assertEqual(self.calls('socat'), [])


if __name__ == '__main__':
    unittest.main()
