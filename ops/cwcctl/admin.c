/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/admin.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define REASON_MAX 200

void admin_who(char ret_who[ADMIN_WHO_SIZE])
{
	char host[HOST_NAME_MAX + 1] = "?";
	const struct passwd *p = getpwuid(geteuid());
	if (gethostname(host, sizeof(host)) == 0)
		host[sizeof(host) - 1] = '\0';
	if (p != NULL)
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.31s@%.30s", p->pw_name, host);
	else
		snprintf(ret_who, ADMIN_WHO_SIZE, "%u@%.30s", (unsigned)geteuid(), host);
}

struct resp_reply *admin_call(struct ctl *c, const char *verb, const char *a, const char *b, const char *arg_c)
{
	char who[ADMIN_WHO_SIZE];
	admin_who(who);
	return session_script(c, "admin",
			      SESSION_ARGV(span_str(verb), span_str(who), span_str(a), span_str(b), span_str(arg_c)));
}

/* --- holds ------------------------------------------------------------------------------------ */

static int hold_until(const struct ctl *c, int64_t *ret_us)
{
	int64_t until_s;
	uint64_t ms;
	if (ctl_has(c, OPT_UNTIL) == ctl_has(c, OPT_FOR))
		return ctl_fail(CTL_USAGE, "either --until or --for is needed");
	if (ctl_has(c, OPT_FOR)) {
		if (units_duration(c->opt[OPT_FOR], &ms) != ERR_OK)
			return ctl_fail(CTL_USAGE, "--for must be a duration in ms, s, min, h or d, such as 2h");
		*ret_us = clock_wall_us() + (int64_t)ms * 1000;
		return 0;
	}
	if (units_time(c->opt[OPT_UNTIL], &until_s) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--until must be a time, RFC 3339 or seconds since 1970");
	*ret_us = until_s * 1000000;
	return *ret_us > clock_wall_us() ? 0 : ctl_fail(CTL_USAGE, "--until is past");
}

static int hold_arguments(struct ctl *c, int64_t *ret_us)
{
	int code = args_what(c->arg[0]);
	if (code == 0)
		code = hold_until(c, ret_us);
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
	int64_t until_us = 0;
	char digits[24], text[TEXT_TIME_SIZE];
	int code = hold_arguments(c, &until_us);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	snprintf(digits, sizeof(digits), "%lld", (long long)until_us);
	struct resp_reply *r = admin_call(c, "hold", c->arg[0], digits, c->opt[OPT_REASON]);
	if (r == NULL)
		return c->session->code;
	reply_free(r);
	text_time(until_us / 1000000, text);
	if (c->json)
		out_document(json_pack("{s:s, s:o, s:s}", "held", c->arg[0], "until", out_time_us(until_us), "reason",
				       c->opt[OPT_REASON]));
	else
		printf("%s is held until %s\n", c->arg[0], text);
	return CTL_OK;
}

/* What stands in its way now. False after a report. */
static bool what_stands(struct ctl *c, bool *ret_held, bool *ret_broken)
{
	struct resp_reply *hold = NULL, *breaker = NULL;
	struct span what = span_str(c->arg[0]);
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

int cmd_resume(struct ctl *c)
{
	bool held, broken;
	int code = args_what(c->arg[0]);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	if (!what_stands(c, &held, &broken))
		return c->session->code;
	struct resp_reply *r = admin_call(c, "resume", c->arg[0], "", "");
	if (r == NULL)
		return c->session->code;
	reply_free(r);
	if (c->json)
		out_document(
			json_pack("{s:s, s:b, s:b}", "resumed", c->arg[0], "was_held", held, "was_broken", broken));
	else if (broken)
		printf("%s goes on: its breaker%s ended; it opens again if it still does not answer\n", c->arg[0],
		       held ? " and its hold have" : " has");
	else
		printf(held ? "%s goes on\n" : "%s was not held\n", c->arg[0]);
	return CTL_OK;
}
