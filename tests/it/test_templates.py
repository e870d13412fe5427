# SPDX-License-Identifier: Apache-2.0
"""What the CloudFormation templates promise, beyond what a linter knows: nothing comes in, nobody but the measured image
uses the key, roles may do what they need and no more, names that one template gives another are there."""
import copy
import ipaddress
import json
import os
import re
import subprocess
import sys
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import templates  # noqa: E402

sys.path.insert(0, os.path.join(templates.ROOT, 'tests', 'sim'))
import kms_policy  # noqa: E402

QUEUE, CHAMBER = frozenset(['queue']), frozenset(['queue', 'chamber'])
PCRS = {0: '0a' * 48, 1: '1b' * 48, 2: '2c' * 48}
MEASURED = {'Pcr%d' % i: value for i, value in PCRS.items()}
KEYS = {'Release': '1.4.0', 'Environment': 'production', 'KeyAdministrator': 'arn:aws:iam::111122223333:role/keys'}
PASSWORDS = {n + 'Password': 'x' * 16 for n in ('Worker', 'Producer', 'AppServer', 'Host', 'Operator')}
FLEET = {'Release': '1.4.0', 'KeysStack': 'cwc-keys', 'ReleaseSha256': '5d' * 32, **MEASURED}
ALL = templates.everything()
GIVEN = {'network': {}, 'data': PASSWORDS, 'keys': {**KEYS, **MEASURED}, 'fleet': FLEET,
         'monitoring': {'AlarmTopic': 'arn:aws:sns:us-east-1:111122223333:on-call'}}


def stack(name, **changes):
    return templates.Stack(ALL[name], **{**GIVEN[name], **changes})


def listed(x):
    return x if isinstance(x, list) else [x]


def statements(document):
    return listed(document['Statement'])


class Templates(unittest.TestCase):
    def test_all_are_known(self):
        self.assertEqual(sorted(ALL), sorted(GIVEN))
        for name in ALL:
            for resource, properties in stack(name).resources().items():
                self.assertIsInstance(properties, dict, (name, resource))
            stack(name).outputs()

    def test_references(self):
        for name, t in ALL.items():
            known = set(t['Parameters']) | set(t['Resources']) | set(templates.PSEUDO)
            self.assertEqual(set(templates.references(t)) - known, set(), name)
            conditions = set(t.get('Conditions', {}))
            for path, value in templates.walk(t['Resources']):
                if path and path[-1] == 'Fn::If':
                    self.assertIn(value[0], conditions, (name, path))
                if path and path[-1] == 'Condition' and isinstance(value, str):
                    self.assertIn(value, conditions, (name, path))

    def test_parameters(self):
        """Each is explained, bounded, and used."""
        for name, t in ALL.items():
            used = set(templates.references([t['Resources'], t.get('Conditions', {}), t.get('Outputs', {})]))
            for parameter, definition in t['Parameters'].items():
                self.assertRegex(definition.get('Description', ''), r'.{9}', (name, parameter))
                self.assertIn(parameter, used, name)
                bounds = {'AllowedPattern', 'AllowedValues', 'MinValue'} & set(definition)
                self.assertTrue(bounds or definition['Type'].startswith('AWS::SSM'), (name, parameter))
                if 'Password' in parameter:
                    self.assertTrue(definition.get('NoEcho'), (name, parameter))
                    self.assertNotIn('Default', definition)

    def test_imports(self):
        """Whatever one template imports another one exports."""
        exported = {o['Export']['Name']['Fn::Sub'].replace('${AWS::StackName}', '') for t in ALL.values()
                    for o in t.get('Outputs', {}).values() if 'Export' in o}
        asked = set()
        for t in ALL.values():
            for path, value in templates.walk(t):
                if path and path[-1] == 'Fn::ImportValue':
                    asked.add(re.sub(r'^\$\{\w+Stack\}', '', value['Fn::Sub']))
        self.assertEqual(asked - exported, set())
        self.assertGreater(len(asked), 8)

    def test_a_failed_creation_leaves_nothing(self):
        """What is retained when its stack is deleted goes when the stack could not be made: the second try would find names taken (log
        groups), or leave keys, addresses and buckets that cost."""
        for name, t in ALL.items():
            for resource, r in t['Resources'].items():
                self.assertIn(r.get('DeletionPolicy'), (None, 'RetainExceptOnCreate', 'Snapshot'), (name, resource))

    def test_log_groups_are_written(self):
        """Each is one that the agent is told to write."""
        with open(os.path.join(templates.ROOT, 'ops/aws/fleet.yaml'), encoding='utf-8') as f:
            text = f.read()
        for log in stack('fleet').resources('AWS::Logs::LogGroup').values():
            self.assertIn('\\"%s\\"' % log['LogGroupName'].replace('1.4.0', '$RELEASE'), text)

    def test_no_secrets(self):
        for name, t in ALL.items():
            text = json.dumps(t)
            self.assertNotIn('secretsmanager', text.lower(), name)
            self.assertNotIn('KeyName', text, name)  # of an SSH key pair


class Network(unittest.TestCase):
    def test_nothing_comes_in(self):
        n = stack('network')
        for kind, key in (('AWS::EC2::SecurityGroup', 'SecurityGroupIngress'), ('AWS::EC2::SecurityGroupIngress', None)):
            for name, properties in n.resources(kind).items():
                for rule in (properties.get(key, []) if key else [properties]):
                    self.assertNotIn('CidrIpv6', rule, name)
                    if 'CidrIp' in rule:
                        self.assertTrue(ipaddress.ip_network(rule['CidrIp']).is_private, (name, rule))
                        self.assertNotEqual(rule['CidrIp'], '0.0.0.0/0')
        self.assertEqual(n.resources()['FleetSecurityGroup']['SecurityGroupIngress'], [])
        self.assertEqual(n.resources()['ClientSecurityGroup']['SecurityGroupIngress'], [])

    def test_what_goes_out(self):
        n = stack('network').resources()
        self.assertEqual([(r['FromPort'], r['ToPort']) for r in n['FleetSecurityGroup']['SecurityGroupEgress']], [(443, 443)])
        for rule in n['RedisSecurityGroup']['SecurityGroupEgress']:
            self.assertEqual(rule['CidrIp'], '127.0.0.1/32')

    def test_addresses(self):
        """No instance has a public one, and each zone leaves by a fixed one that outlives the stack."""
        for zones in ('2', '3'):
            n = stack('network', Zones=zones)
            subnets = n.resources('AWS::EC2::Subnet')
            blocks = [ipaddress.ip_network(s['CidrBlock']) for s in subnets.values()]
            self.assertEqual(len(blocks), 3 * int(zones))
            self.assertTrue(all(b.subnet_of(ipaddress.ip_network('10.64.0.0/16')) for b in blocks))
            self.assertEqual(len(set(blocks)), len(blocks))
            self.assertFalse(any(s['MapPublicIpOnLaunch'] for s in subnets.values()))
            private = [s for name, s in subnets.items() if name.startswith('Private')]
            self.assertEqual(len({s['AvailabilityZone'] for s in private}), int(zones))
            self.assertEqual(len(n.resources('AWS::EC2::NatGateway')), int(zones))
            self.assertEqual(len(n.outputs()['EgressAddresses'].split(',')), int(zones))
        for name, r in ALL['network']['Resources'].items():
            if r['Type'] == 'AWS::EC2::EIP':
                self.assertEqual((r['DeletionPolicy'], r['UpdateReplacePolicy']), ('RetainExceptOnCreate', 'Retain'), name)

    def test_routes(self):
        """Instances leave through the gateway of their own zone; Redis does not leave."""
        n = stack('network', Zones='3').resources()
        table = {a['SubnetId']: a['RouteTableId'] for a in n.values() if set(a) == {'SubnetId', 'RouteTableId'}}
        for zone in 'ABC':
            routes = [r for r in n.values() if r.get('RouteTableId') == table['PrivateSubnet' + zone] and 'NatGatewayId' in r]
            self.assertEqual([r['NatGatewayId'] for r in routes], ['Nat' + zone])
            self.assertEqual(n['Nat' + zone]['SubnetId'], 'PublicSubnet' + zone)
            out = [r for r in n.values() if r.get('RouteTableId') == table['DataSubnet' + zone] and 'DestinationCidrBlock' in r]
            self.assertEqual(out, [])


class Key(unittest.TestCase):
    CONTEXT = {'purpose': 'cwc-bundle-v1', 'environment': 'production', 'queue': 'import:cwc-data-QueueName', 'version': '3'}

    def policy(self, **changes):
        return stack('keys', **changes).resources()['Key']['KeyPolicy']

    def judge(self, policy, pcrs, context=None):
        """With the rules of the simulated KMS, which knows neither principals nor the ways around."""
        source = {'Statement': [s for s in policy['Statement'] if 'Condition' in s or s['Sid'].startswith('NobodyBefore')]}
        return [kms_policy.Policy(source).allows(operation, context or self.CONTEXT, pcrs) for operation in kms_policy.OPERATIONS]

    def test_the_image_may(self):
        self.assertEqual(self.judge(self.policy(), PCRS), [True, True])
        upper = {i: v.upper() for i, v in PCRS.items()}
        self.assertEqual(self.judge(self.policy(), upper), [True, True])

    def test_nobody_else_may(self):
        p = self.policy()
        self.assertEqual(self.judge(p, None), [False, False], 'without a document')
        self.assertEqual(self.judge(p, {**PCRS, 0: '0' * 96, 1: '0' * 96, 2: '0' * 96}), [False, False], 'debug mode')
        for i in PCRS:
            self.assertEqual(self.judge(p, {**PCRS, i: 'f' * 96}), [False, False], 'another PCR%d' % i)
            self.assertEqual(self.judge(p, {**PCRS, i: '0' * 96}), [False, False], 'PCR%d of zeros' % i)

    def test_another_ring(self):
        for change in ({'purpose': 'other'}, {'environment': 'sandbox'}, {'queue': 'r'}):
            self.assertEqual(self.judge(self.policy(), PCRS, {**self.CONTEXT, **change}), [False, False], change)

    def test_permission_alone(self):
        """Without the denials, too, it is for the three measurements only."""
        p = self.policy()
        p['Statement'] = [s for s in p['Statement'] if s['Effect'] == 'Allow']
        self.assertEqual(self.judge(p, PCRS), [True, True])
        for pcrs in (None, {**PCRS, 0: 'f' * 96}, {**PCRS, 1: 'f' * 96}, {**PCRS, 2: 'f' * 96}):
            self.assertEqual(self.judge(p, pcrs), [False, False])

    def test_denials_alone(self):
        """Another statement, an IAM policy or a grant that allows everything changes nothing."""
        p = copy.deepcopy(self.policy())
        p['Statement'].append({'Sid': 'Late', 'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:*', 'Resource': '*',
                               'Condition': {}})
        self.assertEqual(self.judge(p, PCRS), [True, True])
        for pcrs in (None, {**PCRS, 0: 'f' * 96}, {**PCRS, 1: 'f' * 96}, {**PCRS, 2: 'f' * 96}):
            self.assertEqual(self.judge(p, pcrs), [False, False])

    def test_before_the_image(self):
        p = self.policy(Pcr0='', Pcr1='', Pcr2='')
        for pcrs in (None, PCRS, {0: '0' * 96, 1: '0' * 96, 2: '0' * 96}):
            self.assertEqual(self.judge(p, pcrs), [False, False])
        allowed = [a for s in p['Statement'] if s['Effect'] == 'Allow' for a in s['Action']]
        self.assertIn('kms:PutKeyPolicy', allowed)

    def test_nobody_changes_it(self):
        p = self.policy()
        allowed = {a for s in p['Statement'] if s['Effect'] == 'Allow' for a in listed(s['Action'])}
        denied = {a for s in p['Statement'] if s['Effect'] == 'Deny' and 'Condition' not in s and s['Principal'] == '*'
                  for a in s['Action']}
        for action in ('PutKeyPolicy', 'CreateGrant', 'Encrypt', 'ReEncryptFrom', 'ReEncryptTo', 'GenerateDataKeyPair',
                       'GenerateDataKeyWithoutPlaintext', 'DeriveSharedSecret'):
            self.assertNotIn('kms:' + action, allowed)
            self.assertIn('kms:' + action, denied)
        self.assertTrue(stack('keys').resources()['Key']['BypassPolicyLockoutSafetyCheck'])

    def test_people(self):
        """No statement has a principal but the role, the administrator, and everybody (to deny)."""
        for s in self.policy()['Statement']:
            self.assertFalse(any('*' in a for a in listed(s['Action'])), s['Sid'])
            if s['Effect'] == 'Deny':
                self.assertEqual(s['Principal'], '*')
            elif s['Sid'] == 'AdministratorsSeeAndDelete':
                self.assertEqual(s['Principal'], {'AWS': KEYS['KeyAdministrator']})
                use = {'kms:Decrypt', 'kms:GenerateDataKey', 'kms:Encrypt', 'kms:CreateGrant', 'kms:PutKeyPolicy'}
                self.assertEqual(use & set(s['Action']), set())
                self.assertIn('kms:ScheduleKeyDeletion', s['Action'])
            else:
                self.assertEqual((s['Sid'], s['Principal']), ('OnlyTheMeasuredImageUsesIt', {'AWS': 'InstanceRole.Arn'}))

    def test_measurements(self):
        for name, empty in (('keys', True), ('fleet', False)):
            for i in range(3):
                pattern = ALL[name]['Parameters']['Pcr%d' % i]['AllowedPattern']
                self.assertIsNotNone(re.fullmatch(pattern, '0a' * 48))
                self.assertEqual(re.fullmatch(pattern, '') is not None, empty)
                for bad in ('0' * 96, '0a' * 47, '0a' * 49, '0A' * 48, '0g' * 48, '0a' * 48 + '\n', ' ' + '0a' * 48):
                    self.assertIsNone(re.fullmatch(pattern, bad), (name, bad))
        for some in ({'Pcr0': PCRS[0]}, {'Pcr0': PCRS[0], 'Pcr1': PCRS[1]}, {'Pcr2': PCRS[2]}):
            with self.assertRaises(ValueError):
                templates.Stack(ALL['keys'], **KEYS, **some)


class Roles(unittest.TestCase):
    def documents(self):
        """(template, resource, policy) of all policies for principals of this account."""
        for name in ALL:
            for resource, p in stack(name).resources().items():
                for policy in p.get('Policies', []):
                    yield name, resource, policy['PolicyDocument']
                kind = ALL[name]['Resources'][resource]['Type']
                if kind in ('AWS::IAM::RolePolicy', 'AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy'):
                    yield name, resource, p['PolicyDocument']

    def test_least(self):
        """All that the instance may do."""
        allowed = {}
        for _name, _resource, document in self.documents():
            for s in statements(document):
                self.assertEqual(s['Effect'], 'Allow')
                for action in listed(s['Action']):
                    self.assertNotIn('*', action)
                    allowed.setdefault(action, []).append(s)
        self.assertEqual(set(allowed), {
            'kms:Decrypt', 'kms:GenerateDataKey', 's3:GetObject', 'logs:CreateLogStream', 'logs:DescribeLogStreams',
            'logs:PutLogEvents', 'autoscaling:CompleteLifecycleAction', 'autoscaling:RecordLifecycleActionHeartbeat'})
        for action, found in allowed.items():
            for s in found:
                self.assertNotIn('*', listed(s['Resource']), action)
        self.assertEqual([s['Resource'] for s in allowed['kms:Decrypt']], ['Key.Arn'])
        self.assertEqual([s['Resource'] for s in allowed['s3:GetObject']],
                         ['arn:aws:s3:::import:cwc-data-ImageBucket/1.4.0/*', 'arn:aws:s3:::import:cwc-data-StoreBucket/1.4.0/*'])

    def test_group_is_used(self):
        """What the role may ask of the group is what the host asks of it."""
        asked = set()
        for path in ('ops/host/cwc-lifecycle', 'ops/aws/fleet.yaml'):
            with open(os.path.join(templates.ROOT, path), encoding='utf-8') as f:
                asked |= set(re.findall(r'\b(complete-lifecycle-action|record-lifecycle-action-heartbeat|set-instance-health)\b', f.read()))
        may = {re.sub(r'(?<!^)([A-Z])', r'-\1', a.split(':')[1]).lower() for _n, _r, d in self.documents() for s in statements(d)
               for a in listed(s['Action']) if a.startswith('autoscaling:')}
        self.assertEqual(may, asked)

    def test_own_group(self):
        """The role names the group by the name that the fleet gives it."""
        name = stack('fleet').resources()['Group']['AutoScalingGroupName']
        role = json.dumps(stack('keys').resources()['InstanceRole'])
        self.assertIn('autoScalingGroup:*:autoScalingGroupName/%s"' % name, role)
        for log in stack('fleet').resources('AWS::Logs::LogGroup').values():
            self.assertTrue(log['LogGroupName'].startswith('/cwc/1.4.0/'))
        self.assertIn('log-group:/cwc/1.4.0/*', role)

    def test_managed(self):
        managed = [p for r in stack('keys').resources('AWS::IAM::Role').values() for p in r.get('ManagedPolicyArns', [])]
        self.assertEqual(managed, ['arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore'])


class Data(unittest.TestCase):
    def test_buckets(self):
        d = stack('data')
        policies = {p['Bucket']: p['PolicyDocument'] for p in d.resources('AWS::S3::BucketPolicy').values()}
        buckets = d.resources('AWS::S3::Bucket')
        self.assertEqual(set(policies), set(buckets))
        for name, b in buckets.items():
            self.assertEqual(b['VersioningConfiguration'], {'Status': 'Enabled'})
            self.assertEqual(set(b['PublicAccessBlockConfiguration'].values()), {True})
            self.assertEqual(len(b['PublicAccessBlockConfiguration']), 4)
            self.assertIn('BucketEncryption', b)
            self.assertEqual(ALL['data']['Resources'][name]['DeletionPolicy'], 'RetainExceptOnCreate')
            s, = statements(policies[name])
            self.assertEqual((s['Effect'], s['Principal'], s['Condition']),
                             ('Deny', '*', {'Bool': {'aws:SecureTransport': 'false'}}))
            self.assertEqual(s['Resource'], [name + '.Arn', name + '.Arn/*'])

    def test_redis(self):
        d = stack('data').resources()
        self.assertEqual(d['RedisParameters']['Properties'], {'maxmemory-policy': 'noeviction'})
        r = d['Redis']
        for key in ('MultiAZEnabled', 'AutomaticFailoverEnabled', 'TransitEncryptionEnabled', 'AtRestEncryptionEnabled'):
            self.assertIs(r[key], True, key)
        self.assertEqual((r['TransitEncryptionMode'], r['NumNodeGroups'], r['UserGroupIds']), ('required', 1, ['Users']))
        self.assertEqual(r['CacheParameterGroupName'], 'RedisParameters')
        self.assertGreaterEqual(int(r['ReplicasPerNodeGroup']), 1)

    def test_users(self):
        """The rules are those of ops/redis, for any queue."""
        for queue in ('q', 'letters-2'):
            users = stack('data', QueueName=queue).resources('AWS::ElastiCache::User')
            self.assertEqual({u['UserName'] for u in users.values()},
                             {'cwc-worker', 'cwc-producer', 'cwc-app', 'cwc-host', 'cwc-operator'})
            for name, u in users.items():
                made = subprocess.run([os.path.join(templates.ROOT, 'ops/redis/make-acl'), '--queue', queue,
                                       '--access-string', u['UserName']], stdout=subprocess.PIPE, check=True, text=True)
                self.assertEqual(u['AccessString'], made.stdout.strip(), name)
                self.assertEqual(u['AuthenticationMode']['Type'], 'password')
            group, = stack('data').resources('AWS::ElastiCache::UserGroup').values()
            self.assertEqual(sorted(group['UserIds']), sorted(users))


class Fleet(unittest.TestCase):
    def setUp(self):
        self.fleet = stack('fleet').resources()
        self.launch = self.fleet['LaunchTemplate']['LaunchTemplateData']

    def test_launch(self):
        self.assertEqual(self.launch['EnclaveOptions'], {'Enabled': True})
        self.assertEqual(self.launch['HibernationOptions'], {'Configured': False})
        m = self.launch['MetadataOptions']
        self.assertEqual((m['HttpTokens'], m['HttpPutResponseHopLimit']), ('required', 1))
        interface, = self.launch['NetworkInterfaces']
        self.assertIs(interface['AssociatePublicIpAddress'], False)
        self.assertEqual(interface['Groups'], ['import:cwc-network-FleetSecurityGroup'])
        self.assertTrue(all(d['Ebs']['Encrypted'] for d in self.launch['BlockDeviceMappings']))

    def test_sizes(self):
        """S1, S2: what an instance cannot give, and what has no enclaves, is refused."""
        for kind in ALL['fleet']['Parameters']['InstanceType']['AllowedValues']:
            self.assertRegex(kind, r'^[cmr]6g\.')
            if kind.endswith('.large'):
                stack('fleet', InstanceType=kind, EnclaveCpus='1')
                with self.assertRaises(ValueError):
                    stack('fleet', InstanceType=kind, EnclaveCpus='2')
            elif kind.endswith('.xlarge'):
                with self.assertRaises(ValueError):
                    stack('fleet', InstanceType=kind, EnclaveCpus='4')
        for kind in ('t4g.small', 'a1.large', 'm7g.large', 'c6g.medium'):
            with self.assertRaises(ValueError):
                stack('fleet', InstanceType=kind)

    def test_hooks(self):
        hooks = {h['LifecycleHookName']: h for h in self.fleet['Group']['LifecycleHookSpecificationList']}
        self.assertEqual(hooks['launching']['DefaultResult'], 'ABANDON')
        self.assertEqual(hooks['terminating']['DefaultResult'], 'CONTINUE')
        with open(os.path.join(templates.ROOT, 'config', 'host.conf'), encoding='utf-8') as f:
            text = f.read()
        longest = re.search(r'# host; a duration[^;]*?to (\d+)min; default 75s\n#drain_timeout', text)
        self.assertGreater(hooks['terminating']['HeartbeatTimeout'], 60 * int(longest.group(1)))

    def test_scaling(self):
        """Target tracking goes from what runs to running x ratio / target: that is the wanted number."""
        t = self.fleet['FollowWanted']['TargetTrackingConfiguration']
        metrics = {m['Id']: m for m in t['CustomizedMetricSpecification']['Metrics']}
        self.assertEqual([m['Id'] for m in metrics.values() if m['ReturnData']], ['ratio'])
        for wanted, running in ((1, 3), (4, 2), (7, 7)):
            ratio = eval(metrics['ratio']['Expression'], {}, {'wanted': wanted, 'running': running})  # ours, of two names
            self.assertEqual(round(running * ratio / t['TargetValue']), wanted)
        self.assertGreaterEqual(ALL['fleet']['Parameters']['MinWorkers']['MinValue'], 1)
        collected = self.fleet['Group']['MetricsCollection'][0]['Metrics']
        self.assertIn(metrics['running']['MetricStat']['Metric']['MetricName'], collected)

    def test_events(self):
        """The filters look for events and fields that the worker has."""
        with open(os.path.join(templates.ROOT, 'worker', 'base', 'log.h'), encoding='utf-8') as f:
            header = f.read()
        names = set(re.findall(r'X\(\w+, "(\w+)"', header))
        filters = stack('fleet').resources('AWS::Logs::MetricFilter')
        self.assertGreaterEqual(len(filters), 10)
        for name, f in filters.items():
            events = re.findall(r'\$\.event = "(\w+)"', f['FilterPattern'])
            self.assertTrue(events, name)
            self.assertEqual(set(events) - names, set(), name)
            self.assertEqual(set(re.findall(r'\$\.(\w+)', f['FilterPattern'])) - names - {'event'}, set(), name)


class Monitoring(unittest.TestCase):
    def setUp(self):
        self.stack = stack('monitoring')
        self.alarms = self.stack.resources('AWS::CloudWatch::Alarm')
        body, = self.stack.resources('AWS::CloudWatch::Dashboard').values()
        self.dashboard = json.loads(body['DashboardBody'])

    @staticmethod
    def published():
        """(Name, its dimensions) of what the programs publish; test_monitoring.py holds that against what they really say."""
        found = {(name, QUEUE) for name in ('DesiredWorkers', 'RunningWorkers', 'DesiredPerRunning')}
        of_chamber, of_queue = templates.text('ops/cwcctl/depth_emf.c').split('of_queue[] =')
        for text, dimensions in ((of_chamber, CHAMBER), (of_queue, QUEUE)):
            found |= {(name, dimensions) for name in re.findall(r'\{ "([A-Z]\w+)", "[A-Z]', text)}
        found |= {(name, QUEUE) for name in re.findall(r'\["([A-Z]\w+)", "[A-Z]', templates.text('ops/host/cwc-metrics'))}
        for f in stack('fleet').resources('AWS::Logs::MetricFilter').values():
            found |= {(t['MetricName'], frozenset(d['Key'] for d in t.get('Dimensions', []))) for t in f['MetricTransformations']}
        return found

    def asked(self):
        """(Name, its dimensions) of what alarms look at, and panels."""
        alarms, panels = set(), set()
        for a in self.alarms.values():
            for m in [a] + [m['MetricStat']['Metric'] for m in a.get('Metrics', []) if 'MetricStat' in m]:
                if m.get('Namespace') == 'CWC':
                    alarms.add((m['MetricName'], frozenset(d['Name'] for d in m.get('Dimensions', []))))
        for w in self.dashboard['widgets']:
            for m in w['properties']['metrics']:
                if m[0] == 'CWC':
                    panels.add((m[1], frozenset(m[2:len(m) - isinstance(m[-1], dict):2])))
        return alarms, panels

    def test_alarms(self):
        asked, _ = self.asked()
        for name, a in self.alarms.items():
            self.assertEqual(a['AlarmActions'], [GIVEN['monitoring']['AlarmTopic']], name)
            self.assertRegex(a['AlarmDescription'], r'.{15}', name)
        self.assertEqual(asked - self.published(), set())
        # A promise each: oldest age, dead, unknown, breaker, attestation, clock, lost answers, nobody works, keys end.
        self.assertLessEqual({'OldestFreeAge', 'OldestInAge', 'Dead', 'Unknown', 'BreakerOpen', 'HeldReceiver', 'AttestationFailed',
                              'ClockError', 'ClockSkew', 'LetterOrphaned', 'QueueFenced', 'Workers', 'Ready', 'KmsFailed', 'Stuck',
                              'JobRefused', 'Results', 'Unconfined', 'StartFailed', 'WorkerEnded', 'DesiredWorkers', 'KeyChangesIn',
                              'KeyAge', 'SignersEndIn'}, {name for name, _ in asked})
        for name in ('NoWorkers', 'NoWantedNumber'):
            self.assertEqual(self.alarms[name]['TreatMissingData'], 'breaching')

    def test_one_office_that_refuses_wakes_nobody(self):
        for a in (self.alarms['HouseRefuses'], self.alarms['SenateRefuses']):
            most, = (m['Expression'] for m in a['Metrics'] if m['ReturnData'])
            rings = [eval(most, {}, {'held': h, 'waiting': w}) > a['Threshold'] for h, w in ((0, 0), (3, 80), (8, 8))]  # ours
            self.assertEqual((a['ComparisonOperator'], rings), ('GreaterThanThreshold', [False, False, True]))

    def test_each_node_of_redis(self):
        """Whichever of them a failover makes the primary has its alarms."""
        bounds = ALL['data']['Parameters']['Replicas']
        for replicas in range(bounds['MinValue'], bounds['MaxValue'] + 1):
            nodes = {}
            for a in stack('monitoring', Replicas=str(replicas)).resources('AWS::CloudWatch::Alarm').values():
                if a.get('Namespace') == 'AWS/ElastiCache':
                    nodes.setdefault(a['MetricName'], []).append(a['Dimensions'][0]['Value'].rsplit('-', 1)[1])
            self.assertIn('Evictions', nodes)
            for metric, numbers in nodes.items():
                self.assertEqual(numbers, ['%03d' % (i + 1) for i in range(replicas + 1)], metric)
        self.assertEqual(str(bounds['Default']), ALL['monitoring']['Parameters']['Replicas']['Default'])

    def test_same_thresholds_as_of_prometheus(self):
        """What both look at is an alarm from the same value on."""
        rules = {r.get('alert'): r for g in yaml.safe_load(templates.text('ops/monitoring/rules.yaml'))['groups'] for r in g['rules']}
        default = ALL['monitoring']['Parameters']
        for name, alert in (('HouseWaits', 'CwcOldestLetter'), ('Door', 'CwcDoor'), ('KeyChanges', 'CwcKeyEnds'), ('KeysOld', 'CwcKeysOld'),
                            ('SignersEnd', 'CwcSignersEnd'), ('ClockDrifts', 'CwcClock'), ('Results', 'CwcResultsUncollected'),
                            ('RefusedEvent', 'CwcRefusedEntries')):
            text = re.search(r'[<>]=? ([0-9* ]+)$', rules[alert]['expr']).group(1)
            days = re.fullmatch(r'(\d+) \* 86400', text)
            value = int(days.group(1)) * 86400 if days else int(text)
            self.assertEqual(int(self.alarms[name]['Threshold']), value, name)
        self.assertEqual(int(default['OldestSeconds']['Default']), int(self.alarms['SenateWaits']['Threshold']))

    def test_dashboard(self):
        _, seen = self.asked()
        for w in self.dashboard['widgets']:
            self.assertEqual(w['properties']['region'], 'us-east-1')
            self.assertLessEqual(w['x'] + w['width'], 24)
        self.assertGreater(len(seen), 25)
        self.assertEqual(seen - self.published(), set())
        self.assertNotIn('${', json.dumps(self.dashboard))
        nodes = {a['Dimensions'][0]['Value'] for n, a in self.alarms.items() if n.startswith('Redis')}
        self.assertEqual({n for n in nodes if n not in json.dumps(self.dashboard)}, set(), 'of which there are alarms')


if __name__ == '__main__':
    unittest.main()
