/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/job_record.h"

#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define HISTORY_MAX 16 /* attempts that a record keeps */

/* "name/nonce.counter.k": the worker without the two numbers. */
static struct span worker_of(struct span token)
{
	for (int dots = 0; dots < 2; dots++) {
		size_t n = token.n;
		while (n > 0 && token.p[n - 1] != '.')
			n--;
		if (n == 0)
			break;
		token.n = n - 1;
	}
	return token;
}

/* The fields u:<token>: begun_us of each POST of which nobody knows whether it was taken. */
static json_t *unknown_posts(const struct resp_reply *flat)
{
	json_t *all = json_array();
	for (size_t i = 0; flat->type == RESP_ARRAY && i + 1 < flat->n; i += 2) {
		struct span name = resp_text(flat->at[i]);
		int64_t us = 0;
		if (name.n < 3 || memcmp(name.p, "u:", 2) != 0)
			continue;
		json_t *post = json_object();
		if (text_int(resp_text(flat->at[i + 1]), &us) != ERR_OK)
			us = 0;
		json_object_set_new(post, "begun", out_time_us(us));
		json_object_set_new(post, "worker", out_string(worker_of(span_of(name.p + 2, name.n - 2))));
		json_array_append_new(all, post);
	}
	return all;
}

json_t *job_record_json(const struct resp_reply *flat)
{
	json_t *o = reply_record(flat);
	/* "status" is that of the last answer. */
	json_t *status = json_incref(json_object_get(o, "status"));
	json_object_del(o, "status");
	json_object_set_new(o, "http_status", status != NULL ? status : json_null());
	json_object_set_new(o, "history", reply_history(reply_field(flat, "history")));
	json_object_set_new(o, "unknown_posts", unknown_posts(flat));
	return o;
}

json_t *job_record_read(struct ctl *c, const char *sid, const char *office)
{
	char suffix[96];
	snprintf(suffix, sizeof(suffix), "job:%s:%s", sid, office);
	struct resp_reply *r = session_call(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, suffix)));
	if (r == NULL)
		return NULL;
	if (reply_field(r, "state").n == 0) {
		reply_free(r);
		return json_null();
	}
	json_t *o = json_object(), *fields = job_record_json(r);
	json_object_set_new(o, "office", json_string(office));
	json_object_update(o, fields);
	json_decref(fields);
	reply_free(r);
	return o;
}

/* --- for people ------------------------------------------------------------------------------- */

static const char *text_of(const json_t *job, const char *name)
{
	const char *s = json_string_value(json_object_get(job, name));
	return s != NULL ? s : "";
}

/* Which budget is used up. The limits are the workers'; the record only counts. */
static void say_limit(const json_t *job)
{
	const char *outcome = text_of(job, "outcome");
	long long attempts = json_integer_value(json_object_get(job, "attempt"));
	long long crashes = json_integer_value(json_object_get(job, "crashes"));
	if (strcmp(text_of(job, "state"), "dead") != 0)
		return;
	if (strcmp(outcome, "attempts_exhausted") == 0)
		printf("\nAll of its attempts are used up: %lld of %lld (jobs.attempts at that time).\n", attempts,
		       attempts);
	else if (strcmp(outcome, "age_exhausted") == 0)
		printf("\nIts time was used up after %lld attempts (jobs.age_max).\n", attempts);
	else if (strcmp(outcome, "crashes") == 0)
		printf("\nWorkers died or lost their lease %lld times while they held it (more than jobs.crashes).\n",
		       crashes);
	puts("A replay gives it a new budget; it counts from then.");
}

static void say_expiry(const json_t *job)
{
	int64_t expires_s = 0;
	if (strcmp(text_of(job, "state"), "dead") == 0 &&
	    text_parse_time(span_str(text_of(job, "expires")), &expires_s) == ERR_OK &&
	    expires_s * 1000000 <= clock_wall_us())
		puts("It has expired: a replay ends it as expired.");
}

static void print_history(const json_t *job)
{
	static const struct out_column attempt[] = {
		{ "attempt", "ATTEMPT" },  { "begun", "BEGUN" },     { "ended", "ENDED" },
		{ "http_status", "HTTP" }, { "outcome", "OUTCOME" }, { "worker", "WORKER" },
	};
	const json_t *history = json_object_get(job, "history");
	if (json_array_size(history) == 0)
		return;
	puts("");
	if (json_array_size(history) >= HISTORY_MAX)
		printf("The last %d attempts:\n", HISTORY_MAX);
	out_table(history, attempt, sizeof(attempt) / sizeof(attempt[0]));
}

static void print_unknown_posts(const json_t *job)
{
	static const struct out_column post[] = { { "begun", "BEGUN" }, { "worker", "WORKER" } };
	const json_t *posts = json_object_get(job, "unknown_posts");
	if (json_array_size(posts) == 0)
		return;
	puts("\nPOSTs that may have been taken although no answer came:");
	out_table(posts, post, sizeof(post) / sizeof(post[0]));
}

void job_record_print(const json_t *job)
{
	static const struct out_column list[] = {
		{ "office", "office" },         { "state", "state" },
		{ "outcome", "outcome" },       { "class", "class" },
		{ "retryable", "retryable" },   { "detail", "detail" },
		{ "last", "last attempt" },     { "http_status", "HTTP status" },
		{ "why", "to be ended as" },    { "delivery_id", "DeliveryId" },
		{ "date", "DeliveryDate" },     { "attempt", "attempts" },
		{ "crashes", "crashes" },       { "deliveries", "handed out" },
		{ "generation", "generation" }, { "rev", "revision" },
		{ "worker", "worker" },         { "first", "first seen" },
		{ "opened", "opened again" },   { "begun", "last begun" },
		{ "ended", "ended" },           { "expires", "expires" },
	};
	out_list(job, list, sizeof(list) / sizeof(list[0]));
	say_limit(job);
	say_expiry(job);
	print_unknown_posts(job);
	print_history(job);
}
