# SPDX-License-Identifier: Apache-2.0
"""Letters on which people must decide: dead ones and those of unknown fate, one by one and many (CWC_LONG=1: a hundred thousand)."""
import os
import pathlib
import re

from cwcctl_case import CTL, OK, SECOND, QueueCase, rq

MINUTE, HOUR, DAY = 60, 3600, 86400
LONG = bool(os.environ.get('CWC_LONG'))
# Slower, and its memory says nothing.
ASAN = os.path.exists(CTL) and b'libasan' in pathlib.Path(CTL).read_bytes()
SCALE = 10000 if ASAN else 100000 if LONG else 20000
MEMORY_KB = (48 if LONG else 16) * 1024  # less than all of them need besides the program

# Dead letters as SETTLE leaves them: entry, record, submission. ARGV: prefix, first, last, end in us, bytes.
DEAD = '''
local P, digest = ARGV[1], redis.sha1hex(ARGV[5])
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
	local sid, office = 's' .. i, i % 4 == 0 and 'SNE02' or 'HNE0' .. i % 4
	local history = ''
	for k = 1, 8 do history = history .. k .. ',1767225600000,1767225601000,503,no_answer;' end
	local id = redis.call('XADD', P .. 'dead', '*', 'sid', sid, 'office', office, 'rev', 3, 'outcome', 'attempts_exhausted',
		'class', 'ended', 'detail', 'http-503', 'http_status', 503, 'delivery_id', 'd', 'attempt', 8, 'crashes', 0,
		'deliveries', 8, 'generation', 0, 'first_us', ARGV[4], 'ended_us', ARGV[4], 'history', history)
	redis.call('HSET', P .. 'job:' .. sid .. ':' .. office, 'state', 'dead', 'rev', 3, 'attempt', 8, 'crashes', 0,
		'deliveries', 8, 'score', i, 'digest', digest, 'candidates', '', 'why', '', 'generation', 0, 'dead_id', id,
		'token', '', 'last_token', 't', 'worker', '', 'previous', '', 'delivery_id', 'd', 'date', '20260302',
		'outcome', 'attempts_exhausted', 'class', 'ended', 'last', 'no_answer', 'status', 503, 'first_us', ARGV[4],
		'ended_us', ARGV[4], 'expires_us', '4000000000000000', 'history', history)
	redis.call('HSET', P .. 'sub:' .. sid, 'offices', office, 'open', 0, 'rollup', 'failed', 's:' .. office,
		'dead attempts_exhausted 3', 'first_us', ARGV[4], 'expires_us', '4000000000000000', 'j:' .. digest, ARGV[5])
end
'''
# How many jobs are in this state with this rev. ARGV: prefix, state, rev, number.
COUNT = '''
local n = 0
for i = 1, tonumber(ARGV[4]) do
	local office = i % 4 == 0 and 'SNE02' or 'HNE0' .. i % 4
	local j = redis.call('HMGET', ARGV[1] .. 'job:s' .. i .. ':' .. office, 'state', 'rev')
	if j[1] == ARGV[2] and j[2] == ARGV[3] then n = n + 1 end
end
return n
'''


def peak_kb(pid):
    try:
        with open('/proc/%d/status' % pid, encoding='ascii') as f:
            return int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1))
    except (OSError, AttributeError):  # it has ended
        return 0


class Case(QueueCase):
    def die(self, sid, office='HNE03', outcome='attempts_exhausted', cls='ended', ago=0, status=503):
        """A letter that was sent once and died `ago` seconds ago, by the worker's clock."""
        self.end_as('dead', sid, office, outcome, cls, ago, status)

    def doubt(self, sid, office='HNE03', outcome='outcome_unknown', ago=0, delivery_id='d' * 32):
        self.end_as('unknown', sid, office, outcome, 'unknown', ago, 0, delivery_id)

    def end_as(self, state, sid, office, outcome, cls, ago, status, delivery_id='d' * 32):
        self.add(sid, office)
        taken = self.take('house' if office[0] == 'H' else 'senate')[sid]
        self.begin(taken, delivery_id)
        reply = self.call('settle', 'w1/1', *taken[:3], 'end', state, outcome, cls, 0, 'a detail', status, 0, self.now(),
                          self.now(), b'', b'', -1, 0, 0)
        self.assertEqual(reply[0], 'OK')
        if ago:
            ended = self.now() - ago * SECOND
            self.r('HSET', '{q}:job:%s:%s' % (sid, office), 'ended_us', ended)
            if state == 'dead':
                self.redate(sid, office, ended)

    def redate(self, sid, office, ended):
        """The same entry with another time; the stream stays in order since it is the newest."""
        (_, flat), = self.r('XREVRANGE', '{q}:dead', '+', '-', 'COUNT', 1)
        fields = {**rq.pairs(flat), 'ended_us': ended}
        old = self.r('HGET', '{q}:job:%s:%s' % (sid, office), 'dead_id')
        new = self.r('XADD', '{q}:dead', '*', *[x for item in fields.items() for x in item])
        self.r('HSET', '{q}:job:%s:%s' % (sid, office), 'dead_id', new)
        self.r('XDEL', '{q}:dead', old)

    def several(self):
        self.die('old', ago=10 * DAY)
        self.die('crash', 'HNE01', 'crashes', ago=2 * DAY, status=0)
        self.die('senate', 'SNE02', 'age_exhausted', ago=2 * HOUR, status=500)
        self.die('new', ago=10)
        self.die('other', 'HNE01', cls='strange', ago=5)

    def listed(self, *filters, code=OK, command=('dead', 'list')):
        return [r['sid'] for r in self.ctl(*command, *filters, '--json', code=code).json]

    def summary(self, result):
        return result.lines[-1]['summary']

    def scale(self, n, ended=1767225600000000):
        for first in range(1, n + 1, 5000):
            self.r('EVAL', DEAD, 0, '{q}:', first, min(first + 4999, n), ended, 'the sealed bytes')
