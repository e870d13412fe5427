/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses of chambers and offices: `pause` (also called `hold`) and `resume`. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define REASON_MAX 200
#define UNTIL_MAX  INT64_C(9999999999999999) /* us: the queue takes 16 digits */
#define WHATS_MAX  (CTL_ARGS_MAX + 1)

/* The arguments, with `all` as both chambers. */
struct whats {
	const char *at[WHATS_MAX];
	size_t n;
};

static int whats_read(const struct ctl *c, struct whats *ret_w)
{
	*ret_w = (struct whats){ .n = 0 };
	for (size_t i = 0; i < c->n_args; i++) {
		bool all = strcmp(c->arg[i], "all") == 0;
		if (all && c->n_args > 1)
			return ctl_fail(CTL_USAGE, "all is both chambers: it goes with nothing else");
		int code = all ? 0 : args_what(c->arg[i]);
		if (code != 0)
			return code;
		ret_w->at[ret_w->n++] = all ? "house" : c->arg[i];
		if (all)
			ret_w->at[ret_w->n++] = "senate";
	}
	return 0;
}

/* What the script said, taken; false after a report. */
static bool agreed(struct ctl *c, const char *what, struct resp_reply *r)
{
	struct span word = r != NULL ? resp_text(resp_at(r, 0)) : span_of(NULL, 0);
	bool good = span_eq_str(word, "OK");
	if (r != NULL && !good)
		c->session->code = ctl_fail(CTL_INTERNAL, "%s: the queue refuses it: %.*s", what, (int)word.n,
					    word.n > 0 ? (const char *)word.p : "");
	reply_free(r);
	return good;
}

/* One object for one, as ever; an array for several. */
static void say(const struct ctl *c, json_t *rows)
{
	if (!c->json) {
		json_decref(rows);
		return;
	}
	out_document(json_array_size(rows) == 1 ? json_incref(json_array_get(rows, 0)) : json_incref(rows));
	json_decref(rows);
}

/* --- pause ------------------------------------------------------------------------------------ */

static int pause_until(const struct ctl *c, int64_t *ret_us)
{
	int64_t until_s;
	uint64_t ms;
	if (ctl_has(c, OPT_UNTIL) == ctl_has(c, OPT_FOR))
		return ctl_fail(CTL_USAGE, "either --until or --for is needed");
	if (ctl_has(c, OPT_FOR)) {
		if (units_duration(c->opt[OPT_FOR], &ms) != ERR_OK || ms == 0)
			return ctl_fail(CTL_USAGE, "--for must be a duration in ms, s, min, h or d, such as 2h, at "
						   "most 365d");
		*ret_us = clock_wall_us() + (int64_t)ms * 1000;
		return 0;
	}
	if (units_time(c->opt[OPT_UNTIL], &until_s) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--until must be a time, RFC 3339 or seconds since 1970");
	*ret_us = until_s * 1000000;
	if (*ret_us > UNTIL_MAX)
		return ctl_fail(CTL_USAGE, "--until must be before 2286-11-20T17:46:40Z");
	return *ret_us > clock_wall_us() ? 0 : ctl_fail(CTL_USAGE, "--until is past");
}

static int pause_arguments(struct ctl *c, struct whats *ret_w, int64_t *ret_us)
{
	int code = whats_read(c, ret_w);
	if (code == 0)
		code = pause_until(c, ret_us);
	if (code != 0)
		return code;
	if (!ctl_has(c, OPT_REASON) || c->opt[OPT_REASON][0] == '\0')
		return ctl_fail(CTL_USAGE, "--reason is needed");
	if (span_str(c->opt[OPT_REASON]).n > REASON_MAX)
		return ctl_fail(CTL_USAGE, "--reason has more than %d bytes", REASON_MAX);
	return 0;
}

int cmd_hold(struct ctl *c)
{
	struct whats w;
	int64_t until_us = 0;
	char digits[24], text[TEXT_TIME_SIZE];
	int code = pause_arguments(c, &w, &until_us);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *rows = json_array();
	snprintf(digits, sizeof(digits), "%lld", (long long)until_us);
	text_time(until_us / 1000000, text);
	for (size_t i = 0; code == 0 && i < w.n; i++) {
		if (!agreed(c, w.at[i], admin_call(c, "hold", w.at[i], digits, c->opt[OPT_REASON]))) {
			code = c->session->code;
			continue;
		}
		json_array_append_new(rows,
				      json_pack("{s:s, s:o, s:o}", "held", w.at[i], "until", out_time_us(until_us),
						"reason", out_string(span_str(c->opt[OPT_REASON]))));
		if (!c->json)
			printf("%s is held until %s\n", w.at[i], text);
	}
	say(c, rows);
	return code;
}

/* --- resume ----------------------------------------------------------------------------------- */

/* What stands in its way now. False after a report. */
static bool what_stands(struct ctl *c, const char *name, bool *ret_held, bool *ret_broken)
{
	struct resp_reply *hold = NULL, *breaker = NULL;
	struct span what = span_str(name);
	session_send(c, SESSION_ARGV(span_lit("HGET"), session_key(c, "holds"), what), &hold);
	session_send(c, SESSION_ARGV(span_lit("HGET"), session_key(c, "breaker"), what), &breaker);
	bool good = session_wait(c, false) == ERR_OK;
	if (good) {
		json_t *h = holds_hold(resp_text(hold), clock_wall_us()), *b = holds_breaker(resp_text(breaker));
		*ret_held = json_is_object(h);
		*ret_broken = json_is_object(b);
		json_decref(h);
		json_decref(b);
	}
	reply_free(hold);
	reply_free(breaker);
	return good;
}

static bool resume_one(struct ctl *c, const char *what, json_t *rows)
{
	bool held, broken;
	if (!what_stands(c, what, &held, &broken) || !agreed(c, what, admin_call(c, "resume", what, "", "")))
		return false;
	json_array_append_new(rows,
			      json_pack("{s:s, s:b, s:b}", "resumed", what, "was_held", held, "was_broken", broken));
	if (c->json)
		return true;
	if (broken)
		printf("%s goes on: its breaker%s ended; it opens again if it still does not answer\n", what,
		       held ? " and its hold have" : " has");
	else
		printf(held ? "%s goes on\n" : "%s was not held\n", what);
	return true;
}

int cmd_resume(struct ctl *c)
{
	struct whats w;
	int code = whats_read(c, &w);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *rows = json_array();
	for (size_t i = 0; code == 0 && i < w.n; i++)
		code = resume_one(c, w.at[i], rows) ? 0 : c->session->code;
	say(c, rows);
	return code;
}
