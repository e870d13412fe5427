# SPDX-License-Identifier: Apache-2.0
"""The whole system on one machine, in one temporary directory: a private redis-server on a unix socket, the simulated
chambers, an app server (it signs, seals and enqueues) and any number of workers.

    with Stack() as stack:
        stack.start_worker()
        stack.submit(letters.base('hello'))
        results = stack.wait_results(1)

Nothing listens outside of the directory but the chambers, on loopback. The URLs name the real hosts, so that TLS and
the host-name check are the real ones; where they lead is fixed by the `address` of each chamber.
"""
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
for folder in ('it', 'sim', 'queue'):
    sys.path.insert(0, os.path.join(ROOT, 'tests', folder))

import appserver  # noqa: E402
import formats  # noqa: E402
import letters  # noqa: E402
import rq  # noqa: E402
import simctl  # noqa: E402
from rq import wait_until  # noqa: E402

BUILD = os.environ.get('CWC_BUILD', os.path.join(ROOT, 'build', 'release'))
KID = 'app-2026'
AGENT = letters.AGENT

MEASURED = '''
[worker]
environment = {environment}
skew_max = 500ms
[jobs]
{signer}
{measured_jobs}
[attest]
device = {device}
[keys]
source = {key_source}
{keys}
{contexts}
[queue]
lease = {lease}
{measured_queue}
[house]
{house}
[senate]
{senate}
'''

URLS = {
    'house': {'url': 'https://uat-cwc.house.gov/v2/message', 'offices_url': 'https://uat-cwc.house.gov/v2/offices'},
    'senate': {'url': 'https://soapbox.senate.gov/api/testing-messages/',
               'offices_url': 'https://soapbox.senate.gov/api/active_offices/'},
}
AGENT_KEYS = {'agent': 'DeliveryAgent', 'agent_ack_email': 'DeliveryAgentAckEmailAddress',
              'agent_contact_name': 'DeliveryAgentContactName', 'agent_contact_email': 'DeliveryAgentContactEmail',
              'agent_contact_phone': 'DeliveryAgentContactPhone'}

# Keys that only the measured file may set.
MEASURED_KEYS = {'api_key_file', 'total_timeout', 'first_byte_timeout', 'answer_max', 'password_file', 'tls', 'tls_host',
                 'cert_file', 'key_file', 'maintenance', 'unknown_policy', 'breaker_open', 'replicas'}

HOST = '''
[worker]
name = {name}
{worker}
[queue]
address = unix:{redis}
name = {queue}
{host_queue}
[jobs]
{jobs}
[alarms]
{alarms}
[http]
bridge_dir = {dir}/{name}.bridge
[status]
{status}
[keys]
{keys}
[house]
{house}
[senate]
{senate}
'''


# In one look: a job may move between two.
BUSY = '''
local found, prefix = {}, KEYS[1]:sub(1, -5)
for _, place in ipairs({'wait:*', 'fly:*', 'held:*', 'later', 'close'}) do
	for _, key in ipairs(redis.call('KEYS', prefix .. place)) do
		found[#found + 1] = key
	end
end
if redis.call('XLEN', prefix .. 'in') > 0 then
	found[#found + 1] = prefix .. 'in'
end
return found
'''


def lines(values):
    return '\n'.join('%s = %s' % item for item in values.items())


def of_tier(values, measured):
    return {k: x for k, x in values.items() if (k in MEASURED_KEYS) == measured}


PROGRAM = os.path.join(BUILD, 'cwc-worker')
# What is for development only, a key ring from a file and simulated devices, needs the build that has it.
DEV_BUILD = os.environ.get('CWC_DEV_BUILD', os.path.join(ROOT, 'build', 'dev'))
DEV_PROGRAM = os.path.join(DEV_BUILD, 'cwc-worker')


class Worker:
    def __init__(self, stack, name, config, log, env=None):
        self.stack, self.name, self.log_path = stack, name, log
        self.log = open(log, 'ab')
        self.process = subprocess.Popen([stack.program] + config, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def events(self, event=None):
        """The log as a list of dicts; lines that are not JSON are an error of the worker's."""
        with open(self.log_path, encoding='utf-8') as f:
            # Read as a whole: a line that is just being written must not come in two pieces.
            found = [json.loads(line) for line in f.read().split('\n')[:-1]]
        return [e for e in found if event in (None, e['event'])]

    def wait_event(self, event, timeout=20, n=1):
        def check():
            if self.process.poll() is not None and len(self.events(event)) < n:
                raise RuntimeError('%s ended with status %s:\n%s' % (self.name, self.process.returncode, self.tail()))
            return len(self.events(event)) >= n
        wait_until(check, timeout, 'event %s' % event)
        return self.events(event)[-1]

    def tail(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()[-4000:]

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)

    def stop(self, timeout=30):
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.log.close()


class Stack:
    def __init__(self, lease='3s', rate='100000/s', burst=1000, chamber=None, house=None, senate=None, jobs=None,
                 worker=None, measured_house=None, measured_senate=None, key_source='file', queue='q', redis=(),
                 sim=(), contexts=(), host_queue=None, measured_queue=None, password=None, alarms=None, status=None,
                 device='none', measured_jobs=None, environment='sandbox', measured_signer=True):
        self.dir = tempfile.mkdtemp(prefix='cwc-')
        self.queue = queue
        self.values = {'lease': lease, 'rate': rate, 'burst': burst, 'chamber': chamber or {}, 'house': house or {},
                       'senate': senate or {}, 'jobs': jobs or {}, 'worker': worker or {},
                       'measured_house': measured_house or {}, 'measured_senate': measured_senate or {},
                       'key_source': key_source, 'contexts': contexts, 'host_queue': host_queue or {},
                       'measured_queue': measured_queue or {}, 'alarms': alarms or {}, 'status': status,
                       'device': device, 'measured_jobs': measured_jobs or {}, 'measured_signer': measured_signer}
        self.program = DEV_PROGRAM if key_source == 'file' or device == 'simulated' else PROGRAM
        self.redis_args, self.sim_args, self.password = list(redis), list(sim), password
        self.redis_path = self.dialled = self.path('redis.sock')  # dialled: by workers
        self.workers = []
        self.app = appserver.AppServer(KID, queue, environment)
        self.ring = {}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_error):
        self.close()

    def start(self):
        self.redis_server = self.redis = self.sim = None
        self.start_redis()
        self.sim = simctl.Sim(agent=AGENT['DeliveryAgent'], arguments=self.sim_args).start()
        if self.values['key_source'] == 'file':
            self.make_keys()
        return self

    # --- redis -------------------------------------------------------------------------------

    def start_redis(self):
        """Also after kill_redis(), with the same directory and so with the same append-only file."""
        password = ['--requirepass', self.password] if self.password else []
        self.redis_server = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.redis_path, '--unixsocketperm', '700', '--dir',
             self.dir, '--save', '', '--maxmemory-policy', 'noeviction', '--logfile', self.dir + '/redis.log',
             *password, *self.redis_args], stdin=subprocess.DEVNULL)
        self.redis = wait_until(self.connect_redis, 20, 'redis-server')

    def connect_redis(self):
        """A client of its own, or None while nobody answers."""
        try:
            client = rq.Client(self.redis_path)
        except OSError:
            return None
        try:
            if self.password:
                client('AUTH', self.password)
            client('PING')
            return client
        except (OSError, rq.RedisError):
            client.close()
            return None

    def kill_redis(self, number=signal.SIGKILL):
        self.redis.close()
        self.redis_server.send_signal(number)
        self.redis_server.wait()

    def key(self, suffix):
        return '{%s}:%s' % (self.queue, suffix)

    # --- keys --------------------------------------------------------------------------------

    def make_keys(self):
        secret = self.ring_secret = {profile: secrets.token_bytes(32) for profile in ('witness', 'letter')}
        self.ring = {p: appserver.RingKey(p, formats.x25519_public(s)) for p, s in secret.items()}
        self.write_secret('ring.keys', '\n'.join('%s %s' % (profile, s.hex()) for profile, s in secret.items()))

    def path(self, name):
        return os.path.join(self.dir, name)

    # --- workers -----------------------------------------------------------------------------

    def write_config(self, name, worker=None):
        v, sim = self.values, self.sim
        measured = {'ca_file': sim.ca_file, 'rate_ceiling': v['rate'], 'burst': v['burst'],
                    'maintenance': 'none', 'breaker_open': '0ms',  # test_breakers.py has them
                    **{key: AGENT[element] for key, element in AGENT_KEYS.items()}}
        api_key = {} if v['key_source'] == 'sealed' else {'api_key_file': sim.key_file}
        host = {**api_key, 'concurrency': 32, 'office_concurrency': 32, **v['chamber']}
        chambers = {'house': {**host, 'address': sim.house, **v['house']},
                    'senate': {**host, 'address': sim.senate, **v['senate']}}
        measured_keys, host_keys = self.key_config()
        host_queue = dict(v['host_queue'])
        if self.password and v['key_source'] != 'sealed':
            host_queue['password_file'] = self.write_secret('redis.password', self.password)
        with self.replaced('measured.conf') as f:
            f.write(MEASURED.format(
                environment=self.app.environment,
                signer='signer = %s %s' % (self.app.kid, self.app.public.hex()) if v['measured_signer'] else '',
                key_source=v['key_source'], lease=v['lease'], device=v['device'],
                contexts='\n'.join('witness_context = ' + c for c in v['contexts']),
                keys=lines(measured_keys), measured_jobs=lines(v['measured_jobs']),
                measured_queue=lines({**of_tier(host_queue, True), **v['measured_queue']}),
                house=lines({**URLS['house'], **measured, **of_tier(chambers['house'], True), **v['measured_house']}),
                senate=lines({**URLS['senate'], **measured, **of_tier(chambers['senate'], True),
                              **v['measured_senate']})))
        with self.replaced(name + '.conf') as f:
            f.write(HOST.format(name=name, worker=lines({'log_level': 'debug', **v['worker'], **(worker or {})}),
                                redis=self.dialled, queue=self.queue, host_queue=lines(of_tier(host_queue, False)),
                                jobs=lines(v['jobs']), alarms=lines(v['alarms']), dir=self.dir,
                                status='address = ' + self.status_address(name) if v['status'] else '',
                                keys=lines(host_keys),
                                house=lines(of_tier(chambers['house'], False)),
                                senate=lines(of_tier(chambers['senate'], False))))
        return ['--config', self.path('measured.conf'), '--host-config', self.path(name + '.conf')]

    def key_config(self):
        """The section [keys], measured and of the host."""
        return {'file': self.path('ring.keys')} if self.values['key_source'] == 'file' else {}, {}

    def status_address(self, name):
        """status=True: a socket for each worker."""
        given = self.values['status']
        return 'unix:' + self.path(name + '.status') if given is True else given

    @contextlib.contextmanager
    def replaced(self, name):
        """A file to write, in one piece for a worker that is just starting and reads the one before."""
        with open(self.path(name + '.new'), 'w', encoding='utf-8') as f:
            yield f
        os.replace(self.path(name + '.new'), self.path(name))

    def write_secret(self, name, text):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='utf-8') as f:
            f.write(text + '\n')
        return self.path(name)

    def start_worker(self, name='w1', ready=True, env=None, **worker):
        """With key_source='boot' each has keys of its own: letters are sealed to those of the one that was started last."""
        w = Worker(self, name, self.write_config(name, worker), self.path('%s.%d.log' % (name, len(self.workers))),
                   env)
        self.workers.append(w)
        if ready:
            w.wait_event('ready')
            if self.values['key_source'] == 'boot':
                self.learn_keys()
        return w

    # --- the app server ----------------------------------------------------------------------

    def learn_keys(self):
        """The ring keys that the newest worker published."""
        newest = wait_until(lambda: self.stream('attestations'), what='published keys')[-1]
        self.ring = appserver.published_keys(newest['keys'])

    def entry(self, submission, **members):
        """The queue entry of a submission (letters.py), spoiled as it asks for."""
        return self.app.entry(submission, self.ring, **members)

    def enqueue(self, entries):
        """Pipelined XADDs."""
        n = 0
        for e in entries:
            flat = [x for item in e.items() for x in item]
            self.redis.send('XADD', self.key('in'), '*', *flat)
            n += 1
        for _ in range(n):
            self.redis.read()
        return n

    def submit(self, *submissions):
        return self.enqueue(self.entry(s) for s in submissions)

    def stream(self, name):
        return [rq.pairs(e[1]) for e in self.redis('XRANGE', self.key(name), '-', '+')]

    def results(self):
        """Results without their repetitions (results are at least once)."""
        seen = {}
        for r in self.stream('results'):
            seen.setdefault((r['sid'], r['office'], r['rev']), r)
        return list(seen.values())

    def wait_results(self, n, timeout=60):
        wait_until(lambda: int(self.redis('XLEN', self.key('results'))) >= n and len(self.results()) >= n, timeout,
                   '%d results' % n, pause=0.02)
        return self.results()

    def job(self, sid, office):
        return rq.pairs(self.redis('HGETALL', self.key('job:%s:%s' % (sid, office))))

    def sub(self, sid):
        return rq.pairs(self.redis('HGETALL', self.key('sub:' + sid)))

    def status(self, sid, office):
        """What the app server reads: state, outcome or '-', rev."""
        text = self.redis('HGET', self.key('sub:' + sid), 's:' + office)
        return tuple(text.split(' ')) if text else None

    def wait_status(self, sid, office, state, outcome=None, timeout=20):
        def check():
            status = self.status(sid, office)
            return status is not None and status[0] == state and outcome in (None, status[1])
        wait_until(check, timeout, 'state %s of %s:%s (%s)' % (state, sid, office, self.status(sid, office)))

    def script(self, name, *argv):
        """A call of a script of the queue, as an app server or a person would make it."""
        return self.redis('EVAL', rq.source(name), 1, self.key('meta'), *argv)

    def admin(self, verb, *argv):
        return self.script('admin', verb, 'test', *argv)

    def keys(self, pattern='*'):
        return sorted(self.redis('KEYS', self.key(pattern)))

    def busy(self):
        """Names of the places in which a job still lies or flies."""
        return self.redis('EVAL', BUSY, 1, self.key('meta'))

    def wait_idle(self, timeout=60):
        try:
            wait_until(lambda: not self.busy(), timeout, 'idle queue', pause=0.05)
        except TimeoutError as e:
            raise TimeoutError('%s: %s' % (e, self.busy())) from None

    # --- the end -----------------------------------------------------------------------------

    def close(self):
        for w in self.workers:
            if w.process.poll() is None:
                w.process.kill()
            w.process.wait()
            w.log.close()
        if getattr(self, 'sim', None) is not None:
            self.sim.stop()
        if getattr(self, 'redis', None) is not None:
            self.redis.close()
        if getattr(self, 'redis_server', None) is not None:
            self.redis_server.kill()
            self.redis_server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
