# SPDX-License-Identifier: Apache-2.0
"""Between a worker and its Redis: a place to stand when something must go wrong at one exact moment.

    gate = Gate(stack.redis_path, stack.path('gate.sock'))
    stack.dialled = gate.path
    gate.at('take', act)            # act() once, when the next TAKE has come and Redis was not asked yet
    gate.answer = lambda name, argv: Error('TRYAGAIN ...')     # until it is None again: instead of Redis

It passes on what it is given, byte for byte, and outlives the Redis behind it.
"""
import threading

import liar as liars


class Gate(liars.Liar):
    def __init__(self, upstream, path):
        self.answer, self.acts, self.fired = None, [], {}
        self.lock = threading.Lock()
        super().__init__(upstream, path)

    def at(self, name, act, when=lambda: True):
        """Returns an event that is set when act() is done. name: of a script, or a command's first word. when(): whether
        this call is the one."""
        done = threading.Event()
        with self.lock:
            self.acts.append((name, act, done, when))
        return done

    def due(self, name):
        with self.lock:
            for one in self.acts:
                if one[0] == name and one[3]():
                    self.acts.remove(one)
                    return one
        return None

    def reply(self, command, server, answers):
        name = command[0].decode()
        if name == 'EVALSHA':
            name = self.scripts.get(command[1], 'other')
        one = self.due(name)
        if one is not None:
            one[1]()
            one[2].set()
        if self.answer is not None and name != 'SCRIPT':
            told = self.answer(name, command)
            if told is not None:
                return told
        return super().reply(command, server, answers)
