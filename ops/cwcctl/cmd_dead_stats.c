/* SPDX-License-Identifier: Apache-2.0 */
/* What the dead letters have in common. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/walk.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define N(a)      (sizeof(a) / sizeof((a)[0]))
#define SECOND_US INT64_C(1000000)
#define HOUR_US   (3600 * SECOND_US)
#define DAY_US    (24 * HOUR_US)
#define TOP       20 /* offices that people see; JSON has all */

static const struct {
	const char *text;
	int64_t us;
} ages[] = {
	{ "under 1 h", HOUR_US },    { "under 6 h", 6 * HOUR_US }, { "under 1 d", DAY_US },
	{ "under 3 d", 3 * DAY_US }, { "under 7 d", 7 * DAY_US },  { "under 30 d", 30 * DAY_US },
	{ "older", INT64_MAX },
};

struct stats {
	struct walk walk;
	int64_t now_us, oldest_us, newest_us;
	uint64_t total, age[N(ages)];
	json_t *outcome, *class_, *chamber, *office, *http_status; /* name -> number */
};

/* --- counting --------------------------------------------------------------------------------- */

static void count(json_t *o, struct span name)
{
	char key[80];
	snprintf(key, sizeof(key), "%.*s", (int)(name.n < sizeof(key) ? name.n : sizeof(key) - 1),
		 name.n > 0 ? (const char *)name.p : "");
	json_int_t n = json_integer_value(json_object_get(o, key[0] ? key : "-"));
	/* A name that is not UTF-8 is refused by jansson. */
	if (json_object_set_new(o, key[0] ? key : "-", json_integer(n + 1)) != 0)
		json_object_set_new(o, "?", json_integer(json_integer_value(json_object_get(o, "?")) + 1));
}

static void count_age(struct stats *x, const struct resp_reply *flat)
{
	int64_t us = 0;
	size_t i = 0;
	if (text_int(reply_field(flat, "ended_us"), &us) != ERR_OK || us <= 0)
		us = 0;
	while (x->now_us - us >= ages[i].us)
		i++;
	x->age[i]++;
	if (us > 0 && (x->oldest_us == 0 || us < x->oldest_us))
		x->oldest_us = us;
	x->newest_us = us > x->newest_us ? us : x->newest_us;
}

static void count_item(struct stats *x, const struct walk_item *item)
{
	const struct resp_reply *flat = item->entry != NULL ? resp_at(item->entry, 1) : item->record;
	if (item->fate != WALK_HERE)
		return;
	x->total++;
	count(x->outcome, reply_field(flat, "outcome"));
	count(x->class_, reply_field(flat, "class"));
	count(x->chamber, item->office[0] == 'H' ? span_lit("house") : span_lit("senate"));
	count(x->office, span_str(item->office));
	count(x->http_status, reply_field(flat, item->entry != NULL ? "http_status" : "status"));
	count_age(x, flat);
}

/* --- saying ----------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	json_int_t n = json_integer_value(json_object_get(x, "letters"));
	json_int_t m = json_integer_value(json_object_get(y, "letters"));
	if (n != m)
		return n < m ? 1 : -1;
	return strcmp(json_string_value(json_object_get(x, "name")), json_string_value(json_object_get(y, "name")));
}

/* { name, letters }, the most letters first. */
static json_t *sorted(json_t *counts)
{
	size_t n = json_object_size(counts), i = 0;
	json_t **row = xcalloc(n + 1, sizeof(json_t *)), *rows = json_array(), *value;
	const char *name;
	json_object_foreach(counts, name, value) row[i++] = json_pack("{s:s, s:O}", "name", name, "letters", value);
	qsort(row, n, sizeof(json_t *), by_number);
	for (i = 0; i < n; i++)
		json_array_append_new(rows, row[i]);
	free(row);
	return rows;
}

static json_t *age_rows(const struct stats *x)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < N(ages); i++)
		json_array_append_new(rows,
				      json_pack("{s:s, s:I}", "name", ages[i].text, "letters", (json_int_t)x->age[i]));
	return rows;
}

static void print_counts(const char *title, json_t *rows, size_t max)
{
	const struct out_column col[] = { { "name", title }, { "letters", "LETTERS" } };
	size_t more = json_array_size(rows) > max ? json_array_size(rows) - max : 0;
	while (json_array_size(rows) > max)
		json_array_remove(rows, json_array_size(rows) - 1);
	puts("");
	out_table(rows, col, N(col));
	if (more > 0)
		printf("and %zu more; --json has all\n", more);
	json_decref(rows);
}

static void say(const struct stats *x)
{
	json_t *oldest = out_time_us(x->oldest_us), *newest = out_time_us(x->newest_us);
	if (x->walk.c->json) {
		out_document(json_pack("{s:I, s:I, s:o, s:o, s:O, s:O, s:O, s:O, s:O, s:o}", "letters",
				       (json_int_t)x->total, "leftovers", (json_int_t)x->walk.leftovers, "oldest",
				       oldest, "newest", newest, "outcome", x->outcome, "class", x->class_, "chamber",
				       x->chamber, "office", x->office, "http_status", x->http_status, "age",
				       age_rows(x)));
		return;
	}
	printf("%" PRIu64 " dead letters", x->total);
	if (json_is_string(oldest))
		printf(", ended from %s to %s", json_string_value(oldest), json_string_value(newest));
	if (x->walk.leftovers > 0)
		printf("; %" PRIu64 " leftovers in the stream", x->walk.leftovers);
	puts("");
	json_decref(oldest);
	json_decref(newest);
	print_counts("OUTCOME", sorted(x->outcome), SIZE_MAX);
	print_counts("CLASS", sorted(x->class_), SIZE_MAX);
	print_counts("CHAMBER", sorted(x->chamber), SIZE_MAX);
	print_counts("HTTP", sorted(x->http_status), SIZE_MAX);
	print_counts("OFFICE", sorted(x->office), TOP);
	print_counts("AGE", age_rows(x), SIZE_MAX);
}

/* --- the command ------------------------------------------------------------------------------ */

static int run(struct stats *x)
{
	struct progress progress;
	enum walk_result r;
	int none_code;
	progress_start(x->walk.c, &progress);
	while ((r = walk_next(&x->walk)) == WALK_MORE) {
		for (size_t i = 0; i < x->walk.n; i++)
			count_item(x, &x->walk.item[i]);
		progress_show(&progress, x->walk.seen, x->walk.total, x->total, "counted");
	}
	progress_clear(&progress);
	if (r == WALK_FAILED)
		return x->walk.c->session->code;
	if (x->walk.c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	const char *none = walk_nothing(&x->walk, &none_code);
	if (x->total > 0 || x->walk.c->json)
		say(x);
	else
		puts(none);
	return x->total > 0 ? CTL_OK : none_code;
}

int cmd_dead_stats(struct ctl *c)
{
	struct stats *x = xcalloc(1, sizeof(*x));
	json_t **all[] = { &x->outcome, &x->class_, &x->chamber, &x->office, &x->http_status };
	for (size_t i = 0; i < N(all); i++)
		*all[i] = json_object();
	x->now_us = clock_wall_us();
	int code = walk_open(c, WALK_DEAD, false, false, &x->walk);
	if (code == 0)
		code = run(x);
	walk_close(&x->walk);
	for (size_t i = 0; i < N(all); i++)
		json_decref(*all[i]);
	free(x);
	return code;
}
