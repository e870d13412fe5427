/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shape of the queue, as Postfix's qshape prints it: a row for each office, a column for each age, each twice as
 * old as the one before. One look tells whether one office is in trouble, or everything, and since when.
 *
 * Ages of what is open count from when it was first seen, those of what is over from its end. What moves while it is
 * counted may be met twice or not at all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/walk.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define AGES      11   /* the last without an end */
#define OFFICES   8192 /* more than there are codes */
#define EDGE_SIZE 32
#define PAGE      200
#define MINUTE_US INT64_C(60000000)

struct row {
	char office[QUEUE_OFFICE_LEN + 1];
	uint64_t total, n[AGES];
};

struct shape {
	struct ctl *c;
	int64_t first_us; /* the first column */
	int64_t now_us;
	struct row row[OFFICES]; /* by a hash of the office */
	struct row all;
	struct progress progress;
	uint64_t expected;
};

/* --- counting --------------------------------------------------------------------------------- */

/* Open addressing; NULL: there are too many. */
static struct row *row_of(struct shape *x, struct span office)
{
	enum cwc_chamber chamber;
	uint32_t h = 2166136261U;
	if (cwc_office_parse(office, &chamber) != ERR_OK || office.n > QUEUE_OFFICE_LEN)
		return NULL;
	for (size_t i = 0; i < office.n; i++)
		h = (h ^ office.p[i]) * 16777619U;
	for (size_t k = 0; k < OFFICES; k++) {
		struct row *r = &x->row[(h + k) % OFFICES];
		if (r->office[0] == '\0')
			memcpy(r->office, office.p, office.n);
		if (span_eq_str(office, r->office))
			return r;
	}
	return NULL;
}

static void count(struct shape *x, struct span office, struct span since)
{
	int64_t us = reply_number(since), edge_us = x->first_us;
	size_t i = 0;
	struct row *r = row_of(x, office);
	if (r == NULL)
		return;
	for (; i < AGES - 1 && x->now_us - us >= edge_us; edge_us *= 2)
		i++;
	r->n[i]++;
	r->total++;
	x->all.n[i]++;
	x->all.total++;
	progress_show(&x->progress, x->all.total, x->expected, x->all.total, "counted");
}

/* --- what is open ----------------------------------------------------------------------------- */

/* A page of a zset, and of each member when it was first seen. `office`: of a line, whose members are sids; NULL: they
 * are sid:office. Returns how many there were; -1 after a report. */
static long count_page(struct shape *x, const char *key, const char *office, size_t from)
{
	struct ctl *c = x->c;
	char start[24], end[24];
	snprintf(start, sizeof(start), "%zu", from);
	snprintf(end, sizeof(end), "%zu", from + PAGE - 1);
	struct resp_reply *page =
		session_call(c, SESSION_ARGV(span_lit("ZRANGE"), session_key(c, key), span_str(start), span_str(end)));
	if (page == NULL)
		return -1;
	struct resp_reply *first[PAGE] = { NULL };
	size_t n = page->n < PAGE ? page->n : PAGE;
	for (size_t i = 0; i < n; i++) {
		struct span m = resp_text(page->at[i]);
		char job[QUEUE_ID_MAX + 8];
		snprintf(job, sizeof(job), "job:%.*s%s%s", (int)(m.n < QUEUE_ID_MAX ? m.n : 0), (const char *)m.p,
			 office != NULL ? ":" : "", office != NULL ? office : "");
		session_send(c, SESSION_ARGV(span_lit("HGET"), session_key(c, job), span_lit("first_us")), &first[i]);
	}
	bool good = session_wait(c, false) == ERR_OK;
	for (size_t i = 0; good && i < n; i++) {
		struct span m = resp_text(page->at[i]);
		struct span of = office != NULL           ? span_str(office)
				 : m.n > QUEUE_OFFICE_LEN ? span_of(m.p + m.n - QUEUE_OFFICE_LEN, QUEUE_OFFICE_LEN)
							  : span_of(NULL, 0);
		count(x, of, resp_text(first[i]));
	}
	for (size_t i = 0; i < n && !c->session->interrupted; i++)
		reply_free(first[i]);
	reply_free(page);
	return good ? (long)n : -1;
}

static bool count_key(struct shape *x, const char *key, const char *office)
{
	long n = PAGE;
	for (size_t from = 0; n == PAGE && !x->c->session->interrupted; from += PAGE)
		n = count_page(x, key, office, from);
	return n >= 0 && !x->c->session->interrupted;
}

static bool count_waiting(struct shape *x)
{
	static const char *const turns[] = { "turn:house", "turn:senate" };
	bool good = true;
	for (size_t t = 0; good && t < 2; t++) {
		struct resp_reply *offices =
			session_call(x->c, SESSION_ARGV(span_lit("ZRANGE"), session_key(x->c, turns[t]), span_lit("0"),
							span_lit("-1")));
		good = offices != NULL;
		for (size_t i = 0; good && i < offices->n; i++) {
			char key[32], office[QUEUE_OFFICE_LEN + 1];
			struct span s = resp_text(offices->at[i]);
			if (s.n != QUEUE_OFFICE_LEN)
				continue;
			snprintf(office, sizeof(office), "%.*s", (int)s.n, (const char *)s.p);
			snprintf(key, sizeof(key), "wait:%s", office);
			good = count_key(x, key, office);
		}
		reply_free(offices);
	}
	return good;
}

/* --- what is over ----------------------------------------------------------------------------- */

/* By the walk of the lists, with their filters. Closes the session. */
static bool count_walk(struct shape *x, enum walk_place place)
{
	struct walk *w = xcalloc(1, sizeof(*w));
	enum walk_result r = WALK_FAILED;
	int code = walk_open(x->c, place, false, false, w);
	x->expected = w->total;
	while (code == 0 && (r = walk_next(w)) == WALK_MORE) {
		for (size_t i = 0; i < w->n; i++) {
			const struct walk_item *item = &w->item[i];
			const struct resp_reply *flat = item->entry != NULL ? resp_at(item->entry, 1) : item->record;
			if (item->fate == WALK_HERE)
				count(x, span_str(item->office), reply_field(flat, "ended_us"));
		}
	}
	bool good = code == 0 && r == WALK_END && !x->c->session->interrupted;
	walk_close(w);
	free(w);
	return good;
}

/* --- saying ----------------------------------------------------------------------------------- */

static int by_total(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return strcmp(x->office, y->office);
}

static void edge_text(const struct shape *x, size_t i, char out[EDGE_SIZE])
{
	int64_t minutes = (x->first_us / MINUTE_US) << (i < AGES - 1 ? i : AGES - 2);
	bool hours = x->first_us >= 60 * MINUTE_US;
	snprintf(out, EDGE_SIZE, "%lld%s%s", (long long)(hours ? minutes / 60 : minutes), hours ? "h" : "min",
		 i == AGES - 1 ? "+" : "");
}

static json_t *row_json(const struct shape *x, const struct row *r, const char *office)
{
	json_t *o = json_pack("{s:s, s:I}", "office", office, "total", (json_int_t)r->total);
	for (size_t i = 0; i < AGES; i++) {
		char edge[EDGE_SIZE];
		edge_text(x, i, edge);
		json_object_set_new(o, edge, json_integer((json_int_t)r->n[i]));
	}
	return o;
}

static json_t *rows(struct shape *x)
{
	json_t *all = json_array();
	qsort(x->row, OFFICES, sizeof(x->row[0]), by_total);
	json_array_append_new(all, row_json(x, &x->all, "TOTAL"));
	for (size_t i = 0; i < OFFICES && x->row[i].total > 0; i++)
		json_array_append_new(all, row_json(x, &x->row[i], x->row[i].office));
	return all;
}

static void print(struct shape *x, const char *place, json_t *all)
{
	char edge[AGES][EDGE_SIZE], title[32];
	struct out_column col[AGES + 2] = { { "office", title }, { "total", "T" } };
	snprintf(title, sizeof(title), "%s", place);
	for (size_t i = 0; i < AGES; i++) {
		edge_text(x, i, edge[i]);
		col[i + 2] = (struct out_column){ edge[i], edge[i] };
	}
	if (x->all.total == 0)
		printf("%s: nothing\n", place);
	else
		out_table(all, col, AGES + 2);
}

/* --- the commands ----------------------------------------------------------------------------- */

static bool count_place(struct shape *x, const char *place)
{
	bool over = strcmp(place, "dead") == 0 || strcmp(place, "unknown") == 0;
	memset(x->row, 0, sizeof(x->row));
	x->all = (struct row){ .total = 0 };
	x->expected = 0;
	x->first_us = over ? 60 * MINUTE_US : 5 * MINUTE_US;
	x->now_us = clock_wall_us();
	if (over)
		return count_walk(x, strcmp(place, "dead") == 0 ? WALK_DEAD : WALK_UNKNOWN);
	if (session_open(x->c) != 0)
		return false;
	session_watch(x->c);
	return strcmp(place, "waiting") == 0 ? count_waiting(x) : count_key(x, "later", NULL);
}

static int shape(struct ctl *c, const char *const *place, size_t n)
{
	struct shape *x = xcalloc(1, sizeof(*x));
	json_t *document = json_object();
	int code = CTL_OK;
	x->c = c;
	progress_start(c, &x->progress);
	for (size_t i = 0; i < n && code == CTL_OK; i++) {
		bool good = count_place(x, place[i]);
		progress_clear(&x->progress);
		if (!good) {
			bool stopped = c->session != NULL && c->session->interrupted;
			code = stopped ? ctl_fail(CTL_NO, "stopped before the end")
			       : c->session != NULL && c->session->code != 0 ? c->session->code
									     : CTL_UNAVAILABLE;
			continue;
		}
		json_t *all = rows(x);
		if (!c->json && i > 0)
			puts("");
		if (!c->json)
			print(x, place[i], all);
		json_object_set_new(document, place[i], all);
	}
	if (c->json && code == CTL_OK)
		out_document(json_incref(document));
	json_decref(document);
	free(x);
	return code;
}

int cmd_shape(struct ctl *c)
{
	static const char *const known[] = { "waiting", "delayed", "dead", "unknown" };
	if (c->n_args == 0)
		return shape(c, known, 3);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(c->arg[0], known[i]) == 0)
			return shape(c, &known[i], 1);
	return ctl_fail(CTL_USAGE, "not waiting, delayed, dead or unknown: %s", c->arg[0]);
}

int cmd_dead_matrix(struct ctl *c)
{
	static const char *const dead[] = { "dead" };
	return shape(c, dead, 1);
}
