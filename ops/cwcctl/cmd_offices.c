/* SPDX-License-Identifier: Apache-2.0 */
/* Offices: the lists that workers fetched, what waits for each, what is held or does not answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define ROWS_MAX 4096

struct office {
	char code[8];
	bool listed;
	struct resp_reply *waiting, *in_flight;
};

struct offices {
	struct ctl *c;
	struct office *at;
	size_t n;
	int64_t now_us;
	int64_t list_ms[CWC_CHAMBERS]; /* 0: no list */
	size_t listed[CWC_CHAMBERS];
	struct resp_reply *lists, *turn[CWC_CHAMBERS], *holds, *breakers;
};

/* --- which offices ---------------------------------------------------------------------------- */

static void add(struct offices *x, struct span code, bool listed)
{
	enum cwc_chamber chamber;
	if (x->n == ROWS_MAX || cwc_office_parse(code, &chamber) != ERR_OK)
		return;
	for (size_t i = 0; i < x->n; i++) {
		if (span_eq_str(code, x->at[i].code)) {
			x->at[i].listed = x->at[i].listed || listed;
			return;
		}
	}
	struct office *o = &x->at[x->n++];
	memcpy(o->code, code.p, code.n);
	o->listed = listed;
	x->listed[chamber] += listed;
}

/* "MILLISECONDS CODE,CODE,..." */
static void add_list(struct offices *x, enum cwc_chamber chamber)
{
	struct span s = reply_field(x->lists, cwc_chamber_name(chamber));
	const uint8_t *space = s.n > 0 ? memchr(s.p, ' ', s.n) : NULL;
	if (space == NULL || text_int(span_of(s.p, (size_t)(space - s.p)), &x->list_ms[chamber]) != ERR_OK)
		return;
	struct span rest = span_of(space + 1, s.n - (size_t)(space + 1 - s.p));
	while (rest.n > 0) {
		const uint8_t *comma = memchr(rest.p, ',', rest.n);
		size_t n = comma != NULL ? (size_t)(comma - rest.p) : rest.n;
		add(x, span_of(rest.p, n), true);
		rest = n < rest.n ? span_of(rest.p + n + 1, rest.n - n - 1) : span_of(NULL, 0);
	}
}

static bool wants(const struct offices *x, enum cwc_chamber chamber)
{
	return x->c->n_args == 0 || strcmp(x->c->arg[0], cwc_chamber_name(chamber)) == 0;
}

static int by_code(const void *a, const void *b)
{
	return strcmp(((const struct office *)a)->code, ((const struct office *)b)->code);
}

/* The offices among the fields of a hash. */
static void add_fields(struct offices *x, const struct resp_reply *flat)
{
	for (size_t k = 0; flat->type == RESP_ARRAY && k + 1 < flat->n; k += 2) {
		enum cwc_chamber chamber;
		struct span what = resp_text(flat->at[k]);
		if (cwc_office_parse(what, &chamber) == ERR_OK && wants(x, chamber))
			add(x, what, false);
	}
}

static void collect(struct offices *x)
{
	for (int i = 0; i < CWC_CHAMBERS; i++) {
		if (!wants(x, (enum cwc_chamber)i))
			continue;
		add_list(x, (enum cwc_chamber)i);
		for (size_t k = 0; x->turn[i]->type == RESP_ARRAY && k < x->turn[i]->n; k++)
			add(x, resp_text(x->turn[i]->at[k]), false);
	}
	add_fields(x, x->holds);
	add_fields(x, x->breakers);
	qsort(x->at, x->n, sizeof(*x->at), by_code);
}

/* --- what is said of one ---------------------------------------------------------------------- */

static json_t *hold_json(const struct offices *x, const char *what)
{
	return holds_hold(reply_field(x->holds, what), x->now_us);
}

static json_t *breaker_json(const struct offices *x, const char *what)
{
	return holds_breaker(reply_field(x->breakers, what));
}

static json_t *office_row(const struct offices *x, const struct office *o)
{
	char text[512], broken[64];
	json_t *row = json_object(), *hold = hold_json(x, o->code), *breaker = breaker_json(x, o->code);
	holds_hold_text(hold, text, sizeof(text));
	holds_breaker_text(breaker, x->now_us, broken, sizeof(broken));
	json_object_set_new(row, "office", json_string(o->code));
	json_object_set_new(row, "listed", json_boolean(o->listed));
	json_object_set_new(row, "waiting", json_integer(resp_number(o->waiting)));
	json_object_set_new(row, "in_flight", json_integer(resp_number(o->in_flight)));
	json_object_set_new(row, "hold", x->c->json ? hold : out_string(span_str(text)));
	json_object_set_new(row, "breaker", x->c->json ? breaker : json_string(broken));
	if (!x->c->json) {
		json_decref(hold);
		json_decref(breaker);
	}
	return row;
}

static json_t *chamber_row(const struct offices *x, enum cwc_chamber chamber)
{
	json_t *o = json_object();
	const char *name = cwc_chamber_name(chamber);
	json_object_set_new(o, "chamber", json_string(name));
	json_object_set_new(o, "listed", json_integer((json_int_t)x->listed[chamber]));
	json_object_set_new(o, "fetched", out_time_us(x->list_ms[chamber] * 1000));
	json_object_set_new(o, "hold", hold_json(x, name));
	json_object_set_new(o, "breaker", breaker_json(x, name));
	return o;
}

static void print_chamber(const struct offices *x, enum cwc_chamber chamber)
{
	char age[OUT_AGE_SIZE], text[512];
	const char *name = cwc_chamber_name(chamber);
	json_t *hold = hold_json(x, name), *breaker = breaker_json(x, name);
	holds_hold_text(hold, text, sizeof(text));
	out_age(x->now_us - x->list_ms[chamber] * 1000, age);
	if (x->list_ms[chamber] > 0)
		printf("%s: %zu offices take part, by a list that is %s old", name, x->listed[chamber], age);
	else
		printf("%s: no list was fetched yet", name);
	if (json_is_object(hold)) {
		fputs("; held ", stdout);
		out_clean(stdout, span_str(text));
	}
	if (json_is_object(breaker)) {
		holds_breaker_text(breaker, x->now_us, text, sizeof(text));
		printf("; its breaker is open: %s", text);
	}
	puts("");
	json_decref(breaker);
	json_decref(hold);
}

/* --- the command ------------------------------------------------------------------------------ */

static bool read_all(struct offices *x)
{
	struct ctl *c = x->c;
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "lists")), &x->lists);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "holds")), &x->holds);
	session_send(c, SESSION_ARGV(span_lit("HGETALL"), session_key(c, "breaker")), &x->breakers);
	for (int i = 0; i < CWC_CHAMBERS; i++) {
		char suffix[32];
		snprintf(suffix, sizeof(suffix), "turn:%s", cwc_chamber_name((enum cwc_chamber)i));
		session_send(c, SESSION_ARGV(span_lit("ZRANGE"), session_key(c, suffix), span_lit("0"), span_lit("-1")),
			     &x->turn[i]);
	}
	if (session_wait(c, false) != ERR_OK)
		return false;
	collect(x);
	for (size_t i = 0; i < x->n; i++) {
		char wait[16], fly[16];
		snprintf(wait, sizeof(wait), "wait:%s", x->at[i].code);
		snprintf(fly, sizeof(fly), "fly:%s", x->at[i].code);
		session_send(c, SESSION_ARGV(span_lit("ZCARD"), session_key(c, wait)), &x->at[i].waiting);
		session_send(c, SESSION_ARGV(span_lit("SCARD"), session_key(c, fly)), &x->at[i].in_flight);
	}
	return session_wait(c, false) == ERR_OK;
}

static void print_all(struct offices *x)
{
	static const struct out_column col[] = {
		{ "office", "OFFICE" },       { "listed", "LISTED" },   { "waiting", "WAITING" },
		{ "in_flight", "IN FLIGHT" }, { "breaker", "BREAKER" }, { "hold", "HOLD" },
	};
	json_t *rows = json_array(), *chambers = json_array();
	for (size_t i = 0; i < x->n; i++)
		json_array_append_new(rows, office_row(x, &x->at[i]));
	for (int i = 0; i < CWC_CHAMBERS; i++) {
		if (!wants(x, (enum cwc_chamber)i))
			continue;
		json_array_append_new(chambers, chamber_row(x, (enum cwc_chamber)i));
		if (!x->c->json)
			print_chamber(x, (enum cwc_chamber)i);
	}
	if (x->c->json) {
		out_document(json_pack("{s:o, s:o}", "chambers", chambers, "offices", rows));
		return;
	}
	json_decref(chambers);
	if (x->n > 0)
		puts("");
	out_rows(x->c, rows, col, sizeof(col) / sizeof(col[0]), "");
}

static void free_all(struct offices *x)
{
	for (size_t i = 0; i < x->n; i++) {
		reply_free(x->at[i].waiting);
		reply_free(x->at[i].in_flight);
	}
	for (int i = 0; i < CWC_CHAMBERS; i++)
		reply_free(x->turn[i]);
	reply_free(x->lists);
	reply_free(x->holds);
	reply_free(x->breakers);
	free(x->at);
}

int cmd_offices(struct ctl *c)
{
	struct offices x = { .c = c, .now_us = clock_wall_us() };
	if (c->n_args > 0 && strcmp(c->arg[0], "house") != 0 && strcmp(c->arg[0], "senate") != 0)
		return ctl_fail(CTL_USAGE, "neither house nor senate: %s", c->arg[0]);
	int code = session_open(c);
	if (code != 0)
		return code;
	x.at = xcalloc(ROWS_MAX, sizeof(*x.at));
	if (read_all(&x))
		print_all(&x);
	else
		code = c->session->code;
	free_all(&x);
	return code;
}
