#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The store of the scenarios (redis.lua) against a redis-server: the same commands, the same replies.

Random commands on a few keys, so that they meet values of their own type and of others; the same through scripts, with
their conversions of arguments, replies and errors; and memory that is full. Usage: test_store.py SCENARIO-PROGRAM
"""
import os
import random
import re
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
sys.path.insert(0, os.path.join(ROOT, 'tests', 'queue'))

import check  # noqa: E402
from rq import Client, RedisError, Server, load  # noqa: E402
from sim import Options  # noqa: E402

PROGRAM = os.environ.get('SCENARIO', os.path.join(ROOT, 'build', 'asan', 'scenario'))
UNORDERED = {'HGETALL', 'HKEYS', 'SMEMBERS', 'SCAN'}
KEYS = ['{q}:a', '{q}:b', '{q}:c', '{q}:d', '{q}:e']
WORDS = ['x', 'y', 'zz', '0', '7', '-3', '1.5', 'a b', '']
SCORES = ['0', '1', '-2', '2.5', '17592186044416', '1767225600000000', 'inf', '-inf', '+inf', '1e3', 'x']


class Store(Client):
    """`scenario --store` behind the same interface."""

    def __init__(self, stderr=None):
        self.process = subprocess.Popen([PROGRAM, '--store'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                        cwd=ROOT)
        self.file = self.process.stdout
        self.sock = self

    def sendall(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.file.close()


def commands(rnd):
    key, word, score = (lambda: rnd.choice(KEYS)), (lambda: rnd.choice(WORDS)), (lambda: rnd.choice(SCORES))
    few = lambda make: [make() for _ in range(rnd.randint(1, 3))]  # noqa: E731
    index = lambda: rnd.choice(['0', '1', '-1', '2', '-3', '9', 'x'])  # noqa: E731
    bound = lambda: rnd.choice(['', '', '(']) + score()  # noqa: E731
    future = lambda: str(int(time.time()) + rnd.choice([-10, 1000, 5000]))  # noqa: E731
    return [
        lambda: ['EXISTS'] + few(key), lambda: ['DEL', key()], lambda: ['TYPE', key()],
        lambda: ['EXPIREAT', key(), future()], lambda: ['PERSIST', key()], lambda: ['PEXPIRETIME', key()],
        lambda: ['GET', key()], lambda: ['SET', key(), word()], lambda: ['SET', key(), word(), 'PX', '90000'],
        lambda: ['SET', key(), word(), 'PX', '0'], lambda: ['SETRANGE', key(), '0', ''],
        lambda: ['HSET', key(), word(), word(), word()], lambda: ['HSET', key(), word(), word()],
        lambda: ['HSET', key(), word(), word(), word(), word()],
        lambda: ['HSETNX', key(), word(), word()], lambda: ['HGET', key(), word()], lambda: ['HMGET', key()] + few(word),
        lambda: ['HGETALL', key()], lambda: ['HKEYS', key()], lambda: ['HLEN', key()], lambda: ['HEXISTS', key(), word()],
        lambda: ['HDEL', key()] + few(word), lambda: ['HINCRBY', key(), word(), rnd.choice(['1', '-2', 'x', '1.5'])],
        lambda: ['SADD', key()] + few(word), lambda: ['SREM', key()] + few(word), lambda: ['SCARD', key()],
        lambda: ['SISMEMBER', key(), word()], lambda: ['SMEMBERS', key()], lambda: ['SRANDMEMBER', key(), '2'],
        lambda: ['ZADD', key(), score(), word()], lambda: ['ZADD', key(), score(), word(), score(), word()],
        lambda: ['ZADD', key(), rnd.choice(['NX', 'XX', 'LT', 'GT']), score(), word()],
        lambda: ['ZADD', key(), 'XX', 'GT', score(), word()], lambda: ['ZREM', key()] + few(word),
        lambda: ['ZSCORE', key(), word()], lambda: ['ZCARD', key()], lambda: ['ZCOUNT', key(), bound(), bound()],
        lambda: ['ZRANGE', key(), index(), index()], lambda: ['ZRANGE', key(), index(), index(), 'WITHSCORES'],
        lambda: ['ZRANGEBYSCORE', key(), bound(), bound()],
        lambda: ['ZRANGEBYSCORE', key(), '-inf', bound(), 'WITHSCORES', 'LIMIT', '0', rnd.choice(['1', '2', '-1'])],
        lambda: ['ZRANGEBYSCORE', key(), bound(), '+inf', 'LIMIT', '1', '2'],
        lambda: ['XADD', key(), '*', word(), word()], lambda: ['XADD', key(), 'MAXLEN', '~', '500', '*', word(), word()],
        lambda: ['XADD', key(), '*', word(), word(), word()], lambda: ['XLEN', key()],
        lambda: ['XRANGE', key(), '-', '+'], lambda: ['XRANGE', key(), '-', '+', 'COUNT', '1'],
        lambda: ['XREVRANGE', key(), '+', '-', 'COUNT', '2'],
    ]


SCRIPTS = [
    "return {1, 2.9, -2.9, 'x', false, 5}", "return {1, nil, 3}", "return nil", "return true", "return false",
    "return {ok = 'FINE'}", "return redis.status_reply('FINE')", "return redis.error_reply('BAD thing')", "return {{1, {2}}, 'x'}",
    "return 'a\\0b'", "return tostring(1767225600123456)", "return string.format('%.0f', 1767225600123456)",
    "redis.call('SET', KEYS[1], 0.1) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], 1e15) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], 2 ^ 53) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], -7) return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], 1 / 3) return redis.call('GET', KEYS[1])",
    "return type(redis.call('GET', KEYS[1]))", "return redis.call('SET', KEYS[1], 'v')", "return redis.call('SET', KEYS[1], 'v').ok",
    "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], 'm') return type(redis.pcall('GET', KEYS[1]).err)",
    "local ok, e = pcall(redis.call, 'HGET', KEYS[1], 'f') return {ok and 1 or 0}",
    "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], 'm') local ok, e = pcall(redis.call, 'GET', KEYS[1]) "
    "return {tostring(ok), type(e)}",
    "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], 'm') return redis.call('GET', KEYS[1])",
    "local ok, e = pcall(error, {err = 'MINE x'}) return e", "error({err = 'MINE x'})", "return {err = 'no code'}",
    "local ok, e = pcall(redis.call, 'HSET', KEYS[1], 'f', {}) return e", "return {pcall(function() return 1, 2, 3 end)}",
    "error('mine')", "local t = nil return t.x", "made_up = 1", "return made_up", "return #ARGV", "return KEYS[1]",
    "redis.call('SET', KEYS[1], 'kept') error('after')", "return redis.call('GET', KEYS[1])",
    "return redis.sha1hex('abc')", "return redis.call('HSET', KEYS[1], 'f', {})", "return #redis.call('TIME')",
    "return unpack({1, 2})", "return tonumber('0x10')", "return ('x'):rep(3)", "return select('#', 1, nil)",
]


class Pair:
    def __init__(self):
        self.server = Server()
        self.store = Store()

    def stop(self):
        self.server.stop()
        self.store.close()

    @staticmethod
    def ask(client, argv):
        try:
            return client(*argv)
        except RedisError as e:
            return ('error', str(e).split(' ')[0])

    @staticmethod
    def plain(name, reply):
        """Ids of stream entries are times: their form and order counts. What has no order is sorted."""
        if isinstance(reply, tuple):
            return reply
        if name == 'XADD':
            return re.sub(r'\d+', 'N', reply)
        if name in ('XRANGE', 'XREVRANGE'):
            order = [tuple(map(int, e[0].split('-'))) for e in reply]
            return [e[1] for e in reply], order == sorted(order, reverse=name == 'XREVRANGE')
        if name == 'HGETALL':
            return sorted(zip(reply[::2], reply[1::2]))
        if name == 'SRANDMEMBER':
            return len(reply)
        return sorted(reply) if name in UNORDERED else reply

    def same(self, case, argv, name=None):
        name = name or argv[0]
        real = self.plain(name, self.ask(self.server.r, argv))
        ours = self.plain(name, self.ask(self.store, argv))
        if name == 'PEXPIRETIME' and real > 0:
            case.assertAlmostEqual(real, ours, delta=20000)  # from the time of the command
        else:
            case.assertEqual(real, ours, argv)


class StoreTest(unittest.TestCase):
    def setUp(self):
        self.pair = Pair()
        self.addCleanup(self.pair.stop)

    def test_commands(self):
        rnd = random.Random(7)
        makers = commands(rnd)
        for i in range(12000):
            if i % 400 == 0:
                self.pair.same(self, ['FLUSHALL'])
            self.pair.same(self, rnd.choice(makers)())

    def test_through_scripts(self):
        rnd = random.Random(8)
        makers = commands(rnd)
        sha = self.pair.server.r('SCRIPT', 'LOAD', 'return redis.call(unpack(ARGV))')
        self.assertEqual(sha, self.pair.store('SCRIPT', 'LOAD', 'return redis.call(unpack(ARGV))'))
        for i in range(4000):
            if i % 400 == 0:
                self.pair.same(self, ['FLUSHALL'])
            argv = rnd.choice(makers)()
            self.pair.same(self, ['EVALSHA', sha, '1', KEYS[0]] + argv, argv[0])

    def test_scripts(self):
        for text in SCRIPTS:
            sha = self.pair.server.r('SCRIPT', 'LOAD', text)
            self.assertEqual(sha, self.pair.store('SCRIPT', 'LOAD', text))
            self.pair.same(self, ['EVALSHA', sha, '1', KEYS[0], 'one', 'two'])
        self.pair.same(self, ['EVALSHA', '0' * 40, '1', KEYS[0]])
        self.pair.same(self, ['SCRIPT', 'LOAD', 'return ('])

    def test_full(self):
        """Out of memory a script is refused at its first write, and one that has written may go on."""
        rnd = random.Random(9)
        makers = commands(rnd)
        texts = ["return redis.call(unpack(ARGV))", "redis.call('HDEL', '{q}:none', 'x') return redis.call(unpack(ARGV))"]
        shas = [self.pair.server.r('SCRIPT', 'LOAD', t) for t in texts]
        for t in texts:
            self.pair.store('SCRIPT', 'LOAD', t)
        for i in range(1500):
            if i % 300 == 0:
                self.pair.same(self, ['FLUSHALL'])
                for _ in range(100):
                    self.pair.same(self, rnd.choice(makers)())
            self.pair.same(self, ['CONFIG', 'SET', 'maxmemory', '1'])
            argv = rnd.choice(makers)()
            self.pair.same(self, argv)
            self.pair.same(self, ['EVALSHA', rnd.choice(shas), '1', KEYS[0]] + argv, argv[0])
            self.pair.same(self, ['CONFIG', 'SET', 'maxmemory', '0'])

    def test_protocol(self):
        """The scripts themselves: the random runs of tests/queue/check.py keep their invariants on the store."""
        options = Options()
        options.steps = 300
        sha = load(self.pair.store, inject=True)
        self.assertEqual(sha, load(self.pair.server.r, inject=True))
        for seed in (1, 2, 3):
            options.lost = .05 if seed == 3 else 0
            ours, real = (check.run(side, sha, seed, options) for side in (self.pair.store, self.pair.server.r))
            self.assertGreater(ours['settle OK'], 20)
            self.assertGreater(real['settle OK'], 20)

    def test_strict(self):
        """What the store lacks ends it: a scenario must not stand on something that is not there."""
        for argv in (['APPEND', 'k', 'v'], ['GET'], ['SET', 'k', 'v', 'NX'], ['ZRANGE', 'k', '0', '1', 'REV'],
                     ['XADD', 'k', '1-1', 'f', 'v']):
            store = Store(subprocess.DEVNULL)
            with self.assertRaises((ConnectionError, ValueError)):
                store('PING')
                store(*argv)
            self.assertNotEqual(store.process.wait(), 0, argv)
            store.file.close()
            store.process.stdin.close()


if __name__ == '__main__':
    if len(sys.argv) > 1:
        PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
