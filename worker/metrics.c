/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/metrics.h"

#include <stdlib.h>
#include <string.h>

#define US_PER_S   1000000
#define DEPTH_MOST (INT64_C(1) << 48)

_Static_assert(METRICS_CLASS_COUNT == OUTCOME_CLASS_ENDED + 1, "classes of outcomes");

/* --- labels ---------------------------------------------------------------------------------- */

#define NAME(e, name) name,
static const char *const fates[] = { "answered", "not_sent", "unknown" };
static const char *const codes[] = { "1xx", "2xx", "3xx", "4xx", "5xx" };
static const char *const calls[] = { METRICS_CALLS(NAME) };
static const char *const places[] = { METRICS_PLACES(NAME) };
static const char *const lines[] = { METRICS_LINES(NAME) };
static const char *const limiters[] = { "worker", "queue" };
static const char *const scopes[] = { METRICS_SCOPES(NAME) };
static const char *const moves[] = { "closed", "open" };
static const char *const closeds[] = { METRICS_CLOSEDS(NAME) };
static const char *const reasons[] = { METRICS_REASONS(NAME) };
static const char *const profiles[] = { "witness", "letter", "secret" };
static const char *const none[] = { "" };
#undef NAME

static const struct {
	const char *name;
	unsigned n;
	const char *const *value; /* NULL: named by cwc/ */
} labels[] = {
#define ROW(e, name, n) [METRICS_LABEL_##e] = { name, n, VALUES_##e },
#define VALUES_NONE     none
#define VALUES_CHAMBER  NULL
#define VALUES_OUTCOME  NULL
#define VALUES_CLASS    NULL
#define VALUES_FATE     fates
#define VALUES_CODE     codes
#define VALUES_CALL     calls
#define VALUES_PLACE    places
#define VALUES_LINE     lines
#define VALUES_LIMITER  limiters
#define VALUES_SCOPE    scopes
#define VALUES_MOVE     moves
#define VALUES_CLOSED   closeds
#define VALUES_REASON   reasons
#define VALUES_PROFILE  profiles
	METRICS_LABELS(ROW)
#undef ROW
};

/* NULL: a value that the series does not show. */
static const char *value_name(enum metrics_label l, unsigned i)
{
	if (l == METRICS_LABEL_CHAMBER)
		return cwc_chamber_name((enum cwc_chamber)i);
	if (l == METRICS_LABEL_CLASS)
		return outcome_class_name((enum outcome_class)i);
	if (l == METRICS_LABEL_OUTCOME) /* of letters that ended */
		return outcome_state((enum outcome)i) == OUTCOME_OPEN ? NULL : outcome_name((enum outcome)i);
	return labels[l].value[i];
}

enum metrics_reason metrics_reason(const char *reason)
{
	unsigned i = 0;
	while (i < METRICS_REASON_OTHER && strcmp(reasons[i], reason) != 0)
		i++;
	return (enum metrics_reason)i;
}

/* --- series ---------------------------------------------------------------------------------- */

enum unit { ONE, US };
enum type { COUNTER, GAUGE };

static const struct series {
	enum type type;
	const char *name;
	enum metrics_label a, b;
	enum unit unit;
	const char *help;
} series[METRICS_COUNT] = {
#define ROW(e, t, name, a, b, u, help) [METRICS_##e] = { t, name, METRICS_LABEL_##a, METRICS_LABEL_##b, u, help },
	METRICS(ROW)
#undef ROW
};

#define BUCKETS_MAX 14

struct buckets {
	unsigned n;
	int64_t us[BUCKETS_MAX];
};

#define MS(v) ((v)*INT64_C(1000))
#define S(v)  ((v)*INT64_C(1000000))
static const struct buckets SHORT = { 7, { MS(1), MS(5), MS(10), MS(50), MS(100), MS(500), S(1) } };
static const struct buckets NET = { 14,
				    { MS(5), MS(10), MS(25), MS(50), MS(100), MS(250), MS(500), S(1), MS(2500), S(5),
				      S(10), S(30), S(60), S(120) } };
static const struct buckets AGE = {
	10, { S(1), S(5), S(30), S(60), S(300), S(900), S(3600), S(21600), S(86400), S(604800) }
};

static const struct histogram {
	const char *name;
	enum metrics_label label;
	const struct buckets *buckets;
	const char *help;
} histograms[METRICS_HIST_COUNT] = {
#define ROW(e, name, label, buckets, help) [METRICS_HIST_##e] = { name, METRICS_LABEL_##label, &(buckets), help },
	METRICS_HISTOGRAMS(ROW)
#undef ROW
};

/* One flat array: the values of a series, by first label, then by second; of a histogram, by label: its buckets, the
 * one without a limit, and the sum. Buckets are not cumulative here. */
struct metrics {
	size_t at[METRICS_COUNT], hist_at[METRICS_HIST_COUNT], n;
	int64_t *value;
};

static size_t stride(enum metrics_histogram h)
{
	return histograms[h].buckets->n + 2;
}

struct metrics *metrics_new(void)
{
	struct metrics *m = xcalloc(1, sizeof *m);
	for (unsigned s = 0; s < METRICS_COUNT; s++) {
		m->at[s] = m->n;
		m->n += (size_t)labels[series[s].a].n * labels[series[s].b].n;
	}
	for (unsigned h = 0; h < METRICS_HIST_COUNT; h++) {
		m->hist_at[h] = m->n;
		m->n += stride((enum metrics_histogram)h) * labels[histograms[h].label].n;
	}
	m->value = xcalloc(m->n, sizeof *m->value);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (m == NULL)
		return;
	free(m->value);
	free(m);
}

static int64_t *cell(const struct metrics *m, enum metric s, unsigned a, unsigned b)
{
	BUG_ON((unsigned)s >= METRICS_COUNT || a >= labels[series[s].a].n || b >= labels[series[s].b].n);
	return m->value + m->at[s] + (size_t)a * labels[series[s].b].n + b;
}

void metrics_add(struct metrics *m, enum metric s, unsigned a, unsigned b, int64_t n)
{
	*cell(m, s, a, b) += n;
}

void metrics_set(struct metrics *m, enum metric s, unsigned a, unsigned b, int64_t value)
{
	*cell(m, s, a, b) = value;
}

int64_t metrics_get(const struct metrics *m, enum metric s, unsigned a, unsigned b)
{
	return *cell(m, s, a, b);
}

void metrics_observe(struct metrics *m, enum metrics_histogram h, unsigned a, int64_t us)
{
	BUG_ON((unsigned)h >= METRICS_HIST_COUNT || a >= labels[histograms[h].label].n);
	const struct buckets *b = histograms[h].buckets;
	int64_t *count = m->value + m->hist_at[h] + stride(h) * a;
	unsigned i = 0;
	if (us < 0)
		us = 0;
	while (i < b->n && us > b->us[i])
		i++;
	count[i]++;
	/* Times of the queue's record are anybody's. */
	if (__builtin_add_overflow(count[b->n + 1], us, &count[b->n + 1]))
		count[b->n + 1] = INT64_MAX;
}

/* --- DEPTH ----------------------------------------------------------------------------------- */

static unsigned find(const char *const *names, unsigned n, struct span name)
{
	unsigned i = 0;
	while (i < n && !span_eq_str(name, names[i]))
		i++;
	return i;
}

static void depth_of(struct metrics *m, enum cwc_chamber c, struct span name, int64_t value)
{
	unsigned line = find(lines, METRICS_LINE_COUNT, name);
	if (line < METRICS_LINE_COUNT)
		metrics_set(m, METRICS_LINES, c, line, value);
	else if (span_eq_str(name, "oldest_us"))
		metrics_set(m, METRICS_OLDEST, c, 0, value);
	else if (span_eq_str(name, "breakers"))
		metrics_set(m, METRICS_BREAKERS, c, 0, value);
	else if (span_eq_str(name, "down"))
		metrics_set(m, METRICS_BREAKER_OPEN, c, 0, value != 0);
}

void metrics_depth(struct metrics *m, struct span name, int64_t value)
{
	unsigned place = find(places, METRICS_PLACE_COUNT, name);
	/* So that sums of what Redis says stay in range. */
	if (value < 0)
		value = 0;
	else if (value > DEPTH_MOST)
		value = DEPTH_MOST;
	if (place < METRICS_PLACE_COUNT)
		metrics_set(m, METRICS_ENTRIES, place, 0, value);
	else if (span_eq_str(name, "workers"))
		metrics_set(m, METRICS_WORKERS, 0, 0, value);
	else if (span_eq_str(name, "in_oldest_us"))
		metrics_set(m, METRICS_OLDEST_IN, 0, 0, value);
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		struct span chamber = span_str(cwc_chamber_name((enum cwc_chamber)c));
		size_t n = chamber.n + 1;
		if (name.n > n && name.p[n - 1] == '_' && span_eq(span_of(name.p, n - 1), chamber))
			depth_of(m, (enum cwc_chamber)c, span_of(name.p + n, name.n - n), value);
	}
}

/* --- text ------------------------------------------------------------------------------------ */

/* A time in seconds, without zeros at its end. */
static void add_seconds(struct buf *out, int64_t us)
{
	char digits[] = "000000";
	BUG_ON(us < 0);
	int64_t part = us % US_PER_S;
	size_t n = sizeof digits - 1;
	buf_add_int(out, us / US_PER_S);
	if (part == 0)
		return;
	for (size_t i = n; i-- > 0; part /= 10)
		digits[i] = (char)('0' + part % 10);
	while (digits[n - 1] == '0')
		n--;
	buf_add_byte(out, '.');
	buf_add(out, digits, n);
}

static void add_header(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_add_str(out, "# HELP ");
	buf_add_str(out, name);
	buf_add_byte(out, ' ');
	buf_add_str(out, help);
	buf_add_str(out, "\n# TYPE ");
	buf_add_str(out, name);
	buf_add_byte(out, ' ');
	buf_add_str(out, type);
	buf_add_byte(out, '\n');
}

/* Begins with `{` or goes on with `,`. None of the values needs escaping. */
static void add_label(struct buf *out, const char *name, const char *value, bool *first)
{
	buf_add_byte(out, *first ? '{' : ',');
	buf_add_str(out, name);
	buf_add_str(out, "=\"");
	buf_add_str(out, value);
	buf_add_byte(out, '"');
	*first = false;
}

static void add_sample(const struct metrics *m, enum metric s, unsigned a, unsigned b, struct buf *out)
{
	const struct series *row = &series[s];
	const char *left = value_name(row->a, a), *right = value_name(row->b, b);
	bool first = true;
	if (left == NULL || right == NULL)
		return;
	buf_add_str(out, row->name);
	if (row->a != METRICS_LABEL_NONE)
		add_label(out, labels[row->a].name, left, &first);
	if (row->b != METRICS_LABEL_NONE)
		add_label(out, labels[row->b].name, right, &first);
	buf_add_str(out, first ? " " : "} ");
	if (row->unit == US)
		add_seconds(out, *cell(m, s, a, b));
	else
		buf_add_int(out, *cell(m, s, a, b));
	buf_add_byte(out, '\n');
}

static void add_series(const struct metrics *m, enum metric s, struct buf *out)
{
	const struct series *row = &series[s];
	add_header(out, row->name, row->type == COUNTER ? "counter" : "gauge", row->help);
	for (unsigned a = 0; a < labels[row->a].n; a++) {
		for (unsigned b = 0; b < labels[row->b].n; b++)
			add_sample(m, s, a, b, out);
	}
}

/* `limit_us` NULL: not a bucket; below 0: the bucket without a limit. */
static void add_part(const struct histogram *row, unsigned a, const char *part, const int64_t *limit_us,
		     struct buf *out)
{
	bool first = true;
	buf_add_str(out, row->name);
	buf_add_str(out, part);
	if (row->label != METRICS_LABEL_NONE)
		add_label(out, labels[row->label].name, value_name(row->label, a), &first);
	if (limit_us != NULL) {
		buf_add_str(out, first ? "{le=\"" : ",le=\"");
		if (*limit_us < 0)
			buf_add_str(out, "+Inf");
		else
			add_seconds(out, *limit_us);
		buf_add_byte(out, '"');
		first = false;
	}
	buf_add_str(out, first ? " " : "} ");
}

static void add_histogram(const struct metrics *m, enum metrics_histogram h, unsigned a, struct buf *out)
{
	const struct histogram *row = &histograms[h];
	const int64_t *count = m->value + m->hist_at[h] + stride(h) * a;
	const int64_t no_limit = -1;
	int64_t sum = 0;
	for (unsigned i = 0; i <= row->buckets->n; i++) {
		sum += count[i];
		add_part(row, a, "_bucket", i < row->buckets->n ? &row->buckets->us[i] : &no_limit, out);
		buf_add_int(out, sum);
		buf_add_byte(out, '\n');
	}
	add_part(row, a, "_sum", NULL, out);
	add_seconds(out, count[row->buckets->n + 1]);
	buf_add_byte(out, '\n');
	add_part(row, a, "_count", NULL, out);
	buf_add_int(out, sum);
	buf_add_byte(out, '\n');
}

void metrics_text(const struct metrics *m, const char *version, const char *environment, struct buf *out)
{
	bool first = true;
	for (unsigned s = 0; s < METRICS_COUNT; s++)
		add_series(m, (enum metric)s, out);
	for (unsigned h = 0; h < METRICS_HIST_COUNT; h++) {
		add_header(out, histograms[h].name, "histogram", histograms[h].help);
		for (unsigned a = 0; a < labels[histograms[h].label].n; a++)
			add_histogram(m, (enum metrics_histogram)h, a, out);
	}
	add_header(out, "cwc_build_info", "gauge", "The release that runs, and the environment that it sends to.");
	buf_add_str(out, "cwc_build_info");
	add_label(out, "version", version, &first);
	add_label(out, "environment", environment, &first);
	buf_add_str(out, "} 1\n");
}
