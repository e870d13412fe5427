# SPDX-License-Identifier: Apache-2.0
"""The whole system with a sealed key ring: workers of a development build on simulated security modules, a simulated KMS
and metadata service, and a store for each release, served as `socat UNIX-LISTEN:SOCKET,fork OPEN:store,rdonly` would.
People do what they do by cwcctl.

All that the workers dial is a unix socket in the directory of the stack, so that a test takes a service away by its
name (Place) and gives it back.

    stack = self.start()                # RingCase
    worker = stack.start_worker(ready=False)
    stack.first_keys(worker)            # first bundle and all secrets
    worker.wait_event('ready')
"""
import os
import secrets
import shlex
import socketserver
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import account  # noqa: E402
import stack as stacks  # noqa: E402
from attest_case import manifest, pcr  # noqa: E402
from cwcctl_case import NO, OK, UNAVAILABLE, Result  # noqa: E402,F401
from stack import appserver, letters, wait_until  # noqa: E402,F401
from status_client import ask  # noqa: E402

import kms_ctl  # noqa: E402

CTL = os.path.join(stacks.DEV_BUILD, 'cwcctl')
BUILT = os.path.exists(CTL) and os.path.exists(stacks.DEV_PROGRAM)
VERIFIER = shlex.quote(CTL) + ' attest verify --chain-only --json {}'
ARN = 'arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-%012d'
REFRESH_S = 0.1
TICK_S = 0.05
CROWD = 60  # letters on their way at most
PASSWORD = 'A pass phrase, for Redis alone!'


class Place:
    """The socket of a service: away() and back() again."""
    def __init__(self, path):
        self.path, self.address = path, 'unix:' + path

    def away(self):
        os.rename(self.path, self.path + '.away')

    def back(self):
        os.rename(self.path + '.away', self.path)


class Store(socketserver.ThreadingUnixStreamServer):
    """Gives the file, and ends; nothing while there is no file. `fetched` counts."""
    daemon_threads = True

    def __init__(self, file, socket):
        self.file, self.fetched = file, 0
        super().__init__(socket, None)
        self.place = Place(socket)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, request, client_address):
        try:
            with open(self.file, 'rb') as f:
                request.sendall(f.read())
        except OSError:
            pass  # no file, or the worker has gone
        self.fetched += 1

    def read(self):
        with open(self.file, 'rb') as f:
            return f.read()

    def write(self, data):
        """In one piece, past `cwcctl keys store` and all that it refuses."""
        with open(self.file + '.swap', 'wb') as f:
            f.write(data)
        os.replace(self.file + '.swap', self.file)

    def wait_fetched(self, n=2):
        """Until it was read so often from now on: what stands there was looked at, and what followed from it done."""
        target = self.fetched + n
        wait_until(lambda: self.fetched >= target, 20, 'read store')

    def close(self):
        self.shutdown()
        self.server_close()


class Release:
    """An image, its KMS key, its store. `items`: the files that `keys store` put there last."""
    def __init__(self, stack, number, image):
        self.number, self.image, self.arn = number, image, ARN % number
        self.pcrs = {i: pcr(b'%s %s' % (part, image.encode()))
                     for i, part in enumerate((b'image', b'kernel', b'application'))}
        self.store = Store(stack.path('store%d' % number), stack.path('store%d.sock' % number))
        self.bundle, self.sealed = None, []

    def policy(self):
        return kms_ctl.policy(self.pcrs[0], PCR1=self.pcrs[1], PCR2=self.pcrs[2])


class RingStack(stacks.Stack):
    """images: of the releases; `release` is the one that workers are started of."""
    def __init__(self, images=('one',), keys=None, measured_keys=None, **options):
        super().__init__(**{'key_source': 'sealed', 'device': 'simulated', 'status': True, **options})
        self.images = images
        self.host_keys = {'refresh': '%dms' % (REFRESH_S * 1000), **(keys or {})}
        self.measured_keys = {'delay': '0s', 'overlap': '1h', **(measured_keys or {})}
        self.api_key = {c: secrets.token_urlsafe(24) for c in ('house', 'senate')}
        self.number = 0
        self.releases = []
        self.kms = None

    def start(self):
        super().start()
        for chamber, key in self.api_key.items():
            self.sim.set_keys([key], chamber)
        os.mkdir(self.path('operator'))
        self.releases = [Release(self, i, image) for i, image in enumerate(self.images)]
        self.release = self.releases[0]
        self.kms_place, self.imds_place = Place(self.path('kms.sock')), Place(self.path('imds.sock'))
        arguments = [x for r in self.releases for x in ('--key', r.arn)]
        self.kms = kms_ctl.KmsSim(self.release.policy(), '--listen', self.kms_place.address, '--imds',
                                  self.imds_place.address, *arguments, verifier=VERIFIER)
        for r in self.releases:
            self.kms.cmd('policy', policy=r.policy(), key=r.arn)
        self.manifest = self.write('releases.txt', manifest(**{r.image: r.pcrs for r in self.releases}))
        return self

    def close(self):
        if self.kms is not None:
            self.kms.close()
        for r in self.releases:
            r.store.close()
        super().close()

    # --- files of the operator's: not in the directory of what the system writes

    def operator(self, name):
        return os.path.join(self.path('operator'), name)

    def write(self, name, data, mode=0o644):
        with open(self.operator(name), 'wb') as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(self.operator(name), mode)
        return self.operator(name)

    def new(self, name):
        self.number += 1
        return self.operator('%d.%s' % (self.number, name))

    # --- workers

    def key_config(self):
        return ({'kms_key': self.release.arn, 'kms_ca_file': self.kms.ready['ca'], **self.measured_keys},
                {'kms_address': self.kms_place.address, 'credentials_address': self.imds_place.address,
                 'store_address': self.release.store.place.address, **self.host_keys})

    def start_worker(self, name='w1', ready=True, env=None, release=None, **worker):
        self.release = release or self.release
        w = super().start_worker(name, False, {'CWC_SIM_IMAGE': self.release.image, **(env or {})}, **worker)
        w.release = self.release
        w.status = self.status_address(name)
        # Then it has read its configuration, which the next one may write over.
        wait_until(lambda: self.answers(w), 20, 'status port')
        if ready:
            w.wait_event('ready')
        return w

    # --- what people do

    def run(self, *args, code=OK, stdin=None, redis=False):
        """cwcctl. redis: it is one of the commands that need it."""
        words = ['--redis', 'unix:' + self.redis_path, '--queue', self.queue] if redis else []
        if redis and self.password:
            words += ['--user', 'default', '--password-file', self.write('redis.password', self.password, 0o600)]
        result = self.patient([CTL, *args, *words], code, stdin)
        if result.code != code:
            raise AssertionError((args, result.code, result.out[-2000:], result.err[-2000:]))
        return result

    @staticmethod
    def patient(words, code, stdin=None):
        """Again while the status port has no time: it gives five documents a second, and one bundle."""
        def once():
            r = subprocess.run(words, input=stdin, stdin=None if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=60, check=False)
            busy = r.returncode != code and (b'429' in r.stderr or b'try again' in r.stderr)
            return None if busy else Result(r.returncode, r.stdout.decode(), r.stderr.decode())
        return wait_until(once, 20, 'time for %s' % words[1:3], pause=0.1)

    def asked(self, worker, act, *args, code=OK):
        """keys request, rotate or signers: the file with the bundle; what was said beside it is in `said`."""
        file = self.new(act + '.bundle')
        self.said = self.run('keys', act, '--status', worker.status, '--manifest', self.manifest, '--output', file, *args,
                             code=code).err
        return file if code == OK else None

    def put(self, release=None, bundle=None):
        """Into the release's store: another bundle, or what is sealed now."""
        release = release or self.release
        release.bundle = bundle or release.bundle
        self.run('keys', 'store', *([release.bundle] if release.bundle else []), *release.sealed, '--output',
                 release.store.file)

    def seal(self, worker, name, secret):
        file = self.new(name + '.sealed')
        self.run('secrets', 'seal', name, '--status', worker.status, '--manifest', self.manifest, '--output', file,
                 stdin=secret.encode())
        return file

    def seal_all(self, worker):
        release = worker.release
        release.sealed = [self.seal(worker, c + '.api_key', key) for c, key in self.api_key.items()]
        if self.password:
            release.sealed.append(self.seal(worker, 'queue.password', self.password))
        self.put(release)

    def first_keys(self, worker):
        """All that a release needs, by one of its workers."""
        self.put(worker.release, self.asked(worker, 'request'))
        self.wait_stated(worker, 1)
        self.seal_all(worker)

    # --- what workers say

    @staticmethod
    def answers(worker):
        try:
            return ask(worker.status, '/health')
        except (FileNotFoundError, ConnectionRefusedError):  # it does not listen yet
            if worker.process.poll() is not None:
                raise RuntimeError('%s ended: %d\n%s' % (worker.name, worker.process.returncode, worker.tail())) from None
            return None

    def ready(self, worker):
        """(HTTP status, reason)"""
        a = ask(worker.status, '/ready')
        return a.status, a.json().get('reason') if a.body else None

    def wait_missing(self, worker, reason):
        wait_until(lambda: self.ready(worker) == (503, reason), 20, 'reason %s' % reason)

    def wait_bundle(self, worker, version):
        wait_until(lambda: any(e['bundle'] == version for e in worker.events('bundle_loaded')), 20, 'bundle %d' % version)

    def wait_stated(self, worker, version):
        """The statement has its keys, and a document: that comes a moment after the ring."""
        wait_until(lambda: any(e['bundle'] == version for e in worker.events('document_ready')), 20, 'statement')
        self.wait_missing(worker, 'no_secrets')

    def keys_of(self, worker):
        """GET /keys"""
        return ask(worker.status, '/keys').json()

    def published(self, worker):
        """Its entries in `attestations`."""
        return [e for e in self.stream('attestations') if e['worker'].split('/')[0] == worker.name]

    def learn_from(self, worker):
        """Also before it publishes: what its statement says."""
        self.ring = {}
        for k in self.keys_of(worker)['keys']:
            if k['state'] == 'active' and k['profile'] != 'secret':
                self.ring[k['profile']] = appserver.RingKey(k['profile'], bytes.fromhex(k['public_key']), k['contexts'] or ())

    def newest_keys(self):
        """What an app server seals to: of the newest entry that has any."""
        return appserver.published_keys([e for e in self.stream('attestations') if e['keys']][-1]['keys'])


class Producer:
    """An app server at work: in each turn a few letters, sealed to the newest keys."""
    def __init__(self, stack):
        self.stack = stack
        self.source = letters.sample(5000, seed=7)
        self.sent, self.kids = [], {}  # kids: key ids that were sealed to, and since when
        self.jobs = 0

    def some(self, n):
        return [next(self.source) for _ in range(n)]

    def enqueue(self, submissions, entries):
        self.sent += submissions
        self.jobs += sum(len(s['offices']) for s in submissions)
        self.stack.enqueue(entries)

    def turn(self):
        s = self.stack
        s.ring = s.newest_keys()
        kids = tuple(sorted(k.kid for k in s.ring.values()))
        self.kids.setdefault(kids, time.time())
        submissions = self.some(3)
        self.enqueue(submissions, [s.entry(x) for x in submissions])
        wait_until(lambda: self.jobs - int(s.redis('XLEN', s.key('results'))) < CROWD, 20, 'letters to arrive')

    def until(self, check, what, timeout=20):
        """Works until something is so."""
        end = time.monotonic() + timeout
        while not check():
            if time.monotonic() > end:
                raise TimeoutError('no %s within %g s' % (what, timeout))
            self.turn()
            time.sleep(TICK_S)  # the pace of an app server: 60 letters a second


@unittest.skipUnless(BUILT, 'there is no development build')
class RingCase(unittest.TestCase):
    def start(self, **options):
        self.stack = RingStack(**options)
        self.addCleanup(self.stack.close)
        return self.stack.start()

    def prove(self, code=OK, manifest_file=None):
        """Every receipt that stands in `results`, by what is published, as an auditor would: the summary."""
        s = self.stack
        results = s.write('results.jsonl', s.run('results', '--json', redis=True).out)
        boots = s.write('boots.json', s.run('keys', '--json', '--count', '100000', redis=True).out)
        r = s.run('receipts', 'verify', results, '--documents', boots, '--manifest', manifest_file or s.manifest, '--json',
                  '--quiet', code=code)
        return r.lines[-1]['summary']


class TroubleCase(RingCase):
    def begin(self, **options):
        stack = self.start(**options)
        self.first = stack.start_worker(ready=False)
        stack.first_keys(self.first)
        self.first.wait_event('ready')
        stack.ring = stack.newest_keys()
        return stack

    def no_bundle_from(self, worker, act, why):
        self.assertIsNone(self.stack.asked(worker, act, code=UNAVAILABLE))
        self.assertIn('KMS has not done it: %s;' % why, self.stack.said)

    def failures(self, worker):
        return [e['reason'] for e in worker.events('kms_failed')]

    def waits_for_kms(self, worker):
        """It is there, says why, and has not asked Redis for anything."""
        self.stack.wait_missing(worker, 'kms')
        self.assertEqual(worker.events('queue_up') + worker.events('ready'), [])

    def enqueue_some(self, p, n):
        """While nobody takes them."""
        some = p.some(n)
        p.enqueue(some, [self.stack.entry(x) for x in some])
        return some

    def untouched(self, n):
        self.assertEqual(self.stack.redis('XLEN', self.stack.key('in')), n)
        self.assertEqual(self.stack.redis('EXISTS', self.stack.key('workers')), 0)

    def all_arrived(self, p):
        self.stack.wait_results(p.jobs)
        self.stack.wait_idle()
        last = account.check(self, self.stack, p.sent)
        self.assertEqual({r['outcome'] for r in last.values()}, {'accepted'})
        self.assertEqual(self.stack.stream('refused'), [])
