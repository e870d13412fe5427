#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its tables are what the programs say, its commands run, its links lead somewhere, and the
runbook has a row for each name that an operator can meet, and none for any other.

test_docs.py --write fills the tables of README.md anew.
"""
import glob
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import unittest

import yaml

from stack import BUILD, ROOT, Stack, letters, wait_until

DOCUMENTS = ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'queue/PROTOCOL.md', 'queue/FORMATS.md', 'ops/RUNBOOK.md']
OTHERS = ['ops/DEPLOYMENT.md', 'ops/image/README.md', 'ops/host/PORTS.md', 'tests/model/README.md', 'tests/scenario/README.md']
WORKER = os.path.join(ROOT, BUILD, 'cwc-worker')
CTL = os.path.join(ROOT, BUILD, 'cwcctl')

# (tier of the file, section and line, what the line is instead of or after)
BAD_CONFIG = [
    ('measured', '[house]', 'rate_ceiling = 5'),
    ('measured', '[house]', 'rate_ceilling = 5/s'),
    ('measured', '[house]', 'url = http://uat-cwc.house.gov/v2/message'),
    ('measured', '[house]', 'url = https://uat-cwc.house.gov/v2/message?apikey=1'),
    ('measured', '[house]', 'url = https://house.example.org/v2/message'),
    ('measured', '[house]', 'url = https://cwc.house.gov/v2/message'),
    ('measured', '[worker]', 'environment = production'),
    ('measured', '[worker]', 'environment = test'),
    ('measured', '[queue]', 'lease = 12'),
    ('measured', '[queue]', 'lease = 1s'),
    ('measured', '[queue]', 'lease = 9s'),
    ('measured', '[house]', 'maintenance = nightly'),
    ('measured', '[jobs]', 'signer = app-1 0011'),
    ('measured', '[jobs]', 'signer = app-1 %s 2026-12-01T00:00:00Z' % ('a1' * 32)),
    ('measured', '[keys]', 'witness_context = too-short'),
    ('measured', '[keys]', 'source = file'),
    ('measured', '[keys]', 'kms_key = alias/letters'),
    ('measured', '[attest]', 'device = simulated'),
    ('host', '[keys]', 'source = boot'),
    ('measured', '[senat]', 'agent = Sample'),
    ('host', '[house]', 'url = https://uat-cwc.house.gov/v2/message'),
    ('host', '[house]', 'rate = 50/s'),
    ('host', '[house]', 'concurrency = 1000'),
    ('host', '[house]', 'address = tcp:10.0.0.1'),
    ('measured', '[queue]', 'password_file = secret'),
    ('host', '[queue]', 'password_file = /etc/cwc-worker/house.key'),
    ('host', '[worker]', 'name = a b'),
    ('host', '[worker]', 'drain_timeout = 1 hour'),
]


def sections(text):
    """{ '[section]': [lines] } of a configuration file, comments left out."""
    found, current = {}, None
    for line in text.splitlines():
        if line.startswith('['):
            current = found.setdefault(line, [])
        elif line and not line.startswith('#'):
            current.append(line)
    return found


def with_line(text, section, line):
    parts = sections(text)
    key = line.split(' = ')[0]
    kept = [x for x in parts.get(section, []) if x.split(' = ')[0] != key]
    parts[section] = kept + [line]
    return '\n'.join('%s\n%s' % (s, '\n'.join(p)) for s, p in parts.items()) + '\n'


def example(tier):
    with open(os.path.join(ROOT, 'config/example/%s.conf' % tier), encoding='utf-8') as f:
        return f.read()


def check_config(tier, section, line):
    """(exit status, what is said about the file of this tier, without path and line number)"""
    with tempfile.TemporaryDirectory() as d:
        for t in ('measured', 'host'):
            with open(os.path.join(d, t + '.conf'), 'w', encoding='utf-8') as f:
                f.write(with_line(example(t), section, line) if t == tier else example(t))
        p = subprocess.run([WORKER, '--config', d + '/measured.conf', '--host-config', d + '/host.conf',
                            '--check-config'], capture_output=True, text=True, timeout=20, check=False)
        said = [re.sub(r'^%s/(\w+)\.conf:(\d+: )?' % re.escape(d), '', x) for x in p.stderr.splitlines()]
        return p.returncode, said


def letters_table():
    rows = ['| kind | outcome | detail |', '| --- | --- | --- |']
    for s in letters.bad().values():
        office = s['spoil'].get('entry', {}).get('offices', s['offices'])[-1]
        e = letters.expected(s, office)
        if e['stream'] == 'refused':
            rows.append('| `%s` | refused | `%s` |' % (s['name'], e['detail']))
        else:
            rows.append('| `%s` | `%s` | %s |' % (s['name'], e['outcome'], '`%s`' % e['detail'] if e['detail'] else ''))
    return rows


def config_table():
    rows = ['| in the file | what is said |', '| --- | --- |']
    for tier, section, line in BAD_CONFIG:
        _, said = check_config(tier, section, line)
        rows.append('| %s: `%s %s` | %s |' % (tier, section, line, '<br>'.join(said)))
    return rows


def outcomes_table():
    out = subprocess.run([CTL, 'outcomes', '--markdown'], capture_output=True, text=True, timeout=20, check=True)
    return out.stdout.strip().splitlines()


TABLES = {'bad-letters': letters_table, 'bad-config': config_table, 'outcomes': outcomes_table}


def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        return f.read()


def filled(text):
    for name, make in TABLES.items():
        text = re.sub(r'(<!-- %s -->\n).*?(<!-- /%s -->)' % (name, name),
                      lambda m: m.group(1) + '\n'.join(make()) + '\n' + m.group(2), text, flags=re.S)
    return text


def document(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return f.read()


# Sections that test_disasters.py plays, each in just that disaster.
DISASTERS = ('The House says that a letter came twice', 'Redis is lost', 'Redis is restored from an old backup',
             'Congress is down for a day', 'A new image is denied by KMS')


def section(name, heading):
    return re.search(r'^## %s\n(.*?)(?=^## |\Z)' % re.escape(heading), document(name), re.S | re.M).group(1)


KEYS_CHAPTER = '\n## Keys and attestation\n'  # the last one of the runbook: test_docs_keys.py


def commands_of(text):
    """Lines that start with '$ ' in blocks marked console, those within lists too; a backslash goes on in the next line."""
    for block in re.findall(r'^ *```console\n(.*?)^ *```', text, re.S | re.M):
        for line in re.sub(r' \\\n *', ' ', block).splitlines():
            if line.lstrip().startswith('$ '):
                yield line.lstrip()[2:]


def console_commands(name, chapter=None):
    """Of this chapter, or of all but it and the disasters."""
    text, _, keys = document(name).partition(KEYS_CHAPTER)
    for heading in DISASTERS if name == 'ops/RUNBOOK.md' else ():
        text = text.replace(section(name, heading), '')
    yield from commands_of(keys if chapter else text)


def anchors(text):
    """Of the headings, as they are made from them."""
    return {re.sub(r'[^\w -]', '', heading.strip().lower()).replace(' ', '-')
            for heading in re.findall(r'^#+ (.*)$', re.sub(r'^ *```.*?^ *```', '', text, flags=re.S | re.M), re.M)}


# --- what the runbook must have a row for ---------------------------------------------------------

def macro(path, name):
    """The rows X(...) of an X-macro, each as the list of its strings and words."""
    body = re.search(r'#define %s\(X\)(.*?[^\\])\n' % name, document(path), re.S).group(1)
    return [re.findall(r'"([^"]*)"|(\w+)', row) for row in re.findall(r'X\((.*?)\)(?=\s*(?:\\|$|/\*))', body, re.S)]


def word(cell):
    return cell[0] or cell[1]


def log_events():
    """name -> level"""
    return {word(row[1]): word(row[2]).lower() for row in macro('worker/base/log.h', 'LOG_EVENTS')}


def error_names():
    return {'ERR_' + word(row[0]): word(row[1]) for row in macro('worker/base/err.h', 'ERR_LIST')}


# Where the errors come from that make a worker not ready; NOT_FOUND: a script that the program does not have.
QUEUE_SOURCES = ('queue/conn.c', 'queue/queue.c', 'queue/queue_calls.c', 'queue/queue_reply.c', 'queue/resp.c',
                 'worker/base/dial.c', 'worker/base/stream.c', 'worker/engine_queue.c', 'worker/engine_take.c')
NEVER_A_REASON = {'ERR_OK', 'ERR_NOT_FOUND'}


def readiness_reasons():
    body = re.search(r'^bool engine_ready\(.*?^}', document('worker/engine.c'), re.S | re.M).group(0)
    used = set().union(*(re.findall(r'\bERR_[A-Z_]+\b', document(path)) for path in QUEUE_SOURCES))
    told = {word(row[1]) for row in macro('worker/metrics.h', 'METRICS_REASONS')} - {'other'}  # by who watches the rest
    return set(re.findall(r'"(\w+)"', body)) | {error_names()[e] for e in used - NEVER_A_REASON} | told


def alarm_names():
    """name -> default"""
    source = re.search(r'names\[ALARMS\] = \{(.*?)\}', document('worker/engine_watch.c'), re.S).group(1)
    names = re.findall(r'"(\w+)"', source)
    defaults = dict(re.findall(r'^#?(\w+) = (\w+)$', document('config/host.conf').split('[alarms]')[1], re.M))
    return {name: defaults[name] for name in names}


def alerts():
    """name -> rule, of those of Prometheus"""
    return {r['alert']: r for g in yaml.safe_load(document('ops/monitoring/rules.yaml'))['groups'] for r in g['rules'] if 'alert' in r}


def cloudwatch_alarms():
    return re.findall(r'^  (\w+):\n    Type: AWS::CloudWatch::Alarm$', document('ops/aws/monitoring.yaml'), re.M)


def outcomes():
    """name -> class"""
    return {word(row[1]): word(row[2]).lower() for row in macro('cwc/outcome.h', 'OUTCOMES')}


def fates():
    return {word(row[1]) for row in macro('ops/cwcctl/reconcile.h', 'RECONCILE_FATES')}


def fsck_codes():
    """Those that cwcctl knows, and those that the scripts say."""
    table = re.search(r'fsck_codes\[\] = \{(.*?)^\};', document('ops/cwcctl/fsck_report.c'), re.S | re.M).group(1)
    scripts = ''.join(document('queue/lua/%s.lua' % part) for part in ('fsck', 'fsck_jobs', 'fsck_subs'))
    said = set(re.findall(r"\b(?:off|remove)\('([a-z-]+)'", scripts))
    said |= {place + '-left' for place in re.findall(r"entry\('(\w+)'", scripts)}
    return set(re.findall(r'^\t\{ "([a-z-]+)"', table, re.M)) | said


def quoted(path, but=()):
    """The names that stand in quotes in a program."""
    return set(re.findall(r'(?<!#include )"([a-z_]+)"', document(path))) - set(but)


def kms_reasons():
    faults = {word(row[1]) for row in macro('attest/kms.h', 'KMS_FAULTS')} - {'ok'}
    return faults | set(re.findall(r'set\(&?r, "(\w+)"', document('worker/kms_client.c')))


def request_reasons():
    text = document('worker/keeper.h')
    answers = re.search(r'Answers: 200 (.*?)\*/', text, re.S).group(1)
    said = quoted('worker/keeper_act.c', ('request', 'rotate', 'signers', 'ok', 'timeout', 'nsm', 'too_large', 'kms_refused'))
    assert set(re.findall(r'"([a-z_]+)"', answers)) - {'reason', 'why'} <= said
    return said


def rows(name, path='ops/RUNBOOK.md'):
    """[(names in the first column, the other columns)] of the table between the marks of this name."""
    text = re.search(r'<!-- %s -->\n(.*?)<!-- /%s -->' % (name, name), document(path), re.S).group(1)
    cells = [[c.strip() for c in line.strip('|').split(' | ')] for line in text.splitlines()[2:]]
    return [(re.findall(r'`([^`]+)`', c[0]), c[1:]) for c in cells]


class Tables(unittest.TestCase):
    maxDiff = None

    def test_readme_tables_are_what_the_programs_say(self):
        self.assertEqual(readme(), filled(readme()))

    def test_at_least_thirty_kinds_of_bad_input(self):
        self.assertGreaterEqual(len(letters.bad()) + len(BAD_CONFIG), 30)

    def test_every_bad_configuration_is_refused_with_its_key(self):
        for tier, section, line in BAD_CONFIG:
            with self.subTest(line=line):
                status, said = check_config(tier, section, line)
                self.assertEqual(status, 78)
                self.assertTrue(said)
                value = line.split(' = ')[1]
                if len(value) > 6 and value != 'production':  # a word that the rule itself names
                    self.assertFalse(any(value in x for x in said), said)

    def test_the_examples_are_good(self):
        p = subprocess.run([WORKER, '--config', ROOT + '/config/example/measured.conf', '--host-config',
                            ROOT + '/config/example/host.conf', '--check-config'], timeout=20, check=False)
        self.assertEqual(p.returncode, 0)


class Runbook(unittest.TestCase):
    """It has each name once, in its own table, and no name that does not exist."""

    def compare(self, table, names):
        found = [n for row, _ in rows(table) for n in row]
        self.assertGreater(len(names), 4)
        self.assertEqual(sorted(found), sorted(names), 'the table %s of ops/RUNBOOK.md' % table)
        for row, cells in rows(table):
            self.assertTrue(all(cells), row)

    def test_log_events(self):
        self.compare('events', log_events())
        for names, cells in rows('events'):
            self.assertEqual({cells[0]}, {log_events()[n] for n in names})

    def test_readiness_reasons(self):
        self.compare('reasons', readiness_reasons())

    def test_alarms(self):
        self.compare('alarms', alarm_names())
        for (name,), cells in rows('alarms'):
            self.assertEqual(cells[0], alarm_names()[name])

    def test_alerts(self):
        """Each alert of Prometheus and each alarm of CloudWatch has a row, with a link; what an alert links to is there."""
        self.compare('alerts', [*alerts(), *cloudwatch_alarms()])
        text = document('ops/RUNBOOK.md')
        for names, cells in rows('alerts'):
            self.assertEqual(len(cells), 3, names)
            for command in re.findall(r'`cwcctl ([a-z]+)', cells[1] + cells[2]):
                subprocess.run([CTL, 'help', command], stdout=subprocess.DEVNULL, timeout=20, check=True)
        for name, alert in alerts().items():
            path, anchor = alert['annotations']['runbook_url'].split('#')
            self.assertEqual(path, 'ops/RUNBOOK.md', name)
            self.assertIn(anchor, anchors(text), name)

    def test_outcomes(self):
        self.compare('operator', outcomes())
        for names, cells in rows('operator'):
            self.assertEqual({cells[0]}, {outcomes()[n] for n in names})

    def test_findings_of_fsck(self):
        self.compare('fsck', fsck_codes())

    def test_the_protocol_has_all_findings_of_fsck(self):
        section = document('queue/PROTOCOL.md').split('\n## 15. ')[1]
        self.assertEqual(fsck_codes() - set(re.findall(r'`([a-z-]+)`', section)), set())

    def test_reasons_of_kms(self):
        self.compare('kms', kms_reasons())

    def test_reasons_of_bundles(self):
        self.compare('bundles', quoted('worker/keeper_bundle.c', ('none',)))

    def test_reasons_of_secrets(self):
        self.compare('secrets', quoted('worker/keeper_secret.c', ('none', 'unknown')))

    def test_answers_to_requests(self):
        self.compare('requests', request_reasons())

    def test_words_of_reconcile(self):
        self.compare('fates', fates())

    def test_the_manual_has_all_log_events(self):
        page = document('ops/man/cwc-worker.8')
        listed = re.search(r'^\.SH LOGS$(.*?)^\.SH', page, re.S | re.M).group(1)
        heads = ' '.join(re.findall(r'^\.TP\n(.*)$', listed, re.M))
        self.assertEqual(sorted(re.findall(r'\\fB(\w+)\\fR', heads)), sorted(log_events()))


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for name in [*DOCUMENTS, *OTHERS]:
            for target, anchor in re.findall(r'\]\(([^)#\s]*)(?:#([^)\s]*))?\)', document(name)):
                path = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), target)) if target else name
                self.assertTrue(os.path.exists(os.path.join(ROOT, path)), '%s links to %s' % (name, target))
                if anchor and path.endswith('.md'):
                    self.assertIn(anchor, anchors(document(path)), '%s links to %s#%s' % (name, target, anchor))

    def test_what_is_counted(self):
        scenarios = re.search(r'\b(\d+) scenarios, ', document('README.md')).group(1)
        self.assertEqual(int(scenarios), len(glob.glob(os.path.join(ROOT, 'tests', 'scenario', '*.scn'))))
        genuine = re.search(r'\b(\d+) genuine attestation documents', document('SECURITY.md')).group(1)
        self.assertEqual(int(genuine), len(glob.glob(os.path.join(ROOT, 'tests', 'vectors', 'nitro', '[0-9]*.cbor'))))

    def test_make_targets_exist(self):
        listed = subprocess.run(['make', '-s', 'help'], cwd=ROOT, capture_output=True, text=True, timeout=60,
                                check=True).stdout
        for name in DOCUMENTS:
            for target in re.findall(r'`?make ([a-z]+)', document(name)):
                if target not in ('it', 'the', 'a', 'sure', 'them', 'it.', 'room', 'out', 'no', 'do', 'up'):
                    self.assertRegex(listed, r'(?m)^%s\s' % target, '%s names make %s' % (name, target))


class Install(unittest.TestCase):
    def test_install(self):
        with tempfile.TemporaryDirectory() as d:
            build = os.environ.get('CWC_BUILD', 'build/release')
            subprocess.run(['make', '-s', 'install', 'DESTDIR=' + d, 'B=' + build], cwd=ROOT, stdout=subprocess.DEVNULL,
                           timeout=300, check=True)
            for path in ('usr/sbin/cwc-worker', 'usr/bin/cwcctl', 'usr/share/man/man8/cwc-worker.8',
                         'usr/share/man/man5/cwc-worker.conf.5', 'usr/share/man/man1/cwcctl.1',
                         'usr/lib/systemd/system/cwc-worker.service', 'usr/share/doc/cwc-worker/PROTOCOL.md',
                         'usr/share/doc/cwc-worker/key-policy.json'):
                self.assertTrue(os.path.getsize(os.path.join(d, path)), path)
            out = subprocess.run([os.path.join(d, 'usr/bin/cwcctl'), 'version'], capture_output=True, text=True,
                                 timeout=20, check=True).stdout
            self.assertRegex(out, r'^cwcctl \d')
            for page in ('man8/cwc-worker.8', 'man5/cwc-worker.conf.5', 'man1/cwcctl.1'):
                p = subprocess.run(['man', '--warnings', '-l', os.path.join(d, 'usr/share/man', page)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=True)
                self.assertEqual(p.stderr, '')


class Commands(unittest.TestCase):
    """Every command in a console block runs, against a system that is up, and has something to work on."""

    def setUp(self):
        self.stack = Stack(jobs={'attempts': 1, 'backoff_base': '1ms'})
        self.addCleanup(self.stack.close)
        self.stack.start()
        self.worker = self.stack.start_worker()
        self.dir, self.made = self.stack.path('here'), 0
        os.mkdir(self.dir)
        for name in os.listdir(ROOT):
            os.symlink(os.path.join(ROOT, name), os.path.join(self.dir, name))
        self.good = list(letters.sample(3))
        self.stack.submit(*self.good)
        self.stack.wait_results(sum(len(s['offices']) for s in self.good))
        self.write('outbox.txt', ''.join('%s %s\n' % (s['sid'], ','.join(s['offices'])) for s in self.good))
        self.make_shims()

    def make_shims(self):
        """The programs by their names, as they are called where they are installed."""
        os.mkdir(self.stack.path('bin'))
        for program, words in {
                'cwcctl': '%s "$@" --redis unix:%s' % (CTL, self.stack.redis_path),
                'cwc-worker': '%s "$@"' % WORKER,
                'journalctl': 'cat %s' % self.worker.log_path,
                'redis-cli': '%s -s %s "$@"' % ('/usr/bin/redis-cli', self.stack.redis_path)}.items():
            path = self.write(self.stack.path('bin/' + program), '#!/bin/sh\nexec %s\n' % words)
            os.chmod(path, stat.S_IRWXU)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)
        return path

    def ends_as(self, state, **fault):
        """(sid, office) of a new letter that meets this fault and ends so."""
        self.made += 1
        submission = letters.base('%s-%d' % (state, self.made))
        letter = submission['sid'], submission['offices'][0]
        self.stack.sim.close_idle()
        self.stack.sim.fault(chamber='house', **fault)
        try:
            self.stack.submit(submission)
            self.stack.wait_status(*letter, state)
        finally:
            self.stack.sim.clear_faults()
        return letter

    def letter_for(self, command):
        """What the command is about: a letter that was accepted, is dead, or of unknown fate."""
        if ' import ' in command:  # of what was exported, while chambers are held
            return self.good[0]['sid'], self.good[0]['offices'][0]
        if command.startswith('cwcctl dead '):
            return self.ends_as('dead', action='tls_refuse')
        if command.startswith('cwcctl unknown '):
            return self.ends_as('unknown', action='accept_then_500')
        return self.good[0]['sid'], self.good[0]['offices'][0]

    def run_command(self, name, command):
        sid, office = self.letter_for(command)
        self.write('confirmed.txt', '%s %s\n' % (sid, office))
        env = {**os.environ, 'PATH': self.stack.path('bin') + ':' + os.environ['PATH'], 'SID': sid, 'OFFICE': office,
               'DELIVERY_ID': self.stack.job(sid, office)['delivery_id']}
        with self.subTest(document=name, command=command):
            p = subprocess.run(['sh', '-c', command], cwd=self.dir, env=env, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)

    def test_commands(self):
        n = 0
        for name in DOCUMENTS:
            for command in console_commands(name):
                self.run_command(name, command)
                n += 1
            self.assertEqual(json.loads(self.holds()), [], '%s leaves a hold' % name)
        self.assertGreater(n, 50)
        wait_until(lambda: not self.stack.busy(), what='idle queue')

    def holds(self):
        return subprocess.run([CTL, 'holds', '--json', '--redis', 'unix:' + self.stack.redis_path], check=True,
                              capture_output=True, text=True, timeout=20).stdout


if __name__ == '__main__':
    if sys.argv[1:] == ['--write']:
        text = filled(readme())
        with open(os.path.join(ROOT, 'README.md'), 'w', encoding='utf-8') as out:
            out.write(text)
    else:
        unittest.main()
