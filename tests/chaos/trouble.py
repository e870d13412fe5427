# SPDX-License-Identifier: Apache-2.0
"""What befalls Redis and the chambers in a round: each do_* carries out one event of the plan, and returns whether it
could.

Mixed into storm.Round, whose clock (now, at), notes and questions to Redis (ask, try_ask) they use.
"""
import os
import signal
import time

RESEND_S = 3  # how far back a producer's outbox is said again: a disk may be behind by two seconds


class RedisTrouble:
    def do_client_kill(self):
        for n in range(1, self.plan.burst):
            self.at(self.now() + n * 0.02, self.cut_clients)
        return self.cut_clients()

    def cut_clients(self):
        return self.try_ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    def do_script_flush(self):
        return self.try_ask('SCRIPT', 'FLUSH')

    def do_redis(self, how, down, **more):
        if not self.redis_up or self.failing:
            return False
        if how in ('failover', 'power'):
            return self.do_forget(how, down, **more)
        if how == 'reload':
            return self.try_ask('DEBUG', 'RELOAD')
        if how == 'shutdown':
            if self.pause_left() > 0:
                return False
            self.stack.redis.send('SHUTDOWN', *(['SAVE'] if self.plan.redis == 'memory' else []))
            self.stack.redis_server.wait()
            self.stack.redis.close()
        else:
            self.stack.kill_redis()
        self.redis_up, self.paused_until, self.frozen = False, 0, False
        self.at(self.now() + down, self.redis_back)
        return True

    def redis_back(self):
        self.stack.start_redis()
        self.redis_is_up()

    def redis_is_up(self):
        self.stack.redis.sock.settimeout(self.REPLY_S)
        self.redis_up = True
        self.note('redis is back')

    def do_pause(self, what, **how):
        if self.failing:
            return False
        if self.plan.freeze and self.try_ask('PING'):
            self.stack.redis_server.send_signal(signal.SIGSTOP)
            self.frozen = True
            self.at(self.now() + how['for'], self.thaw, self.stack.redis_server)
        elif not self.try_ask('CLIENT', 'PAUSE', int(how['for'] * 1000), what):
            return False
        self.paused_until = time.monotonic() + how['for'] + 0.02
        return True

    def thaw(self, server):
        server.send_signal(signal.SIGCONT)
        self.frozen = False

    def do_full(self, **how):
        if not self.try_ask('CONFIG', 'SET', 'maxmemory', '1mb'):
            return False
        self.at(self.now() + how['for'], self.not_full)
        return True

    def not_full(self):
        if not self.try_ask('CONFIG', 'SET', 'maxmemory', '0'):
            self.at(self.now() + 0.1, self.not_full)

    # --- what Redis forgets ------------------------------------------------------------------

    def do_forget(self, how, down, lag, split, crash, back):
        """From now on nothing reaches the disk, or the replica; after `lag` Redis dies. split: the old master lives on
        so long with those workers that it has."""
        wait = self.pause_left()
        if wait > 0:  # nobody could tell what it knows
            self.at(self.now() + wait, self.event, 'redis', {'how': how, 'down': down, 'lag': lag, 'split': split,
                                                             'crash': crash, 'back': back})
            return False
        if not self.try_ask('PING') or not self.cut_off(how):
            return False
        self.failing, since = True, self.now()
        self.at(self.now() + lag, self.lose, how, down, split if how == 'failover' else 0, crash, back, since)
        return True

    def cut_off(self, how):
        stack = self.stack
        if how == 'power':
            self.written = os.stat(stack.master.append_file()).st_size
            return True
        if time.monotonic() < self.replica_until or not stack.replica.linked():
            return False
        stack.master.link.freeze()
        return True

    def lose(self, how, down, split, crash, back, since):
        wait = self.pause_left()
        if wait > 0:
            self.at(self.now() + wait, self.lose, how, down, split, crash, back, since)
            return
        stack = self.stack
        for slot, pause, rename in crash:
            self.do_kill(slot, pause, rename)
        self.note('%s: forgets %.3f s', how, self.now() - since)
        if split:
            old = stack.master
            self.promote(None, since)
            self.at(self.now() + split, self.end_of_old, old, self.snapshot_new, back, since)
            return
        stack.lead_nowhere()
        stack.sever(stack.master)
        before = stack.snapshot(stack.master)
        if how == 'power':
            stack.keep_written(self.written)
            self.at(self.now() + down, self.power_back, before, since)
        else:
            stack.master.kill()
            self.at(self.now() + down, self.promote, before, since)
            self.at(self.now() + down + back, self.rejoin)
        self.redis_up = False

    def power_back(self, before, since):
        self.stack.master.start()
        self.stack.use(self.stack.master)
        self.begin_anew(before, since)
        self.failing = False

    def promote(self, before, since):
        self.stack.promote()
        self.begin_anew(before, since)

    def begin_anew(self, before, since):
        """The one who knows less is the master. before: None while the old one lives."""
        stack = self.stack
        self.snapshot_new = stack.snapshot(stack.master)
        if before is not None:
            self.forgotten.note(before, self.snapshot_new, since)
        stack.lead()
        self.redis_is_up()
        again = [e for e in self.entries if e.acked >= since - RESEND_S]
        self.outbox[:0] = again
        self.note('%d records of %s; %d entries once more', len(self.snapshot_new['jobs']),
                  len(before['jobs']) if before else '?', len(again))

    def end_of_old(self, old, new, back, since):
        self.stack.sever(old)
        self.forgotten.note(self.stack.snapshot(old), new, since)
        old.kill()
        self.note('the old master is gone')
        self.at(self.now() + back, self.rejoin)

    def rejoin(self):
        self.stack.replica.link.thaw()
        self.stack.join_replica()
        self.failing = False
        self.note('a new replica')

    def do_lag(self, **how):
        """The replica gets nothing for a while, and has it all then."""
        if self.failing or not self.redis_up or self.pause_left() > 0 or not self.cut_off('failover'):
            return False
        self.failing = True
        self.at(self.now() + how['for'], self.caught_up)
        return True

    def caught_up(self):
        self.stack.master.link.thaw()
        self.failing = False
        self.note('no lag')

    def do_replica_stop(self, **how):
        if self.failing or time.monotonic() < self.replica_until:
            return False
        self.stack.replica.process.send_signal(signal.SIGSTOP)
        self.replica_until = time.monotonic() + how['for'] + 0.05
        self.at(self.now() + how['for'], self.stack.replica.process.send_signal, signal.SIGCONT)
        return True


class ChamberTrouble:
    def signal_sim(self, number):
        if self.stack.sim is not None and self.stack.sim.process is not None:
            self.stack.sim.process.send_signal(number)

    def sim_hears(self):
        return time.monotonic() >= self.cut_until

    def do_cut(self, **how):
        if not self.sim_hears():
            return False
        self.signal_sim(signal.SIGSTOP)
        self.cut_until = time.monotonic() + how['for'] + 0.05
        self.at(self.now() + how['for'], self.signal_sim, signal.SIGCONT)
        return True

    def set_rules(self):
        """Outages first: a request meets at most one rule."""
        self.stack.sim.clear_faults()
        for rule in self.outages + self.rules:
            self.stack.sim.fault(**rule)

    def do_rules(self, rules):
        if not self.sim_hears():
            return False
        self.rules = rules
        self.set_rules()
        return True

    def do_outage(self, rule, **how):
        """An office, or a chamber, answers nothing but this."""
        def switch(on):
            (self.outages.append if on else self.outages.remove)(rule)
            self.set_rules()
        return self.for_a_while(how['for'], switch)

    def do_maintenance(self, chamber, retry_after, **how):
        return self.for_a_while(how['for'], lambda on: self.stack.sim.maintenance(on, chamber, retry_after))

    def do_certificate(self, cert, **how):
        return self.for_a_while(how['for'], lambda on: self.stack.sim.tls(cert if on else 'server'))

    def do_close_idle(self):
        if not self.sim_hears():
            return False
        self.stack.sim.close_idle()
        return True

    def for_a_while(self, seconds, switch):
        if not self.sim_hears():
            return False
        switch(True)
        self.at(self.now() + seconds, self.switch_off, switch)
        return True

    def switch_off(self, switch):
        if self.sim_hears():
            switch(False)
        else:
            self.at(self.now() + 0.1, self.switch_off, switch)
