/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the answers of the queue client look like on the output of queue_driver.c. Every member of an answer is there
 * under its own name, so that a test sees what the client made of a reply.
 *
 * Functions of a header, since each program of tests/it is compiled from its one file alone.
 */
#ifndef QUEUE_DRIVER_JSON_H
#define QUEUE_DRIVER_JSON_H

#include <jansson.h>

#include "queue/queue.h"

/* A string; what is no UTF-8 goes by its length. */
static json_t *text_json(struct span s)
{
	json_t *t = json_stringn((const char *)s.p, s.n);
	return t != NULL ? t : json_pack("{s:I}", "bytes", (json_int_t)s.n);
}

/* NULL for "no reply" as for nil; an error is told from a string as {"error": text}. */
static json_t *reply_json(const struct resp_reply *r)
{
	if (r == NULL || r->type == RESP_NIL)
		return json_null();
	if (r->type == RESP_INTEGER)
		return json_integer(r->integer);
	if (r->type == RESP_ERROR)
		return json_pack("{s:o}", "error", text_json(r->text));
	if (r->type != RESP_ARRAY)
		return text_json(resp_text(r));
	json_t *a = json_array();
	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(a, reply_json(resp_at(r, i)));
	return a;
}

static json_t *beat_json(const struct queue_beat_answer *a)
{
	return json_pack("{s:i,s:I,s:I,s:I,s:I,s:I}", "status", (int)a->status, "redis_us", (json_int_t)a->redis_us,
			 "dead", (json_int_t)a->dead, "unknown", (json_int_t)a->unknown, "stuck", (json_int_t)a->stuck,
			 "results", (json_int_t)a->results);
}

static json_t *taken_json(const struct queue_taken *t)
{
	json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:I}", "generation", (json_int_t)t->generation, "begun_us",
			      (json_int_t)t->begun_us, "first_us", (json_int_t)t->first_us, "rev", (json_int_t)t->rev,
			      "last_status", (json_int_t)t->last_status);
	json_object_update_new(o, json_pack("{s:i,s:i,s:i}", "attempt", (int)t->attempt, "crashes", (int)t->crashes,
					    "unknowns", (int)t->unknowns));
	json_object_update_new(o,
			       json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "sid", text_json(t->sid), "office",
					 text_json(t->office), "token", text_json(t->token), "why", text_json(t->why),
					 "bytes", text_json(t->bytes), "last", text_json(t->last)));
	return o;
}

static json_t *take_json(const struct queue_take_answer *a)
{
	json_t *jobs = json_array();
	for (size_t i = 0; i < a->n; i++)
		json_array_append_new(jobs, taken_json(&a->job[i]));
	return json_pack("{s:i,s:I,s:b,s:b,s:o}", "status", (int)a->status, "wait_us", (json_int_t)a->wait_us, "full",
			 a->full, "adopt", a->adopt, "jobs", jobs);
}

static json_t *begin_json(const struct queue_begin_answer *a)
{
	return json_pack("{s:i,s:o,s:o,s:i,s:i,s:I}", "status", (int)a->status, "delivery_id",
			 text_json(a->delivery_id), "date", text_json(a->date), "attempt", (int)a->attempt, "unknowns",
			 (int)a->unknowns, "begun_us", (json_int_t)a->begun_us);
}

/* Each breaker as [what, whether it is open, until when]. */
static json_t *settle_json(const struct queue_settle_answer *a)
{
	json_t *breakers = json_array();
	for (size_t i = 0; i < a->n_breakers; i++)
		json_array_append_new(breakers, json_pack("[o,b,I]", text_json(a->breaker[i].what), a->breaker[i].open,
							  (json_int_t)a->breaker[i].until_us));
	return json_pack("{s:i,s:o,s:I,s:o}", "status", (int)a->status, "state", text_json(a->state), "rev",
			 (json_int_t)a->rev, "breakers", breakers);
}

#endif
