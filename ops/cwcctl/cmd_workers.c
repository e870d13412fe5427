/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: who they are, and how one is told to go. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/units.h"
#include "ops/cwcctl/workers.h"
#include "worker/base/clock.h"

#define N(a)       (sizeof(a) / sizeof((a)[0]))
#define LOOK_MS    250
#define REASON_MAX 200
#define GONE_US    INT64_C(5000000) /* a lease is in its worker's clock, which may be off by as much */

/* --- workers ---------------------------------------------------------------------------------- */

/* For people: what JSON says in members of its own. */
static void dress(json_t *row, int64_t now_us)
{
	char age[OUT_AGE_SIZE], text[OUT_AGE_SIZE + 16];
	const char *pcr0 = json_string_value(json_object_get(row, "pcr0"));
	int64_t until_us = (int64_t)json_integer_value(json_object_get(row, "lease_us"));
	int64_t beat_us = (int64_t)json_integer_value(json_object_get(row, "beat_us"));
	bool alive = until_us > now_us;
	out_age(alive ? until_us - now_us : now_us - until_us, age);
	snprintf(text, sizeof(text), alive ? "for %s" : "ended %s ago", age);
	json_object_set_new(row, "lease", json_string(text));
	if (beat_us > 0) {
		out_age(now_us - beat_us, age);
		snprintf(text, sizeof(text), "%s ago", age);
	}
	json_object_set_new(row, "last_beat", beat_us > 0 ? json_string(text) : json_null());
	if (pcr0 != NULL)
		json_object_set_new(row, "pcr0", json_stringn(pcr0, strlen(pcr0) > 12 ? 12 : strlen(pcr0)));
}

static void undress(json_t *row)
{
	json_object_set_new(row, "lease", out_time_us((int64_t)json_integer_value(json_object_get(row, "lease_us"))));
	json_object_set_new(row, "last_beat",
			    out_time_us((int64_t)json_integer_value(json_object_get(row, "beat_us"))));
	json_object_del(row, "lease_us");
	json_object_del(row, "beat_us");
}

int cmd_workers(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "worker", "WORKER" },       { "state", "STATE" }, { "holds", "JOBS HELD" },
		{ "last_beat", "LAST BEAT" }, { "lease", "LEASE" }, { "version", "VERSION" },
		{ "bundle", "BUNDLE" },       { "pcr0", "PCR0" },
	};
	int code = session_open(c);
	if (code != 0)
		return code;
	json_t *rows = workers_read(c);
	if (rows == NULL)
		return c->session->code;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (c->json)
			undress(json_array_get(rows, i));
		else
			dress(json_array_get(rows, i), clock_wall_us());
	}
	out_rows(c, rows, col, N(col), "no worker");
	return CTL_OK;
}

/* --- drain ------------------------------------------------------------------------------------ */

static int check_worker(const char *name)
{
	struct span s = span_str(name);
	size_t slashes = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] == 0x7f)
			return ctl_fail(CTL_USAGE, "not the name of a worker: %s", name);
		slashes += s.p[i] == '/';
	}
	if (s.n == 0 || s.n > QUEUE_WORKER_MAX || slashes > 1 || s.p[0] == '/' || s.p[s.n - 1] == '/')
		return ctl_fail(CTL_USAGE, "not the name of a worker, nor NAME/NONCE as `workers` prints it: %s", name);
	return 0;
}

/* Those that are meant and not gone; -1 after a report or an interrupt. *ret_holds: letters that they have. */
static int still_there(struct ctl *c, const char *meant, int64_t *ret_holds)
{
	size_t n = strlen(meant);
	bool boot = strchr(meant, '/') != NULL;
	int there = 0;
	json_t *rows = workers_read(c);
	if (rows == NULL)
		return -1;
	*ret_holds = 0;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *who = json_string_value(json_object_get(row, "worker"));
		int64_t until_us = (int64_t)json_integer_value(json_object_get(row, "lease_us"));
		bool same =
			who != NULL && (boot ? strcmp(who, meant) == 0 : strncmp(who, meant, n) == 0 && who[n] == '/');
		if (!same || until_us + GONE_US < clock_wall_us())
			continue;
		there++;
		*ret_holds += (int64_t)json_integer_value(json_object_get(row, "holds"));
	}
	json_decref(rows);
	return there;
}

static int report(const struct ctl *c, bool gone, int64_t holds, int64_t since_us)
{
	char age[OUT_AGE_SIZE];
	int64_t took_us = clock_boot_us() - since_us;
	out_age(took_us, age);
	if (c->json)
		out_document(json_pack("{s:s, s:b, s:I, s:o}", "worker", c->arg[0], "gone", gone, "holds",
				       (json_int_t)holds, "seconds", out_seconds(took_us)));
	else if (gone)
		printf("%s is gone, after %s\n", c->arg[0], age);
	else
		ctl_complain("%s is still there after %s, with %lld letters in its hands; the order stands", c->arg[0],
			     age, (long long)holds);
	return gone ? CTL_OK : CTL_NO;
}

static int wait_gone(struct ctl *c, uint64_t wait_ms)
{
	int64_t since_us = clock_boot_us(), end_us = since_us + (int64_t)wait_ms * 1000, holds = 0;
	session_watch(c);
	c->session->patient = true;
	for (;;) {
		int there = still_there(c, c->arg[0], &holds);
		if (c->session->interrupted)
			return ctl_fail(CTL_NO, "stopped; the order stands");
		if (there < 0)
			return c->session->code;
		if (there == 0 || clock_boot_us() >= end_us)
			return report(c, there == 0, holds, since_us);
		session_sleep(c, LOOK_MS);
	}
}

/* Which workers were told; 0, or the exit status after a report. */
static int order(struct ctl *c)
{
	struct resp_reply *r = admin_call(c, "drain", c->arg[0], ctl_value(c, OPT_REASON, ""), "");
	int code = CTL_OK;
	if (r == NULL)
		return c->session->code;
	json_t *told = json_array();
	for (size_t i = 1; i < r->n; i++)
		json_array_append_new(told, out_string(resp_text(r->at[i])));
	if (!span_eq_str(resp_text(resp_at(r, 0)), "OK"))
		code = ctl_fail(CTL_NO, "%s: no such worker; see `cwcctl workers`", c->arg[0]);
	else if (ctl_has(c, OPT_WAIT))
		code = CTL_OK;
	else if (c->json)
		out_document(json_pack("{s:s, s:O}", "worker", c->arg[0], "told", told));
	else if (json_array_size(told) == 0)
		printf("%s has gone already\n", c->arg[0]);
	else
		printf("%s is to finish what it has, and to end; it hears of it with its next beat\n", c->arg[0]);
	json_decref(told);
	reply_free(r);
	return code;
}

int cmd_workers_drain(struct ctl *c)
{
	uint64_t wait_ms = 0;
	int code = check_worker(c->arg[0]);
	if (code == 0 && ctl_has(c, OPT_WAIT) && (units_duration(c->opt[OPT_WAIT], &wait_ms) != ERR_OK || wait_ms == 0))
		code = ctl_fail(CTL_USAGE, "--wait must be a duration in ms, s, min, h or d, such as 2min");
	if (code == 0 && strlen(ctl_value(c, OPT_REASON, "")) > REASON_MAX)
		code = ctl_fail(CTL_USAGE, "--reason has more than %d bytes", REASON_MAX);
	if (code == 0)
		code = session_open(c);
	if (code == 0)
		code = order(c);
	return code != 0 || !ctl_has(c, OPT_WAIT) ? code : wait_gone(c, wait_ms);
}

int cmd_workers_undrain(struct ctl *c)
{
	int code = check_worker(c->arg[0]);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r = admin_call(c, "undrain", c->arg[0], "", "");
	if (r == NULL)
		return c->session->code;
	bool was = resp_number(resp_at(r, 1)) == 1;
	reply_free(r);
	if (c->json)
		out_document(json_pack("{s:s, s:b}", "worker", c->arg[0], "was_ordered", was));
	else
		printf(was ? "the order to %s is taken back; if it has begun to drain, it goes on and ends\n"
			   : "%s had no order to drain\n",
		       c->arg[0]);
	return CTL_OK;
}
