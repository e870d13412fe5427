# SPDX-License-Identifier: Apache-2.0
"""A stack whose worker has a status port."""
from life_case import Case
from stack import wait_until
from status_client import Scrape


class StatusCase(Case):
    def start(self, **options):
        super().start(**{'status': True, **options})
        self.address = self.stack.status_address('w1')
        return self.stack

    def scrape(self):
        return Scrape(self.address)

    def wait_scrape(self, check, what):
        return wait_until(lambda: (lambda s: s if check(s) else None)(self.scrape()), 20, what)
