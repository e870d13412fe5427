# SPDX-License-Identifier: Apache-2.0
"""ops/supervise with the workers of a stack, and what it said."""
import json
import os
import signal
import subprocess
import threading

from stack import BUILD, DEV_PROGRAM, ROOT, wait_until

CTL = os.path.join(ROOT, BUILD, 'cwcctl')
SUPERVISE = os.path.join(ROOT, 'ops', 'supervise')


class Supervised:
    def __init__(self, stack, scale, command=None, ctl=CTL):
        """scale: options of `cwcctl scale` besides where Redis is."""
        stack.write_config('template')
        with open(stack.path('template.conf'), encoding='utf-8') as f:
            text = f.read().replace('name = template', 'name = @NAME@')
        assert '@NAME@' in text
        with open(stack.path('host.in'), 'w', encoding='utf-8') as f:
            f.write(text)
        command = command or [os.path.join(ROOT, DEV_PROGRAM), '--config', stack.path('measured.conf'), '--host-config', '{conf}']
        self.log = open(stack.path('workers.log'), 'ab')
        self.process = subprocess.Popen([SUPERVISE, '--host-template', stack.path('host.in'), '--dir', stack.dir, '--cwcctl', ctl,
                                         '--every', '1', '--scale', '--redis unix:%s %s' % (stack.redis_path, scale), '--', *command],
                                        stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, text=True)
        self.events = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            # The workers' own lines come here, too.
            if event.get('event') in ('start', 'drain', 'exit', 'killed') and 'pid' in event or event.get('event') in ('desired', 'scale_ended'):
                self.events.append(event)

    def pids(self):
        """Of those that serve, by name."""
        found = {}
        for e in list(self.events):
            if e['event'] == 'start':
                found[e['name']] = e['pid']
            elif e['event'] in ('drain', 'exit'):
                found.pop(e['name'], None)
        return found

    def wait(self, n, timeout=40):
        wait_until(lambda: len(self.pids()) == n, timeout, '%d workers: %s' % (n, self.events[-5:]))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.thread.join()
        self.process.stdout.close()
        self.log.close()
