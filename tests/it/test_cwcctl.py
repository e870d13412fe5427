#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cwcctl without a queue: help and manual, tables, rendering, configurations, sealing."""
import glob
import json
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import (BUILD, CONFIG, CTL, KID, NO, PERSON, PUBLIC, ROOT, USAGE, WITNESS, Case, formats,  # noqa: E402
                         letter, lines, wait_until, without)

GOLDEN = os.path.join(ROOT, 'tests', 'golden')


class Help(Case):
    def test_every_command(self):
        table = self.ctl('help', '--json').json
        overview = self.ctl('help').out
        man = self.ctl('help', '--man').out.replace('\\-', '-')
        self.assertGreater(len(table['commands']), 25)
        for command in table['commands']:
            name = command['command']
            self.assertIn('  ' + name, overview)
            self.assertIn('.SS "' + name, man)
            text = self.ctl('help', *name.split()).out
            self.assertIn('usage: cwcctl ' + name, text)
            self.assertEqual(self.ctl(*name.split(), '--help').out, text)
            self.assertEqual(self.ctl('help', *name.split(), '--json').json, command)
            for option in command['options']:
                self.assertIn('--' + option['name'], text)
                self.assertIn('\\fB--' + option['name'], man)
            self.assertLessEqual(max(map(len, text.splitlines())), 100)
        for option in table['options']:
            self.assertIn('--' + option['name'], overview)
        self.assertEqual(self.ctl('--help').out, overview)

    def test_usage(self):
        for args in ((), ('fly',), ('dead',), ('dead', 'fly'), ('status',), ('status', 'a', 'b'), ('depth', '--fly'),
                     ('depth', '--watch'), ('depth', '--json', '--json'), ('depth', '--json=1'), ('depth', '--force'),
                     ('depth', '-x'), ('depth', '--watch', '0'), ('status', 'a b'), ('cancel', 'a', 'HXX99'),
                     ('hold', 'HNE03', '--reason', 'x'), ('hold', 'mars', '--for', '1h', '--reason', 'x'),
                     ('hold', 'house', '--for', '1x', '--reason', 'x'), ('hold', 'house', '--for', '1h'),
                     ('hold', 'house', '--until', '1999-01-01T00:00:00Z', '--reason', 'x'), ('dead', 'replay'),
                     ('dead', 'replay', 'sid'), ('dead', 'replay', '--all', 'sid', 'HNE03'), ('results', '--count', '-1'),
                     ('results', '--count', '0'), ('unknown', 'resolve', 'sid', 'HNE03', 'maybe'), ('offices', 'mars'),
                     ('depth', '--redis', 'tcp:x'), ('depth', '--queue', 'a b'), ('depth', '--timeout', '0s'),
                     ('depth', '--user', 'x'), ('depth', '--ca', 'x'), ('depth', '--tls'), ('help', 'fly'),
                     ('config', 'example', 'mars'), ('seal', '-'), ('signer', 'show', 'x')):
            r = self.ctl(*args, code=USAGE)
            self.assertEqual(r.out, '', args)
            self.assertEqual(r.err.count('\n'), 1, (args, r.err))

    def test_version(self):
        self.assertRegex(self.ctl('version').out, r'^cwcctl \d+\.\d+\.\d+\n$')
        self.assertEqual(self.ctl('--version').out, self.ctl('version').out)
        self.assertEqual(self.ctl('version', '--json').json['queue_protocol'], 1)

    def test_manual_pages(self):
        page = self.write('cwcctl.1', self.ctl('help', '--man').out)
        config = self.ctl('config', 'example', 'man').out
        with open(os.path.join(ROOT, 'ops/man/cwc-worker.conf.5.in'), encoding='utf-8') as f:
            template = f.read()
        self.assertEqual(template.count('\n@TABLE@\n'), 1)
        conf = self.write('cwc-worker.conf.5', template.replace('@TABLE@\n', config))
        for path in (page, conf, os.path.join(ROOT, 'ops/man/cwc-worker.8')):
            r = subprocess.run(['man', '--warnings', '-l', path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, 'LC_ALL': 'C.UTF-8', 'MANWIDTH': '80'}, check=True)
            self.assertEqual(r.stderr.decode(), '', path)
            self.assertGreater(len(r.stdout), 3000)

    def test_output_that_cannot_be_written(self):
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([CTL, 'errors'], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(r.returncode, 70)


class Tables(Case):
    def test_against_headers(self):
        for command, key, header, pattern in (
                ('outcomes', 'outcome', 'cwc/outcome.h', r'^\tX\([A-Z_0-9]+, "([a-z_]+)"'),
                ('errors', 'code', 'worker/base/err.h', r'^\tX\([A-Z_0-9]+, "([a-z_]+)"')):
            with open(os.path.join(ROOT, header), encoding='utf-8') as f:
                names = re.findall(pattern, f.read(), re.M)
            self.assertGreater(len(names), 15)
            self.assertEqual([row[key] for row in self.ctl(command, '--json').json], names)
            human, markdown = self.ctl(command).out.splitlines(), self.ctl(command, '--markdown').out.splitlines()
            self.assertEqual([line.split()[0] for line in human[1:]], names)
            self.assertEqual([line.split()[1] for line in markdown[2:]], names)
            self.assertEqual(len({len(re.findall(r'(?<!\\)\|', line)) for line in markdown}), 1)

    def test_model(self):
        rows = self.ctl('model', '--json').json
        self.assertIn({'state': 'posting', 'event': 'answer', 'next': 'settling', 'action': 'settle'}, rows)
        self.assertNotIn('impossible', self.ctl('model').out)
        self.assertEqual(len(self.ctl('model', '--markdown').out.splitlines()), len(rows) + 2)


class Render(Case):
    def render(self, document, *args, **kw):
        return self.ctl('render', '-', *args, stdin=json.dumps(document), **kw)

    def test_golden(self):
        files = sorted(glob.glob(os.path.join(GOLDEN, '*.json')))
        self.assertGreater(len(files), 3)
        for path in files:
            with open(path[:-5] + '.xml', encoding='utf-8', newline='') as f:
                xml = f.read()
            self.assertEqual(self.ctl('render', path).out, xml, path)
            r = self.ctl('render', path, '--json').json
            self.assertEqual((r['valid'], r['xml']), (True, xml))

    def test_samples_are_said(self):
        r = self.render({**PUBLIC, **PERSON}, '--office', 'HNE03')
        self.assertEqual(r.err.count(' is not given: '), 7)
        self.assertIn('<MemberOffice>HNE03</MemberOffice>', r.out)
        r = self.render({**PUBLIC, **PERSON, 'DeliveryId': 'a' * 32}, '--office', 'SNE02')
        self.assertIn('<DeliveryId>%s</DeliveryId>' % ('a' * 32), r.out)
        self.assertNotIn('DeliveryId is not given', r.err)

    def test_all_problems(self):
        bad = {**PUBLIC, **without(PERSON, 'Zip', Email='rosa', City='Oz'), 'Prefix': 'Mx.'}
        r = self.render(bad, '--office', 'SNE02', code=NO)
        for rule in ('Zip: is required', 'Email: does not have', 'City: is shorter', 'Prefix: is not one of'):
            self.assertIn('\n' + rule, '\n' + r.err)
        self.assertEqual(r.out, '')
        r = self.render(bad, '--office', 'HNE03', '--json', code=NO).json
        self.assertEqual([(p['element'], p['rule']) for p in r['problems']],
                         [('City', 'too_short'), ('Zip', 'missing'), ('Email', 'pattern')])
        r = self.render(bad, '--office', 'HNE03', '--chamber', 'senate', code=NO)
        self.assertIn('MemberOffice: ', r.err)

    def test_bad_input(self):
        for text in ('', '[]', '{"Zip": ', '{"Zip": "1", "Zip": "2"}'):
            self.ctl('render', '-', '--office', 'HNE03', stdin=text, code=NO)
        self.assertIn('ShoeSize', self.render({'ShoeSize': '44'}, '--office', 'HNE03', code=NO).err)
        self.assertIn('Zip', self.render({'Zip': 69153}, '--office', 'HNE03', code=NO).err)
        self.assertIn('DeliveryId', self.render({'DeliveryId': 7}, '--office', 'HNE03', code=NO).err)
        self.render({**PUBLIC, **PERSON}, code=USAGE)
        self.render({**PUBLIC, **PERSON}, '--office', 'HNE03', '--chamber', 'lords', code=USAGE)
        self.ctl('render', self.path('absent'), '--office', 'HNE03', code=NO)


class Config(Case):
    def measured(self):
        with open(os.path.join(ROOT, 'config/cwc-worker.conf'), encoding='utf-8') as f:
            text = f.read()
        keys = {'agent': 'Prairie Relay', 'agent_ack_email': 'a@relay.example.org', 'agent_contact_name': 'Dana Okafor',
                'agent_contact_email': 'd@relay.example.org', 'agent_contact_phone': '202-555-0117'}
        chamber = ''.join('%s = %s\n' % item for item in keys.items()) + 'api_key_file = /etc/cwc/key\n'
        urls = {'house': 'url = https://uat-cwc.house.gov/v2/message\n',
                'senate': 'url = https://soapbox.senate.gov/api/testing-messages/\n'}
        return self.write('m.conf', text + '\n[jobs]\nsigner = %s %s\n' % (KID, self.public.hex())
                          + ''.join('[%s]\n%s%s' % (name, url, chamber) for name, url in urls.items()))

    def test_good(self):
        path = self.measured()
        self.assertEqual(self.ctl('config', 'check', path).out, 'the configuration is good\n')
        self.assertEqual(self.ctl('config', 'check', path, '--json').json, {'good': True, 'problems': []})
        host = self.write('h.conf', '[worker]\nname = w7\n')
        printed = self.ctl('config', 'print', path, host)
        self.assertIn('\nname = w7\n', printed.out)
        again = self.ctl('config', 'print', self.write('again.conf', printed.out))
        self.assertEqual(again.out, printed.out)
        values = self.ctl('config', 'print', path, host, '--json').json
        self.assertEqual(values['worker']['name'], 'w7')
        self.assertEqual(values['jobs']['signer'], '%s %s' % (KID, self.public.hex()))

    def test_bad(self):
        host = self.write('h.conf', '[worker]\nenvironment = production\n\n[worker]\nfly = 1\n')
        r = self.ctl('config', 'check', self.measured(), host, code=CONFIG)
        self.assertIn('h.conf:2: worker.environment: ', r.err)
        self.assertIn('h.conf:5: worker.fly: ', r.err)
        r = self.ctl('config', 'check', self.measured(), host, '--json', code=CONFIG).json
        self.assertEqual([p['line'] for p in r['problems']], [2, 5])
        self.ctl('config', 'print', self.measured(), host, code=CONFIG)
        self.ctl('config', 'check', self.path('absent'), code=CONFIG)

    def test_examples(self):
        for tier, name in (('measured', 'cwc-worker.conf'), ('host', 'host.conf')):
            with open(os.path.join(ROOT, 'config', name), encoding='utf-8') as f:
                self.assertEqual(self.ctl('config', 'example', tier).out, f.read())
        table = self.ctl('config', 'example', 'measured', '--json').json
        self.assertIn(('worker', 'drain_timeout'), [(k['section'], k['key']) for k in table])


class Signer(Case):
    def test_show(self):
        r = self.ctl('signer', 'show', self.signer, '--kid', KID)
        self.assertEqual(r.out, 'signer = %s %s\n' % (KID, self.public.hex()))
        r = self.ctl('signer', 'show', self.signer, '--kid', KID, '--json').json
        self.assertEqual(r, {'kid': KID, 'public_key': self.public.hex()})

    def test_bad(self):
        with open(self.signer, encoding='ascii') as f:
            good = f.read()
        bad = [self.write('open.pem', good, 0o644), self.write('empty.pem', '', 0o600), self.path('absent.pem'),
               self.write('cut.pem', good[:60], 0o600), self.pem('x.pem', 'x25519'),
               self.pem('locked.pem', 'ed25519', '-aes256', '-pass', 'pass:secret')]
        for path in bad:
            r = self.ctl('signer', 'show', path, '--kid', KID, code=CONFIG)
            self.assertIn(path, r.err)
        self.ctl('signer', 'show', self.signer, '--kid', 'a b', code=USAGE)
        self.ctl('signer', 'show', self.signer, code=USAGE)


class Seal(Case):
    def seal(self, text, *args, **kw):
        return self.ctl('seal', '-', *self.sealing, '--ring', self.ring, *args, stdin=text, **kw)

    def test_letter(self):
        now = int(time.time())
        r = self.seal(lines(letter('s-1', ['HNE03', 'SNE02'], priority=0, generation=3, expires=now + 900,
                                   not_before=now + 60)))
        line, = r.lines
        claims, plain, bound = self.open_line(line)
        self.assertEqual(plain, {**PUBLIC, **PERSON})
        self.assertEqual(bound, {'kid': formats.ring_kid(formats.x25519_public(self.ring_secret['letter'])),
                                 'sid': 's-1', 'offices': ['HNE03', 'SNE02'], 'expires': now + 900})
        expect = {'v': 1, 'sid': 's-1', 'queue': 'q', 'environment': 'sandbox', 'priority': 0, 'generation': 3,
                  'offices': ['HNE03', 'SNE02'], 'expires': now + 900, 'not_before': now + 60, 'fields': {}}
        self.assertEqual({k: claims[k] for k in expect}, expect)
        self.assertEqual({k: line[k] for k in line if k != 'job'},
                         {'sid': 's-1', 'offices': ['HNE03', 'SNE02'], 'expires': now + 900, 'priority': 0,
                          'not_before': now + 60})

    def test_defaults(self):
        before = int(time.time())
        r = self.seal(lines(letter(), letter(), letter(expires_in='2d')), '--queue', 'other', '--environment', 'production')
        opened = [self.open_line(line) for line in r.lines]
        self.assertEqual(len({claims['sid'] for claims, _, _ in opened}), 3)
        for (claims, _, _), ttl in zip(opened, (3600, 3600, 2 * 86400)):
            self.assertRegex(claims['sid'], '^[0-9a-f]{32}$')
            self.assertTrue(before + ttl <= claims['expires'] <= int(time.time()) + ttl)
            self.assertEqual((claims['priority'], claims['generation'], claims['queue'], claims['environment']),
                             (1, 0, 'other', 'production'))
            self.assertNotIn('not_before', claims)

    def test_clear_fields(self):
        r = self.seal(lines(letter('s', letter=PERSON, fields=PUBLIC)))
        claims, plain, _ = self.open_line(r.lines[0])
        self.assertEqual((claims['fields'], plain), (PUBLIC, PERSON))

    def test_witness(self):
        r = self.seal(lines(letter('w', profile='witness', letter=WITNESS, fields={'Prefix': 'Ms.', **PUBLIC})))
        claims, plain, _ = self.open_line(r.lines[0], 'witness')
        self.assertEqual(plain, WITNESS)
        self.assertEqual(claims['witness'], {k: WITNESS[k] for k in ('nullifier', 'actionDomain')})
        self.assertEqual(claims['fields'], {'Prefix': 'Ms.', **PUBLIC})

    def test_one_document_over_many_lines(self):
        path = self.write('one.json', json.dumps(letter('one'), indent=2))
        r = self.ctl('seal', path, *self.sealing, '--ring', self.ring)
        self.assertEqual([line['sid'] for line in r.lines], ['one'])

    BAD = (
        ('not JSON', 'not json {"LastName": "Lindqvist"}'),
        ('not JSON', '{"sid": "a", "sid": "b"}'),
        ('not a JSON object', '["Lindqvist"]'),
        ('fly: there is no such member', letter('a', fly=1)),
        ('sid: must be', letter('a b')),
        ('sid: must be', letter(7)),
        ('offices: must be', letter('a', [])),
        ('offices: must be', letter('a', ['HNE03', 'SNE01', 'SNE02', 'HNE01'])),
        ('offices: every entry', letter('a', ['HNE99x'])),
        ('offices: an office is given twice', letter('a', ['HNE03', 'HNE03'])),
        ('profile: must be', letter('a', profile='fax')),
        ('letter: is missing', letter('a', letter=None)),
        ('letter: must be an object', letter('a', letter='Lindqvist')),
        ('fields: must be an object', letter('a', fields=[])),
        ('witness: belongs to', letter('a', witness={})),
        ('letter: nullifier and', letter('a', profile='witness', letter={'deliveryAddress': {}})),
        ('witness: nullifier and', letter('a', profile='witness', letter=WITNESS, witness={'nullifier': '1'})),
        ('nullifier or actionDomain is not', letter('a', profile='witness', letter=WITNESS,
                                                    witness={'nullifier': '1', 'actionDomain': '2'})),
        ('deliveryAddress', letter('a', profile='witness', letter=without(WITNESS, 'deliveryAddress'))),
        ('expires_in: cannot stand beside', letter('a', expires_in='1h', expires=4102444800)),
        ('expires_in: must be', letter('a', expires_in='1 hour')),
        ('expires: is past', letter('a', expires='2020-01-01T00:00:00Z')),
        ('expires: is more than 30 days', letter('a', expires_in='31d')),
        ('expires: must be a time', letter('a', expires='tomorrow')),
        ('not_before: is later', letter('a', not_before='2099-01-01T00:00:00Z')),
        ('priority: must be 0 or 1', letter('a', priority=2)),
        ('generation: must be', letter('a', generation=-1)),
        ('letter: ShoeSize: ', letter('a', letter={**PUBLIC, **PERSON, 'ShoeSize': '44'})),
        ('letter: Zip: ', letter('a', letter={**PUBLIC, **PERSON, 'Zip': 69153})),
        ('letter: DeliveryId: ', letter('a', letter={**PUBLIC, **PERSON, 'DeliveryId': 'a' * 32})),
        ('letter: Subject: ', letter('a', fields={'Subject': 'Keep the library grants'})),
        ('fields: LastName: ', letter('a', fields={'LastName': 'Lindqvist'}, letter=without(PERSON, 'LastName'))),
        ('house: Zip: is required', letter('a', letter={**PUBLIC, **without(PERSON, 'Zip')})),
        ('senate: Prefix: is not one', letter('a', ['HNE03', 'SNE02'], letter={**PUBLIC, **PERSON, 'Prefix': 'Mx.'})),
        ('job: must be base64', {'job': 'Lindqvist!'}),
        ('job: job_syntax', {'job': 'AAAA'}),
    )

    def test_bad_lines(self):
        good = lines(letter('good-1')), lines(letter('good-2'))
        for reason, bad in self.BAD:
            text = bad + '\n' if isinstance(bad, str) else lines(bad)
            r = self.seal(good[0] + '\n' + text + good[1], '--keep-going', code=NO)
            self.assertEqual([line['sid'] for line in r.lines], ['good-1', 'good-2'], reason)
            self.assertIn('cwcctl: standard input:3: ', r.err)
            self.assertIn(reason, r.err)
            for value in ('Lindqvist', 'Ogallala', '69153', 'Keep the'):
                self.assertNotIn(value, r.err)

    def test_nothing_is_sealed_of_a_bad_file(self):
        bad = [lines(bad) for _, bad in self.BAD if not isinstance(bad, str)]
        path = self.write('bad.jsonl', lines(letter('good')) + ''.join(bad))
        r = self.ctl('seal', path, *self.sealing, '--ring', self.ring, code=NO)
        self.assertEqual(r.out, '')
        for number in range(2, len(bad) + 2):
            self.assertIn('bad.jsonl:%d: ' % number, r.err)
        self.assertIn('%d bad lines' % len(bad), r.err)

    def test_all_problems_are_said(self):
        r = self.seal(lines(letter('a', ['HNE03', 'SNE02'], letter={**PUBLIC, **without(PERSON, 'Zip', City='Oz')})), code=NO)
        self.assertEqual([line.split(': ', 2)[2].split(' ')[:2] for line in r.err.splitlines()],
                         [['house:', 'City:'], ['house:', 'Zip:'], ['senate:', 'City:'], ['senate:', 'Zip:']])

    def test_force(self):
        bad = lines(letter('a', letter=PERSON))
        self.seal(bad, code=NO)
        self.assertEqual(self.open_line(self.seal(bad, '--force').lines[0])[1], PERSON)

    def test_too_long(self):
        r = self.seal(lines(letter('long', letter={'ConstituentMessage': 'x' * (1 << 20)}), letter('good')), '--keep-going',
                      code=NO)
        self.assertIn(':1: longer than', r.err)
        self.assertEqual([line['sid'] for line in r.lines], ['good'])
        # An object that is still open at the end of its line is all of the input.
        for more in ('', '\n', '\n' + lines(letter('not', letter=PERSON))):
            r = self.seal('{"x":\n' + 'x' * (3 << 20) + more, '--keep-going', code=NO)
            self.assertEqual((r.out, [line.split(': ')[1] for line in r.err.splitlines() if 'longer than' in line]),
                             ('', ['standard input:1']))
        r = self.seal(lines(letter('a', letter={'ConstituentMessage': 'x' * 70000})), '--force', code=NO)
        self.assertIn('larger than its ceiling', r.err)

    def test_ring(self):
        good = self.ring_line('letter')
        for text in ('', 'fax ' + good[7:], good + ' context', good.replace('wek-', 'kid-'), good[:-1], 'letter',
                     self.ring_line('witness').rsplit(' ', 1)[0], (good + '\n') * 17):
            bad = self.write('bad.ring', text)
            r = self.ctl('seal', '-', *self.sealing, '--ring', bad, stdin=lines(letter()), code=CONFIG)
            self.assertIn('bad.ring', r.err)
        only = self.write('only.ring', self.ring_line('witness'))
        r = self.ctl('seal', '-', *self.sealing, '--ring', only, stdin=lines(letter()), code=NO)
        self.assertIn('no ring key of this profile', r.err)

    def test_no_letter(self):
        self.seal('\n\n', code=NO)
        self.ctl('seal', self.path('absent'), *self.sealing, '--ring', self.ring, code=NO)

    def test_nothing_secret_in_proc(self):
        process = self.start('seal', '-', *self.sealing, '--ring', self.ring, stdin=subprocess.PIPE)
        process.stdin.write(lines(letter('a')))
        process.stdin.flush()
        proc = '/proc/%d/' % process.pid
        wait_until(lambda: os.readlink(proc + 'exe') == os.path.realpath(CTL), what='cwcctl')
        with open(self.signer, encoding='ascii') as f:
            secret = f.read().splitlines()[1].encode()
        for name in ('cmdline', 'environ', 'comm'):
            with open(proc + name, 'rb') as f:
                shown = f.read()
            self.assertNotIn(secret, shown)
            self.assertNotIn(b'Lindqvist', shown)
        out, _ = process.communicate('')
        self.assertEqual(json.loads(out)['sid'], 'a')


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make` (looked in %s)' % (CTL, BUILD))
    unittest.main()
