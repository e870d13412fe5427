/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cwc/cwc.h"
#include "worker/base/text.h"

#define HISTORY_MAX 4096
#define TIME_MIN    20 /* 2026-03-02T17:04:05Z */

static void add(struct import_line *l, struct span s)
{
	BUG_ON(l->n == IMPORT_ARGS_MAX);
	l->arg[l->n++] = s;
}

static void add_number(struct import_line *l, const char *name, int64_t value)
{
	add(l, span_str(name));
	char *d = l->digits[l->n];
	snprintf(d, sizeof(l->digits[0]), "%" PRId64, value);
	add(l, span_str(d));
}

/* "2026-03-02T17:04:05.123Z" in milliseconds. */
static bool read_time(const json_t *v, int64_t *ret_ms)
{
	char text[TIME_MIN + 1];
	int64_t ms = 0, s;
	const char *p = json_string_value(v);
	size_t n = p != NULL ? strlen(p) : 0;
	if (n != TIME_MIN && n != TIME_MIN + 4)
		return false;
	if (n > TIME_MIN && (p[TIME_MIN - 1] != '.' || p[n - 1] != 'Z' || strspn(p + TIME_MIN, "0123456789") != 3))
		return false;
	for (size_t i = TIME_MIN; i + 1 < n; i++)
		ms = 10 * ms + (p[i] - '0');
	snprintf(text, sizeof(text), "%.*sZ", TIME_MIN - 1, p);
	if (text_parse_time(span_str(text), &s) != ERR_OK || s < 0)
		return false;
	*ret_ms = s * 1000 + ms;
	return true;
}

/* --- members ---------------------------------------------------------------------------------- */

static const char *add_numbers(struct import_line *l)
{
	static const char *const names[][2] = {
		{ "rev", "rev" },
		{ "attempt", "attempt" },
		{ "crashes", "crashes" },
		{ "deliveries", "deliveries" },
		{ "generation", "generation" },
		{ "http_status", "status" },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *v = json_object_get(l->object, names[i][0]);
		if (v == NULL || json_is_null(v))
			continue;
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return "a number is not one";
		add_number(l, names[i][1], json_integer_value(v));
	}
	const json_t *retryable = json_object_get(l->object, "retryable");
	if (json_is_boolean(retryable))
		add_number(l, "retryable", json_is_true(retryable));
	return NULL;
}

static const char *add_times(struct import_line *l)
{
	static const char *const names[][2] = {
		{ "first", "first_us" }, { "opened", "opened_us" },   { "begun", "begun_us" },
		{ "ended", "ended_us" }, { "expires", "expires_us" },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *v = json_object_get(l->object, names[i][0]);
		int64_t ms;
		if (v == NULL || json_is_null(v))
			continue;
		if (!read_time(v, &ms))
			return "a time is not one";
		add_number(l, names[i][1], ms * 1000);
	}
	return NULL;
}

static const char *add_texts(struct import_line *l)
{
	static const char *const names[] = { "outcome", "class", "last", "detail", "delivery_id", "date", "digest" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *v = json_object_get(l->object, names[i]);
		if (v == NULL || json_is_null(v))
			continue;
		if (!json_is_string(v))
			return "a text is not one";
		add(l, span_str(names[i]));
		add(l, span_of((const uint8_t *)json_string_value(v), json_string_length(v)));
	}
	return NULL;
}

/* "attempt,begun_ms,ended_ms,status,outcome,worker;" for each. */
static const char *add_history(struct import_line *l)
{
	const json_t *all = json_object_get(l->object, "history");
	buf_init(&l->history, HISTORY_MAX);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *o = json_array_get(all, i);
		const char *outcome = json_string_value(json_object_get(o, "outcome"));
		const char *worker = json_string_value(json_object_get(o, "worker"));
		int64_t begun = 0, ended = 0;
		read_time(json_object_get(o, "begun"), &begun);
		read_time(json_object_get(o, "ended"), &ended);
		buf_add_int(&l->history, json_integer_value(json_object_get(o, "attempt")));
		buf_add_byte(&l->history, ',');
		buf_add_int(&l->history, begun);
		buf_add_byte(&l->history, ',');
		buf_add_int(&l->history, ended);
		buf_add_byte(&l->history, ',');
		buf_add_int(&l->history, json_integer_value(json_object_get(o, "http_status")));
		buf_add_byte(&l->history, ',');
		buf_add_str(&l->history, outcome != NULL ? outcome : "");
		buf_add_byte(&l->history, ',');
		buf_add_str(&l->history, worker != NULL ? worker : "");
		buf_add_byte(&l->history, ';');
	}
	if (buf_ok(&l->history) != ERR_OK)
		return "its history is too long";
	add(l, span_lit("history"));
	add(l, span_buf(&l->history));
	return NULL;
}

static const char *add_marks(struct import_line *l)
{
	const json_t *all = json_object_get(l->object, "unknown_posts");
	if (json_array_size(all) > IMPORT_MARKS_MAX)
		return "it has too many POSTs of unknown fate";
	for (size_t i = 0; i < json_array_size(all); i++) {
		int64_t ms;
		if (!read_time(json_object_get(json_array_get(all, i), "begun"), &ms))
			return "a time is not one";
		add_number(l, "mark", ms * 1000);
	}
	return NULL;
}

static const char *add_job(struct import_line *l)
{
	const json_t *job = json_object_get(l->object, "job");
	buf_init(&l->job, JOB_MAX + 4);
	if (job != NULL && !json_is_null(job) &&
	    (!json_is_string(job) ||
	     text_unbase64(span_of((const uint8_t *)json_string_value(job), json_string_length(job)), &l->job) !=
		     ERR_OK ||
	     buf_ok(&l->job) != ERR_OK))
		return "job must be base64, of a job that is not too large";
	add(l, l->job.n > 0 ? span_buf(&l->job) : span_of("", 0));
	return NULL;
}

/* --- the line --------------------------------------------------------------------------------- */

static const char *add_name(struct import_line *l, const char *state)
{
	enum cwc_chamber chamber;
	const char *sid = json_string_value(json_object_get(l->object, "sid"));
	const char *office = json_string_value(json_object_get(l->object, "office"));
	const char *is = json_string_value(json_object_get(l->object, "state"));
	if (sid == NULL || !job_sid_valid(span_str(sid)))
		return "it has no sid";
	if (office == NULL || cwc_office_parse(span_str(office), &chamber) != ERR_OK)
		return "it has no office";
	if (is == NULL || strcmp(is, state) != 0)
		return strcmp(state, "dead") == 0 ? "it is not that of a dead letter"
						  : "it is not that of a letter of unknown fate";
	snprintf(l->sid, sizeof(l->sid), "%s", sid);
	snprintf(l->office, sizeof(l->office), "%s", office);
	add(l, span_of("", 0));
	add(l, span_str(l->sid));
	add(l, span_str(l->office));
	add(l, span_str(state));
	return NULL;
}

const char *import_parse(struct span line, const char *state, struct import_line *ret_l)
{
	static const char *(*const part[])(struct import_line *) = { add_job,   add_numbers, add_times,
								     add_texts, add_history, add_marks };
	memset(ret_l, 0, sizeof(*ret_l));
	ret_l->object = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(ret_l->object))
		return "not a JSON object, as an export prints it";
	const char *rule = add_name(ret_l, state);
	for (size_t i = 0; rule == NULL && i < sizeof(part) / sizeof(part[0]); i++)
		rule = part[i](ret_l);
	return rule;
}

void import_clear(struct import_line *l)
{
	json_decref(l->object);
	l->object = NULL;
	buf_clear(&l->job);
	buf_clear(&l->history);
}
