/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/job_record.h"

#include <stdio.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"

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
	json_t *o = json_object(), *fields = reply_record(r);
	json_object_set_new(o, "office", json_string(office));
	json_object_update(o, fields);
	json_decref(fields);
	/* The time is fixed with the DeliveryId; "status" is that of the last answer. */
	json_t *status = json_incref(json_object_get(o, "status"));
	json_object_del(o, "status");
	json_object_set_new(o, "http_status", status != NULL ? status : json_null());
	json_object_set_new(o, "history", reply_history(reply_field(r, "history")));
	reply_free(r);
	return o;
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
		{ "begun", "last begun" },      { "ended", "ended" },
		{ "expires", "expires" },
	};
	static const struct out_column attempt[] = {
		{ "attempt", "ATTEMPT" },  { "begun", "BEGUN" },     { "ended", "ENDED" },
		{ "http_status", "HTTP" }, { "outcome", "OUTCOME" },
	};
	out_list(job, list, sizeof(list) / sizeof(list[0]));
	const json_t *history = json_object_get(job, "history");
	if (json_array_size(history) > 0) {
		puts("");
		out_table(history, attempt, sizeof(attempt) / sizeof(attempt[0]));
	}
}
