/* SPDX-License-Identifier: Apache-2.0 */
/* One submission: where it stands, and cancelling it. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/job_record.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/session.h"

static int not_found(struct ctl *c, const char *sid)
{
	struct resp_reply *r = session_call(c, SESSION_ARGV(span_lit("XLEN"), session_key(c, "in")));
	if (r == NULL)
		return c->session->code;
	int64_t waiting = resp_number(r);
	reply_free(r);
	if (waiting > 0)
		return ctl_fail(CTL_NO,
				"%s: no such submission; %lld entries of `in` were not looked at by a worker yet", sid,
				(long long)waiting);
	return ctl_fail(CTL_NO, "%s: no such submission", sid);
}

/* "A,B" to an array of records; false after a report. */
static bool add_jobs(struct ctl *c, const char *sid, struct span offices, json_t *jobs)
{
	while (offices.n > 0) {
		char office[16];
		const uint8_t *comma = memchr(offices.p, ',', offices.n);
		size_t n = comma != NULL ? (size_t)(comma - offices.p) : offices.n;
		snprintf(office, sizeof(office), "%.*s", (int)n, (const char *)offices.p);
		json_t *job = job_record_read(c, sid, office);
		if (job == NULL)
			return false;
		if (json_is_null(job))
			json_decref(job);
		else
			json_array_append_new(jobs, job);
		offices = n < offices.n ? span_of(offices.p + n + 1, offices.n - n - 1) : span_of(NULL, 0);
	}
	return true;
}

static void print_submission(const json_t *o)
{
	static const struct out_column head[] = {
		{ "sid", "submission" },
		{ "rollup", "state" },
		{ "first", "first seen" },
		{ "expires", "expires" },
	};
	static const struct out_column col[] = {
		{ "office", "OFFICE" },           { "state", "STATE" },
		{ "outcome", "OUTCOME" },         { "last", "LAST" },
		{ "http_status", "HTTP" },        { "attempt", "ATTEMPTS" },
		{ "delivery_id", "DELIVERY ID" }, { "detail", "DETAIL" },
	};
	const json_t *jobs = json_object_get(o, "jobs");
	out_list(o, head, sizeof(head) / sizeof(head[0]));
	if (json_array_size(jobs) > 0) {
		puts("");
		out_table(jobs, col, sizeof(col) / sizeof(col[0]));
	}
}

static int status_all(struct ctl *c, const char *sid)
{
	char suffix[80];
	snprintf(suffix, sizeof(suffix), "sub:%s", sid);
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("HMGET"), session_key(c, suffix), span_lit("offices"),
					     span_lit("rollup"), span_lit("expires_us"), span_lit("first_us")));
	if (r == NULL)
		return c->session->code;
	struct span offices = resp_text(resp_at(r, 0));
	if (offices.n == 0) {
		reply_free(r);
		return not_found(c, sid);
	}
	json_t *o = json_object(), *jobs = json_array();
	json_object_set_new(o, "sid", json_string(sid));
	json_object_set_new(o, "rollup", out_string(resp_text(resp_at(r, 1))));
	json_object_set_new(o, "first", out_time_us(resp_number(resp_at(r, 3))));
	json_object_set_new(o, "expires", out_time_us(resp_number(resp_at(r, 2))));
	json_object_set(o, "jobs", jobs);
	bool good = add_jobs(c, sid, offices, jobs);
	if (good && c->json)
		out_document(json_incref(o));
	else if (good)
		print_submission(o);
	json_decref(jobs);
	json_decref(o);
	reply_free(r);
	return good ? CTL_OK : c->session->code;
}

static int status_one(struct ctl *c, const char *sid, const char *office)
{
	json_t *job = job_record_read(c, sid, office);
	if (job == NULL)
		return c->session->code;
	if (json_is_null(job)) {
		json_decref(job);
		return ctl_fail(CTL_NO, "%s %s: no such job", sid, office);
	}
	if (c->json) {
		out_document(job);
	} else {
		job_record_print(job);
		json_decref(job);
	}
	return CTL_OK;
}

int cmd_status(struct ctl *c)
{
	const char *office = c->opt[OPT_OFFICE];
	int code = args_sid(c->arg[0]);
	if (code == 0 && office != NULL)
		code = args_office(office);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	return office != NULL ? status_one(c, c->arg[0], office) : status_all(c, c->arg[0]);
}

/* --- cancel ----------------------------------------------------------------------------------- */

static const char *cancel_text(struct span word)
{
	static const struct {
		const char *word, *text;
	} texts[] = {
		{ "OK", "cancelled; a worker writes the result" },
		{ "close", "cancelled; a worker writes the result" },
		{ "taken", "cancelled before it is sent" },
		{ "INFLIGHT", "is being sent: cancelled only if this attempt is not accepted" },
		{ "TOOLATE", "too late: it has ended" },
		{ "NONE", "no such job" },
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (span_eq_str(word, texts[i].word))
			return texts[i].text;
	return "not cancelled";
}

static void add_answer(json_t *rows, const char *sid, struct span office, struct span word, bool *sure)
{
	bool good = span_eq_str(word, "OK") || span_eq_str(word, "close") || span_eq_str(word, "taken");
	json_t *o = json_object();
	json_object_set_new(o, "sid", json_string(sid));
	json_object_set_new(o, "office", out_string(office));
	json_object_set_new(o, "cancelled", json_boolean(good));
	json_object_set_new(o, "text", json_string(cancel_text(word)));
	json_array_append_new(rows, o);
	*sure = *sure && good;
}

int cmd_cancel(struct ctl *c)
{
	static const struct out_column col[] = { { "sid", "SID" }, { "office", "OFFICE" }, { "text", "ANSWER" } };
	const char *sid = c->arg[0], *office = c->n_args > 1 ? c->arg[1] : NULL;
	char what[96];
	int code = args_sid(sid);
	if (code == 0 && office != NULL)
		code = args_office(office);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	snprintf(what, sizeof(what), "%s%s%s", sid, office != NULL ? ":" : "", office != NULL ? office : "");
	struct resp_reply *r = admin_call(c, "cancel", what, "", "");
	if (r == NULL)
		return c->session->code;
	struct span word = resp_text(resp_at(r, 0));
	json_t *rows = json_array();
	bool sure = true;
	if (office != NULL)
		add_answer(rows, sid, span_str(office), word, &sure);
	for (size_t i = 1; office == NULL && i + 1 < r->n; i += 2)
		add_answer(rows, sid, resp_text(r->at[i]), resp_text(r->at[i + 1]), &sure);
	reply_free(r);
	if (json_array_size(rows) == 0) {
		json_decref(rows);
		return not_found(c, sid);
	}
	out_rows(c, rows, col, sizeof(col) / sizeof(col[0]), "");
	return sure ? CTL_OK : CTL_NO;
}
