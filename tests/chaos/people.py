# SPDX-License-Identifier: Apache-2.0
"""What people do in a round: holds, decisions about the dead and the doubtful, cwcctl. Mixed into storm.Round."""
import json
import os
import random
import subprocess
import time

from stack import BUILD

CTL = os.path.join(BUILD, 'cwcctl')
AWAY = 69  # exit status of cwcctl: Redis could not be asked
CTL_S = 60


class People:
    def cancel(self, sid, office):
        what = sid + ':' + office if office else sid
        for one in [office] if office else self.plan.submissions[sid]['offices']:
            self.acts.setdefault((sid, one), []).append('cancel')
        if self.try_ask('PING'):
            self.note('cancel %s: %s', what, self.stack.admin('cancel', what))
        else:
            self.note('cancel %s (passed over)', what)

    def do_hold(self, what, **how):
        if not self.try_ask('PING'):
            return False
        self.stack.admin('hold', what, int((time.time() + 600) * 1e6), 'chaos')
        self.at(self.now() + how['for'], self.resume, what)
        return True

    def resume(self, what):
        if self.try_ask('PING'):
            self.stack.admin('resume', what)
            self.note('resume %s', what)
        else:
            self.at(self.now() + 0.1, self.resume, what)

    # --- decisions ---------------------------------------------------------------------------

    def decide(self, seed, share, most=1000):
        """A person decides about some of the doubtful and the dead."""
        rng = random.Random(seed)
        jobs = self.stack.keys('job:*')
        rng.shuffle(jobs)
        for key in jobs:
            sid, office = key.split(':job:', 1)[1].rsplit(':', 1)
            state = self.ask('HGET', key, 'state')
            if state not in ('unknown', 'dead') or rng.random() >= share:
                continue
            if state == 'unknown':
                act = rng.choice(('resend', 'accepted', 'drop'))
                reply = self.stack.admin('resolve', sid, office, act)
            else:
                act = rng.choice(('replay', 'drop'))
                reply = self.stack.admin(act, sid, office)
            self.acts.setdefault((sid, office), []).append(act)
            self.note('a person: %s %s:%s: %s', act, sid, office, reply)
            most -= 1
            if most == 0:
                break

    def do_decide(self, seed, most):
        """In the middle of it all."""
        if not self.try_ask('PING'):
            return False
        self.decide(seed, 0.7, most)
        self.cancel_doubtful(seed, most)
        return True

    def cancel_doubtful(self, seed, most):
        """Of the letters that are to go again and may have been taken before."""
        rng, found = random.Random(seed), []
        for key in self.stack.keys('job:*'):
            fields = self.ask('HKEYS', key)
            if any(f.startswith('u:') for f in fields) and self.ask('HGET', key, 'state') in ('wait', 'later'):
                found.append(key.split(':job:', 1)[1].rsplit(':', 1))
        for sid, office in rng.sample(found, min(most, len(found))):
            self.cancel(sid, office)

    # --- cwcctl ------------------------------------------------------------------------------

    def ctl(self, *args):
        return [CTL, *args, '--redis', 'unix:' + self.stack.redis_path, '--queue', self.stack.queue]

    def do_fsck(self, mend):
        """Beside what goes on, which is never off."""
        if not self.try_ask('PING'):
            return False
        self.looks.append(self.fsck(*(['--mend'] if mend else [])))
        return True

    def fsck(self, *args):
        return subprocess.Popen(self.ctl('fsck', '--quiet', *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def end_looks(self):
        for p in self.looks:
            try:
                out = p.communicate(timeout=CTL_S)[0]
            except subprocess.TimeoutExpired:
                p.kill()
                out = p.communicate()[0] + ' (killed)'
            if p.returncode not in (0, AWAY):
                self.violations.append('fsck (%d): %s' % (p.returncode, ' '.join(out.split())[:1000]))
        self.looks = []

    def replay_all(self):
        """cwcctl dead replay --all: each dead letter goes once more."""
        dead = []
        for key in self.stack.keys('job:*'):
            if self.ask('HGET', key, 'state') == 'dead':
                dead.append(tuple(key.split(':job:', 1)[1].rsplit(':', 1)))
        p = subprocess.run(self.ctl('dead', 'replay', '--yes', '--all', '--quiet', '--json'), capture_output=True, text=True,
                           timeout=CTL_S, check=False)
        for key in dead:
            self.acts.setdefault(key, []).append('replay')
        rows = [json.loads(line) for line in p.stdout.splitlines()]
        self.note('cwcctl dead replay --all (%d): %s', p.returncode, rows[-1:] or p.stderr)
        if p.returncode != 0:
            self.violations.append('cwcctl dead replay --all: %d, %s' % (p.returncode, p.stderr.strip()[:300]))
        return bool(dead)
