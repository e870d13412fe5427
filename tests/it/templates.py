# SPDX-License-Identifier: Apache-2.0
"""Reads the CloudFormation templates of ops/aws, and works their functions out with given parameters: as much of the
language as they use, and an error for the rest."""
import glob
import ipaddress
import os
import re

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FOLDER = os.path.join(ROOT, 'ops', 'aws')
NO_VALUE = object()
PSEUDO = {'AWS::AccountId': '111122223333', 'AWS::Partition': 'aws', 'AWS::Region': 'us-east-1', 'AWS::StackName': 'stack',
          'AWS::URLSuffix': 'amazonaws.com', 'AWS::NoValue': NO_VALUE}
SUB = re.compile(r'\$\{(!?)([A-Za-z0-9:.]+)\}')


class Loader(yaml.SafeLoader):
    """YAML with the short forms: !Ref x is {"Ref": x}, !Name x is {"Fn::Name": x}. A key that is there twice is an error."""


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = mapping(loader, node)
    if suffix == 'GetAtt' and isinstance(value, str):
        value = value.split('.', 1)
    return {suffix if suffix in ('Ref', 'Condition') else 'Fn::' + suffix: value}


def mapping(loader, node):
    found = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise ValueError('%s: %s is there twice' % (key_node.start_mark, key))
        found[key] = loader.construct_object(value_node, deep=True)
    return found


Loader.add_multi_constructor('!', short_form)
Loader.add_constructor('tag:yaml.org,2002:map', mapping)


def paths():
    return sorted(glob.glob(os.path.join(FOLDER, '*.yaml')))


def text(path):
    """A file of the project."""
    with open(os.path.join(ROOT, path), encoding='utf-8') as f:
        return f.read()


def read(name):
    with open(os.path.join(FOLDER, name + '.yaml'), encoding='utf-8') as f:
        return yaml.load(f, Loader)  # a subclass of the safe one


def everything():
    return {os.path.basename(p)[:-5]: read(os.path.basename(p)[:-5]) for p in paths()}


def walk(value, path=()):
    """(path, value) of everything in it."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, path + (key,))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from walk(inner, path + (i,))


def references(value):
    """Names that Ref, GetAtt and Sub mention; those that a Sub gives itself are not among them."""
    for _path, inner in walk(value):
        if not isinstance(inner, dict) or len(inner) != 1:
            continue
        (key, argument), = inner.items()
        if key == 'Ref':
            yield argument
        elif key == 'Fn::GetAtt':
            yield argument[0]
        elif key == 'Fn::Sub':
            text, own = (argument, {}) if isinstance(argument, str) else argument
            for literal, name in SUB.findall(text):
                if not literal and name not in own:
                    yield name.split('.')[0] if not name.startswith('AWS::') else name


class Stack:
    """A template with its parameters; resources are their logical ids, imports what `imports` says."""

    def __init__(self, template, imports=None, **parameters):
        self.template, self.imports = template, imports or (lambda name: 'import:' + name)
        self.parameters = {}
        for name, definition in template.get('Parameters', {}).items():
            self.parameters[name] = self.checked(name, definition, parameters.pop(name, definition.get('Default')))
        if parameters:
            raise KeyError('no such parameter: %s' % ', '.join(parameters))
        for name, rule in template.get('Rules', {}).items():
            for assertion in rule['Assertions']:
                if not self.value(assertion['Assert']):
                    raise ValueError('%s: %s' % (name, assertion['AssertDescription']))

    @staticmethod
    def checked(name, definition, value):
        if value is None:
            raise ValueError('%s is missing' % name)
        value = str(value)
        if 'AllowedPattern' in definition and re.fullmatch(definition['AllowedPattern'], value) is None:
            raise ValueError('%s: %s does not match' % (name, value))
        if 'AllowedValues' in definition and value not in [str(v) for v in definition['AllowedValues']]:
            raise ValueError('%s: %s is not allowed' % (name, value))
        low, high = definition.get('MinValue', 0), definition.get('MaxValue', 1 << 60)
        if definition['Type'] == 'Number' and not low <= int(value) <= high:
            raise ValueError('%s: %s is not between %s and %s' % (name, value, low, high))
        return value

    def condition(self, name):
        return self.value(self.template['Conditions'][name])

    def resources(self, kind=None):
        return {name: self.value(r.get('Properties', {})) for name, r in self.template['Resources'].items()
                if kind in (None, r['Type']) and ('Condition' not in r or self.condition(r['Condition']))}

    def outputs(self):
        return {name: self.value(o['Value']) for name, o in self.template.get('Outputs', {}).items()}

    def value(self, x):
        if isinstance(x, list):
            return [v for v in map(self.value, x) if v is not NO_VALUE]
        if not isinstance(x, dict):
            return x
        if len(x) == 1:
            (key, argument), = x.items()
            if key == 'Ref':
                return self.named(argument)
            if key == 'Condition' and isinstance(argument, str):
                return self.condition(argument)
            if key.startswith('Fn::'):
                return getattr(self, 'fn_' + key[4:].lower())(argument)
        found = {k: self.value(v) for k, v in x.items()}
        return {k: v for k, v in found.items() if v is not NO_VALUE}

    def named(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        if name in self.template['Resources']:
            return name
        raise KeyError('there is no ' + name)

    def fn_getatt(self, argument):
        name, attribute = argument
        if name not in self.template['Resources']:
            raise KeyError('there is no ' + name)
        if (self.template['Resources'][name]['Type'], attribute) == ('AWS::EC2::VPC', 'CidrBlock'):
            return self.value(self.template['Resources'][name]['Properties']['CidrBlock'])
        return '%s.%s' % (name, attribute)

    def fn_sub(self, argument):
        text, own = (argument, {}) if isinstance(argument, str) else argument
        own = {k: self.value(v) for k, v in own.items()}

        def one(match):
            literal, name = match.groups()
            if literal:
                return '${%s}' % name
            if name in own:
                return str(own[name])
            if '.' in name and not name.startswith('AWS::'):
                return self.fn_getatt(name.split('.', 1))
            return str(self.named(name))
        return SUB.sub(one, text)

    def fn_if(self, argument):
        return self.value(argument[1] if self.condition(argument[0]) else argument[2])

    def fn_join(self, argument):
        return argument[0].join(str(x) for x in self.value(argument[1]))

    def fn_split(self, argument):
        return self.value(argument[1]).split(argument[0])

    def fn_select(self, argument):
        return self.value(argument[1])[int(self.value(argument[0]))]

    def fn_getazs(self, _region):
        return ['zone-a', 'zone-b', 'zone-c']

    def fn_cidr(self, argument):
        block, count, bits = self.value(argument)
        subnets = list(ipaddress.ip_network(block).subnets(new_prefix=32 - int(bits)))
        return [str(n) for n in subnets[:int(count)]]

    def fn_importvalue(self, argument):
        return self.imports(self.value(argument))

    def fn_base64(self, argument):
        return self.value(argument)  # as text: the tests read it

    def fn_equals(self, argument):
        a, b = self.value(argument)
        return str(a) == str(b)

    def fn_not(self, argument):
        return not self.value(argument[0])

    def fn_and(self, argument):
        return all(self.value(x) for x in argument)

    def fn_or(self, argument):
        return any(self.value(x) for x in argument)

    def fn_contains(self, argument):
        return str(self.value(argument[1])) in [str(x) for x in self.value(argument[0])]
