/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/admin.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define REASON_MAX 200
#define USER_SIZE  33
#define UNTIL_MAX  INT64_C(9999999999999999) /* us: the queue takes 16 digits */

static void user_name(uid_t uid, char ret_name[USER_SIZE])
{
	const struct passwd *p = getpwuid(uid);
	if (p != NULL)
		snprintf(ret_name, USER_SIZE, "%s", p->pw_name);
	else
		snprintf(ret_name, USER_SIZE, "%u", (unsigned)uid);
}

/* Who logged in, which the kernel keeps through su and sudo; false: nobody did, such as in a service. */
static bool login_uid(uid_t *ret_uid)
{
	char text[16];
	uint64_t uid;
	FILE *f = fopen("/proc/self/loginuid", "re");
	if (f == NULL)
		return false;
	size_t n = fread(text, 1, sizeof(text), f);
	fclose(f);
	/* UINT_MAX: nobody. */
	if (text_uint((struct span){ (const uint8_t *)text, n }, UINT_MAX - 1, &uid) != ERR_OK)
		return false;
	*ret_uid = (uid_t)uid;
	return true;
}

void admin_who(char ret_who[ADMIN_WHO_SIZE])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@()+$?";
	char host[HOST_NAME_MAX + 1] = "?", user[USER_SIZE], login[USER_SIZE];
	uid_t uid;
	if (gethostname(host, sizeof(host)) == 0)
		host[sizeof(host) - 1] = '\0';
	user_name(geteuid(), user);
	if (login_uid(&uid) && uid != geteuid()) {
		user_name(uid, login);
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.24s(%.12s)@%.24s", login, user, host);
	} else {
		snprintf(ret_who, ADMIN_WHO_SIZE, "%.31s@%.30s", user, host);
	}
	for (char *p = ret_who; *p != '\0'; p++)
		if (strchr(plain, *p) == NULL)
			*p = '_';
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

/* What the script said, taken; false after a report. */
static bool agreed(struct ctl *c, struct resp_reply *r)
{
	struct span word = r != NULL ? resp_text(resp_at(r, 0)) : span_of(NULL, 0);
	bool good = span_eq_str(word, "OK");
	if (r != NULL && !good)
		c->session->code = ctl_fail(CTL_INTERNAL, "%s: the queue refuses it: %.*s", c->arg[0], (int)word.n,
					    word.n > 0 ? (const char *)word.p : "");
	reply_free(r);
	return good;
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
	if (!agreed(c, admin_call(c, "hold", c->arg[0], digits, c->opt[OPT_REASON])))
		return c->session->code;
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
	if (!agreed(c, admin_call(c, "resume", c->arg[0], "", "")))
		return c->session->code;
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
