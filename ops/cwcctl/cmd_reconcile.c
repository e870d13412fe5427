/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile: a list of submissions beside the records of the queue, a window of lines at a time. What has no record
 * (or one of other bytes) is looked for in `in`, `stuck`, `refused` and `results`; then the records are asked again,
 * since a letter may have been taken in meanwhile. So nothing is called missing that is only moving.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reconcile.h"

#define WINDOW   16384 /* lines at a time; a power of two */
#define ASK      200   /* submissions of a call */
#define TUPLE    4     /* of a page: sid, offices, digest, word */
#define RECORD   5     /* of a record: office, state, outcome, rev, digests */
#define SET_MIN  1024
#define ITEM_MAX (JOB_SID_MAX + 1 + JOB_OFFICES_MAX * (QUEUE_OFFICE_LEN + 1) + 1)

struct reconcile {
	struct ctl *c;
	struct lines in;
	struct reconcile_count count;
	struct reconcile_line *line;
	size_t n, *bucket; /* by the sid's hash: the number of a line + 1 */
	/* --all: hashes of all sids of the list. Two sids have the same once in 2^64. */
	uint64_t *set;
	size_t set_n, set_room;
	uint8_t key[crypto_shorthash_KEYBYTES];
};

/* --- sids ------------------------------------------------------------------------------------- */

static uint64_t hash(const struct reconcile *x, struct span sid)
{
	uint64_t h;
	_Static_assert(sizeof(h) == crypto_shorthash_BYTES, "64 bits");
	crypto_shorthash((uint8_t *)&h, sid.p, sid.n, x->key);
	return h | 1; /* 0: a free slot */
}

static uint64_t *set_slot(const struct reconcile *x, uint64_t h)
{
	size_t at = (size_t)(h >> 1) & (x->set_room - 1);
	while (x->set[at] != 0 && x->set[at] != h)
		at = (at + 1) & (x->set_room - 1);
	return &x->set[at];
}

static void set_add(struct reconcile *x, uint64_t h)
{
	if (2 * (x->set_n + 1) > x->set_room) {
		uint64_t *old = x->set;
		size_t room = x->set_room;
		x->set_room = room == 0 ? SET_MIN : 2 * room;
		x->set = xcalloc(x->set_room, sizeof(*x->set));
		for (size_t i = 0; i < room; i++)
			if (old[i] != 0)
				*set_slot(x, old[i]) = old[i];
		free(old);
	}
	uint64_t *slot = set_slot(x, h);
	x->set_n += *slot == 0;
	*slot = h;
}

static void index_line(struct reconcile *x, size_t i)
{
	struct reconcile_line *l = &x->line[i];
	uint64_t h = hash(x, span_str(l->sid));
	size_t *b = &x->bucket[(size_t)(h >> 1) & (WINDOW - 1)];
	l->next = *b;
	*b = i + 1;
	if (ctl_has(x->c, OPT_ALL))
		set_add(x, h);
}

/* --- records ---------------------------------------------------------------------------------- */

static void set_where(struct reconcile_office *o, const char *stream, struct span a)
{
	snprintf(o->where, sizeof(o->where), "%s%s%.*s", stream, stream[0] && a.n > 0 ? ": " : "",
		 (int)(a.n < 48 ? a.n : 48), a.n > 0 ? (const char *)a.p : "");
}

static void set_record(struct reconcile_office *o, const struct resp_reply *const *row, const char *digest)
{
	struct span state = resp_text(row[1]), outcome = resp_text(row[2]), digests = resp_text(row[4]);
	char text[RECONCILE_WHERE];
	o->fate = reconcile_fate_of(state);
	o->other = digest[0] != '\0' && span_find(digests, span_str(digest)) == NULL;
	snprintf(text, sizeof(text), "%.*s%s%.*s", (int)(state.n < 20 ? state.n : 20), (const char *)state.p,
		 outcome.n > 0 && !span_eq(state, outcome) ? " " : "",
		 span_eq(state, outcome) ? 0 : (int)(outcome.n < 40 ? outcome.n : 40),
		 outcome.n > 0 ? (const char *)outcome.p : "");
	set_where(o, "", span_str(text));
}

/* The office of the line that the record is of, or a new one where the list names none; NULL: not on the list. */
static struct reconcile_office *office_of(struct reconcile_line *l, struct span code, bool named)
{
	for (size_t i = 0; i < l->n_offices; i++)
		if (span_eq_str(code, l->office[i].code))
			return &l->office[i];
	if (named || l->n_offices == JOB_OFFICES_MAX || code.n != QUEUE_OFFICE_LEN)
		return NULL;
	struct reconcile_office *o = &l->office[l->n_offices++];
	*o = (struct reconcile_office){ .fate = RECONCILE_MISSING };
	memcpy(o->code, code.p, QUEUE_OFFICE_LEN);
	return o;
}

static void apply_records(struct reconcile *x, struct reconcile_line *l, const struct resp_reply *rows)
{
	bool named = l->n_offices > 0 && l->office[0].code[0] != '\0';
	if (!named)
		l->n_offices = rows->n > 0 ? 0 : l->n_offices;
	for (size_t i = 0; rows->type == RESP_ARRAY && i + RECORD <= rows->n; i += RECORD) {
		const struct resp_reply *const *row = (const struct resp_reply *const *)&rows->at[i];
		struct span code = resp_text(row[0]);
		struct reconcile_office *o = office_of(l, code, named), more = { .fate = RECONCILE_MISSING };
		if (o != NULL) {
			set_record(o, row, l->digest);
		} else if (!named && code.n == QUEUE_OFFICE_LEN) {
			/* More than one entry can bring: a sid that was used again. */
			memcpy(more.code, code.p, QUEUE_OFFICE_LEN);
			set_record(&more, row, l->digest);
			reconcile_tell(&x->count, l->sid, &more);
		}
	}
	if (l->n_offices == 0) {
		l->n_offices = 1;
		l->office[0] = (struct reconcile_office){ .fate = RECONCILE_MISSING };
	}
}

static void item_text(const struct reconcile_line *l, char out[ITEM_MAX])
{
	size_t n = (size_t)snprintf(out, ITEM_MAX, "%s", l->sid);
	for (size_t i = 0; i < l->n_offices && l->office[i].code[0] != '\0'; i++)
		n += (size_t)snprintf(out + n, ITEM_MAX - n, "%s%s", i == 0 ? ":" : ",", l->office[i].code);
}

/* The records of these lines; false after a report. */
static bool ask(struct reconcile *x, struct reconcile_line *const *line, size_t n)
{
	static char item[ASK][ITEM_MAX];
	struct span argv[1 + ASK];
	if (n == 0)
		return true;
	argv[0] = span_lit("records");
	for (size_t i = 0; i < n; i++) {
		item_text(line[i], item[i]);
		argv[1 + i] = span_str(item[i]);
	}
	struct resp_reply *r = session_script(x->c, "reconcile", argv, 1 + n);
	if (r == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		apply_records(x, line[i], resp_at(r, i));
	reply_free(r);
	progress_show(&x->count.progress, x->count.lines, 0, x->count.fate[RECONCILE_DELIVERED], "delivered");
	return !x->c->session->interrupted;
}

static bool lacks(const struct reconcile_line *l, bool other)
{
	for (size_t i = 0; i < l->n_offices; i++)
		if ((l->office[i].fate == RECONCILE_MISSING && l->office[i].rank == 0) || (other && l->office[i].other))
			return true;
	return false;
}

/* All lines of the window, or those that something is missing of. */
static bool ask_all(struct reconcile *x, bool again)
{
	struct reconcile_line *some[ASK];
	size_t n = 0;
	for (size_t i = 0; i < x->n; i++) {
		if (again && !lacks(&x->line[i], false))
			continue;
		some[n++] = &x->line[i];
		if (n == ASK) {
			if (!ask(x, some, n))
				return false;
			n = 0;
		}
	}
	return ask(x, some, n);
}

/* --- streams ---------------------------------------------------------------------------------- */

struct stream {
	const char *name;
	enum reconcile_fate fate; /* of what it holds; that of a result is its own */
	unsigned rank;
};

/* What the entry says of one office. */
static void apply_entry(struct reconcile_office *o, const struct stream *s, const char *digest, struct span bytes,
			struct span text)
{
	bool results = s->fate == RECONCILE_DELIVERED, refused = s->fate == RECONCILE_REFUSED;
	bool same = digest[0] == '\0' || span_eq_str(bytes, digest);
	bool open = o->fate == RECONCILE_MISSING || o->rank > 0;
	if (results ? !open : !(open || (o->other && same && digest[0] != '\0')))
		return;
	if (o->rank > s->rank || (refused && !same))
		return;
	size_t state = 0;
	while (results && state < text.n && text.p[state] != ' ')
		state++;
	if (results && span_eq_str(span_of(text.p, state), "late"))
		return;
	o->fate = results ? reconcile_fate_of(span_of(text.p, state)) : s->fate;
	o->other = !results && !same;
	o->rank = s->rank;
	set_where(o, s->name, text);
}

static bool listed(struct span offices, const char *code)
{
	return offices.n == 0 || code[0] == '\0' || span_find(offices, span_str(code)) != NULL;
}

static void apply_tuple(struct reconcile *x, const struct stream *s, const struct resp_reply *const *t)
{
	struct span sid = resp_text(t[0]), offices = resp_text(t[1]);
	size_t at = sid.n > 0 ? x->bucket[(size_t)(hash(x, sid) >> 1) & (WINDOW - 1)] : 0;
	for (; at > 0; at = x->line[at - 1].next) {
		struct reconcile_line *l = &x->line[at - 1];
		for (size_t i = 0; span_eq_str(sid, l->sid) && i < l->n_offices; i++)
			if (listed(offices, l->office[i].code))
				apply_entry(&l->office[i], s, l->digest, resp_text(t[2]), resp_text(t[3]));
	}
}

static bool walk_stream(struct reconcile *x, const struct stream *s)
{
	char after[64] = "-";
	for (;;) {
		/* Entries of `in` and `stuck` hold job bytes, which the script reads and names. */
		struct resp_reply *r = session_script(
			x->c, "reconcile",
			SESSION_ARGV(span_lit("page"), span_str(s->name), span_str(after),
				     s->fate == RECONCILE_PENDING || s->fate == RECONCILE_STUCK ? span_lit("32")
												: span_lit("200")));
		if (r == NULL)
			return false;
		struct span last = resp_text(resp_at(r, 0));
		for (size_t i = 1; i + TUPLE <= r->n; i += TUPLE)
			apply_tuple(x, s, (const struct resp_reply *const *)&r->at[i]);
		snprintf(after, sizeof(after), "%.*s", (int)last.n, last.n > 0 ? (const char *)last.p : "");
		bool more = last.n > 0 && !x->c->session->interrupted;
		reply_free(r);
		if (!more)
			return !x->c->session->interrupted;
	}
}

static bool walk_streams(struct reconcile *x)
{
	/* What is at the door will be taken in; a result is the end of a letter; what stands aside can come again. */
	static const struct stream streams[] = {
		{ "in", RECONCILE_PENDING, 4 },
		{ "results", RECONCILE_DELIVERED, 3 },
		{ "stuck", RECONCILE_STUCK, 2 },
		{ "refused", RECONCILE_REFUSED, 1 },
	};
	bool needed = false;
	for (size_t i = 0; i < x->n && !needed; i++)
		needed = lacks(&x->line[i], true);
	for (size_t i = 0; needed && i < sizeof(streams) / sizeof(streams[0]); i++)
		if (!walk_stream(x, &streams[i]))
			return false;
	return !needed || ask_all(x, true);
}

/* --- the list --------------------------------------------------------------------------------- */

static bool window_end(struct reconcile *x)
{
	bool good = ask_all(x, false) && walk_streams(x);
	for (size_t i = 0; good && i < x->n; i++)
		for (size_t k = 0; k < x->line[i].n_offices; k++)
			reconcile_tell(&x->count, x->line[i].sid, &x->line[i].office[k]);
	out_flush();
	memset(x->bucket, 0, WINDOW * sizeof(*x->bucket));
	x->n = 0;
	return good;
}

static void bad_line(struct reconcile *x, const struct lines *in, const char *why)
{
	x->count.bad++;
	progress_clear(&x->count.progress);
	ctl_complain("%s:%u: %s", in->name, in->number, why);
}

/* False after a report. */
static bool read_list(struct reconcile *x, struct lines *in)
{
	struct span text;
	for (;;) {
		const char *why = NULL;
		enum lines_result got = lines_next(in, &text);
		if (got == LINES_END)
			return window_end(x);
		if (got == LINES_FAILED) {
			x->c->session->code = ctl_fail(CTL_NO, "%s: %s", in->name, strerror(errno));
			return false;
		}
		x->count.lines++;
		if (got == LINES_TOO_LONG)
			bad_line(x, in, "longer than a line may be");
		else if (!reconcile_read(text, &x->line[x->n], &why))
			bad_line(x, in, why);
		else
			index_line(x, x->n++);
		if (x->n == WINDOW && !window_end(x))
			return false;
	}
}

/* --- what is not on the list ------------------------------------------------------------------ */

static bool tell_unlisted(struct reconcile *x, const struct span *sid, size_t n)
{
	struct span argv[1 + ASK];
	if (n == 0)
		return true;
	argv[0] = span_lit("records");
	memcpy(argv + 1, sid, n * sizeof(*sid));
	struct resp_reply *r = session_script(x->c, "reconcile", argv, 1 + n);
	if (r == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct resp_reply *rows = resp_at(r, i);
		for (size_t k = 0; rows->type == RESP_ARRAY && k + RECORD <= rows->n; k += RECORD) {
			struct reconcile_office o = { .fate = RECONCILE_MISSING };
			char text[JOB_SID_MAX + 1];
			struct span code = resp_text(rows->at[k]);
			snprintf(text, sizeof(text), "%.*s", (int)sid[i].n, (const char *)sid[i].p);
			snprintf(o.code, sizeof(o.code), "%.*s", (int)code.n, (const char *)code.p);
			set_record(&o, (const struct resp_reply *const *)&rows->at[k], "");
			o.fate = RECONCILE_UNLISTED;
			reconcile_tell(&x->count, text, &o);
		}
	}
	reply_free(r);
	return true;
}

static bool unlisted(struct reconcile *x)
{
	char cursor[24] = "0";
	size_t prefix = strlen(x->c->session->name) + 7; /* {}:sub: */
	do {
		struct span sid[ASK];
		size_t n = 0;
		bool good = true;
		struct resp_reply *r = session_call(x->c, SESSION_ARGV(span_lit("SCAN"), span_str(cursor),
								       span_lit("MATCH"), session_key(x->c, "sub:*"),
								       span_lit("COUNT"), span_lit("500")));
		if (r == NULL)
			return false;
		struct span next = resp_text(resp_at(r, 0));
		snprintf(cursor, sizeof(cursor), "%.*s", (int)next.n, (const char *)next.p);
		const struct resp_reply *found = resp_at(r, 1);
		for (size_t i = 0; good && i < found->n; i++) {
			struct span key = resp_text(found->at[i]);
			struct span s = key.n > prefix ? span_of(key.p + prefix, key.n - prefix) : span_of(NULL, 0);
			if (!job_sid_valid(s))
				continue;
			uint64_t h = hash(x, s);
			if (x->set_room > 0 && *set_slot(x, h) == h)
				continue;
			set_add(x, h); /* SCAN may show a key twice */
			sid[n++] = s;
			if (n == ASK) {
				good = tell_unlisted(x, sid, n);
				n = 0;
			}
		}
		good = good && tell_unlisted(x, sid, n);
		reply_free(r);
		if (!good || x->c->session->interrupted)
			return false;
	} while (strcmp(cursor, "0") != 0);
	return true;
}

/* --- the command ------------------------------------------------------------------------------ */

/* Whoever types the list may interrupt instead. */
static void on_idle(void *arg)
{
	struct reconcile *x = arg;
	x->in.stop = !session_input(x->c, x->in.fd);
}

int cmd_reconcile(struct ctl *c)
{
	struct reconcile x = { .c = c, .count.c = c };
	if (!ctl_has(c, OPT_IDS))
		return ctl_fail(CTL_USAGE, "--ids is needed");
	int code = session_open(c);
	if (code == 0)
		code = lines_open(&x.in, c->opt[OPT_IDS]);
	if (code != 0)
		return code;
	x.line = xcalloc(WINDOW, sizeof(*x.line));
	x.bucket = xcalloc(WINDOW, sizeof(*x.bucket));
	crypto_shorthash_keygen(x.key);
	x.in.idle = on_idle;
	x.in.idle_arg = &x;
	session_watch(c);
	c->session->patient = true;
	progress_start(c, &x.count.progress);
	bool good = read_list(&x, &x.in) && (!ctl_has(c, OPT_ALL) || unlisted(&x));
	lines_close(&x.in);
	free(x.line);
	free(x.bucket);
	free(x.set);
	progress_clear(&x.count.progress);
	if (c->session->interrupted)
		return ctl_fail(CTL_NO, "interrupted: not all was compared");
	if (!good)
		return c->session->code;
	reconcile_summary(&x.count);
	return reconcile_good(&x.count) ? CTL_OK : CTL_NO;
}
