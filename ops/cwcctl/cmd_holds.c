/* SPDX-License-Identifier: Apache-2.0 */
/* All holds and open breakers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "worker/base/clock.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void add_holds(const struct resp_reply *holds, int64_t now_us, json_t *rows)
{
	for (size_t i = 0; holds->type == RESP_ARRAY && i + 1 < holds->n; i += 2) {
		json_t *hold = holds_hold(resp_text(holds->at[i + 1]), now_us);
		if (json_is_object(hold)) {
			json_t *row = json_object();
			json_object_set_new(row, "what", out_string(resp_text(holds->at[i])));
			json_object_set_new(row, "kind", json_string("hold"));
			json_object_update(row, hold);
			json_array_append_new(rows, row);
		}
		json_decref(hold);
	}
}

static void add_breakers(const struct resp_reply *breakers, json_t *rows)
{
	for (size_t i = 0; breakers->type == RESP_ARRAY && i + 1 < breakers->n; i += 2) {
		char reason[96];
		json_t *breaker = holds_breaker(resp_text(breakers->at[i + 1]));
		if (json_is_object(breaker)) {
			bool half = strcmp(json_string_value(json_object_get(breaker, "state")), "half") == 0;
			json_int_t opens = json_integer_value(json_object_get(breaker, "opens"));
			snprintf(reason, sizeof(reason), "%s; opened %lld time%s in a row",
				 half ? "one letter is tried" : "it does not answer", (long long)opens,
				 opens == 1 ? "" : "s");
			json_t *row = json_object();
			json_object_set_new(row, "what", out_string(resp_text(breakers->at[i])));
			json_object_set_new(row, "kind", json_string("breaker"));
			json_object_set_new(row, "who", json_string("workers"));
			json_object_set_new(row, "reason", json_string(reason));
			json_object_update(row, breaker);
			json_array_append_new(rows, row);
		}
		json_decref(breaker);
	}
}

static int by_what(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	const char *s = json_string_value(json_object_get(x, "what"));
	const char *t = json_string_value(json_object_get(y, "what"));
	int order = strcmp(s != NULL ? s : "", t != NULL ? t : "");
	return order != 0 ? order
			  : strcmp(json_string_value(json_object_get(y, "kind")),
				   json_string_value(json_object_get(x, "kind")));
}

/* Chambers, whose names are in small letters, come last. */
static json_t *sorted(json_t *rows)
{
	size_t n = json_array_size(rows);
	json_t **row = xcalloc(n + 1, sizeof(json_t *)), *out = json_array();
	for (size_t i = 0; i < n; i++)
		row[i] = json_array_get(rows, i);
	qsort(row, n, sizeof(json_t *), by_what);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, row[i]);
	free(row);
	json_decref(rows);
	return out;
}

int cmd_holds(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "what", "WHAT" }, { "kind", "KIND" }, { "until", "UNTIL" }, { "who", "WHO" }, { "reason", "REASON" },
	};
	struct resp_reply *holds = NULL, *breakers = NULL;
	int code = session_open(c);
	if (code != 0)
		return code;
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "holds")), &holds);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "breaker")), &breakers);
	if (session_wait(c, false) == ERR_OK) {
		json_t *rows = json_array();
		add_holds(holds, clock_wall_us(), rows);
		add_breakers(breakers, rows);
		out_rows(c, sorted(rows), col, N(col), "nothing is held, no breaker is open");
	} else {
		code = c->session->code;
	}
	reply_free(holds);
	reply_free(breakers);
	return code;
}
