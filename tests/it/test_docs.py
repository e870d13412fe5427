#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its tables are what the programs say, its commands run, its links lead somewhere.

test_docs.py --write fills the tables of README.md anew.
"""
import os
import re
import stat
import subprocess
import sys
import tempfile
import unittest

from stack import BUILD, ROOT, Stack, letters

DOCUMENTS = ['README.md', 'SECURITY.md', 'CHANGELOG.md', 'queue/PROTOCOL.md', 'queue/FORMATS.md', 'ops/RUNBOOK.md']
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
    ('measured', '[keys]', 'witness_context = too-short'),
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


def console_commands(name):
    """Lines that start with '$ ' in blocks marked console."""
    for block in re.findall(r'^```console\n(.*?)^```', document(name), re.S | re.M):
        for line in block.splitlines():
            if line.startswith('$ '):
                yield line[2:]


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


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for name in DOCUMENTS:
            text = document(name)
            for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', text):
                path = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), target))
                self.assertTrue(os.path.exists(path), '%s links to %s' % (name, target))

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
            subprocess.run(['make', '-s', 'install', 'DESTDIR=' + d], cwd=ROOT, stdout=subprocess.DEVNULL, timeout=300,
                           check=True)
            for path in ('usr/sbin/cwc-worker', 'usr/bin/cwcctl', 'usr/share/man/man8/cwc-worker.8',
                         'usr/share/man/man5/cwc-worker.conf.5', 'usr/share/man/man1/cwcctl.1',
                         'usr/lib/systemd/system/cwc-worker.service', 'usr/share/doc/cwc-worker/PROTOCOL.md'):
                self.assertTrue(os.path.getsize(os.path.join(d, path)), path)
            out = subprocess.run([os.path.join(d, 'usr/bin/cwcctl'), 'version'], capture_output=True, text=True,
                                 timeout=20, check=True).stdout
            self.assertRegex(out, r'^cwcctl \d')
            for page in ('man8/cwc-worker.8', 'man5/cwc-worker.conf.5', 'man1/cwcctl.1'):
                p = subprocess.run(['man', '--warnings', '-l', os.path.join(d, 'usr/share/man', page)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=True)
                self.assertEqual(p.stderr, '')


class Commands(unittest.TestCase):
    """Every command in a console block runs, against a system that is up."""

    def test_commands(self):
        with Stack() as stack:
            stack.start_worker()
            good = list(letters.sample(3))
            stack.submit(*good)
            stack.wait_results(sum(len(s['offices']) for s in good))
            self.run_all(stack, good[0])

    def run_all(self, stack, submission):
        shims = stack.path('bin')
        os.mkdir(shims)
        for program, words in {
                'cwcctl': '%s "$@" --redis unix:%s' % (CTL, stack.redis_path),
                'cwc-worker': '%s "$@"' % WORKER,
                'redis-cli': '%s -s %s "$@"' % ('/usr/bin/redis-cli', stack.redis_path)}.items():
            path = os.path.join(shims, program)
            with open(path, 'w', encoding='ascii') as f:
                f.write('#!/bin/sh\nexec %s\n' % words)
            os.chmod(path, stat.S_IRWXU)
        env = {**os.environ, 'PATH': shims + ':' + os.environ['PATH'], 'SID': submission['sid'],
               'OFFICE': submission['offices'][0]}
        n = 0
        for name in DOCUMENTS:
            for command in console_commands(name):
                with self.subTest(document=name, command=command):
                    p = subprocess.run(['sh', '-c', command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                       capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
                    n += 1
        self.assertGreater(n, 5)


if __name__ == '__main__':
    if sys.argv[1:] == ['--write']:
        text = filled(readme())
        with open(os.path.join(ROOT, 'README.md'), 'w', encoding='utf-8') as out:
            out.write(text)
    else:
        unittest.main()
