/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scenario can ask for: `expect WHAT ...` and `until DURATION WHAT ...`. README.md lists the words.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/chamber.h"
#include "tests/scenario/fleet.h"
#include "tests/scenario/letter.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/scenario.h"
#include "tests/scenario/steps.h"

static char text[600];

static const char *is(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *is(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return text;
}

/* --- keys: check.lua knows ----------------------------------------------------------------------- */

static const char *keys(const char *function, const char *const *w, size_t n)
{
	const char *argv[WORDS_MAX + 1];
	char now[24];
	snprintf(now, sizeof(now), "%lld", (long long)redis_now_us());
	argv[0] = now;
	for (size_t i = 0; i < n; i++)
		argv[i + 1] = w[i];
	return redis_check(function, argv, n + 1);
}

static const char *expect_job(const char *const *w, size_t n)
{
	return keys("expect_job", w, n);
}

static const char *expect_sub(const char *const *w, size_t n)
{
	return keys("expect_sub", w, n);
}

static const char *expect_entry(const char *const *w, size_t n)
{
	return keys("expect_entry", w, n);
}

static const char *expect_entries(const char *const *w, size_t n)
{
	return keys("expect_count", w, n);
}

/* The newest result. */
static const char *expect_result(const char *const *w, size_t n)
{
	const char *more[WORDS_MAX + 1] = { "results" };
	memcpy(more + 1, w, n * sizeof(*w));
	return keys("expect_entry", more, n + 1);
}

static const char *expect_hold(const char *const *w, size_t n)
{
	return keys("expect_hold", w, n);
}

static const char *expect_breaker(const char *const *w, size_t n)
{
	return keys("expect_breaker", w, n);
}

static const char *expect_length(const char *const *w, size_t n)
{
	return keys("expect_length", w, n);
}

static const char *expect_store(const char *const *w, size_t n)
{
	(void)n;
	need_end(w[0]);
	return redis_check("store", NULL, 0);
}

/* --- POSTs ------------------------------------------------------------------------------------- */

/* all, house, senate, an office, a sid, or SID:OFFICE. */
static bool about(const struct chamber_post *p, const char *what)
{
	char both[100];
	snprintf(both, sizeof(both), "%s:%s", p->sid, p->office);
	return word_is(what, "all") || word_is(what, cwc_chamber_name(p->chamber)) || word_is(what, p->office) ||
	       word_is(what, p->sid) || word_is(what, both);
}

static size_t select_posts(const char *what, const struct chamber_post **ret, size_t max)
{
	const struct chamber_post *p;
	size_t all = chamber_posts(&p), n = 0;
	for (size_t i = 0; i < all; i++) {
		if (!about(&p[i], what))
			continue;
		BUG_ON(n == max);
		ret[n++] = &p[i];
	}
	return n;
}

#define POSTS_MAX 65536
static const struct chamber_post *chosen[POSTS_MAX];

/* posts WHAT N [from TIME to TIME] */
static const char *expect_posts(const char *const *w, size_t n)
{
	int64_t from_us = INT64_MIN, to_us = INT64_MAX;
	size_t found = 0;
	scenario_need(n == 2 || (n == 6 && word_is(w[2], "from") && word_is(w[4], "to")), "posts WHAT N [from T to T]");
	if (n == 6) {
		from_us = parse_time(w[3]);
		to_us = parse_time(w[5]);
	}
	size_t all = select_posts(w[0], chosen, POSTS_MAX);
	for (size_t i = 0; i < all; i++)
		found += chosen[i]->wall_us >= from_us && chosen[i]->wall_us <= to_us;
	return parse_holds(w[1], (int64_t)found) ? NULL : is("there are %zu posts", found);
}

/* rate WHAT N DURATION: no window of this length has more than N. */
static const char *expect_rate(const char *const *w, size_t n)
{
	scenario_need(n == 3, "rate WHAT N DURATION");
	size_t most = (size_t)parse_number(w[1]), all = select_posts(w[0], chosen, POSTS_MAX);
	int64_t window_us = parse_us(w[2]);
	for (size_t i = 0; i + most < all; i++) {
		int64_t us = chosen[i + most]->wall_us - chosen[i]->wall_us;
		if (us < window_us)
			return is("%zu posts within %.3f s", most + 1, (double)us / 1e6);
	}
	return NULL;
}

/* gap WHAT A..B: between two that follow each other, in duration. */
static const char *expect_gap(const char *const *w, size_t n)
{
	scenario_need(n == 3, "gap WHAT LEAST MOST");
	int64_t least_us = parse_us(w[1]), most_us = parse_us(w[2]);
	size_t all = select_posts(w[0], chosen, POSTS_MAX);
	for (size_t i = 0; i + 1 < all; i++) {
		int64_t us = chosen[i + 1]->wall_us - chosen[i]->wall_us;
		if (us < least_us || us > most_us)
			return is("posts %zu and %zu are %.3f s apart", i + 1, i + 2, (double)us / 1e6);
	}
	return NULL;
}

/* order WHAT SID...: these were POSTed in this order (each counts by its first POST). */
static const char *expect_order(const char *const *w, size_t n)
{
	size_t all = select_posts(w[0], chosen, POSTS_MAX), last = 0;
	for (size_t i = 1; i < n; i++) {
		size_t k = 0;
		while (k < all && strcmp(chosen[k]->sid, w[i]) != 0)
			k++;
		if (k == all)
			return is("%s was not posted", w[i]);
		if (i > 1 && k < last)
			return is("%s came before %s", w[i], w[i - 1]);
		last = k;
	}
	return NULL;
}

/* last WHAT LEAST MOST: when the last POST was, as times. */
static const char *expect_last(const char *const *w, size_t n)
{
	scenario_need(n == 3, "last WHAT FROM TO");
	size_t all = select_posts(w[0], chosen, POSTS_MAX);
	if (all == 0)
		return "there is no post";
	int64_t us = chosen[all - 1]->wall_us;
	bool good = us >= parse_time(w[1]) && us <= parse_time(w[2]);
	return good ? NULL : is("it was %.3f s ago", (double)(sim_wall_us() - us) / 1e6);
}

/* taken SID OFFICE N: how often the chamber has it. */
static const char *expect_taken(const char *const *w, size_t n)
{
	char id[CWC_DELIVERY_ID_SIZE];
	scenario_need(n == 3, "taken SID OFFICE N");
	cwc_delivery_id(span_lit("sandbox"), span_str(w[0]), span_str(w[1]), id);
	unsigned times = chamber_taken(id);
	return parse_holds(w[2], times) ? NULL : is("it was taken %u times", times);
}

/* by WHAT WORKER: who made the last POST. */
static const char *expect_by(const char *const *w, size_t n)
{
	scenario_need(n == 2, "by WHAT WORKER");
	size_t all = select_posts(w[0], chosen, POSTS_MAX);
	struct fleet_worker *f = fleet_find(w[1]);
	if (all == 0)
		return "there is no post";
	return f != NULL && fleet_process(f) == chosen[all - 1]->process ? NULL : "it was another";
}

/* --- workers ----------------------------------------------------------------------------------- */

static bool line_has(const struct fleet_line *l, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = strstr(l->text, word); p != NULL; p = strstr(p + 1, word))
		if ((p == l->text || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

/* log EVENT N [worker=NAME] [field=value]... */
static const char *expect_log(const char *const *w, size_t n)
{
	const struct fleet_line *l;
	size_t all = fleet_log(&l), found = 0;
	scenario_need(n >= 2, "log EVENT N ...");
	if (!fleet_event_known(w[0]))
		scenario_fail("\"%s\" is no event", w[0]);
	for (size_t i = 0; i < all; i++) {
		bool good = strcmp(fleet_event_name(l[i].event), w[0]) == 0;
		for (size_t k = 2; good && k < n; k++)
			good = strncmp(w[k], "by=", 3) == 0 ? strcmp(w[k] + 3, l[i].worker) == 0
							    : line_has(&l[i], w[k]);
		found += good;
	}
	return parse_holds(w[1], (int64_t)found) ? NULL : is("there are %zu such lines", found);
}

static struct fleet_worker *worker(const char *name)
{
	struct fleet_worker *f = fleet_find(name);
	if (f == NULL || !fleet_runs(f))
		scenario_fail("%s does not run", name);
	return f;
}

/* named SID OFFICE N: the newest receipt names the document of the Nth entry of `attestations`. */
static const char *expect_named(const char *const *w, size_t n)
{
	scenario_need(n == 3, "named SID OFFICE N");
	account_results();
	const struct letter_known *k = letter_find(w[0], w[1]);
	long long named = k == NULL ? 0 : (long long)k->named;
	return parse_holds(w[2], named) ? NULL : is("it names %lld", named);
}

/* ready WORKER yes|REASON */
static const char *expect_ready(const char *const *w, size_t n)
{
	scenario_need(n == 2, "ready WORKER yes|REASON");
	const char *reason = fleet_ready(worker(w[0]));
	reason = reason[0] == '\0' ? "yes" : reason;
	return word_is(w[1], reason) ? NULL : is("it is %s", reason);
}

/* runs WORKER yes|no */
static const char *expect_runs(const char *const *w, size_t n)
{
	const struct fleet_worker *f = n == 2 ? fleet_find(w[0]) : NULL;
	scenario_need(f != NULL, "runs WORKER yes|no");
	const char *is_so = fleet_runs(f) ? "yes" : "no";
	return word_is(w[1], is_so) ? NULL : is_so;
}

static const char *expect_in_flight(const char *const *w, size_t n)
{
	scenario_need(n == 2, "in-flight WORKER N");
	unsigned flying = fleet_in_flight(worker(w[0]));
	return parse_holds(w[1], flying) ? NULL : is("there are %u", flying);
}

/* --- the table --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *(*fn)(const char *const *word, size_t n);
} expectations[] = {
	{ "job", expect_job },         { "sub", expect_sub },
	{ "entry", expect_entry },     { "entries", expect_entries },
	{ "result", expect_result },   { "hold", expect_hold },
	{ "breaker", expect_breaker }, { "length", expect_length },
	{ "store", expect_store },     { "posts", expect_posts },
	{ "rate", expect_rate },       { "gap", expect_gap },
	{ "order", expect_order },     { "last", expect_last },
	{ "taken", expect_taken },     { "by", expect_by },
	{ "log", expect_log },         { "named", expect_named },
	{ "ready", expect_ready },     { "in-flight", expect_in_flight },
	{ "runs", expect_runs },
};

const char *expect(const char *const *word, size_t n)
{
	scenario_need(n > 0, "expect WHAT");
	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
		if (strcmp(expectations[i].name, word[0]) == 0)
			return expectations[i].fn(word + 1, n - 1);
	scenario_fail("\"%s\" is nothing to expect", word[0]);
}
