/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck: walks all keys of the queue in chunks and hands what it meets to the script FSCK, which looks at each item and
 * at all that belongs to it in one step. So the walk may meet a job before or after it moved: what the script says was
 * true when it said it. Nothing but names is kept here, and those of lines, cells and workers only.
 *
 * The order: the names and types of all keys; submissions whose records are gone (any later mending would forget them);
 * jobs; submissions; places.
 */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/fsck.h"
#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

/* Items of a call of the script, so that one takes about 0.5 ms: a submission may have up to 64 jobs. */
#define CHUNK      64
#define CHUNK_JOB  32
#define CHUNK_SUB  16
#define CHUNK_NAME 128
#define SCAN       "250"
#define PAGE       "128"
#define CURSOR     24

struct names {
	char **at;
	size_t n, room;
};

struct fsck {
	struct ctl *c;
	struct fsck_report report;
	/* The call that is being filled. */
	const char *kind;
	char name[SESSION_KEY_SIZE];
	struct span item[CHUNK_NAME]; /* ours */
	size_t n;
	/* What the first walk met. */
	struct names place, wrong; /* wrong: a place of another type, which no walk can read */
	bool noted;
	/* For people: items so far, and all that the first walk promises. */
	uint64_t looked, expected;
	bool known;
};

typedef bool (*each_fn)(struct fsck *f, const void *arg, struct span item);

/* --- names ------------------------------------------------------------------------------------ */

/* Only those of keys that can be walked: few. */
static void names_add(struct names *l, struct span name)
{
	if (l->n == l->room) {
		l->room = l->room == 0 ? 256 : 2 * l->room;
		l->at = realloc(l->at, l->room * sizeof(*l->at));
		BUG_ON(l->at == NULL);
	}
	l->at[l->n++] = xstrndup(name);
}

static void names_free(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->at[i]);
	free(l->at);
}

static bool begins(struct span s, const char *with)
{
	size_t n = strlen(with);
	return s.n >= n && memcmp(s.p, with, n) == 0;
}

static bool is_place(struct span key)
{
	static const char *const places[] = { "wait:", "fly:", "held:", "rate:" };
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (begins(key, places[i]) && key.n < SESSION_KEY_SIZE / 2)
			return true;
	return false;
}

/* --- calls of the script ---------------------------------------------------------------------- */

/* Into `audit`; false after a report. */
static bool note(struct fsck *f, struct span text)
{
	char who[ADMIN_WHO_SIZE];
	admin_who(f->c, who);
	struct resp_reply *r = session_script(f->c, "fsck", SESSION_ARGV(span_lit("note"), span_str(who), text));
	bool good = r != NULL;
	reply_free(r);
	return good;
}

static void answer_take(struct fsck *f, const struct resp_reply *r)
{
	for (size_t i = 1; i + 2 < r->n; i += 3) {
		struct span item = resp_text(r->at[i]), code = resp_text(r->at[i + 1]);
		if (span_eq_str(code, "key-type") || (span_eq_str(code, "key-unknown") && is_place(item)))
			names_add(&f->wrong, item);
		fsck_finding(&f->report, f->kind, span_str(f->name), item, code, resp_text(r->at[i + 2]));
	}
}

static void items_free(struct fsck *f)
{
	for (size_t i = 0; i < f->n; i++)
		free((void *)(uintptr_t)f->item[i].p);
	f->n = 0;
}

/* What the script says of the items; NULL after a report. */
static struct resp_reply *look(struct fsck *f, struct span verb)
{
	char version[16];
	struct span argv[4 + CHUNK_NAME] = { verb, span_str(f->kind), span_str(f->name) };
	snprintf(version, sizeof(version), "%d", QUEUE_PROTOCOL_VERSION);
	argv[3] = span_str(version);
	for (size_t i = 0; i < f->n; i++)
		argv[4 + i] = f->item[i];
	struct resp_reply *r = session_script(f->c, "fsck", argv, 4 + f->n);
	if (r == NULL || span_eq_str(resp_text(resp_at(r, 0)), "OK"))
		return r;
	f->c->session->code = ctl_fail(CTL_CONFIG, "the queue has a newer protocol: it is not mended");
	reply_free(r);
	return NULL;
}

/* The first mend waits until `audit` says that there are any: until then it is only looked. */
static bool look_first(struct fsck *f)
{
	struct resp_reply *r = look(f, span_lit("check"));
	bool good = r != NULL, off = good && resp_at(r, 1)->type != RESP_NIL;
	reply_free(r);
	if (off)
		good = f->noted = note(f, span_lit("mends"));
	return good;
}

/* False after a report, an interrupt, or when nobody can read it. */
static bool flush(struct fsck *f)
{
	if (f->n == 0)
		return true;
	bool good = !f->report.mend || f->noted || look_first(f);
	struct resp_reply *r = good ? look(f, f->noted ? span_lit("mend") : span_lit("check")) : NULL;
	if (r != NULL)
		answer_take(f, r);
	good = r != NULL && out_good();
	reply_free(r);
	items_free(f);
	progress_show(&f->report.progress, f->looked, f->known ? f->expected : 0, f->report.findings, "found");
	return good && !f->c->session->interrupted;
}

static size_t chunk(const char *kind)
{
	static const struct {
		const char *kind;
		size_t n;
	} rows[] = { { "key", CHUNK_NAME }, { "job", CHUNK_JOB }, { "sub", CHUNK_SUB }, { "lost", CHUNK_SUB } };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(kind, rows[i].kind) == 0)
			return rows[i].n;
	return CHUNK;
}

/* The kind and name stay those of this call until the flush. */
static bool add(struct fsck *f, const char *kind, const char *name, struct span item)
{
	bool other = f->n > 0 && (strcmp(f->kind, kind) != 0 || strcmp(f->name, name) != 0);
	if (other && !flush(f))
		return false;
	f->kind = kind;
	f->looked++;
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->item[f->n++] =
		span_of(memcpy(xmalloc(item.n + 1), item.n > 0 ? item.p : (const uint8_t *)"", item.n), item.n);
	return f->n < chunk(kind) || flush(f);
}

/* --- walking ---------------------------------------------------------------------------------- */

/* SCAN, HSCAN, SSCAN and ZSCAN; `step`: 2 where values or scores come with the members. */
static bool scan(struct fsck *f, const struct span *head, size_t n_head, const struct span *tail, size_t n_tail,
		 size_t step, each_fn each, const void *arg)
{
	char cursor[CURSOR] = "0";
	bool good = true;
	do {
		struct span argv[8];
		memcpy(argv, head, n_head * sizeof(*head));
		argv[n_head] = span_str(cursor);
		memcpy(argv + n_head + 1, tail, n_tail * sizeof(*tail));
		struct resp_reply *r = session_call(f->c, argv, n_head + 1 + n_tail);
		if (r == NULL)
			return false;
		struct span next = resp_text(resp_at(r, 0));
		snprintf(cursor, sizeof(cursor), "%.*s", (int)(next.n < CURSOR ? next.n : 0), (const char *)next.p);
		const struct resp_reply *found = resp_at(r, 1);
		for (size_t i = 0; good && found->type == RESP_ARRAY && i < found->n; i += step)
			good = each(f, arg, resp_text(found->at[i]));
		reply_free(r);
	} while (good && strcmp(cursor, "0") != 0 && cursor[0] != '\0');
	return good;
}

/* All keys of the queue that match. */
static bool scan_keys(struct fsck *f, const char *match, each_fn each, const char *arg)
{
	struct span pattern = session_key(f->c, match);
	const struct span head[] = { span_lit("SCAN") };
	const struct span tail[] = { span_lit("MATCH"), pattern, span_lit("COUNT"), span_lit(SCAN) };
	return scan(f, head, 1, tail, 4, 1, each, arg) && flush(f);
}

static struct span suffix(const struct fsck *f, struct span key)
{
	size_t n = strlen(f->c->session->name) + 3;
	return key.n > n ? span_of(key.p + n, key.n - n) : span_of(key.p, 0);
}

/* What follows the "job:" or "sub:" that was asked for; false: Redis answers something else. */
static bool id_of(const struct fsck *f, struct span key, const char *prefix, struct span *ret_id)
{
	struct span s = suffix(f, key);
	size_t n = strlen(prefix);
	if (!begins(s, prefix))
		return false;
	*ret_id = span_of(s.p + n, s.n - n);
	return true;
}

static bool each_key(struct fsck *f, const void *arg, struct span key)
{
	struct span s = suffix(f, key);
	(void)arg;
	f->report.keys++;
	f->expected += begins(s, "sub:") ? 3 : begins(s, "job:") ? 4 : 1; /* a job lies in two places, about */
	if (is_place(s))
		names_add(&f->place, s);
	return add(f, "key", "", s);
}

static bool walk_keys(struct fsck *f)
{
	f->known = scan_keys(f, "*", each_key, NULL);
	return f->known;
}

static bool each_job(struct fsck *f, const void *arg, struct span key)
{
	struct span id;
	(void)arg;
	if (!id_of(f, key, "job:", &id))
		return true;
	f->report.jobs++;
	return add(f, "job", "", id);
}

static bool each_sub(struct fsck *f, const void *arg, struct span key)
{
	const char *kind = arg;
	struct span id;
	if (!id_of(f, key, "sub:", &id))
		return true;
	f->report.submissions += strcmp(kind, "sub") == 0;
	return add(f, kind, "", id);
}

/* --- places ----------------------------------------------------------------------------------- */

/* Of one place. */
struct members {
	const char *kind, *name;
};

static bool each_member(struct fsck *f, const void *arg, struct span item)
{
	const struct members *m = arg;
	return add(f, m->kind, m->name, item);
}

static bool is_wrong(const struct fsck *f, const char *key)
{
	for (size_t i = 0; i < f->wrong.n; i++)
		if (strcmp(f->wrong.at[i], key) == 0)
			return true;
	return false;
}

static bool walk(struct fsck *f, const char *command, size_t step, const char *key, const char *kind, const char *name)
{
	const struct members m = { kind, name };
	if (is_wrong(f, key))
		return true;
	const struct span head[] = { span_str(command), session_key(f->c, key) };
	const struct span tail[] = { span_lit("COUNT"), span_lit(SCAN) };
	return scan(f, head, 2, tail, 2, step, each_member, &m) && flush(f);
}

static bool walk_named(struct fsck *f, const char *key)
{
	const char *name = strchr(key, ':') + 1;
	switch (key[0]) {
	case 'w':
		return walk(f, "ZSCAN", 2, key, "line", name);
	case 'h':
		return walk(f, "SSCAN", 1, key, "held", name);
	case 'f':
		return walk(f, "SSCAN", 1, key, "fly", name);
	default:
		return is_wrong(f, key) || add(f, "rate", "", span_str(name));
	}
}

/* "sid:office rev ms" of a result, the id of any other entry. */
static bool add_entry(struct fsck *f, const char *stream, const struct resp_reply *entry)
{
	char text[256];
	struct span id = resp_text(resp_at(entry, 0));
	if (strcmp(stream, "results") != 0)
		return add(f, stream, "", id);
	const struct resp_reply *flat = resp_at(entry, 1);
	struct span sid = reply_field(flat, "sid"), office = reply_field(flat, "office"),
		    rev = reply_field(flat, "rev");
	const uint8_t *dash = id.n > 0 ? memchr(id.p, '-', id.n) : NULL;
	if (sid.n > 80 || office.n > 80 || rev.n > 20 || dash == NULL)
		return true;
	int n = snprintf(text, sizeof(text), "%.*s:%.*s %.*s %.*s", (int)sid.n, (const char *)sid.p, (int)office.n,
			 (const char *)office.p, (int)rev.n, (const char *)rev.p, (int)(dash - id.p),
			 (const char *)id.p);
	return add(f, stream, "", span_of(text, (size_t)n));
}

static bool walk_stream(struct fsck *f, const char *stream, const char *page)
{
	char start[80] = "-";
	bool good = !is_wrong(f, stream);
	for (size_t n = 1; good && n > 0;) {
		struct resp_reply *r =
			session_call(f->c, SESSION_ARGV(span_lit("XRANGE"), session_key(f->c, stream), span_str(start),
							span_lit("+"), span_lit("COUNT"), span_str(page)));
		if (r == NULL)
			return false;
		n = r->type == RESP_ARRAY ? r->n : 0;
		for (size_t i = 0; good && i < n; i++)
			good = add_entry(f, stream, r->at[i]);
		struct span id = n > 0 ? resp_text(resp_at(r->at[n - 1], 0)) : span_of(NULL, 0);
		snprintf(start, sizeof(start), "(%.*s", (int)id.n, id.n > 0 ? (const char *)id.p : "");
		reply_free(r);
	}
	return is_wrong(f, stream) || (good && flush(f));
}

static bool walk_places(struct fsck *f)
{
	static const struct {
		const char *command, *key, *kind, *name;
	} fixed[] = {
		{ "ZSCAN", "later", "later", "" },
		{ "ZSCAN", "close", "close", "" },
		{ "ZSCAN", "exp", "exp", "" },
		{ "ZSCAN", "unknown", "unknown", "" },
		{ "ZSCAN", "turn:house", "turn", "house" },
		{ "ZSCAN", "turn:senate", "turn", "senate" },
		{ "ZSCAN", "workers", "workers", "" },
		{ "HSCAN", "machines", "machines", "" },
		{ "HSCAN", "about", "about", "" },
		{ "HSCAN", "holds", "holds", "" },
		{ "HSCAN", "breaker", "breaker", "" },
		{ "HSCAN", "inerr", "inerr", "" },
	};
	bool good = true;
	for (size_t i = 0; good && i < f->place.n; i++)
		good = walk_named(f, f->place.at[i]);
	for (size_t i = 0; good && i < sizeof(fixed) / sizeof(fixed[0]); i++)
		good = walk(f, fixed[i].command, 2, fixed[i].key, fixed[i].kind, fixed[i].name);
	return good && flush(f) && walk_stream(f, "dead", PAGE) && walk_stream(f, "results", PAGE) &&
	       walk_stream(f, "stuck", "16");
}

/* --- the command ------------------------------------------------------------------------------ */

static bool walk_all(struct fsck *f)
{
	return add(f, "meta", "", span_lit("meta")) && flush(f) && walk_keys(f) &&
	       scan_keys(f, "sub:*", each_sub, "lost") && scan_keys(f, "job:*", each_job, NULL) &&
	       scan_keys(f, "sub:*", each_sub, "sub") && walk_places(f);
}

/* Also of a walk that was stopped: what it mended is mended. */
static void note_counts(struct fsck *f)
{
	struct buf text;
	struct session *s = f->c->session;
	bool interrupted = s->interrupted;
	s->interrupted = false;
	buf_init(&text, 4096);
	buf_add_str(&text, "mended: ");
	fsck_counts(&f->report, &text);
	note(f, span_buf(&text));
	buf_clear(&text);
	s->interrupted = interrupted || s->interrupted;
}

static void clear(struct fsck *f)
{
	items_free(f);
	names_free(&f->place);
	names_free(&f->wrong);
}

int cmd_fsck(struct ctl *c)
{
	struct fsck f = { .c = c, .report.c = c, .report.mend = ctl_has(c, OPT_MEND) && !ctl_has(c, OPT_DRY_RUN) };
	int code = f.report.mend ? session_open(c) : session_open_any(c);
	if (code != 0)
		return code;
	if (c->session->version > QUEUE_PROTOCOL_VERSION)
		ctl_complain("the queue has protocol version %lld, this program knows %d: what it finds may be "
			     "right",
			     (long long)c->session->version, QUEUE_PROTOCOL_VERSION);
	session_watch(c);
	c->session->patient = true;
	progress_start(c, &f.report.progress);
	bool good = walk_all(&f);
	progress_clear(&f.report.progress);
	clear(&f);
	code = c->session->code;
	if (f.noted)
		note_counts(&f);
	fsck_summary(&f.report, good);
	if (c->session->interrupted)
		return ctl_fail(CTL_NO, "interrupted: not all was looked at");
	if (!good)
		return code;
	return f.report.findings == 0 ? CTL_OK : CTL_NO;
}
