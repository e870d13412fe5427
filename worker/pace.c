/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pace.h"

#define SECOND_US 1000000.0
#define GRANT_US  2000000

void pace_init(struct pace *p, double rate, unsigned burst)
{
	double period = SECOND_US / rate;
	p->period_us = period < 1 ? 1 : (int64_t)period;
	p->tolerance_us = (int64_t)((double)(burst - 1) * period) + GRANT_US;
	p->due_us = 0;
}

bool pace_take(struct pace *p, int64_t now_us)
{
	int64_t due = p->due_us > now_us ? p->due_us : now_us;
	if (due - now_us > p->tolerance_us)
		return false;
	p->due_us = due + p->period_us;
	return true;
}
