/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers log: worker/base/log.h, kept in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/fleet.h"
#include "worker/base/text.h"

#define LINES_MAX 32768

static struct fleet_line *lines;
static size_t n_lines;
static bool shown;

static const char *const event_names[] = {
#define EVENT_NAME(e, name, level) name,
	LOG_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

static const struct {
	const char *name;
	bool number;
} fields[] = {
#define FIELD(e, name, number) { name, number },
	LOG_FIELDS(FIELD)
#undef FIELD
};

const char *fleet_event_name(enum log_event e)
{
	return event_names[e];
}

bool fleet_event_known(const char *name)
{
	for (size_t i = 0; i < LOG_EVENT_COUNT; i++)
		if (strcmp(event_names[i], name) == 0)
			return true;
	return false;
}

void fleet_log_reset(void)
{
	if (lines == NULL)
		lines = xcalloc(LINES_MAX, sizeof(*lines));
	n_lines = 0;
}

void fleet_log_show(bool show)
{
	shown = show;
}

size_t fleet_log(const struct fleet_line **ret_first)
{
	*ret_first = lines;
	return n_lines;
}

static void show(const struct fleet_line *l)
{
	char time[TEXT_TIME_MS_SIZE];
	text_time_ms(l->wall_us / 1000, time);
	printf("    %s %s %s %s\n", time, l->worker, event_names[l->event], l->text);
}

void log_open(int fd, enum log_level level, bool json)
{
	(void)fd;
	(void)level;
	(void)json;
}

void log_values(enum log_event event, const struct log_value *v, size_t n)
{
	size_t at = 0;
	BUG_ON(n_lines == LINES_MAX);
	struct fleet_line *l = &lines[n_lines++];
	*l = (struct fleet_line){ .wall_us = sim_wall_us(), .event = event };
	snprintf(l->worker, sizeof(l->worker), "%s", fleet_running());
	for (size_t i = 0; i < n && at < sizeof(l->text); i++) {
		const char *name = fields[v[i].field].name, *gap = i == 0 ? "" : " ";
		int size = fields[v[i].field].number ? snprintf(l->text + at, sizeof(l->text) - at, "%s%s=%lld", gap,
								name, (long long)v[i].number)
						     : snprintf(l->text + at, sizeof(l->text) - at, "%s%s=%.*s", gap,
								name, (int)v[i].name.n, (const char *)v[i].name.p);
		at += size > 0 ? (size_t)size : 0;
	}
	if (shown)
		show(l);
}
