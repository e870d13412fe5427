/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `results trim`: deletes results from the front of the stream.
 *
 * What every consumer group has read and acknowledged is before the first entry that some group has
 * not: the oldest of its pending ones, else what follows its last delivered one. Nothing at or
 * behind that goes, unless --unread says so; then it is counted and said group by group.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/progress.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define GROUPS_MAX 64
#define PAGE       "500"
#define PAGE_N     500
#define STEP       "10000" /* entries that one XTRIM deletes at most: Redis stands still meanwhile */
#define STEP_MIN   100     /* what a stream's node may hold: only whole ones go in steps */
#define SECOND_US  INT64_C(1000000)

struct group {
	char name[64];
	struct entry_id first; /* that it has not both read and acknowledged */
	int64_t pending;
	uint64_t loses; /* by this trim */
};

struct trim {
	struct ctl *c;
	bool dry_run, unread;
	bool has_limit;
	struct entry_id limit; /* of --before or --older: what is before it */
	struct entry_id safe;  /* what all groups are done with is before it */
	struct entry_id cut;
	struct group group[GROUPS_MAX];
	size_t n_groups;
	struct progress progress;
};

/* --- ids -------------------------------------------------------------------------------------- */

static int compare(struct entry_id a, struct entry_id b)
{
	return a.ms != b.ms ? (a.ms < b.ms ? -1 : 1) : (a.n > b.n) - (a.n < b.n);
}

static struct entry_id after(struct entry_id a)
{
	return a.n < UINT64_MAX ? (struct entry_id){ a.ms, a.n + 1 } : (struct entry_id){ a.ms + 1, 0 };
}

static const char *text(struct entry_id a, char out[ENTRY_ID_SIZE])
{
	units_entry_id_text(a, out);
	return out;
}

/* --- the groups ------------------------------------------------------------------------------- */

/* The oldest entry that the group was given and has not acknowledged. */
static int read_pending(struct trim *t, struct group *g, struct span name)
{
	struct resp_reply *r =
		session_call(t->c, SESSION_ARGV(span_lit("XPENDING"), session_key(t->c, "results"), name));
	if (r == NULL)
		return t->c->session->code;
	struct entry_id oldest;
	g->pending = resp_number(resp_at(r, 0));
	if (g->pending > 0 && units_entry_id(resp_text(resp_at(r, 1)), &oldest) == ERR_OK &&
	    compare(oldest, g->first) < 0)
		g->first = oldest;
	reply_free(r);
	return 0;
}

static int read_group(struct trim *t, const struct resp_reply *flat)
{
	struct entry_id last;
	struct span name = reply_field(flat, "name");
	if (t->n_groups == GROUPS_MAX)
		return ctl_fail(CTL_NO, "more than %d consumer groups", GROUPS_MAX);
	struct group *g = &t->group[t->n_groups++];
	snprintf(g->name, sizeof(g->name), "%.*s", (int)(name.n < sizeof(g->name) ? name.n : sizeof(g->name) - 1),
		 name.n > 0 ? (const char *)name.p : "");
	if (units_entry_id(reply_field(flat, "last-delivered-id"), &last) != ERR_OK)
		return ctl_fail(CTL_INTERNAL, "XINFO GROUPS: no last-delivered-id");
	g->first = after(last);
	return read_pending(t, g, name);
}

static int read_groups(struct trim *t)
{
	struct ctl *c = t->c;
	struct resp_reply *exists = session_call(c, SESSION_ARGV(span_lit("EXISTS"), session_key(c, "results")));
	if (exists == NULL)
		return c->session->code;
	bool none = resp_number(exists) == 0;
	reply_free(exists);
	if (none)
		return 0;
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("XINFO"), span_lit("GROUPS"), session_key(c, "results")));
	if (r == NULL)
		return c->session->code;
	int code = 0;
	for (size_t i = 0; i < r->n && code == 0; i++)
		code = read_group(t, r->at[i]);
	reply_free(r);
	t->safe = (struct entry_id){ UINT64_MAX, UINT64_MAX };
	for (size_t i = 0; i < t->n_groups; i++)
		if (compare(t->group[i].first, t->safe) < 0)
			t->safe = t->group[i].first;
	return code;
}

/* --- what would go ---------------------------------------------------------------------------- */

/* Entries from `from` to before `to`. False after a report, or when interrupted. */
static bool count_range(struct trim *t, struct entry_id from, struct entry_id to, uint64_t *ret_n)
{
	struct ctl *c = t->c;
	char start[ENTRY_ID_SIZE], end[ENTRY_ID_SIZE + 1] = "(";
	text(to, end + 1);
	*ret_n = 0;
	if (compare(from, to) >= 0)
		return true;
	for (;;) {
		struct resp_reply *r = session_call(c, SESSION_ARGV(span_lit("XRANGE"), session_key(c, "results"),
								    span_str(text(from, start)), span_str(end),
								    span_lit("COUNT"), span_lit(PAGE)));
		if (r == NULL)
			return false;
		size_t n = r->n;
		struct entry_id last;
		bool more = n == PAGE_N && units_entry_id(resp_text(resp_at(r->at[n - 1], 0)), &last) == ERR_OK;
		reply_free(r);
		*ret_n += n;
		progress_show(&t->progress, *ret_n, 0, *ret_n, "counted");
		if (!more)
			return true;
		from = after(last);
	}
}

/* What each group has not done with and loses. */
static bool count_losses(struct trim *t)
{
	for (size_t i = 0; i < t->n_groups; i++)
		if (!count_range(t, t->group[i].first, t->cut, &t->group[i].loses))
			return false;
	return true;
}

static int read_limit(struct trim *t)
{
	const struct ctl *c = t->c;
	int64_t s = 0;
	t->has_limit = ctl_has(c, OPT_BEFORE) || ctl_has(c, OPT_OLDER);
	if (ctl_has(c, OPT_BEFORE) && ctl_has(c, OPT_OLDER))
		return ctl_fail(CTL_USAGE, "either --before or --older");
	if (ctl_has(c, OPT_OLDER)) {
		if (units_moment(c->opt[OPT_OLDER], clock_wall_us() / SECOND_US, &s) != ERR_OK)
			return ctl_fail(CTL_USAGE,
					"--older must be a duration in ms, s, min, h or d, such as 30d, or a time that "
					"is past (RFC 3339)");
		t->limit = (struct entry_id){ (uint64_t)s * 1000, 0 };
	}
	if (ctl_has(c, OPT_BEFORE) && units_entry_id(span_str(c->opt[OPT_BEFORE]), &t->limit) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--before must be the id of an entry, such as 1767225600000-0");
	if (ctl_has(c, OPT_UNREAD) && !t->has_limit)
		return ctl_fail(CTL_USAGE, "--unread needs --before or --older");
	return 0;
}

/* --- the act ---------------------------------------------------------------------------------- */

static bool trim_once(struct trim *t, bool exact, int64_t *ret_n)
{
	char id[ENTRY_ID_SIZE];
	struct span argv[7] = { span_lit("XTRIM"), session_key(t->c, "results"), span_lit("MINID") };
	size_t n = 3;
	argv[n++] = exact ? span_lit("=") : span_lit("~");
	argv[n++] = span_str(text(t->cut, id));
	if (!exact) {
		argv[n++] = span_lit("LIMIT");
		argv[n++] = span_lit(STEP);
	}
	struct resp_reply *r = session_call(t->c, argv, n);
	if (r == NULL)
		return false;
	*ret_n = resp_number(r);
	reply_free(r);
	return true;
}

/* In steps of whole nodes, then the rest; an interrupt stops after a step. False after a report; what was deleted
 * until then counts. */
static bool trim_all(struct trim *t, uint64_t *ret_n)
{
	int64_t n = 0;
	*ret_n = 0;
	do {
		if (!trim_once(t, false, &n))
			return t->c->session->interrupted;
		*ret_n += (uint64_t)n;
		progress_show(&t->progress, *ret_n, 0, *ret_n, "deleted");
	} while (n > STEP_MIN && !t->c->session->interrupted);
	if (t->c->session->interrupted)
		return true;
	if (!trim_once(t, true, &n))
		return false;
	*ret_n += (uint64_t)n;
	return true;
}

/* First, so that a trim that breaks off is on record, too. */
static bool audit(struct trim *t)
{
	char who[ADMIN_WHO_SIZE], id[ENTRY_ID_SIZE];
	admin_who(t->c, who);
	struct resp_reply *r = session_call(
		t->c, SESSION_ARGV(span_lit("XADD"), session_key(t->c, "audit"), span_lit("*"), span_lit("verb"),
				   span_lit("trim"), span_lit("who"), span_str(who), span_lit("a"), span_lit("results"),
				   span_lit("b"), span_str(text(t->cut, id)), span_lit("c"),
				   t->unread ? span_lit("unread") : span_lit("")));
	bool good = r != NULL;
	reply_free(r);
	return good;
}

/* --- saying ----------------------------------------------------------------------------------- */

static json_t *groups_json(const struct trim *t)
{
	char id[ENTRY_ID_SIZE];
	json_t *all = json_array();
	for (size_t i = 0; i < t->n_groups; i++) {
		const struct group *g = &t->group[i];
		json_t *o = json_object();
		json_object_set_new(o, "group", out_string(span_str(g->name)));
		json_object_set_new(o, "done_before", json_string(text(g->first, id)));
		json_object_set_new(o, "pending", json_integer((json_int_t)g->pending));
		json_object_set_new(o, "unread", json_integer((json_int_t)g->loses));
		json_array_append_new(all, o);
	}
	return all;
}

static void say(const struct trim *t, uint64_t n, uint64_t kept, bool stopped)
{
	char cut[ENTRY_ID_SIZE], id[ENTRY_ID_SIZE];
	progress_clear(&t->progress);
	if (t->c->json) {
		out_document(json_pack("{s:b, s:I, s:s, s:I, s:o, s:b}", "dry_run", t->dry_run, "deleted",
				       (json_int_t)n, "before", text(t->cut, cut), "kept_unread", (json_int_t)kept,
				       "groups", groups_json(t), "stopped", stopped));
		return;
	}
	printf("%s%" PRIu64 " results %s, before %s\n", stopped ? "stopped before the end: at least " : "", n,
	       t->dry_run ? "would be deleted" : "deleted", text(t->cut, cut));
	if (t->n_groups == 0)
		puts("no consumer group: nobody can tell which were read");
	for (size_t i = 0; i < t->n_groups; i++) {
		const struct group *g = &t->group[i];
		fputs("group ", stdout);
		out_clean(stdout, span_str(g->name));
		printf(": done before %s, %" PRId64 " pending", text(g->first, id), g->pending);
		if (g->loses > 0)
			printf("; %" PRIu64 " that it has not done with %s", g->loses,
			       t->dry_run ? "would go"
			       : stopped  ? "go with the rest"
					  : "went");
		puts("");
	}
	if (kept > 0)
		printf("%" PRIu64 " are older than asked for, but not every group has done with them: they stay "
		       "(--unread deletes them, too)\n",
		       kept);
}

/* --- the command ------------------------------------------------------------------------------ */

static int failed(const struct trim *t)
{
	return t->c->session->interrupted ? ctl_fail(CTL_NO, "stopped before the end") : t->c->session->code;
}

static int run(struct trim *t)
{
	struct ctl *c = t->c;
	uint64_t n = 0, kept = 0;
	if (t->n_groups == 0 && !t->has_limit)
		return ctl_fail(CTL_NO, "no consumer group reads the results, so nobody can tell which were read: give "
					"--before or --older");
	t->cut = t->n_groups == 0 ? t->limit : t->safe;
	if (t->has_limit && (t->unread || compare(t->limit, t->cut) < 0))
		t->cut = t->limit;
	if (t->has_limit && compare(t->cut, t->limit) < 0 && !count_range(t, t->cut, t->limit, &kept))
		return failed(t);
	if (t->unread && !count_losses(t))
		return failed(t);
	bool begun = t->dry_run || audit(t);
	bool good = begun && (t->dry_run ? count_range(t, (struct entry_id){ 0, 0 }, t->cut, &n) : trim_all(t, &n));
	bool stopped = !good || c->session->interrupted;
	if (!begun || (stopped && t->dry_run))
		return failed(t);
	say(t, n, kept, stopped);
	return !good ? c->session->code : stopped ? CTL_NO : CTL_OK;
}

int cmd_results_trim(struct ctl *c)
{
	struct trim *t = xcalloc(1, sizeof(*t));
	t->c = c;
	t->dry_run = ctl_has(c, OPT_DRY_RUN);
	t->unread = ctl_has(c, OPT_UNREAD);
	int code = read_limit(t);
	if (code == 0)
		code = session_open(c);
	if (code == 0)
		code = read_groups(t);
	if (code == 0) {
		session_watch(c);
		progress_start(c, &t->progress);
		code = run(t);
	}
	free(t);
	return code;
}
