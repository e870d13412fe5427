#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ops/monitoring: rules and dashboard name what there is. A real Prometheus, with the example configuration, scrapes a real
worker and a real cwcctl exporter, while letters go through, fail, and are held. Grafana itself does not run here: make
lint checks the dashboard against its types (ops/monitoring/lint)."""
import json
import os
import re
import subprocess
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_templates  # noqa: E402
from life_case import letter  # noqa: E402
from stack import BUILD, ROOT, Stack, letters, wait_until  # noqa: E402
from status_client import listening_port  # noqa: E402

FOLDER = os.path.join(ROOT, 'ops', 'monitoring')
CTL = os.path.join(ROOT, BUILD, 'cwcctl')
SECOND = 1000000
SEVERITIES = {'page', 'ticket'}
# What has no series while all is well, and why. Its name is looked for in what the program can say.
EMPTY = {
    'sum by (reason) (cwc_not_ready{queue=~"$queue"}) > 0': 'all workers are ready; the series are there with 0',
}


def read(name):
    with open(os.path.join(FOLDER, name), encoding='utf-8') as f:
        return f.read()


def rules():
    return [r for g in yaml.safe_load(read('rules.yaml'))['groups'] for r in g['rules']]


def alerts():
    return {r['alert']: r for r in rules() if 'alert' in r}


def dashboard():
    return json.loads(read('grafana.json'))


def queries():
    return [t['expr'] for p in dashboard()['panels'] for t in p.get('targets', [])]


# --- PromQL, as much as is needed to find what is selected -----------------------------------------

WORDS = {'by', 'on', 'unless', 'and', 'or', 'without', 'group_left', 'group_right', 'ignoring', 'bool', 'offset'}
LABELS = re.compile(r'\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)')
SELECTOR = re.compile(r'(?<![\w:.])([a-zA-Z_:][\w:]*)(?![\w:])\s*(\{[^}]*\})?(?!\s*\()')
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def selectors(expr):
    """Each selector of an expression; of one with alternatives, one for each of them: all must be there."""
    for name, braces in SELECTOR.findall(re.sub(r'\[[^\]]*\]', '', LABELS.sub(' ', expr))):
        if name in WORDS:
            continue
        found = ['']
        for label, op, value in MATCHER.findall(braces):
            plain = op == '=~' and re.fullmatch(r'\w+(\|\w+)+', value)
            values = value.split('|') if plain else [value]
            found = ['%s,%s%s"%s"' % (f, label, '=' if plain else op, v) for f in found for v in values]
        for f in found:
            yield '%s{%s}' % (name, f.lstrip(','))


class Selectors(unittest.TestCase):
    def test_selectors(self):
        self.assertEqual(list(selectors('sum by (a) (rate(x_total{b="c", d=~"e|f"}[1h])) > on (g) 0.5 * y')),
                         ['x_total{b="c",d="e"}', 'x_total{b="c",d="f"}', 'y{}'])
        self.assertEqual(list(selectors('(a == 1 and last_over_time(b[1d])) unless max by (q) (c{r!~"x.*"})')),
                         ['a{}', 'b{}', 'c{r!~"x.*"}'])


# --- what can be seen without running anything -----------------------------------------------------

class Rules(unittest.TestCase):
    def test_each_alert_is_explained(self):
        for name, a in alerts().items():
            self.assertEqual(set(a) - {'for'}, {'alert', 'expr', 'labels', 'annotations'}, name)
            self.assertEqual(set(a['annotations']), {'summary', 'description', 'runbook_url'}, name)
            self.assertIn(a['labels']['severity'], SEVERITIES, name)
            if 'increase(' not in a['expr'] and 'changes(' not in a['expr']:
                self.assertIn('for', a, name)
        self.assertEqual(len(alerts()), sum('alert' in r for r in rules()), 'two of one name')

    def test_each_alert_fires_and_does_not(self):
        """In the cases for promtool, which make lint runs."""
        fires, quiet = set(), set()
        for name in ('rules_test.yaml', 'rules_days_test.yaml'):
            for case in yaml.safe_load(read(name))['tests']:
                for t in case['promql_expr_test']:
                    found = re.fullmatch(r'ALERTS\{alertname="(\w+)"\}', t['expr'])
                    if found and any('alertstate="firing"' in s['labels'] for s in t['exp_samples']):
                        fires.add(found.group(1))
                    elif found and not t['exp_samples']:
                        quiet.add(found.group(1))
        self.assertEqual((fires, quiet), (set(alerts()), set(alerts())))

    def test_names_of_jobs(self):
        jobs = {c['job_name'] for c in yaml.safe_load(read('prometheus.yaml'))['scrape_configs']}
        used = set(re.findall(r'\bjob="([^"]+)"', read('rules.yaml') + ' '.join(queries())))
        self.assertEqual(used, jobs)


class Dashboard(unittest.TestCase):
    """What types do not say: "Dashboard JSON model" in Grafana's documentation, fields `id`, `gridPos`, `templating`."""

    def test_panels(self):
        taken, ids = set(), set()
        for p in dashboard()['panels']:
            self.assertNotIn(p['id'], ids)
            ids.add(p['id'])
            g = p['gridPos']
            self.assertTrue(0 <= g['x'] and g['x'] + g['w'] <= 24, p['title'])
            cells = {(x, y) for x in range(g['x'], g['x'] + g['w']) for y in range(g['y'], g['y'] + g['h'])}
            self.assertFalse(cells & taken, '%s lies on another' % p['title'])
            taken |= cells
        self.assertGreater(len(ids), 30)

    def test_sources_and_variables(self):
        d = dashboard()
        known = {v['name'] for v in d['templating']['list']} | {'__rate_interval'}
        for p in d['panels']:
            for t in p.get('targets', []):
                self.assertEqual((p['datasource'], t['datasource']), ({'type': 'prometheus', 'uid': '${datasource}'},) * 2)
                self.assertLessEqual(set(re.findall(r'\$\{?(\w+)', t['expr'])), known)
            self.assertEqual(len({t['refId'] for t in p.get('targets', [])}), len(p.get('targets', [])))


# --- and with all of it running --------------------------------------------------------------------

class Prometheus:
    """The example configuration: with targets of our own, and a look each second."""

    def __init__(self, folder, worker, exporter):
        config = yaml.safe_load(read('prometheus.yaml'))
        config['global'] = {'scrape_interval': '1s', 'evaluation_interval': '1s', 'scrape_timeout': '1s'}
        config['rule_files'] = [os.path.join(FOLDER, f) for f in config['rule_files']]
        del config['alerting']
        targets = {'cwc-worker': worker, 'cwc-queue': exporter}
        for c in config['scrape_configs']:
            c.pop('scrape_timeout', None)
            c['static_configs'][0]['targets'] = ['127.0.0.1:%d' % targets[c['job_name']]]
        path = os.path.join(folder, 'prometheus.yaml')
        with open(path, 'w', encoding='utf-8') as f:
            yaml.safe_dump(config, f)
        with open(os.path.join(folder, 'prometheus.log'), 'wb') as log:
            self.process = subprocess.Popen(
                ['prometheus', '--config.file', path, '--storage.tsdb.path', os.path.join(folder, 'tsdb'),
                 '--web.listen-address', '127.0.0.1:0'], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = wait_until(lambda: listening_port(self.process.pid), 30, 'Prometheus')
        wait_until(self.ready, 30, 'Prometheus')

    def ready(self):
        try:
            return urllib.request.urlopen('http://127.0.0.1:%d/-/ready' % self.port, timeout=20).close() is None
        except urllib.error.URLError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def get(self, path, **query):
        url = 'http://127.0.0.1:%d/api/v1/%s?%s' % (self.port, path, urllib.parse.urlencode(query))
        with urllib.request.urlopen(url, timeout=20) as r:
            answer = json.load(r)
        assert answer['status'] == 'success', answer
        return answer['data']

    def query(self, expr):
        return self.get('query', query=expr)['result']

    def value(self, expr):
        found = self.query(expr)
        return float(found[0]['value'][1]) if found else None

    def alerts(self):
        """{(name, chamber): state}"""
        return {(a['labels']['alertname'], a['labels'].get('chamber')): a['state'] for a in self.get('alerts')['alerts']}


def asked(expr):
    """As Grafana sends it: a chosen queue, and an interval for four looks at least."""
    return expr.replace('$queue', 'q').replace('$__rate_interval', '10s')


class Live(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.stack = Stack(key_source='boot', device='simulated', status='tcp:127.0.0.1:0', redis=['--maxmemory', '512mb'],
                           jobs={'attempts': 1, 'backoff_base': '1ms'})
        self.addCleanup(self.stack.close)
        self.stack.start()
        worker = self.stack.start_worker()
        self.redis = ['--redis', 'unix:' + self.stack.redis_path]
        exporter = subprocess.Popen([CTL, 'exporter', '--listen', 'tcp:127.0.0.1:0', *self.redis], stdout=subprocess.DEVNULL)
        self.addCleanup(exporter.wait)
        self.addCleanup(exporter.kill)
        port = wait_until(lambda: listening_port(exporter.pid), 20, 'exporter')
        self.status_port = listening_port(worker.pid)
        self.prometheus = Prometheus(self.stack.dir, self.status_port, port)
        self.addCleanup(self.prometheus.stop)

    def wait_value(self, expr, value):
        wait_until(lambda: self.prometheus.value(expr) == value, 30, '%s = %s' % (expr, value))

    def wait_alerts(self, want):
        wait_until(lambda: self.prometheus.alerts() == want, 30, 'alerts %s' % want)
        self.assertEqual(self.prometheus.alerts(), want)

    def letters(self):
        """All kinds of ends."""
        good = list(letters.sample(20))
        n = sum(len(s['offices']) for s in good)
        self.stack.submit(*good)
        self.stack.wait_results(n)
        for sid, state, fault in (('d', 'dead', 'tls_refuse'), ('u', 'unknown', 'accept_then_500')):
            self.stack.sim.close_idle()
            self.stack.sim.fault(chamber='house', action=fault)
            self.stack.submit(letter(sid))
            self.stack.wait_status(sid, letters.HOUSE, state)
            self.stack.sim.clear_faults()
        # Not genuine, and so many that it is an alert at once.
        entry = self.stack.entry(letter('forged'))
        entry['job'] = bytes([entry['job'][0] ^ 64]) + entry['job'][1:]
        for i in range(40):
            self.stack.enqueue([{**entry, 'sid': 'forged-%d' % i}])
        return n + 1  # the dead one has none

    def test_all(self):
        p = self.prometheus
        self.wait_value('cwc_ready + on (queue) cwcq_up', 2)
        subprocess.run([CTL, 'scale', '--publish', *self.redis], check=True, stdout=subprocess.DEVNULL, timeout=20)
        self.letters()
        self.wait_value('sum(cwc_refused_total)', 40)
        self.series()
        self.dashboard()
        self.wait_alerts({('CwcDeadLetters', None): 'pending', ('CwcUnknownOutcomes', None): 'pending',
                          ('CwcRefusedEntries', None): 'firing'})
        self.cloudwatch()
        self.held()
        self.annotations()
        groups = p.get('rules')['groups']
        self.assertEqual({(r['name'], r['health'], r.get('lastError', '')) for g in groups for r in g['rules']},
                         {(r.get('alert') or r['record'], 'ok', '') for r in rules()})

    def series(self):
        """Whatever a rule or a panel selects is there: no name, label or value is misspelt."""
        wanted = {s for r in rules() for s in selectors(r['expr'])}
        wanted |= {asked(s) for q in queries() for s in selectors(q)}
        self.assertGreater(len(wanted), 80)
        missing = wanted

        def none_missing():
            nonlocal missing
            missing = {s for s in missing if not self.prometheus.get('series', **{'match[]': s})}
            return not missing
        try:
            wait_until(none_missing, 30, 'series')
        except TimeoutError:
            self.fail('nothing says %s' % sorted(missing))

    def dashboard(self):
        for q in queries():
            with self.subTest(q):
                if q in EMPTY:
                    self.assertEqual(self.prometheus.query(asked(q)), [])
                else:
                    wait_until(lambda: self.prometheus.query(asked(q)), 20, 'data')  # pylint: disable=cell-var-from-loop
        self.assertLessEqual(set(EMPTY), set(queries()))

    def held(self):
        """Paused by people: no alert, however long. Held by a worker, or by a breaker: one."""
        known = self.prometheus.alerts()
        s, far = self.stack, str(rq_now(self.stack) + 3600 * SECOND)
        s.admin('hold', 'house', far, 'asked')
        s.submit(letter('h1'), letter('h2'))
        self.wait_value('cwcq_depth{chamber="house", state="held_pause"}', 2)
        self.wait_value('cwcq_oldest_age_seconds{chamber="house", state="free"}', 0)
        self.wait_alerts(known)
        s.redis('HSET', s.key('holds'), 'house', far + ' w1/1 access')
        self.wait_alerts({**known, ('CwcReceiverRefuses', 'house'): 'pending'})
        s.redis('HSET', s.key('breaker'), 'senate', 'open 1 ' + far)
        self.wait_alerts({**known, ('CwcReceiverRefuses', 'house'): 'pending', ('CwcBreakerOpen', 'senate'): 'pending'})
        s.script('admin', 'hold', 'w1/1', 'senate', far, 'maintenance')
        s.submit(letter('s1', letters.SENATE))
        self.wait_alerts({**known, ('CwcReceiverRefuses', 'house'): 'pending'})

    def cloudwatch(self):
        """What the host's programs really send the CloudWatch agent is what its alarms and panels look at."""
        sent = self.stack.path('sent')
        env = {**os.environ, 'PATH': '%s:%s' % (os.path.join(ROOT, BUILD), os.environ['PATH']), 'EMF': 'OPEN:%s,creat,append' % sent,
               'CWCCTL_ARGS': ' '.join(self.redis), 'STATUS_PORT': str(self.status_port), 'SCALE_MIN': '1', 'SCALE_MAX': '4'}
        for program in ('ops/host/cwc-metrics', 'ops/aws/cwc-scale'):
            subprocess.run([os.path.join(ROOT, program)], env=env, check=True, timeout=60)
        with open(sent, encoding='utf-8') as f:
            lines = [json.loads(line) for line in f]
        found = set()
        for line in lines:
            self.assertEqual(line['_aws']['LogGroupName'], '/cwc/metrics')
            self.assertEqual(line['queue'], 'q')
            for d in line['_aws']['CloudWatchMetrics']:
                self.assertEqual(d['Namespace'], 'CWC')
                found |= {(m['Name'], frozenset(names)) for m in d['Metrics'] for names in d['Dimensions']}
                self.assertTrue(all(isinstance(line[m['Name']], (int, float)) for m in d['Metrics']))
        monitoring = test_templates.Monitoring()
        monitoring.setUp()
        published = {(name, d) for name, d in monitoring.published() if d}
        self.assertEqual(found - published, set())
        # A ring from boot never changes, and the signer may sign for ever.
        self.assertEqual({name for name, _ in published - found}, {'KeyChangesIn', 'SignersEndIn'})

    def annotations(self):
        for a in self.prometheus.get('alerts')['alerts']:
            for text in a['annotations'].values():
                self.assertNotRegex(text, r'<error|<no value|\{\{|%!', a['labels']['alertname'])


def rq_now(stack):
    s, us = stack.redis('TIME')
    return int(s) * SECOND + int(us)


if __name__ == '__main__':
    unittest.main()
