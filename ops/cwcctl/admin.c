/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/admin.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define WHO_SIZE   64
#define REASON_MAX 200

static void who_am_i(char out[WHO_SIZE])
{
	char host[HOST_NAME_MAX + 1] = "?";
	const struct passwd *p = getpwuid(geteuid());
	if (gethostname(host, sizeof(host)) == 0)
		host[sizeof(host) - 1] = '\0';
	if (p != NULL)
		snprintf(out, WHO_SIZE, "%.31s@%.30s", p->pw_name, host);
	else
		snprintf(out, WHO_SIZE, "%u@%.30s", (unsigned)geteuid(), host);
}

struct resp_reply *admin_call(struct ctl *c, const char *verb, const char *a, const char *b, const char *arg_c)
{
	char who[WHO_SIZE];
	who_am_i(who);
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

int cmd_resume(struct ctl *c)
{
	int code = args_what(c->arg[0]);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r = admin_call(c, "resume", c->arg[0], "", "");
	if (r == NULL)
		return c->session->code;
	bool was = resp_number(resp_at(r, 1)) > 0;
	reply_free(r);
	if (c->json)
		out_document(json_pack("{s:s, s:b}", "resumed", c->arg[0], "was_held", was));
	else
		printf(was ? "%s goes on\n" : "%s was not held\n", c->arg[0]);
	return CTL_OK;
}
