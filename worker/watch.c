/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/watch.h"

#include <string.h>

#include "worker/base/text.h"

void watch_alarm_init(struct watch_alarm *a, unsigned limit)
{
	a->limit = limit;
	a->next = limit;
}

bool watch_alarm_due(struct watch_alarm *a, int64_t count)
{
	if (a->limit == 0)
		return false;
	/* next / 2 was told last, so that a quarter of next is half of that. */
	while (a->next > a->limit && count < (a->next + 3) / 4)
		a->next /= 2;
	if (count < a->next)
		return false;
	while (a->next <= count && a->next <= INT64_MAX / 2)
		a->next *= 2;
	return true;
}

/* The number behind "name:" at the beginning of a line; 0 when there is none. */
static uint64_t number_of(struct span info, struct span name)
{
	while (info.n > 0) {
		const uint8_t *end = memchr(info.p, '\n', info.n);
		size_t n = end != NULL ? (size_t)(end - info.p) : info.n;
		struct span line = span_of(info.p, n > 0 && info.p[n - 1] == '\r' ? n - 1 : n);
		uint64_t v;
		if (line.n > name.n && memcmp(line.p, name.p, name.n) == 0 &&
		    text_uint(span_of(line.p + name.n, line.n - name.n), INT64_MAX / 100, &v) == ERR_OK)
			return v;
		info = end != NULL ? span_of(end + 1, info.n - n - 1) : span_of(NULL, 0);
	}
	return 0;
}

int64_t watch_memory_percent(struct span info)
{
	uint64_t used = number_of(info, span_lit("used_memory:")), max = number_of(info, span_lit("maxmemory:"));
	return max == 0 ? 0 : (int64_t)(used * 100 / max);
}
