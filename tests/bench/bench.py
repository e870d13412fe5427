#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a letter costs: the worker end to end, beside the ceiling of the same machine in the same run.

usage: bench.py [--letters N] [--pairs N] [--quick]

A: one worker takes sealed letters (half of them witnesses) from a private Redis and POSTs them over TLS 1.3 to nginx,
   256 in flight. From the queue's door to the signed result: nothing is left out.
B: a plain load generator POSTs the same documents to the same nginx over as many connections, and does nothing else.
C: the queue's scripts, called by a plain pipelined client: what Redis alone could carry.

A and B alternate. Everything lies in one temporary directory and on loopback, and is gone at the end.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for folder in ('sim', 'queue'):
    sys.path.insert(0, os.path.join(ROOT, 'tests', folder))

import offices  # noqa: E402
import rq  # noqa: E402

BUILD = os.path.abspath(os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release')))
TICK_US = 1e6 / os.sysconf('SC_CLK_TCK')
IN_FLIGHT = 256
POSTS_MIN = 20000  # of the generator, which would be done with less in a moment
HOSTS = {'house': 'uat-cwc.house.gov', 'senate': 'soapbox.senate.gov'}
URLS = ['https://uat-cwc.house.gov/v2/message', 'https://soapbox.senate.gov/api/testing-messages/']
# The echo module reads the letter before it answers; `return` would answer first, which no chamber does.
ECHO_MODULE = '/usr/lib/nginx/modules/ngx_http_echo_module.so'

NGINX = '''
{user}load_module {module};
daemon off;
worker_processes 1;
pid nginx.pid;
error_log nginx.err warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path nbt; proxy_temp_path npt; fastcgi_temp_path nft; uwsgi_temp_path nut; scgi_temp_path nst;
  client_max_body_size 1m;
  client_body_buffer_size 64k;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    server_name {house} {senate};
    ssl_certificate {dir}/cert.pem;
    ssl_certificate_key {dir}/key.pem;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve prime256v1;
    default_type application/json;
    location = /v2/message {{ echo_read_request_body; echo_status 200; echo -n ''; }}
    location = /api/testing-messages/ {{ echo_read_request_body; echo_status 201; echo -n ''; }}
    root {dir};
    location = /v2/offices {{ try_files /house.json =404; }}
    location = /api/active_offices/ {{ try_files /senate.json =404; }}
  }}
}}
'''

AGENT = '''ca_file = {dir}/cert.pem
api_key_file = {dir}/api.key
rate_ceiling = 100000/s
burst = 100000
agent = Prairie Civic Relay LLC
agent_ack_email = acks@relay.example.org
agent_contact_name = Dana Okafor
agent_contact_email = ops@relay.example.org
agent_contact_phone = 202-555-0117
'''

MEASURED = '''[worker]
environment = sandbox
[jobs]
signer = bench {signer}
[keys]
source = file
file = {dir}/ring.keys
[house]
url = https://uat-cwc.house.gov/v2/message
offices_url = https://uat-cwc.house.gov/v2/offices
''' + AGENT + '''[senate]
url = https://soapbox.senate.gov/api/testing-messages/
offices_url = https://soapbox.senate.gov/api/active_offices/
''' + AGENT

CHAMBER = '''address = tcp:127.0.0.1:{port}
concurrency = {half}
office_concurrency = 256
'''

HOST = '''[worker]
name = bench
[queue]
address = unix:{dir}/redis.sock
[http]
bridge_dir = {dir}/bridge
[house]
''' + CHAMBER + '[senate]\n' + CHAMBER


def wait_until(check, timeout, what, pause=0.01):
    end = time.monotonic() + timeout
    while not check():
        if time.monotonic() > end:
            raise SystemExit('bench: no %s within %g s' % (what, timeout))
        time.sleep(pause)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    except OSError:
        return False


def cpu_us(pid):
    """User and system time of a process, in the clock ticks of /proc/PID/stat."""
    with open('/proc/%d/stat' % pid, encoding='utf-8') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def children(pid):
    with open('/proc/%d/task/%d/children' % (pid, pid), encoding='utf-8') as f:
        return [int(p) for p in f.read().split()]


def peak_kib(pid):
    with open('/proc/%d/status' % pid, encoding='utf-8') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))


def machine_busy_us():
    """CPU time that all processes of the machine used."""
    with open('/proc/stat', encoding='utf-8') as f:
        user, nice, system, _idle, _wait, irq, softirq = [int(x) for x in f.readline().split()[1:8]]
    return (user + nice + system + irq + softirq) * TICK_US


class Rig:
    """The directory, the letters, Redis and nginx."""

    def __init__(self, letters):
        self.letters = letters
        self.dir = tempfile.mkdtemp(prefix='cwc-bench-')
        self.processes = []
        self.port = free_port()

    def __enter__(self):
        try:
            self.seal()
            self.start_redis()
            self.start_nginx()
            self.write_config()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error):
        self.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def tool(self, name, *arguments):
        p = subprocess.run([os.path.join(BUILD, 'tools', name), *map(str, arguments)], capture_output=True, text=True,
                           check=False)
        if p.returncode != 0:
            raise SystemExit('bench: %s failed: %s' % (name, p.stderr.strip()))
        return p.stdout

    def write(self, name, text):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as f:
            f.write(text)

    def seal(self):
        lists = offices.default_lists()
        house = lists['house'][::len(lists['house']) // len(lists['senate'])][:len(lists['senate'])]
        self.offices = [code for pair in zip(house, lists['senate']) for code in pair]
        self.write('house.json', json.dumps(offices.house_document(lists['house'])))
        self.write('senate.json', json.dumps(offices.senate_document(lists['senate'])))
        self.signer = self.tool('bench_seal', self.letters, self.dir, *self.offices).strip()

    def start(self, *command):
        with open(self.path(os.path.basename(command[0]) + '.out'), 'ab') as out:
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir)
        self.processes.append(p)
        return p

    def start_redis(self):
        self.redis_path = self.path('redis.sock')
        self.redis_server = self.start('redis-server', '--port', '0', '--unixsocket', self.redis_path, '--dir',
                                       self.dir, '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction')
        wait_until(self.connect_redis, 20, 'redis-server')

    def connect_redis(self):
        try:
            self.redis = rq.Client(self.redis_path)
            return True
        except OSError:
            return False

    def start_nginx(self):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-keyout', self.path('key.pem'), '-out', self.path('cert.pem'), '-days', '2', '-subj',
                        '/CN=benchmark', '-addext', 'subjectAltName=' + ','.join('DNS:' + h for h in HOSTS.values())],
                       check=True, capture_output=True)
        # Else root's nginx would read the directory as nobody.
        user = 'user root;\n' if os.geteuid() == 0 else ''
        self.write('nginx.conf', NGINX.format(user=user, module=ECHO_MODULE, dir=self.dir, port=self.port, **HOSTS))
        self.nginx = self.start('nginx', '-p', self.dir, '-c', self.path('nginx.conf'), '-e', self.path('nginx.err'))
        wait_until(lambda: answers(self.port), 20, 'nginx')

    def write_config(self):
        values = {'dir': self.dir, 'port': self.port, 'signer': self.signer, 'half': IN_FLIGHT // 2}
        self.write('api.key', 'an-api-key\n')
        self.write('measured.conf', MEASURED.format(**values))
        self.write('host.conf', HOST.format(**values))

    def nginx_us(self):
        return sum(cpu_us(pid) for pid in children(self.nginx.pid))

    def redis_us(self):
        info = dict(line.split(':', 1) for line in self.redis('INFO', 'cpu').split('\r\n') if ':' in line)
        return 1e6 * (float(info['used_cpu_sys']) + float(info['used_cpu_user']))

    def load(self):
        """All letters through the one door, into an empty database."""
        self.redis('FLUSHALL')
        with open(self.path('letters.resp'), 'rb') as f:
            subprocess.run(['redis-cli', '-s', self.redis_path, '--pipe'], stdin=f, check=True, capture_output=True)
        found = self.redis('XLEN', '{q}:in')
        assert found == self.letters, 'only %d of %d letters came in' % (found, self.letters)

    def settled(self):
        return int(self.redis('XLEN', '{q}:results'))

    def close(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.terminate()
                try:
                    p.wait(20)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        if hasattr(self, 'redis'):
            self.redis.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Sample:
    """What was used between two moments."""

    def __init__(self, rig, pid=None):
        self.rig, self.pid = rig, pid
        self.time, self.done = time.monotonic(), rig.settled()
        self.worker = cpu_us(pid) if pid else 0.0
        self.redis, self.nginx, self.machine = rig.redis_us(), rig.nginx_us(), machine_busy_us()

    def since(self, before):
        n = self.done - before.done
        wall = (self.time - before.time) * 1e6
        used = {name: getattr(self, name) - getattr(before, name) for name in ('worker', 'redis', 'nginx', 'machine')}
        foreign = used['machine'] - used['worker'] - used['redis'] - used['nginx']
        return {'rate': n / wall * 1e6, 'worker': used['worker'] / n, 'redis': used['redis'] / n,
                'nginx': used['nginx'] / n, 'foreign': max(0.0, foreign / wall)}


def run_worker(rig, warm):
    """A: counted from the `warm`th result (handshakes are over then) to the last."""
    rig.load()
    worker = rig.start(os.path.join(BUILD, 'cwc-worker'), '--config', rig.path('measured.conf'), '--host-config',
                       rig.path('host.conf'))

    def reached(n):
        if worker.poll() is not None:
            with open(rig.path('cwc-worker.out'), encoding='utf-8') as f:
                raise SystemExit('bench: the worker ended:\n' + f.read()[-2000:])
        return rig.settled() >= n
    wait_until(lambda: reached(warm), 120, 'first results', 0.005)
    before = Sample(rig, worker.pid)
    wait_until(lambda: reached(rig.letters), 600, 'results', 0.005)
    result = Sample(rig, worker.pid).since(before)
    result['rss'] = peak_kib(worker.pid) / 1024
    worker.send_signal(signal.SIGTERM)
    worker.wait(90)
    check_results(rig)
    check_lists(rig)
    return result


def check_results(rig):
    found = [rq.pairs(e[1]) for e in rig.redis('XRANGE', '{q}:results', '-', '+')]
    good = {(r['sid'], r['office']) for r in found if r['outcome'] == 'accepted'}
    if len(good) != rig.letters or len(found) != rig.letters:
        raise SystemExit('bench: %d results, %d accepted, of %d letters' % (len(found), len(good), rig.letters))


def check_lists(rig):
    """The worker asked for the office lists, as it does in earnest."""
    with open(rig.path('cwc-worker.out'), encoding='utf-8') as f:
        events = [json.loads(line)['event'] for line in f if line.startswith('{') and '"offices_' in line]
    if 'offices_failed' in events or events.count('offices_loaded') < 2:
        raise SystemExit('bench: an office list could not be had: %s' % events)


def run_ceiling(rig, warm):
    """B"""
    count = max(POSTS_MIN, rig.letters - warm)
    before = rig.nginx_us()
    words = rig.tool('bench_post', count, warm, IN_FLIGHT, '127.0.0.1:%d' % rig.port, rig.path('cert.pem'),
                     rig.path('letters.xml'), *URLS).split()
    return {'rate': int(words[0]) / float(words[1]), 'worker': float(words[2]) / int(words[0]),
            'nginx': (rig.nginx_us() - before) / (count + warm)}


def run_scripts(rig):
    """C: { step: (calls/s, server us per call, server us per letter) }"""
    steps = {}
    for line in rig.tool('bench_scripts', rig.redis_path, rig.letters, rig.path('letters.resp')).splitlines():
        name, calls, jobs, seconds, us = line.split()
        steps[name] = (int(calls) / float(seconds), float(us) / int(calls), float(us) / int(jobs))
    return steps


STEPS = {'XADD': 'XADD', 'TAKE': 'TAKE 32, with its intake', 'BEGIN': 'BEGIN', 'SETTLE': 'SETTLE'}


# --- the table -------------------------------------------------------------------------------------

def spread(samples, key):
    values = sorted(s[key] for s in samples)
    return statistics.median(values), values[0], values[-1]


def print_row(name, values, unit, digits=0):
    median, low, high = values
    print('  %-44s %10.*f  (%.*f to %.*f) %s' % (name, digits, median, digits, low, digits, high, unit))


def print_table(rig, pairs, warm, a, b, c):
    print('\n%d letters a run (%d of them counted), %d in flight; A and B %d times each, alternating, C %d times; '
          'median (least to most)' % (rig.letters, rig.letters - warm, IN_FLIGHT, pairs, len(c)))
    print('This machine: %d CPUs, shared by worker, Redis, nginx and whatever else runs: CPU per letter is what '
          'counts, rates are noisy.' % os.cpu_count())
    print('\nA  the worker, from the door of the queue to the signed result')
    print_row('worker CPU', spread(a, 'worker'), 'us/letter', 1)
    print_row('Redis CPU', spread(a, 'redis'), 'us/letter', 1)
    print_row('nginx CPU', spread(a, 'nginx'), 'us/letter', 1)
    print_row('letters', spread(a, 'rate'), '/s')
    print_row('peak memory (VmHWM) of the worker', spread(a, 'rss'), 'MiB', 1)
    print_row('CPU that others used meanwhile', spread([{'x': s['foreign'] * 100} for s in a], 'x'), '% of one CPU')
    print('B  the ceiling: the same documents, the same nginx, %d connections' % IN_FLIGHT)
    print_row('load generator CPU', spread(b, 'worker'), 'us/post', 1)
    print_row('nginx CPU', spread(b, 'nginx'), 'us/post', 1)
    print_row('posts', spread(b, 'rate'), '/s')
    print('C  the scripts alone, one pipelined caller, jobs of the same size')
    letter = 0.0
    for step in c[0]:
        samples = [{'rate': s[step][0], 'us': s[step][1]} for s in c]
        letter += statistics.median(s[step][2] for s in c)
        print_row('%s: calls' % STEPS[step], spread(samples, 'rate'), '/s')
        print_row('%s: Redis CPU' % STEPS[step], spread(samples, 'us'), 'us/call', 1)
    print('  %-44s %10.1f  us/letter: at most %.0f letters/s from one Redis' % (
        'all four, per letter', letter, 1e6 / letter))
    print('A/B')
    ratios = [{'cpu': x['worker'] / y['worker'], 'rate': x['rate'] / y['rate']} for x, y in zip(a, b)]
    print_row('CPU of the worker / CPU of the generator', spread(ratios, 'cpu'), '', 2)
    print_row('letters/s / posts/s', spread(ratios, 'rate'), '', 2)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    p.add_argument('--letters', type=int, default=int(os.environ.get('LETTERS') or 20000), help='a run; default 20000')
    p.add_argument('--pairs', type=int, default=3, help='runs of A and of B; default 3')
    p.add_argument('--quick', action='store_true', help='3000 letters a run: about 20 s in all')
    o = p.parse_args()
    for program in ('redis-server', 'redis-cli', 'nginx', 'openssl'):
        if shutil.which(program) is None:
            print('bench: %s is not installed; `ops/install-deps test` installs it' % program, file=sys.stderr)
            return 77
    if not os.path.exists(ECHO_MODULE):
        print('bench: %s is missing; the Debian package is libnginx-mod-http-echo' % ECHO_MODULE, file=sys.stderr)
        return 77
    letters = 3000 if o.quick else max(2000, o.letters)
    warm = max(2 * IN_FLIGHT, letters // 10)
    a, b, c = [], [], []
    with Rig(letters) as rig:
        for i in range(max(1, o.pairs)):
            a.append(run_worker(rig, warm))
            b.append(run_ceiling(rig, warm))
            print('  pair %d: worker %.1f us/letter, %.0f letters/s; generator %.1f us/post, %.0f posts/s' % (
                i + 1, a[-1]['worker'], a[-1]['rate'], b[-1]['worker'], b[-1]['rate']), flush=True)
        for _ in range(max(1, o.pairs)):
            c.append(run_scripts(rig))
        print_table(rig, len(a), warm, a, b, c)
    return 0


if __name__ == '__main__':
    sys.exit(main())
