/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/clock.h"

#include <time.h>

#include "worker/base/err.h"

static int64_t now_us(clockid_t id)
{
	struct timespec t;
	int rc = clock_gettime(id, &t);

	BUG_ON(rc != 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME);
}

int64_t clock_boot_us(void)
{
	return now_us(CLOCK_BOOTTIME);
}
