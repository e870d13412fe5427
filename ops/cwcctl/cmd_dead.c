/* SPDX-License-Identifier: Apache-2.0 */
/* What people must look at: dead letters, unknown fates, refused and stuck entries, the audit trail. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/job_record.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "worker/base/text.h"

#define COUNT_MAX UINT64_C(1000000000)
#define N(a)      (sizeof(a) / sizeof((a)[0]))

/* --- lists ------------------------------------------------------------------------------------ */

/* dress: adds to a row what its columns need; may be NULL. */
static int list(struct ctl *c, const char *stream, const struct out_column *col, size_t n, const char *none,
		void (*dress)(json_t *row))
{
	uint64_t count;
	int code = args_count(c, OPT_COUNT, COUNT_MAX, &count);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *rows = ctl_has(c, OPT_COUNT) ? reply_stream_tail(c, stream, count) : reply_stream(c, stream, "", count);
	if (rows == NULL)
		return c->session->code;
	for (size_t i = 0; dress != NULL && i < json_array_size(rows); i++)
		dress(json_array_get(rows, i));
	out_rows(c, rows, col, n, none);
	return CTL_OK;
}

int cmd_dead_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "ended", "ENDED" },     { "sid", "SID" },          { "office", "OFFICE" },
		{ "outcome", "OUTCOME" }, { "http_status", "HTTP" }, { "attempt", "ATTEMPTS" },
		{ "crashes", "CRASHES" }, { "detail", "DETAIL" },
	};
	return list(c, "dead", col, N(col), "no dead letters", NULL);
}

int cmd_refused_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "written", "WRITTEN" }, { "why", "WHY" },       { "sid", "SID" },
		{ "office", "OFFICE" },   { "detail", "DETAIL" }, { "digest", "DIGEST" },
	};
	return list(c, "refused", col, N(col), "nothing was refused", NULL);
}

int cmd_stuck_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "id", "ID" },           { "written", "WRITTEN" }, { "sid", "SID" },
		{ "offices", "OFFICES" }, { "error", "ERROR" },
	};
	return list(c, "stuck", col, N(col), "nothing is stuck", NULL);
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));
	return s != NULL ? s : "";
}

/* The arguments of an act in one text; that of a hold has a time in microseconds. */
static void audit_dress(json_t *row)
{
	char text[512], time[TEXT_TIME_SIZE];
	const char *a = text_of(row, "a"), *b = text_of(row, "b"), *c = text_of(row, "c");
	int64_t us;
	if (strcmp(text_of(row, "verb"), "hold") == 0 && text_int(span_str(b), &us) == ERR_OK) {
		text_time(us / 1000000, time);
		snprintf(text, sizeof(text), "%s until %s: %s", a, time, c);
	} else {
		snprintf(text, sizeof(text), "%s%s%s%s%s", a, b[0] ? " " : "", b, c[0] ? " " : "", c);
	}
	json_object_set_new(row, "what", out_string(span_str(text)));
}

int cmd_audit_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "written", "WRITTEN" },
		{ "who", "WHO" },
		{ "verb", "ACT" },
		{ "what", "WHAT" },
	};
	return list(c, "audit", col, N(col), "nothing was done", audit_dress);
}

int cmd_dead_show(struct ctl *c)
{
	const char *sid = c->arg[0], *office = c->arg[1];
	int code = args_sid(sid);
	if (code == 0)
		code = args_office(office);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *job = job_record_read(c, sid, office);
	if (job == NULL)
		return c->session->code;
	const char *state = json_string_value(json_object_get(job, "state"));
	if (state == NULL || strcmp(state, "dead") != 0) {
		code = state == NULL ? ctl_fail(CTL_NO, "%s %s: no such job", sid, office)
				     : ctl_fail(CTL_NO, "%s %s: not dead but %s", sid, office, state);
	} else if (c->json) {
		out_document(json_incref(job));
	} else {
		job_record_print(job);
	}
	json_decref(job);
	return code;
}

/* --- replay and drop -------------------------------------------------------------------------- */

/* What is to be done, as rows { sid, office }. */
static json_t *wanted(struct ctl *c)
{
	json_t *rows = json_array();
	for (size_t i = 1; i < c->n_args; i++)
		json_array_append_new(rows, json_pack("{s:s, s:s}", "sid", c->arg[0], "office", c->arg[i]));
	return rows;
}

static int act_arguments(const struct ctl *c)
{
	bool all = ctl_has(c, OPT_ALL);
	if (all ? c->n_args > 0 : c->n_args < 2)
		return ctl_fail(CTL_USAGE, "either SID OFFICE... or --all is needed");
	int code = all ? 0 : args_sid(c->arg[0]);
	for (size_t i = 1; code == 0 && i < c->n_args; i++)
		code = args_office(c->arg[i]);
	return code;
}

/* What a dry run says: the state must be dead. NULL after a report. */
static const char *would(struct ctl *c, const char *sid, const char *office, bool *good)
{
	json_t *job = job_record_read(c, sid, office);
	if (job == NULL)
		return NULL;
	const char *state = json_string_value(json_object_get(job, "state"));
	*good = state != NULL && strcmp(state, "dead") == 0;
	bool none = state == NULL;
	json_decref(job);
	return *good ? "would be done" : none ? "no such job" : "not dead";
}

static const char *act(struct ctl *c, const char *verb, const char *sid, const char *office, bool *good)
{
	struct resp_reply *r = admin_call(c, verb, sid, office, "");
	if (r == NULL)
		return NULL;
	struct span word = resp_text(resp_at(r, 0));
	*good = span_eq_str(word, "OK");
	const char *text = *good ? "done" : span_eq_str(word, "NONE") ? "no such job" : "not dead";
	reply_free(r);
	return text;
}

static int act_rows(struct ctl *c, const char *verb, json_t *rows, bool *all_good)
{
	*all_good = true;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const char *sid = json_string_value(json_object_get(row, "sid"));
		const char *office = json_string_value(json_object_get(row, "office"));
		bool good = false;
		if (sid == NULL || office == NULL)
			continue;
		const char *text =
			ctl_has(c, OPT_DRY_RUN) ? would(c, sid, office, &good) : act(c, verb, sid, office, &good);
		if (text == NULL)
			return c->session->code;
		json_object_set_new(row, "done", json_boolean(good && !ctl_has(c, OPT_DRY_RUN)));
		json_object_set_new(row, "answer", json_string(text));
		*all_good = *all_good && good;
	}
	return 0;
}

static int replay_or_drop(struct ctl *c, const char *verb)
{
	static const struct out_column col[] = { { "sid", "SID" }, { "office", "OFFICE" }, { "answer", "ANSWER" } };
	bool good;
	int code = act_arguments(c);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *rows = ctl_has(c, OPT_ALL) ? reply_stream(c, "dead", "", COUNT_MAX) : wanted(c);
	if (rows == NULL)
		return c->session->code;
	code = act_rows(c, verb, rows, &good);
	if (code != 0) {
		json_decref(rows);
		return code;
	}
	out_rows(c, rows, col, N(col), "no dead letters");
	return good ? CTL_OK : CTL_NO;
}

int cmd_dead_replay(struct ctl *c)
{
	return replay_or_drop(c, "replay");
}

int cmd_dead_drop(struct ctl *c)
{
	return replay_or_drop(c, "drop");
}

/* --- unknown fates ---------------------------------------------------------------------------- */

/* The members of the zset `unknown` are "sid:office". */
static json_t *unknown_rows(struct ctl *c, const struct resp_reply *members)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < members->n; i++) {
		struct span id = resp_text(members->at[i]);
		char text[QUEUE_ID_MAX + 1];
		snprintf(text, sizeof(text), "%.*s", (int)id.n, (const char *)id.p);
		char *colon = strrchr(text, ':');
		if (colon == NULL)
			continue;
		*colon = '\0';
		json_t *job = job_record_read(c, text, colon + 1);
		if (job == NULL) {
			json_decref(rows);
			return NULL;
		}
		if (json_is_object(job)) {
			json_object_set_new(job, "sid", json_string(text));
			json_array_append(rows, job);
		}
		json_decref(job);
	}
	return rows;
}

int cmd_unknown_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "ended", "ENDED" },
		{ "sid", "SID" },
		{ "office", "OFFICE" },
		{ "outcome", "OUTCOME" },
		{ "http_status", "HTTP" },
		{ "attempt", "ATTEMPTS" },
		{ "delivery_id", "DELIVERY ID" },
	};
	int code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r = session_call(
		c, SESSION_ARGV(span_lit("ZRANGE"), session_key(c, "unknown"), span_lit("0"), span_lit("9999")));
	if (r == NULL)
		return c->session->code;
	json_t *rows = unknown_rows(c, r);
	reply_free(r);
	if (rows == NULL)
		return c->session->code;
	out_rows(c, rows, col, N(col), "no letter is of unknown fate");
	return CTL_OK;
}

int cmd_unknown_resolve(struct ctl *c)
{
	const char *sid = c->arg[0], *office = c->arg[1], *how = c->arg[2];
	int code = args_sid(sid);
	if (code == 0)
		code = args_office(office);
	if (code == 0 && strcmp(how, "resend") != 0 && strcmp(how, "drop") != 0 && strcmp(how, "accepted") != 0)
		code = ctl_fail(CTL_USAGE, "neither resend nor drop nor accepted: %s", how);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r = admin_call(c, "resolve", sid, office, how);
	if (r == NULL)
		return c->session->code;
	struct span word = resp_text(resp_at(r, 0)), state = resp_text(resp_at(r, 1));
	if (span_eq_str(word, "NONE"))
		code = ctl_fail(CTL_NO, "%s %s: no such job", sid, office);
	else if (!span_eq_str(word, "OK"))
		code = ctl_fail(CTL_NO, "%s %s: not unknown but %.*s", sid, office, (int)state.n,
				(const char *)state.p);
	else if (c->json)
		out_document(json_pack("{s:s, s:s, s:s}", "sid", sid, "office", office, "resolved", how));
	else
		printf("%s %s: %s\n", sid, office,
		       strcmp(how, "resend") == 0 ? "it will be sent again" : "a worker writes the result");
	reply_free(r);
	return code;
}
