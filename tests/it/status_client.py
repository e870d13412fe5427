# SPDX-License-Identifier: Apache-2.0
"""A client of the status server, and a strict reader of the Prometheus text format 0.0.4."""
import json
import os
import re
import socket
import time


def connect(address, timeout=10):
    """address: as in the configuration."""
    kind, rest = address.split(':', 1)
    if kind == 'unix':
        s = socket.socket(socket.AF_UNIX)
        target = '\0' + rest[1:] if rest[0] == '@' else rest
    else:
        host, port = rest.rsplit(':', 1)
        if kind == 'vsock':
            s, target = socket.socket(socket.AF_VSOCK), (int(host), int(port))
        else:
            s = socket.socket(socket.AF_INET6 if host[0] == '[' else socket.AF_INET)
            target = (host.strip('[]'), int(port))
    s.settimeout(timeout)
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                s.connect(target)
                return s
            except BlockingIOError:    # a unix socket whose queue is full
                if time.monotonic() >= end:
                    raise
                time.sleep(0.01)
    except OSError:
        s.close()
        raise


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def read_answer(f, head=False):
    """The next answer of a connection's file; None at its end."""
    line = f.readline()
    if not line:
        return None
    version, status, _reason = line.decode('ascii').split(' ', 2)
    assert version in ('HTTP/1.0', 'HTTP/1.1'), line
    headers = {}
    while (line := f.readline()) not in (b'\r\n', b''):
        name, value = line.decode('ascii').rstrip('\r\n').split(': ', 1)
        assert name.lower() not in headers, line
        headers[name.lower()] = value
    n = 0 if head else int(headers['content-length'])
    body = f.read(n)
    assert len(body) == n, 'cut short'
    return Answer(int(status), headers, body.decode())


def request(path, method='GET', version='1.1', headers=None):
    lines = ['%s %s HTTP/%s' % (method, path, version), 'Host: worker']
    lines += ['%s: %s' % item for item in (headers or {}).items()]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


def ask(address, path, method='GET', version='1.1', timeout=10, **headers):
    with connect(address, timeout) as s, s.makefile('rb') as f:
        s.sendall(request(path, method, version, {k.replace('_', '-'): v for k, v in headers.items()}))
        answer = read_answer(f, head=method == 'HEAD')
        assert answer is not None, 'the connection was closed without an answer'
        return answer


def listening_port(pid):
    """Of a process that listens on one TCP socket."""
    inodes = set()
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            inodes.update(re.findall(r'^socket:\[(\d+)\]$', os.readlink('/proc/%d/fd/%s' % (pid, fd))))
        except OSError:
            pass
    for table in ('tcp', 'tcp6'):
        with open('/proc/net/' + table, encoding='ascii') as f:
            for row in (line.split() for line in f.read().splitlines()[1:]):
                if row[3] == '0A' and row[9] in inodes:
                    return int(row[1].rsplit(':', 1)[1], 16)
    return None


# --- the text format -------------------------------------------------------------------------------

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(r'^(%s)(?:\{(.*)\})? (-?[0-9]+(?:\.[0-9]+)?)$' % NAME)
SUFFIXES = {'histogram': ('_bucket', '_sum', '_count')}


class Family:
    def __init__(self, name, kind, text):
        self.name, self.kind, self.help = name, kind, text
        self.samples = {}    # (name, sorted labels): value


def labels_of(text):
    if text is None:
        return ()
    found, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        assert m, 'bad labels: ' + text
        found.append(m.groups())
        at = m.end()
        if at < len(text):
            assert text[at] == ',' and at + 1 < len(text), 'bad labels: ' + text
            at += 1
    assert len({name for name, _ in found}) == len(found), 'a label twice: ' + text
    return tuple(sorted(found))


def check_histogram(f):
    """Buckets rise, the last one is +Inf and says the count."""
    of = {}
    for (name, labels), value in f.samples.items():
        rest = tuple(x for x in labels if x[0] != 'le')
        part = of.setdefault(rest, {'buckets': []})
        if name == f.name + '_bucket':
            part['buckets'].append((float(dict(labels)['le']), value))
        else:
            assert rest == labels, 'le where there is no bucket: ' + name
            part[name[len(f.name):]] = value
    for part in of.values():
        limits, counts = zip(*part['buckets'])
        assert list(limits) == sorted(set(limits)) and limits[-1] == float('inf'), limits
        assert list(counts) == sorted(counts) and counts[-1] == part['_count'], counts
        assert part['_sum'] >= 0 and (part['_count'] > 0 or part['_sum'] == 0)


def parse(text):
    """{name: Family}. Refuses whatever the format does not have, and what is only untidy."""
    families, current = {}, None
    assert text.endswith('\n') and '\r' not in text
    lines = text[:-1].split('\n')
    for n, line in enumerate(lines):
        m = re.match(r'^# (HELP|TYPE) (%s) (.+)$' % NAME, line)
        if m and m.group(1) == 'HELP':
            assert m.group(2) not in families, line
            following = lines[n + 1].split(' ')
            assert following[:3] == ['#', 'TYPE', m.group(2)] and following[3] in ('counter', 'gauge', 'histogram')
            current = families[m.group(2)] = Family(m.group(2), following[3], m.group(3))
        elif m:
            assert lines[n - 1].startswith('# HELP %s ' % m.group(2)), line
        else:
            m = SAMPLE.match(line)
            assert m and current is not None, 'bad line: ' + line
            names = {current.name + s for s in SUFFIXES.get(current.kind, ('',))}
            assert m.group(1) in names, 'sample outside of its family: ' + line
            key = m.group(1), labels_of(m.group(2))
            assert key not in current.samples, 'twice: ' + line
            current.samples[key] = float(m.group(3))
    for f in families.values():
        assert f.samples, 'no sample of ' + f.name
        assert (f.kind == 'counter') == f.name.endswith('_total'), f.name
        if f.kind == 'histogram':
            check_histogram(f)
        assert f.kind == 'gauge' or all(v >= 0 for v in f.samples.values())
    return families


class Scrape:
    def __init__(self, address, timeout=10):
        self.answer = ask(address, '/metrics', timeout=timeout)
        assert self.answer.status == 200
        assert self.answer.headers['content-type'] == 'text/plain; version=0.0.4; charset=utf-8'
        self.text = self.answer.body
        self.families = parse(self.text)

    def __call__(self, name, **labels):
        """The sum of the samples with these labels."""
        family = self.families.get(name) or self.families[re.sub('_(bucket|sum|count)$', '', name)]
        found = [v for (n, have), v in family.samples.items()
                 if n == name and all((k, str(x)) in have for k, x in labels.items())]
        assert found, (name, labels)
        return sum(found)

    def values(self, label):
        """{family: the values that it has for this label}"""
        found = {}
        for f in self.families.values():
            for _, labels in f.samples:
                for name, value in labels:
                    if name == label:
                        found.setdefault(f.name, set()).add(value)
        return found
