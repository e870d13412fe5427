#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The example of a KMS key policy, ops/kms/key-policy.json: filled in it admits the image and nothing else, and whoever
breaks it by hand, or fills it with zeros, is told. And that of ops/aws/keys.yaml says the same."""
import copy
import json
import os
import re
import sys
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'sim'))
sys.path.insert(0, HERE)
import templates  # noqa: E402
from kms_policy import BadPolicy, Policy  # noqa: E402

PATH = os.path.join(ROOT, 'ops', 'kms', 'key-policy.json')
PCRS = {0: '0a' * 48, 1: '1b' * 48, 2: '2c' * 48}
CONTEXT = {'purpose': 'cwc-bundle-v1', 'environment': 'production', 'queue': 'q', 'version': '3'}
PCR_KEYS = {i: 'kms:RecipientAttestation:' + ('ImageSha384' if i == 0 else 'PCR%d' % i) for i in PCRS}
USES = ('kms:Decrypt', 'kms:GenerateDataKey')
# What makes a ciphertext or a right without an attestation document, or lets somebody do so later.
NEVER = {'kms:Encrypt', 'kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:CreateGrant',
         'kms:GenerateDataKeyPair', 'kms:GenerateDataKeyPairWithoutPlaintext', 'kms:PutKeyPolicy', 'kms:ReplicateKey'}


def filled():
    with open(PATH, encoding='ascii') as f:
        text = f.read()
    values = {'PCR%d' % i: v for i, v in PCRS.items()}
    values.update(ACCOUNT='111122223333', ROLE='cwc-worker', ADMIN='cwc-key-admin', QUEUE='q', ENVIRONMENT='production')
    for name, value in values.items():
        assert '@%s@' % name in text, name
        text = text.replace('@%s@' % name, value)
    assert '@' not in text, re.search('@.*', text).group()
    return json.loads(text)


def actions(statement):
    return [statement['Action']] if isinstance(statement['Action'], str) else statement['Action']


def conditions(statement, operator):
    return statement.get('Condition', {}).get(operator, {})


def lint(source):
    """What is wrong with a policy for a ring, as texts; it must be one that is understood."""
    Policy(source)
    wrong, denied, bound = [], set(), set()
    for s in source['Statement']:
        keys = conditions(s, 'StringEqualsIgnoreCase')
        if s['Effect'] == 'Deny' and s['Principal'] == {'AWS': '*'}:
            if 'Condition' not in s:
                denied |= set(actions(s))
            unequal = conditions(s, 'StringNotEqualsIgnoreCase')
            if set(USES) <= set(actions(s)) and len(unequal) == 1 and list(s['Condition']) == ['StringNotEqualsIgnoreCase']:
                bound |= set(unequal)
            continue
        for action in actions(s):
            if '*' in action:
                wrong.append('%s is allowed' % action)
            elif action in NEVER:
                wrong.append('%s is allowed' % action)
            elif action in USES and not all(PCR_KEYS[i] in keys for i in PCRS):
                wrong.append('%s is allowed without PCR0 to PCR2' % action)
    wrong += ['%s is not denied' % action for action in sorted(NEVER - denied)]
    wrong += ['another PCR%d is not denied' % i for i in PCRS if PCR_KEYS[i] not in bound]
    return wrong


def meaning(source):
    """What a policy says, one fact for each effect, principal, action and condition: however its statements are cut."""
    facts = set()
    for s in source['Statement']:
        principal = s['Principal'] if isinstance(s['Principal'], str) else s['Principal']['AWS']
        condition = json.dumps(s.get('Condition', {}), sort_keys=True)
        assert s['Resource'] == '*' and set(s) <= {'Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition'}, s
        facts |= {(s['Effect'], principal, action, condition) for action in actions(s)}
    return facts


def of_the_template(**changes):
    """The policy of ops/aws/keys.yaml, with the names that the example is filled with."""
    given = {'Release': '1.4.0', 'Environment': 'production', 'KeyAdministrator': 'arn:aws:iam::111122223333:role/cwc-key-admin',
             **{'Pcr%d' % i: v for i, v in PCRS.items()}, **changes}
    text = json.dumps(templates.Stack(templates.read('keys'), **given).resources()['Key']['KeyPolicy'])
    for name, value in (('InstanceRole.Arn', 'arn:aws:iam::111122223333:role/cwc-worker'), ('import:cwc-data-QueueName', 'q')):
        assert name in text, name
        text = text.replace(name, value)
    return json.loads(text)


class KeyPolicy(unittest.TestCase):
    maxDiff = None

    def allowed(self, source, context=None, pcrs=PCRS):
        return [Policy(source).allows(use[4:], CONTEXT if context is None else context, pcrs) for use in USES]

    def test_the_image(self):
        source = filled()
        self.assertEqual(lint(source), [])
        self.assertEqual(self.allowed(source), [True, True])
        # Hex digits of either case are the same measurement.
        self.assertEqual(self.allowed(source, pcrs={i: v.upper() for i, v in PCRS.items()}), [True, True])

    def test_nobody_else(self):
        source = filled()
        for pcrs in (None, {}, {0: PCRS[0]}, {**PCRS, 0: 'ff' * 48}, {**PCRS, 1: 'ff' * 48}, {**PCRS, 2: 'ff' * 48},
                     dict.fromkeys(PCRS, '00' * 48)):
            self.assertEqual(self.allowed(source, pcrs=pcrs), [False, False], pcrs)
        for change in ({'purpose': 'other'}, {'environment': 'sandbox'}, {'queue': 'r'}):
            self.assertEqual(self.allowed(source, {**CONTEXT, **change}), [False, False], change)
        for name in ('purpose', 'environment', 'queue'):
            self.assertEqual(self.allowed(source, {k: v for k, v in CONTEXT.items() if k != name}), [False, False], name)

    def test_the_denials_bind_what_others_allow(self):
        """A right of elsewhere, such as a grant or a policy of the account, does not go past them."""
        source = filled()
        source['Statement'].append({'Effect': 'Allow', 'Principal': {'AWS': '*'}, 'Action': 'kms:*', 'Resource': '*'})
        self.assertEqual(self.allowed(source), [True, True])
        for i in PCRS:
            self.assertEqual(self.allowed(source, pcrs={**PCRS, i: 'ff' * 48}), [False, False])
        self.assertEqual(self.allowed(source, pcrs=None), [False, False])

    def test_zeros_are_refused(self):
        for i in PCRS:
            with self.assertRaisesRegex(BadPolicy, 'zeros: every enclave in debug mode'):
                with unittest.mock.patch.dict(PCRS, {i: '00' * 48}):
                    lint(filled())
        source = filled()
        source['Statement'][0]['Condition']['StringEqualsIgnoreCase'][PCR_KEYS[0]] = [PCRS[0], '0' * 96]
        with self.assertRaisesRegex(BadPolicy, 'zeros'):
            lint(source)

    def test_what_is_left_open_is_no_policy(self):
        with open(PATH, encoding='ascii') as f:
            source = json.load(f)
        with self.assertRaisesRegex(BadPolicy, 'not 96 hexadecimal digits'):
            Policy(source)

    def test_the_lint_finds_what_must_not_be(self):
        def spoiled(change):
            source = copy.deepcopy(filled())
            change(source['Statement'])
            return lint(source)
        open_to_all = ['%s is allowed without PCR0 to PCR2' % use for use in reversed(USES)]
        equal, key = 'StringEqualsIgnoreCase', 'kms:RecipientAttestation:PCR1'
        self.assertEqual(spoiled(lambda s: s[0]['Condition'].pop(equal)), open_to_all)
        self.assertEqual(spoiled(lambda s: s[0]['Condition'][equal].pop(key)), open_to_all)
        for name in sorted(NEVER):
            self.assertEqual(spoiled(lambda s, name=name: s[-1]['Action'].append(name)), ['%s is allowed' % name])
            self.assertEqual(spoiled(lambda s, name=name: s[4]['Action'].remove(name)), ['%s is not denied' % name])
        self.assertEqual(spoiled(lambda s: s[-1]['Action'].append('kms:*')), ['kms:* is allowed'])
        for i in PCRS:
            self.assertEqual(spoiled(lambda s, i=i: s.pop(1 + i)), ['another PCR%d is not denied' % i])

    def test_the_template_says_the_same(self):
        self.assertEqual(meaning(of_the_template()), meaning(filled()))
        self.assertNotEqual(meaning(of_the_template(Environment='sandbox')), meaning(filled()))

    def test_it_is_named(self):
        with open(os.path.join(ROOT, 'ops', 'RUNBOOK.md'), encoding='utf-8') as f:
            self.assertIn('kms/key-policy.json', f.read())


if __name__ == '__main__':
    unittest.main()
