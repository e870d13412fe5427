/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/reply.h"

#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

#define PAGE 128 /* entries: of `stuck`, each may hold a job of 96 KiB */

/* --- copies ----------------------------------------------------------------------------------- */

struct resp_reply *reply_copy(const struct resp_reply *r)
{
	struct resp_reply *copy = xmalloc(sizeof(*copy));
	*copy = *r;
	if (r->text.n > 0) {
		uint8_t *p = xmalloc(r->text.n);
		memcpy(p, r->text.p, r->text.n);
		copy->text.p = p;
	} else {
		copy->text = span_of(NULL, 0);
	}
	if (r->type == RESP_ARRAY && r->n > 0) {
		copy->at = xcalloc(r->n, sizeof(*copy->at));
		for (size_t i = 0; i < r->n; i++)
			copy->at[i] = reply_copy(r->at[i]);
	} else {
		copy->at = NULL;
	}
	return copy;
}

void reply_free(struct resp_reply *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; r->at != NULL && i < r->n; i++)
		reply_free(r->at[i]);
	free(r->at);
	free((void *)(uintptr_t)r->text.p);
	free(r);
}

struct span reply_field(const struct resp_reply *flat, const char *name)
{
	for (size_t i = 0; flat->type == RESP_ARRAY && i + 1 < flat->n; i += 2)
		if (span_eq_str(resp_text(flat->at[i]), name))
			return resp_text(flat->at[i + 1]);
	return span_of(NULL, 0);
}

int64_t reply_number(struct span s)
{
	uint64_t n;
	return text_uint(s, REPLY_NUMBER_MAX, &n) == ERR_OK ? (int64_t)n : 0;
}

/* --- records as JSON -------------------------------------------------------------------------- */

static bool one_of(struct span name, const char *const *list)
{
	for (; *list != NULL; list++)
		if (span_eq_str(name, *list))
			return true;
	return false;
}

static bool is_number(struct span name)
{
	static const char *const list[] = { "rev",    "attempt", "crashes", "deliveries", "generation", "http_status",
					    "status", "bytes",   "open",    "bundle",     NULL };
	return one_of(name, list);
}

/* Also what only the scripts need. */
static bool is_left_out(struct span name)
{
	static const char *const list[] = { "job", "receipt", "history", "score", "cell_chamber", "cell_office", NULL };
	bool bytes = name.n > 2 && name.p[1] == ':' && (name.p[0] == 'j' || name.p[0] == 'u');
	return bytes || one_of(name, list);
}

/* Of `attestations`. */
static bool is_binary(struct span name)
{
	static const char *const list[] = { "statement", "document", NULL };
	return one_of(name, list);
}

static json_t *number(struct span name, struct span value)
{
	int64_t n;
	if (text_int(value, &n) != ERR_OK)
		return value.n == 0 ? json_null() : out_string(value);
	bool absent = span_eq_str(name, "http_status") || span_eq_str(name, "status") ? n == 0 : n < 0;
	return absent ? json_null() : json_integer(n);
}

static json_t *time_ms(int64_t ms)
{
	return out_time_us(ms > 0 && ms <= REPLY_NUMBER_MAX / 1000 ? ms * 1000 : 0);
}

static bool is_time(struct span name)
{
	return name.n > 3 && span_eq_str(span_of(name.p + name.n - 3, 3), "_us");
}

static void add_member(json_t *o, struct span name, struct span value)
{
	char key[64];
	int64_t us = 0;
	size_t n = name.n - (is_time(name) ? 3 : 0);
	if (is_left_out(name) || n == 0 || n >= sizeof(key))
		return;
	memcpy(key, name.p, n);
	key[n] = '\0';
	if (is_time(name)) {
		json_object_set_new(o, key, text_int(value, &us) == ERR_OK ? out_time_us(us) : json_null());
	} else if (is_binary(name)) {
		json_object_set_new(o, key, value.n > 0 ? out_base64(value) : json_null());
	} else if (is_number(name)) {
		json_object_set_new(o, key, number(name, value));
	} else if (span_eq_str(name, "retryable")) {
		json_object_set_new(o, key, json_boolean(span_eq_str(value, "1")));
	} else {
		/* A name that is not UTF-8 is refused by jansson: such a member is not ours. */
		json_object_set_new(o, key, out_string(value));
	}
}

json_t *reply_record(const struct resp_reply *flat)
{
	json_t *o = json_object();
	for (size_t i = 0; flat->type == RESP_ARRAY && i + 1 < flat->n; i += 2)
		add_member(o, resp_text(flat->at[i]), resp_text(flat->at[i + 1]));
	return o;
}

json_t *reply_entry(const struct resp_reply *entry)
{
	json_t *o = json_object(), *fields = reply_record(resp_at(entry, 1));
	struct span id = resp_text(resp_at(entry, 0));
	int64_t ms = 0;
	size_t dash = 0;
	while (dash < id.n && id.p[dash] != '-')
		dash++;
	json_object_set_new(o, "id", out_string(id));
	if (text_int(span_of(id.p, dash), &ms) == ERR_OK)
		json_object_set_new(o, "written", time_ms(ms));
	json_object_update(o, fields);
	json_decref(fields);
	return o;
}

static struct span cut(struct span *rest, uint8_t end)
{
	size_t n = 0;
	while (n < rest->n && rest->p[n] != end)
		n++;
	struct span part = span_of(rest->p, n);
	*rest = n < rest->n ? span_of(rest->p + n + 1, rest->n - n - 1) : span_of(rest->p + n, 0);
	return part;
}

json_t *reply_history(struct span text)
{
	json_t *all = json_array();
	while (text.n > 0) {
		struct span line = cut(&text, ';');
		json_t *o = json_object();
		int64_t ms;
		json_object_set_new(o, "attempt", number(span_lit("attempt"), cut(&line, ',')));
		json_object_set_new(o, "begun", text_int(cut(&line, ','), &ms) == ERR_OK ? time_ms(ms) : json_null());
		json_object_set_new(o, "ended", text_int(cut(&line, ','), &ms) == ERR_OK ? time_ms(ms) : json_null());
		json_object_set_new(o, "http_status", number(span_lit("http_status"), cut(&line, ',')));
		json_object_set_new(o, "outcome", out_string(cut(&line, ',')));
		json_object_set_new(o, "worker", line.n > 0 ? out_string(line) : json_null());
		json_array_append_new(all, o);
	}
	return all;
}

/* --- streams ---------------------------------------------------------------------------------- */

static struct resp_reply *range(struct ctl *c, const char *suffix, bool reverse, const char *start, const char *end,
				uint64_t max)
{
	char count[24];
	snprintf(count, sizeof(count), "%u", max < PAGE ? (unsigned)max : PAGE);
	return session_call(c,
			    SESSION_ARGV(reverse ? span_lit("XREVRANGE") : span_lit("XRANGE"), session_key(c, suffix),
					 span_str(start), span_str(end), span_lit("COUNT"), span_str(count)));
}

/* The id of the last entry of a page. */
static void last_id(const struct resp_reply *r, char out[REPLY_ID_SIZE])
{
	struct span id = resp_text(resp_at(resp_at(r, r->n - 1), 0));
	snprintf(out, REPLY_ID_SIZE, "%.*s", (int)(id.n < REPLY_ID_SIZE ? id.n : 0),
		 id.n > 0 ? (const char *)id.p : "");
}

bool reply_pages_begin(struct ctl *c, const char *suffix, uint64_t newest, struct reply_pages *p)
{
	char at[REPLY_ID_SIZE + 1] = "+";
	*p = (struct reply_pages){ .c = c, .suffix = suffix, .start = "-", .over = true };
	for (uint64_t left = newest > 0 ? newest : 1; left > 0;) {
		struct resp_reply *r = range(c, suffix, true, at, "-", left);
		if (r == NULL)
			return false;
		size_t n = r->n < left ? r->n : (size_t)left;
		if (n > 0 && p->end[0] == '\0') {
			struct span id = resp_text(resp_at(resp_at(r, 0), 0));
			snprintf(p->end, sizeof(p->end), "%.*s", (int)(id.n < REPLY_ID_SIZE ? id.n : 0),
				 id.n > 0 ? (const char *)id.p : "");
			p->over = p->end[0] == '\0';
		}
		at[0] = '(';
		if (n > 0)
			last_id(r, at + 1);
		if (n > 0 && newest > 0)
			snprintf(p->start, sizeof(p->start), "%s", at + 1);
		reply_free(r);
		left -= n;
		if (n == 0 || at[1] == '\0')
			break;
	}
	return true;
}

json_t *reply_page(struct reply_pages *p)
{
	json_t *rows = json_array();
	if (p->over)
		return rows;
	struct resp_reply *r = range(p->c, p->suffix, false, p->start, p->end, PAGE);
	if (r == NULL) {
		json_decref(rows);
		return NULL;
	}
	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(rows, reply_entry(r->at[i]));
	p->start[0] = '(';
	if (r->n > 0)
		last_id(r, p->start + 1);
	p->over = r->n == 0 || p->start[1] == '\0';
	reply_free(r);
	return rows;
}

json_t *reply_stream_tail(struct ctl *c, const char *suffix, uint64_t max)
{
	struct reply_pages p;
	if (!reply_pages_begin(c, suffix, max, &p))
		return NULL;
	json_t *all = json_array();
	while (!p.over) {
		json_t *rows = reply_page(&p);
		if (rows == NULL) {
			json_decref(all);
			return NULL;
		}
		json_array_extend(all, rows);
		json_decref(rows);
	}
	return all;
}
