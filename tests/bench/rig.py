# SPDX-License-Identifier: Apache-2.0
"""What every section of the benchmark stands on: a directory, sealed letters, a private Redis, an nginx that receives,
and workers. All of it lies in one temporary directory and on loopback, and is gone at the end.

The receiver is nginx because the simulated chambers would be the slowest part: it reads each letter, finds the office
in it, waits as long as that office is to take, and answers. Its log has the moment of each arrival.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for folder in ('it', 'sim', 'queue'):
    sys.path.insert(0, os.path.join(ROOT, 'tests', folder))

import offices  # noqa: E402
import rq  # noqa: E402

BUILD = os.path.abspath(os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release')))
# The letters are sealed before there is a worker, so its ring comes from a file: only a development build reads one.
DEV_BUILD = os.path.abspath(os.environ.get('CWC_DEV_BUILD', os.path.join(ROOT, 'build', 'dev')))
TICK_US = 1e6 / os.sysconf('SC_CLK_TCK')
HOSTS = {'house': 'uat-cwc.house.gov', 'senate': 'soapbox.senate.gov'}
URLS = {'house': 'https://uat-cwc.house.gov/v2/message', 'senate': 'https://soapbox.senate.gov/api/testing-messages/'}
LISTS = {'house': 'https://uat-cwc.house.gov/v2/offices', 'senate': 'https://soapbox.senate.gov/api/active_offices/'}
# The echo module reads the letter before it answers; `return` would answer first, which no chamber does.
ECHO_MODULE = '/usr/lib/nginx/modules/ngx_http_echo_module.so'
NEVER_S = 3600
PRIORITY = -15

NGINX = '''
{user}load_module {module};
daemon off;
worker_processes 1;
pid nginx.pid;
error_log nginx.err warn;
events {{ worker_connections 8192; }}
http {{
  map_hash_max_size 8192;
  map_hash_bucket_size 128;
  map $request_body $office {{ "~<MemberOffice>(?<code>[A-Z0-9]+)<" $code; default "-"; }}
  map "$silent:$office" $pause {{ "~^1:" {never}; {pauses} default {pause}; }}
  log_format arrivals '$msec $request_time $status $office';
  access_log off;
  client_body_temp_path nbt; proxy_temp_path npt; fastcgi_temp_path nft; uwsgi_temp_path nut; scgi_temp_path nst;
  client_max_body_size 1m;
  client_body_buffer_size 64k;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  ssl_certificate {dir}/cert.pem;
  ssl_certificate_key {dir}/key.pem;
  ssl_protocols TLSv1.3;
  ssl_ecdh_curve prime256v1;
  default_type application/json;
  root {dir};
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    set $silent 0;
    location = /v2/message {{
      {log} {silent_house} echo_read_request_body; {sleep} echo_status 200; echo -n '';
    }}
    location = /api/testing-messages/ {{
      {log} {silent_senate} echo_read_request_body; {sleep} echo_status 201; echo -n '';
    }}
    location = /v2/offices {{ try_files /house.json =404; }}
    location = /api/active_offices/ {{ try_files /senate.json =404; }}
  }}
}}
'''


# A chamber falls silent when a file of this name appears in the directory.
SILENT = 'if (-f %s/silent-%s) { set $silent 1; }'


class BenchError(Exception):
    """The benchmark itself could not go on: perhaps only because the machine was too slow."""


class Broken(Exception):
    """What no noise explains: a program that ended, a letter that is missing."""


def wait_until(check, timeout, what, pause=0.01):
    try:
        return rq.wait_until(check, timeout, what, pause)
    except TimeoutError as e:
        raise BenchError(str(e)) from None


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


def waited_s(pid):
    """How long the main thread of a process was ready to run and had no CPU."""
    with open('/proc/%d/schedstat' % pid, encoding='utf-8') as f:
        return int(f.read().split()[1]) / 1e9


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


def knows(build, key):
    """Whether the worker of that build has the configuration key: an older one may be measured beside ours."""
    text = subprocess.run([os.path.join(build, 'config-gen'), 'measured'], capture_output=True, text=True, check=True)
    return re.search('^#%s =' % key, text.stdout, re.M) is not None


def program(build):
    """The worker of a build. Builds that know no devices read a file anyway."""
    return os.path.join(DEV_BUILD if build == BUILD else build, 'cwc-worker')


def merged(base, more):
    result = {section: dict(keys) for section, keys in base.items()}
    for section, keys in (more or {}).items():
        result.setdefault(section, {}).update(keys)
    return result


def config_text(sections):
    return ''.join('[%s]\n%s' % (section, ''.join('%s = %s\n' % item for item in keys.items()))
                   for section, keys in sections.items())


class Worker:
    def __init__(self, rig, name, build):
        self.name = name
        self.log_path = rig.path('worker-%s.log' % name)
        with open(self.log_path, 'ab') as out:
            self.process = subprocess.Popen([program(build), '--config', rig.path('measured.conf'),
                                             '--host-config', rig.path('host-%s.conf' % name)],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=rig.dir)
        self.pid = self.process.pid

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    def events(self):
        return [json.loads(line)['event'] for line in self.log().split('\n')[:-1] if line.startswith('{')]

    def check(self):
        if self.process.poll() is not None:
            raise Broken('a worker ended with status %d:\n%s' % (self.process.returncode, self.log()[-2000:]))

    def is_ready(self):
        self.check()
        return 'ready' in self.events()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Rig:
    """pauses: office -> seconds that it takes to answer; pause: of all others, None for none; log: note arrivals;
    first: Redis and workers go before other processes of the machine, where that is allowed."""

    def __init__(self, pause=None, pauses=None, log=False, lists=None, replica=False, first=False):
        self.pause, self.pauses, self.logs, self.replica, self.first = pause, pauses or {}, log, replica, first
        self.lists = lists or offices.default_lists()
        self.dir = tempfile.mkdtemp(prefix='cwc-bench-')
        self.processes, self.workers = [], []
        self.port = free_port()
        self.signer, self.n_letters = None, 0

    def __enter__(self):
        try:
            self.start_redis()
            self.start_nginx()
            self.write('api.key', 'an-api-key\n')
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error):
        self.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as f:
            f.write(text)

    def tool(self, name, *arguments, build=BUILD):
        p = subprocess.run([os.path.join(build, 'tools', name), *map(str, arguments)], capture_output=True, text=True,
                           check=False)
        if p.returncode != 0:
            raise Broken('%s failed: %s' % (name, p.stderr.strip()))
        return p.stdout

    def start(self, *command):
        with open(self.path(os.path.basename(command[0]) + '.out'), 'ab') as out:
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir)
        self.processes.append(p)
        return p

    def prefer(self, pid):
        if self.first:
            try:
                os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
            except PermissionError:
                pass

    # --- letters -----------------------------------------------------------------------------

    def seal(self, count, codes):
        """`count` letters, round the offices `codes`."""
        self.signer = self.tool('bench_seal', count, self.dir, *codes).strip()
        self.n_letters = count

    def load(self, name='letters.resp', count=None):
        """All letters through the one door, into an empty database."""
        self.redis('FLUSHALL')
        self.enqueue(name)
        found, count = self.redis('XLEN', '{q}:in'), count or self.n_letters
        if found != count:
            raise Broken('only %d of %d letters came in' % (found, count))

    def enqueue(self, name):
        with open(self.path(name), 'rb') as f:
            subprocess.run(['redis-cli', '-s', self.redis_path, '--pipe'], stdin=f, check=True, capture_output=True)

    def commands(self):
        """(office, bytes) of each command of letters.resp."""
        with open(self.path('letters.resp'), 'rb') as f:
            while line := f.readline():
                parts, fields = [line], []
                for _ in range(int(line[1:])):
                    head = f.readline()
                    body = f.read(int(head[1:]) + 2)
                    parts += [head, body]
                    fields.append(body)
                yield fields[fields.index(b'offices\r\n') + 1][:-2].decode(), b''.join(parts)

    def select(self, name, want):
        """Another file with the commands of the offices that `want` says yes to; returns their number."""
        n = 0
        with open(self.path(name), 'wb') as out:
            for office, command in self.commands():
                if want(office):
                    out.write(command)
                    n += 1
        return n

    # --- Redis -------------------------------------------------------------------------------

    def start_redis(self):
        self.redis_path = self.path('redis.sock')
        self.redis_port = free_port() if self.replica else 0
        common = ['--dir', self.dir, '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction']
        self.redis_server = self.start('redis-server', '--bind', '127.0.0.1', '--port', str(self.redis_port),
                                       '--unixsocket', self.redis_path, *common)
        self.prefer(self.redis_server.pid)
        wait_until(self.connect_redis, 20, 'redis-server')
        if self.replica:
            self.start('redis-server', '--port', '0', '--unixsocket', self.path('replica.sock'), '--replicaof',
                       '127.0.0.1', str(self.redis_port), '--dbfilename', 'replica.rdb', *common)
            wait_until(lambda: self.redis('WAIT', 1, 1000) == 1, 30, 'replica')

    def connect_redis(self):
        try:
            self.redis = rq.Client(self.redis_path)
            self.redis('PING')
            return True
        except (OSError, rq.RedisError):
            return False

    def redis_info(self, section):
        return dict(line.split(':', 1) for line in self.redis('INFO', section).split('\r\n') if ':' in line)

    def redis_us(self):
        info = self.redis_info('cpu')
        return 1e6 * (float(info['used_cpu_sys']) + float(info['used_cpu_user']))

    def calls(self):
        """command -> how often it was called, those within scripts counted too."""
        return {name[len('cmdstat_'):]: int(re.match(r'calls=(\d+)', value).group(1))
                for name, value in self.redis_info('commandstats').items()}

    def length(self, stream):
        return int(self.redis('XLEN', '{q}:' + stream))

    def stream(self, name):
        return [rq.pairs(e[1]) for e in self.redis('XRANGE', '{q}:' + name, '-', '+')]

    # --- nginx -------------------------------------------------------------------------------

    def start_nginx(self):
        self.write('house.json', json.dumps(offices.house_document(self.lists['house'])))
        self.write('senate.json', json.dumps(offices.senate_document(self.lists['senate'])))
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-keyout', self.path('key.pem'), '-out', self.path('cert.pem'), '-days', '2', '-subj',
                        '/CN=benchmark', '-addext', 'subjectAltName=' + ','.join('DNS:' + h for h in HOSTS.values())],
                       check=True, capture_output=True)
        slow = self.pause is not None or self.pauses
        self.write('nginx.conf', NGINX.format(
            # Else root's nginx would read the directory as nobody.
            user='user root;\n' if os.geteuid() == 0 else '', module=ECHO_MODULE, dir=self.dir, port=self.port,
            never=NEVER_S, pause=self.pause or 0, sleep='echo_sleep $pause;' if slow else '',
            pauses=' '.join('"0:%s" %g;' % item for item in self.pauses.items()),
            silent_house=SILENT % (self.dir, 'house') if slow else '',
            silent_senate=SILENT % (self.dir, 'senate') if slow else '',
            log='access_log arrivals.log arrivals;' if self.logs else ''))
        self.nginx = self.start('nginx', '-p', self.dir, '-c', self.path('nginx.conf'), '-e', self.path('nginx.err'))
        wait_until(self.nginx_answers, 20, 'nginx')

    def nginx_answers(self):
        if self.nginx.poll() is not None:
            with open(self.path('nginx.err'), encoding='utf-8', errors='replace') as f:
                raise Broken('nginx ended:\n' + f.read()[-2000:])
        return answers(self.port)

    def fall_silent(self, chamber, silent=True):
        if silent:
            self.write('silent-' + chamber, '')
        elif os.path.exists(self.path('silent-' + chamber)):
            os.unlink(self.path('silent-' + chamber))

    def nginx_us(self):
        return sum(cpu_us(pid) for pid in children(self.nginx.pid))

    def arrivals(self):
        """(moment of the first byte, moment of the answer, status, office) of the letters that nginx is done with."""
        with open(self.path('arrivals.log'), encoding='utf-8') as f:
            rows = [line.split() for line in f.read().split('\n')[:-1]]
        return [(float(end) - float(took), float(end), int(status), office) for end, took, status, office in rows]

    # --- workers -----------------------------------------------------------------------------

    def configure(self, measured=None, build=BUILD):
        chamber = {'ca_file': self.path('cert.pem'), 'api_key_file': self.path('api.key'), 'rate_ceiling': '100000/s',
                   'burst': 100000, 'agent': 'Prairie Civic Relay LLC', 'agent_ack_email': 'acks@relay.example.org',
                   'agent_contact_name': 'Dana Okafor', 'agent_contact_email': 'ops@relay.example.org',
                   'agent_contact_phone': '202-555-0117'}
        if knows(build, 'maintenance'):
            chamber['maintenance'] = 'none'
        base = {'worker': {'environment': 'sandbox'}, 'jobs': {'signer': 'bench ' + self.signer},
                'keys': {'source': 'file', 'file': self.path('ring.keys')}, 'queue': {}}
        if knows(build, 'device'):
            base['attest'] = {'device': 'none'}
        for c in ('house', 'senate'):
            base[c] = {'url': URLS[c], 'offices_url': LISTS[c], **chamber}
        self.write('measured.conf', config_text(merged(base, measured)))

    def start_worker(self, name='bench', host=None, build=BUILD):
        base = {'worker': {'name': name},
                'queue': {'address': 'unix:' + self.redis_path}, 'http': {'bridge_dir': self.path('bridge-' + name)}}
        for c in ('house', 'senate'):
            base[c] = {'address': 'tcp:127.0.0.1:%d' % self.port}
        self.write('host-%s.conf' % name, config_text(merged(base, host)))
        w = Worker(self, name, build)
        self.prefer(w.pid)
        self.workers.append(w)
        return w

    def start_workers(self, n, host=None):
        started = [self.start_worker('w%d' % i, host) for i in range(n)]
        wait_until(lambda: all(w.is_ready() for w in started), 60, 'readiness of %d workers' % n)
        return started

    def stop_workers(self):
        for w in self.workers:
            w.process.terminate()
        for w in self.workers:
            w.stop()
        self.workers = []

    def kill_workers(self):
        for w in self.workers:
            w.kill()
        self.workers = []

    def close(self):
        self.kill_workers()
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


def mixed_offices():
    """As many House offices as Senate ones, in turn."""
    lists = offices.default_lists()
    house = lists['house'][::len(lists['house']) // len(lists['senate'])][:len(lists['senate'])]
    return [code for pair in zip(house, lists['senate']) for code in pair]
