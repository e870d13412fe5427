# SPDX-License-Identifier: Apache-2.0
"""The users of ops/redis, on real servers: each role does its whole work, and is refused the rest.

The operator runs the tests of cwcctl that look at a queue and act on it, as they are; the worker carries letters from end
to end; the app server hands in, reads, collects and cancels; the host's user counts, publishes and
has workers drain. Which command of cwcctl each may run: test_acl_commands.py."""
import glob
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stack as stacks  # noqa: E402
import letters  # noqa: E402
import rq  # noqa: E402
import test_cwcctl_control  # noqa: E402
import test_cwcctl_dead  # noqa: E402
import test_cwcctl_people  # noqa: E402
import test_cwcctl_queue  # noqa: E402
import test_fsck_jobs  # noqa: E402
import test_fsck_places  # noqa: E402
import test_reconcile  # noqa: E402
from cwcctl_case import CTL, ROOT  # noqa: E402

MAKE = os.path.join(ROOT, 'ops', 'redis', 'make-acl')
USERS = ('cwc-worker', 'cwc-producer', 'cwc-app', 'cwc-host', 'cwc-operator')
PASSWORD = secrets.token_urlsafe(24)
LUA = {os.path.basename(p)[:-4]: p for p in glob.glob(os.path.join(rq.LUA, '*.lua'))}


def make(*args, status=0):
    r = subprocess.run([MAKE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True)
    if r.returncode != status:
        raise AssertionError((args, r.returncode, r.stdout, r.stderr))
    return r.stdout if status == 0 else r.stderr


def users(queue='q'):
    """The lines of all users, without the default one, which the tests themselves use."""
    with tempfile.NamedTemporaryFile('w', suffix='.password') as f:
        f.write(PASSWORD + '\n')
        f.flush()
        return make('--queue', queue, *['%s=%s' % (u, f.name) for u in USERS]).splitlines()[1:]


def split_rules(text):
    """Words, a selector being one."""
    return re.findall(r'\([^)]*\)|\S+', text)


def load(r, queue='q'):
    for line in users(queue):
        _user, name, *_ = line.split(' ')
        r('ACL', 'SETUSER', name, 'reset', *split_rules(line.split(' ', 2)[2]))


def login(path, user):
    client = rq.Client(path)
    client('AUTH', user, PASSWORD)
    return client


def scripts(*names):
    """Commands that these scripts call, with what stands before them."""
    found = set()
    for name in {'lib'} | {part for n in names for part in rq.SCRIPTS.get(n, (n,))}:
        with open(LUA[name], encoding='utf-8') as f:
            text = f.read()
        found |= set(re.findall(r"call\(\s*'([A-Z]+)'", text))
    return {c.lower() for c in found}


def commands(user):
    return {w[1:] for w in re.findall(r'[+]\S+', make('--access-string', user).replace(')', ' '))}


class Files(unittest.TestCase):
    def test_a_server_takes_them(self):
        """As redis.conf's aclfile; nobody gets in by another way."""
        folder = tempfile.mkdtemp(prefix='cwc-acl-')
        self.addCleanup(shutil.rmtree, folder)
        for user in USERS:
            with open(os.path.join(folder, user), 'w', encoding='utf-8') as f:
                f.write(user + PASSWORD + '\n')
        with open(os.path.join(folder, 'users.acl'), 'w', encoding='utf-8') as f:
            f.write(make(*['%s=%s' % (u, os.path.join(folder, u)) for u in USERS]))
        path = os.path.join(folder, 'redis.sock')
        server = subprocess.Popen(['redis-server', '--port', '0', '--unixsocket', path, '--aclfile',
                                   os.path.join(folder, 'users.acl'), '--save', '', '--dir', folder,
                                   '--maxmemory-policy', 'noeviction'], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)

        def connected():
            try:
                return rq.Client(path)
            except OSError:
                return None
        nobody = rq.wait_until(connected, what='redis-server')
        with self.assertRaisesRegex(rq.RedisError, 'NOAUTH'):
            nobody('PING')
        nobody.close()
        for user in USERS:
            client = rq.Client(path)
            with self.assertRaisesRegex(rq.RedisError, 'WRONGPASS'):
                client('AUTH', user, PASSWORD)
            client('AUTH', user, user + PASSWORD)
            for refused in (('FLUSHALL',), ('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'), ('KEYS', '*'), ('ACL', 'LIST'),
                            ('SHUTDOWN',), ('REPLICAOF', 'NO', 'ONE'), ('SCRIPT', 'FLUSH'),
                            ('EVAL', 'return 1', '0'), ('GET', 'elsewhere'), ('SET', 'elsewhere', '1'), ('SUBSCRIBE', 'x')):
                with self.assertRaisesRegex(rq.RedisError, 'NOPERM', msg=(user, refused)):
                    client(*refused)
            client.close()

    def test_make(self):
        with tempfile.NamedTemporaryFile('w') as f:
            f.write('too short\n')
            f.flush()
            self.assertIn('less than 16 characters', make('cwc-worker=' + f.name, status=64))
        self.assertIn('there is no user root', make('root=/dev/null', status=64))
        self.assertIn('cannot read', make('cwc-worker=/nonexistent', status=64))
        self.assertIn('a queue has a name', make('--queue', 'a b', '--access-string', 'cwc-worker', status=64))
        self.assertIn('usage', make(status=64))
        self.assertIn('~{letters-2}:*', make('--queue', 'letters-2', '--access-string', 'cwc-worker'))
        for user in USERS:
            self.assertNotIn('config', make('--access-string', user))  # a managed Redis has none, and refuses to name it

    def test_no_more_than_is_called(self):
        """The worker's and the operator's commands are those of their scripts and programs, neither fewer nor more."""
        worker = scripts('beat', 'enqueue', 'take', 'begin', 'settle', 'reap', 'adopt', 'admin')
        by_value = {'xlen', 'zcard'}  # BEAT counts places by commands that it has as values
        client = {'evalsha', 'script|load', 'info', 'wait', 'time', 'hset'}
        self.assertEqual(commands('cwc-worker'), worker | client | by_value)
        with open(os.path.join(ROOT, 'queue', 'queue.c'), encoding='utf-8') as f:
            self.assertIn('"CONFIG"', f.read())
        sources = ''
        for path in glob.glob(os.path.join(ROOT, 'ops', 'cwcctl', '*.c')):
            with open(path, encoding='utf-8') as f:
                sources += f.read()
        known = {'hget', 'hgetall', 'hmget', 'exists', 'scan', 'hscan', 'sscan', 'zscan', 'scard', 'xadd', 'xlen', 'xpending',
                 'xrange', 'xread', 'xrevrange', 'xtrim', 'zcard', 'zrange', 'hset', 'get'}
        called = {c for c in known if '"%s"' % c.upper() in sources} | {'xinfo|groups'}
        want = worker | called | scripts('depth', 'fsck', 'reconcile') | {'evalsha', 'script|load', 'info', 'time'}
        self.assertEqual(commands('cwc-operator'), want)


class Roles(unittest.TestCase):
    """Each alone, on a queue that a worker of its own role serves."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='cwc-acl-')
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.password = os.path.join(cls.folder, 'password')
        with open(os.open(cls.password, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='utf-8') as f:
            f.write(PASSWORD + '\n')
        cls.stack = cls.enterClassContext(stacks.Stack(host_queue={'user': 'cwc-worker', 'password_file': cls.password}))
        load(cls.stack.redis)
        cls.stack.redis('ACL', 'LOG', 'RESET')
        cls.stack.start_worker()

    def as_user(self, user):
        client = login(self.stack.redis_path, user)
        self.addCleanup(client.close)
        return client

    def refused(self, client, *command):
        with self.assertRaisesRegex(rq.RedisError, 'NOPERM|user executing the script can.t', msg=command):
            client(*command)

    def ctl(self, user, *args, code=0):
        r = subprocess.run([CTL, *args, '--redis', 'unix:' + self.stack.redis_path, '--user', user, '--password-file',
                            self.password], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
                           check=False, text=True)
        self.assertEqual(r.returncode, code, (args, r.stdout, r.stderr))
        return r.stdout

    def letter(self, name):
        submission = letters.base(name)
        return submission, self.stack.entry(submission)

    def test_worker(self):
        """Letters of both chambers from the door to a result; its connection is that user's, and nothing was refused."""
        s = self.stack
        before = len(s.results())
        self.assertIn('user=cwc-worker', s.redis('CLIENT', 'LIST'))
        s.submit(*[letters.base('worker-%d' % i) for i in range(20)])
        results = s.wait_results(before + 20)
        self.assertEqual({r['state'] for r in results[before:]}, {'accepted'})
        log = [rq.pairs(e) for e in s.redis('ACL', 'LOG')]
        self.assertEqual([e for e in log if e['username'] == 'cwc-worker'], [])

    def test_worker_refused(self):
        w = self.as_user('cwc-worker')
        for command in (('FLUSHALL',), ('FLUSHDB',), ('KEYS', '*'), ('SCAN', '0'), ('CONFIG', 'SET', 'maxmemory', '1'), ('XTRIM',
                        '{q}:results', 'MAXLEN', '0'), ('RENAME', '{q}:in', '{q}:out'), ('GET', '{other}:meta'), ('SCRIPT', 'FLUSH'),
                        ('EVAL', 'return 1', '0'), ('CLIENT', 'KILL', 'TYPE', 'normal'), ('MONITOR',)):
            self.refused(w, *command)

    def test_producer(self):
        _, entry = self.letter('from-producer')
        p = self.as_user('cwc-producer')
        flat = [x for item in entry.items() for x in item]
        p('XADD', '{q}:in', '*', *flat)
        sid = entry['sid']
        rq.wait_until(lambda: self.stack.status(sid, entry['offices']) and
                      self.stack.status(sid, entry['offices'])[0] == 'accepted', what='the letter')
        for command in (('XRANGE', '{q}:in', '-', '+'), ('HGETALL', '{q}:sub:' + sid), ('XADD', '{q}:results', '*', 'a', 'b'),
                        ('XADD', '{q}:audit', '*', 'a', 'b'), ('DEL', '{q}:in'), ('XDEL', '{q}:in', '1-1'), ('XLEN', '{q}:in'),
                        ('XADD', '{other}:in', '*', 'a', 'b'), ('SCRIPT', 'LOAD', 'return 1')):
            self.refused(p, *command)

    def test_app_server(self):
        """Hands in, follows, collects by a group, takes away what it stored, reads keys, cancels."""
        s, a = self.stack, self.as_user('cwc-app')
        _, entry = self.letter('from-app')
        a('XADD', '{q}:in', '*', *[x for item in entry.items() for x in item])
        sid = entry['sid']
        rq.wait_until(lambda: rq.pairs(a('HGETALL', '{q}:sub:' + sid)).get('rollup') == 'delivered', what='delivered')
        self.assertEqual(a('HGET', '{q}:sub:' + sid, 'rollup'), 'delivered')
        a('XGROUP', 'CREATE', '{q}:results', 'app', '0')
        self.addCleanup(s.redis, 'XGROUP', 'DESTROY', '{q}:results', 'app')
        entries = a('XREADGROUP', 'GROUP', 'app', 'me', 'COUNT', '1000', 'STREAMS', '{q}:results', '>')[0][1]
        mine = [e for e in entries if rq.pairs(e[1])['sid'] == sid]
        self.assertEqual([rq.pairs(e[1])['state'] for e in mine], ['accepted'])
        a('XAUTOCLAIM', '{q}:results', 'app', 'me', '100000', '0')
        self.assertEqual((a('XACK', '{q}:results', 'app', mine[0][0]), a('XDEL', '{q}:results', mine[0][0])), (1, 1))
        a('XREAD', 'COUNT', '1', 'STREAMS', '{q}:results', '0')
        self.assertGreaterEqual(a('XLEN', '{q}:results'), 0)
        self.assertTrue(a('XRANGE', '{q}:attestations', '-', '+'))
        self.assertTrue(a('XREAD', 'COUNT', '1', 'STREAMS', '{q}:attestations', '0'))

    def test_app_server_cancels(self):
        s, a = self.stack, self.as_user('cwc-app')
        sha = a('SCRIPT', 'LOAD', rq.source('admin'))
        s.admin('hold', 'house', str(4102444800000000), 'test')
        self.addCleanup(s.admin, 'resume', 'house')
        for whole in (False, True):
            submission, entry = self.letter('to-cancel-%d' % whole)
            s.submit(submission)
            sid, office = entry['sid'], entry['offices']
            rq.wait_until(lambda: s.status(sid, office), what='taken in')
            what = sid if whole else '%s:%s' % (sid, office)
            self.assertEqual(a('EVALSHA', sha, '1', '{q}:meta', 'cancel', 'app', what)[0], 'OK')
            s.wait_status(sid, office, 'cancelled')

    def test_app_server_refused(self):
        a = self.as_user('cwc-app')
        for command in (('XADD', '{q}:results', '*', 'sid', 'x'), ('XADD', '{q}:dead', '*', 'sid', 'x'), ('XADD', '{q}:attestations',
                        '*', 'worker', 'x'), ('XRANGE', '{q}:in', '-', '+'), ('XREAD', 'STREAMS', '{q}:in', '0'), ('XDEL', '{q}:in', '1-1'),
                        ('DEL', '{q}:results'), ('XDEL', '{q}:attestations', '1-1'), ('HSET', '{q}:holds', 'house', '1'), ('HGETALL',
                        '{q}:holds'), ('XREADGROUP', 'GROUP', 'app', 'me', 'STREAMS', '{q}:in', '>'), ('ZRANGE', '{q}:wait:HNE03', '0', '-1'),
                        ('XRANGE', '{q}:dead', '-', '+'), ('SET', '{q}:rate:house', '0'), ('DEL', '{q}:meta'), ('KEYS', '*')):
            self.refused(a, *command)

    def test_app_server_with_other_scripts(self):
        """It may run scripts, which can do no more than it may itself: no hold, no replay, no taking of letters."""
        a = self.as_user('cwc-app')
        for name, args in (('admin', ('hold', 'app', 'house', '4102444800000000', 'x')), ('take', ('house', 'w/1', 'w/1.1', 1,
                           0, 0, 0, 0, 0, 1, 1)), ('beat', ('w/1', 10000000, 'join', 0, 1))):
            sha = a('SCRIPT', 'LOAD', rq.source(name))
            self.refused(a, 'EVALSHA', sha, '1', '{q}:meta', *args)
        self.assertEqual(self.stack.redis('HLEN', '{q}:holds'), 0)
        sha = a('SCRIPT', 'LOAD', "return redis.call('XADD', '{q}:results', '*', 'sid', 'forged')")
        self.refused(a, 'EVALSHA', sha, '1', '{q}:meta')

    def test_host(self):
        """Depth, and the wanted number."""
        self.assertIn('"', self.ctl('cwc-host', 'depth', '--json'))
        if 'scale' in LUA:
            self.ctl('cwc-host', 'scale', '--publish', '--max', '4')
            self.assertTrue(self.stack.redis('HGET', '{q}:scale', 'desired'))
        h = self.as_user('cwc-host')
        h('HSET', '{q}:scale', 'desired', '2')
        self.addCleanup(self.stack.redis, 'DEL', '{q}:scale', '{q}:scaler')
        self.assertEqual(h('HGET', '{q}:scale', 'desired'), '2')

    def test_host_counts_what_waits(self):
        s = self.stack
        s.admin('hold', 'house', str(4102444800000000), 'test')
        self.addCleanup(s.admin, 'resume', 'house')
        submission, entry = self.letter('to-count')
        s.submit(submission)
        rq.wait_until(lambda: s.status(entry['sid'], entry['offices']), what='taken in')
        depth = json.loads(self.ctl('cwc-host', 'depth', '--json'))
        self.assertEqual((depth['house_waiting'], depth['house_held']), (1, 1), depth)

    def test_host_has_the_commands_of_depth(self):
        """Whatever is in the places: each command that the scripts of counting may come to."""
        text = ''
        for name in 'depth', 'scale':
            with open(LUA[name], encoding='utf-8') as f:
                text += f.read()
        rules = make('--access-string', 'cwc-host').lower().split()
        wanted = set(re.findall(r"call\('([A-Z]+)'", text))
        self.assertGreater(len(wanted), 8)
        self.assertEqual([c for c in sorted(wanted) if not any(r.strip('()') == '+' + c.lower() for r in rules)], [])

    def test_host_refused(self):
        h = self.as_user('cwc-host')
        for command in (('HSET', '{q}:meta', 'num', '0'), ('DEL', '{q}:in'), ('XADD', '{q}:in', '*', 'a', 'b'), ('HSET', '{q}:holds',
                        'house', '1'), ('HGETALL', '{q}:sub:x'), ('XRANGE', '{q}:attestations', '-', '+'), ('HSET', '{q}:job:a:b', 'state',
                        'accepted'), ('DEL', '{q}:meta'), ('SET', '{q}:rate:house', '0'), ('KEYS', '*'), ('SCAN', '0'), ('FLUSHALL',)):
            self.refused(h, *command)
        for name, args in (('admin', ('hold', 'host', 'house', '4102444800000000', 'x')), ('admin', ('cancel', 'host', 'x')),
                           ('admin', ('note', 'host', 'x', 'y', 'z')), ('admin', ('resume', 'host', 'house')),
                           ('take', ('house', 'w/1', 'w/1.1', 1, 0, 0, 0, 0, 0, 1, 1))):
            sha = h('SCRIPT', 'LOAD', rq.source(name))
            self.refused(h, 'EVALSHA', sha, '1', '{q}:meta', *args)

    def test_host_drains(self):
        """As the unit of an enclave does: a real worker is told, finishes, and is gone; the act is on record."""
        s = self.stack
        w = s.start_worker('w9')
        self.assertIn('w9 is gone', self.ctl('cwc-host', 'workers', 'drain', 'w9', '--wait', '20s', '--reason', 'scale-in'))
        self.assertEqual(w.process.wait(20), 0)
        self.assertEqual(w.wait_event('draining')['reason'], 'asked')
        self.assertEqual([(a['verb'], a['a'], a['b']) for a in s.stream('audit')][-1], ('drain', 'w9', 'scale-in'))
        self.ctl('cwc-host', 'workers', 'undrain', 'w9')

    def test_host_writes_few_keys(self):
        """Whole keys are `meta`, which no command of its own writes, what it publishes, and orders to drain."""
        rules = make('--access-string', 'cwc-host')
        outer, selectors = re.sub(r'\([^)]*\)', '', rules), ' '.join(re.findall(r'\(([^)]*)\)', rules))
        self.assertEqual(re.findall(r'(?<!%R)~\S+', outer), ['~{q}:meta'])
        self.assertEqual(set(re.findall(r'~\S+', selectors)), {'~{q}:scale', '~{q}:scaler', '~{q}:drain', '~{q}:audit'})
        reads = {'evalsha', 'script|load', 'ping', 'info', 'time', 'get', 'hget', 'hgetall', 'smembers', 'scard', 'xlen', 'xrange', 'zcard', 'zrange', 'zrangebyscore'}
        self.assertEqual({w[1:] for w in re.findall(r'[+]\S+', outer)}, reads)

    def test_operator_refused(self):
        o = self.as_user('cwc-operator')
        for command in (('FLUSHALL',), ('FLUSHDB',), ('KEYS', '*'), ('CONFIG', 'SET', 'maxmemory', '1'), ('EVAL', 'return 1', '0'),
                        ('GET', '{other}:meta'), ('SHUTDOWN',), ('SCRIPT', 'FLUSH'), ('ACL', 'LIST'), ('MONITOR',)):
            self.refused(o, *command)


class Managed(unittest.TestCase):
    def test_worker_without_config(self):
        """With the rules as a managed Redis has them, CONFIG is refused, and letters are carried all the same."""
        folder = tempfile.mkdtemp(prefix='cwc-acl-')
        self.addCleanup(shutil.rmtree, folder)
        password = os.path.join(folder, 'password')
        with open(os.open(password, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='utf-8') as f:
            f.write(PASSWORD + '\n')
        with stacks.Stack(host_queue={'user': 'cwc-worker', 'password_file': password}) as s:
            s.redis('ACL', 'SETUSER', 'cwc-worker', '>' + PASSWORD, *split_rules(make('--access-string', 'cwc-worker').strip()))
            s.start_worker()
            s.submit(letters.base('managed'))
            self.assertEqual([r['state'] for r in s.wait_results(1)], ['accepted'])


# --- the operator ---------------------------------------------------------------------------------

RAN = set()


def as_operator(case):
    """The tests of cwcctl, with its programs under the operator's user."""
    class Operator(case):
        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            load(cls.server.r)
            cls.redis = (*cls.redis, '--user', 'cwc-operator', '--password-file', cls.write('operator', PASSWORD + '\n', 0o600))

        def ctl(self, *args, **kw):
            RAN.add(' '.join(a for a in args[:2] if not a.startswith('-')))
            return super().ctl(*args, **kw)
    Operator.__name__ = Operator.__qualname__ = 'Operator' + case.__module__.replace('test_', '').title() + case.__name__
    return Operator


def load_tests(loader, own, _pattern):
    suite = unittest.TestSuite()
    for part in own:
        if 'Covered' not in repr(part):  # goes last
            suite.addTest(part)
    for module, names in ((test_cwcctl_queue, ('Look', 'Acts', 'Results')), (test_cwcctl_people, ('Unknown', 'Trim', 'Holds')),
                          (test_cwcctl_dead, ('Filters', 'Look')), (test_cwcctl_control, ('Pause', 'Limits')), (test_fsck_places, ('Submissions', 'Places')),
                          (test_fsck_jobs, ('Jobs',)), (test_reconcile, ('Places', 'Digests'))):
        for name in names:
            suite.addTests(loader.loadTestsFromTestCase(as_operator(getattr(module, name))))
    suite.addTests(loader.loadTestsFromTestCase(Covered))
    return suite


class Covered(unittest.TestCase):
    # Those that reach no queue; those that test_acl_commands.py alone has.
    OTHERS = re.compile(r'(seal|render|attest|keys|secrets|signer|config|outcomes|errors|model|version|help|receipts|enqueue|top|scale|'
                        r'exporter|shape|workers (un)?drain|(dead|unknown) import|dead matrix|audit summary|delivery)\b')

    def test_every_command_ran(self):
        text = subprocess.run([CTL, 'help'], stdout=subprocess.PIPE, check=True, text=True).stdout
        names = re.findall(r'^  ([a-z]+(?: [a-z-]+)?)  +[A-Z]', text.split('Options of every')[0], re.M)
        missing = [n for n in names if not self.OTHERS.match(n) and not any(r == n or r.startswith(n + ' ') for r in RAN)]
        self.assertEqual(missing, [])


if __name__ == '__main__':
    if not os.path.exists(CTL):
        sys.exit('%s is missing; build it with `make`' % CTL)
    unittest.main()
