/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/fsck.h"
#include "ops/cwcctl/out.h"

const struct fsck_code fsck_codes[] = {
	{ "key-unknown", "no key of a queue has this name", NULL },
	{ "key-type", "the key has another type than the queue's", "moves it aside, to aside:NAME" },
	{ "meta-version", "workers have joined, but there is no protocol version", "writes it" },
	{ "meta-num", "the arrival number is behind: new letters would go before old ones", "raises it" },
	{ "job-field", "a field of the record is gone or malformed: scripts fail at it", "sets a safe value" },
	{ "job-state", "the record's state is none that there is",
	  "puts it in line, or when it may have been sent has it ended as unknown" },
	{ "sub-unlisted", "the submission does not list this job", "lists it" },
	{ "accepted-open", "it was accepted, yet its state is open: it would be sent again",
	  "makes it accepted again" },
	{ "late-hidden", "a late acceptance was recorded, but it ended otherwise", "has it ended as accepted" },
	{ "token-left", "it is not in flight, yet has a token that could settle it", "clears the token" },
	{ "job-flight", "its worker holds it, but its state says that it waits", "marks it as in flight" },
	{ "flight-nobody", "in flight, but with nobody", "lets REAP take it back" },
	{ "previous", "it challenges a state that cannot be challenged, or is over", "has it ended, or clears that" },
	{ "why", "to be ended without a reason, or waiting with one", "puts it where its reason says" },
	{ "candidates", "other bytes that wait behind it are gone, or wait for nothing", "refuses them" },
	{ "bytes-missing", "its job bytes are gone: it cannot be sent",
	  "gives the next bytes their turn, or has it ended as dropped" },
	{ "flight-held", "in flight, but its worker's list lacks it: nobody would take it back", "adds it" },
	{ "flight-fly", "in flight, but not counted for its office", "counts it" },
	{ "place-missing", "not in the place that its state names: nobody would find it", "adds it" },
	{ "exp-missing", "it waits without an expiry", "adds it to exp" },
	{ "dead-entry", "dead, but people do not see it", "writes its entry in dead" },
	{ "record-missing", "the submission shows this job, but its record is gone",
	  "writes it anew: in line if it never began, as it ended, or to be ended as unknown" },
	{ "sub-empty", "a submission without a job", "removes it" },
	{ "sub-summary", "what the producer reads is not what the records say", "derives it anew" },
	{ "sub-expires", "a submission that is needed would expire", "keeps it" },
	{ "sub-life", "a submission that is over does not expire as it should", "sets its life" },
	{ "bytes-left", "a submission that is over has job bytes", "removes them" },
	{ "line-left", "an entry of a line that no record confirms", "removes it" },
	{ "line-order", "it stands elsewhere in line than its record says", "puts it in its place" },
	{ "line-turn", "a line without a turn: nothing of it would be sent", "gives it a turn" },
	{ "turn-left", "a turn without a line", "removes it" },
	{ "turn-far", "a turn more than 30 s ahead: a clock stepped", "makes it now" },
	{ "later-left", "an entry of later that no record confirms", "removes it" },
	{ "later-far", "due more than 31 days ahead: a clock stepped", "brings it near" },
	{ "close-left", "an entry of close that no record confirms", "removes it" },
	{ "exp-left", "an entry of exp that no open job confirms", "removes it" },
	{ "exp-far", "expires more than 31 days ahead", "brings it near" },
	{ "unknown-left", "an entry of unknown that no record confirms", "removes it" },
	{ "held-left", "a worker's list names what it does not hold", "removes it" },
	{ "worker-missing", "it is held by a worker that is not in workers: nobody would take it back",
	  "lists the worker with a lease that is over" },
	{ "fly-left", "counted as in flight for its office, but nobody holds it", "removes it" },
	{ "lease-far", "a worker's lease is more than 300 s ahead: its clock, or that of Redis, is wrong", NULL },
	{ "machine-left", "a machine of a worker that is gone", "removes it" },
	{ "about-left", "what a worker said of itself that is gone", "removes it" },
	{ "dead-left", "an entry of dead that is not current", "removes it" },
	{ "dead-orphan", "a dead letter whose record is gone", "writes the record anew, so that it can be dropped" },
	{ "rev-behind", "a result has a higher rev than the record: consumers would ignore the next ones",
	  "raises it" },
	{ "rate", "a rate cell that is malformed, far ahead or without a life", "fills it" },
	{ "hold", "a hold that is malformed, or a worker's of more than an hour", "removes or shortens it" },
	{ "breaker", "a breaker that is malformed or open for too long", "closes it, or lets it try" },
	{ "inerr-left", "failed tries of an entry that is not in in", "removes it" },
	{ "stuck-left", "set aside, but still in in", "removes the copy" },
	{ "check-failed", "the look itself failed", NULL },
};
const size_t fsck_n_codes = sizeof(fsck_codes) / sizeof(fsck_codes[0]);
_Static_assert(sizeof(fsck_codes) / sizeof(fsck_codes[0]) <= FSCK_CODES_MAX, "codes");

/* --- one finding ------------------------------------------------------------------------------ */

/* NULL: a code of a newer script cannot come, since the script is our own. */
static const struct fsck_code *find(struct fsck_report *r, struct span code)
{
	for (size_t i = 0; i < fsck_n_codes; i++) {
		if (span_eq_str(code, fsck_codes[i].code)) {
			r->count[i]++;
			return &fsck_codes[i];
		}
	}
	return NULL;
}

/* The key without the queue's prefix, and the member of it. */
static void add_where(struct buf *b, const char *kind, struct span name, struct span item)
{
	static const struct {
		const char *kind, *key;
		bool joined; /* the item is part of the key's name */
	} rows[] = {
		{ "key", "", true },        { "job", "job:", true },    { "lost", "sub:", true },
		{ "sub", "sub:", true },    { "rate", "rate:", true },  { "line", "wait:", false },
		{ "turn", "turn:", false }, { "held", "held:", false }, { "fly", "fly:", false },
	};
	const char *key = NULL;
	bool joined = false;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(kind, rows[i].kind) == 0) {
			key = rows[i].key;
			joined = rows[i].joined;
		}
	}
	buf_add_str(b, key != NULL ? key : kind);
	buf_add_span(b, name);
	if (!joined && item.n > 0)
		buf_add_byte(b, ' ');
	buf_add_span(b, item);
}

static void print_json(const char *kind, struct span where, struct span item, struct span code,
		       const struct fsck_code *row, struct span done)
{
	json_t *o = json_object();
	json_object_set_new(o, "code", out_string(code));
	json_object_set_new(o, "where", out_string(where));
	json_object_set_new(o, "kind", json_string(kind));
	json_object_set_new(o, "item", out_string(item));
	json_object_set_new(o, "means", json_string(row != NULL ? row->means : ""));
	json_object_set_new(o, "mends", row != NULL && row->mends != NULL ? json_string(row->mends) : json_null());
	json_object_set_new(o, "done", done.n > 0 ? out_string(done) : json_null());
	out_line(o);
}

static void print_text(struct span where, struct span code, const struct fsck_code *row, struct span done)
{
	struct buf b;
	buf_init(&b, 16384);
	buf_add_span(&b, code);
	buf_add_str(&b, &"                "[code.n < 14 ? code.n : 14]);
	buf_add_span(&b, where);
	buf_add_str(&b, ": ");
	buf_add_str(&b, row != NULL ? row->means : "");
	if (done.n > 0) {
		buf_add_str(&b, "; ");
		buf_add_span(&b, done);
	} else if (row != NULL && row->mends != NULL) {
		buf_add_str(&b, "; mending ");
		buf_add_str(&b, row->mends);
	} else {
		buf_add_str(&b, "; left to people");
	}
	out_clean(stdout, span_buf(&b));
	fputc('\n', stdout);
	buf_clear(&b);
}

void fsck_finding(struct fsck_report *r, const char *kind, struct span name, struct span item, struct span code,
		  struct span done)
{
	struct buf where;
	const struct fsck_code *row = find(r, code);
	bool left = done.n >= 5 && memcmp(done.p, "left:", 5) == 0;
	r->findings++;
	r->mended += done.n > 0 && !left;
	r->left += left;
	buf_init(&where, 8192);
	add_where(&where, kind, name, item);
	progress_clear(&r->progress);
	if (r->c->json)
		print_json(kind, span_buf(&where), item, code, row, done);
	else
		print_text(span_buf(&where), code, row, done);
	buf_clear(&where);
}

/* --- in all ----------------------------------------------------------------------------------- */

void fsck_counts(const struct fsck_report *r, struct buf *out)
{
	bool sep = false;
	for (size_t i = 0; i < fsck_n_codes; i++) {
		if (r->count[i] == 0)
			continue;
		if (sep)
			buf_add_str(out, ", ");
		sep = true;
		buf_add_str(out, fsck_codes[i].code);
		buf_add_byte(out, ' ');
		buf_add_uint(out, r->count[i]);
	}
}

static json_t *counts_json(const struct fsck_report *r)
{
	json_t *o = json_object();
	for (size_t i = 0; i < fsck_n_codes; i++)
		if (r->count[i] > 0)
			json_object_set_new(o, fsck_codes[i].code, json_integer((json_int_t)r->count[i]));
	return o;
}

void fsck_summary(struct fsck_report *r, bool whole)
{
	progress_clear(&r->progress);
	if (r->c->json) {
		json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "stopped", !whole, "keys",
				      (json_int_t)r->keys, "jobs", (json_int_t)r->jobs, "submissions",
				      (json_int_t)r->submissions, "findings", (json_int_t)r->findings, "mended",
				      (json_int_t)r->mended, "left", (json_int_t)r->left, "codes", counts_json(r));
		out_line(json_pack("{s:o}", "summary", o));
		return;
	}
	printf("%" PRIu64 " keys, %" PRIu64 " jobs of %" PRIu64 " submissions: ", r->keys, r->jobs, r->submissions);
	if (!whole)
		fputs("stopped before the end; ", stdout);
	if (r->findings == 0)
		puts(whole ? "all is well" : "nothing found so far");
	else if (r->mend)
		printf("%" PRIu64 " found, %" PRIu64 " mended, %" PRIu64 " left to people\n", r->findings, r->mended,
		       r->left);
	else
		printf("%" PRIu64 " found\n", r->findings);
}
