/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts, proved offline: from the hypervisor's root to what became of a letter. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/lines.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/proof.h"
#include "worker/base/clock.h"
#include "worker/base/cose.h"

struct tally {
	uint64_t n, first_line;
};

struct proving {
	const struct ctl *c;
	struct boots boots;
	struct proof_asked asked;
	struct lines lines;
	struct progress progress;
	struct proof_before before;
	struct buf bytes; /* of a receipt */
	struct tally tally[PROOF_COUNT];
	uint64_t seen, bad;
	int64_t now_ms;
};

/* --- one line --------------------------------------------------------------------------------- */

/* What the entry says of itself helps to find it, and is nobody's word. */
static void add_entry(json_t *o, const json_t *entry)
{
	static const char *const members[] = { "id", "sid", "office" };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *v = json_object_get(entry, members[i]);

		json_object_set(o, members[i], json_is_string(v) ? v : json_null());
	}
}

static void say_bad(const struct proving *x, unsigned p, const struct receipt *r, const json_t *entry)
{
	char name[PROOF_NAME_SIZE];
	struct cose_sign1 m;
	json_t *o = json_object();

	proof_name(p, name);
	json_object_set_new(o, "line", json_integer(x->lines.number));
	json_object_set_new(o, "reason", json_string(name));
	json_object_set_new(o, "text", json_string(proof_text(p)));
	add_entry(o, entry);
	json_object_set_new(o, "kid",
			    cose_sign1_parse(span_buf(&x->bytes), &m) == ERR_OK ? out_string(m.kid) : json_null());
	json_object_set_new(o, "document", r->document.n > 0 ? out_hex(r->document) : json_null());
	out_line(o);
}

static void count(struct proving *x, unsigned p)
{
	struct tally *t = &x->tally[p];

	if (t->n++ == 0)
		t->first_line = x->lines.number;
	x->seen++;
	x->bad += proof_bad(p) ? 1 : 0;
}

static void prove(struct proving *x, struct span line)
{
	struct receipt r;
	json_t *entry;
	unsigned p = proof_line(&x->boots, &x->asked, line, x->now_ms, &x->before, &x->bytes, &r, &entry);

	count(x, p);
	if (x->c->json && proof_bad(p)) {
		progress_clear(&x->progress);
		say_bad(x, p, &r, entry);
	}
	json_decref(entry);
}

/* As many lines as were seen stand for the bytes that they took. */
static void show(struct proving *x)
{
	const struct lines *l = &x->lines;
	const uint64_t done = l->read - (l->data.n - l->at);
	const uint64_t total =
		l->size > 0 && done > 0 ? (uint64_t)((double)x->seen * (double)l->size / (double)done) : 0;

	progress_show(&x->progress, x->seen, total, x->bad, "not good");
}

static int prove_all(struct proving *x)
{
	struct span line;

	for (;;) {
		switch (lines_next(&x->lines, &line)) {
		case LINES_LINE:
			prove(x, line);
			break;
		case LINES_TOO_LONG:
			prove(x, span_of(NULL, 0));
			break;
		case LINES_END:
			progress_clear(&x->progress);
			return 0;
		case LINES_FAILED:
			progress_clear(&x->progress);
			return ctl_fail(CTL_CONFIG, "%s: %s", x->lines.name, strerror(errno));
		}
		show(x);
	}
}

/* --- what came of it -------------------------------------------------------------------------- */

static json_t *reasons(const struct proving *x)
{
	json_t *rows = json_array();

	for (unsigned p = 0; p < PROOF_COUNT; p++) {
		const struct tally *t = &x->tally[p];
		char name[PROOF_NAME_SIZE];

		if (t->n == 0 && p != PROOF_GOOD)
			continue;
		proof_name(p, name);
		json_array_append_new(
			rows, json_pack("{s:s, s:I, s:o, s:s}", "reason", name, "count", (json_int_t)t->n, "first_line",
					proof_bad(p) ? json_integer((json_int_t)t->first_line) : json_null(), "text",
					proof_text(p)));
	}
	return rows;
}

static bool chain_only(const struct proving *x)
{
	return !ctl_has(x->c, OPT_MANIFEST) && !ctl_has(x->c, OPT_PCR);
}

/* Those that a document vouches for; anybody who can write to the stream can name more. */
static size_t proved_boots(const struct boots *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_keys; i++)
		n += b->key[i].first_ms != INT64_MAX ? 1 : 0;
	return n;
}

static json_t *summary(const struct proving *x)
{
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:o}}", "summary", "receipts", (json_int_t)x->seen,
			 "good", (json_int_t)x->tally[PROOF_GOOD].n, "bad", (json_int_t)x->bad, "documents",
			 (json_int_t)x->boots.n_documents, "boots", (json_int_t)proved_boots(&x->boots), "chain_only",
			 chain_only(x), "simulated", x->boots.simulated, "reasons", reasons(x));
}

static void print_table(const struct proving *x)
{
	static const struct out_column col[] = {
		{ "count", "RECEIPTS" }, { "reason", "REASON" }, { "first_line", "FIRST LINE" }, { "text", "MEANING" }
	};
	const size_t boots = proved_boots(&x->boots);
	json_t *rows = reasons(x);

	out_table(rows, col, sizeof(col) / sizeof(col[0]));
	printf("\n%s%" PRIu64 " of %" PRIu64 " not good; %zu boot%s, %zu document%s\n",
	       x->boots.simulated ? "SIMULATED: " : "", x->bad, x->seen, boots, boots == 1 ? "" : "s",
	       x->boots.n_documents, x->boots.n_documents == 1 ? "" : "s");
	json_decref(rows);
}

static int conclude(const struct proving *x)
{
	if (x->c->json)
		out_line(summary(x));
	else
		print_table(x);
	if (chain_only(x))
		ctl_complain("CHAIN ONLY: which program signed these was NOT ASKED: any enclave of anybody has such "
			     "documents; "
			     "--manifest or --pcr asks");
	if (x->seen == x->tally[PROOF_NONE].n)
		return ctl_fail(CTL_NO, "%s: there is no receipt in it", x->lines.name);
	return x->bad == 0 ? CTL_OK : CTL_NO;
}

/* --- the command ------------------------------------------------------------------------------ */

static int check_options(const struct ctl *c, struct proof_asked *ret_asked)
{
	const char *environment;
	const char *const files[] = { c->arg[0], ctl_value(c, OPT_DOCUMENTS, ""), ctl_value(c, OPT_MANIFEST, "") };
	unsigned standard = 0;

	if (!ctl_has(c, OPT_DOCUMENTS))
		return ctl_fail(CTL_USAGE, "--documents is needed: the boots, as `cwcctl keys --json` prints them");
	if (args_environment(c, &environment) != 0)
		return CTL_USAGE;
	*ret_asked = (struct proof_asked){ ctl_has(c, OPT_ENVIRONMENT) ? environment : NULL, c->opt[OPT_QUEUE] };
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		standard += strcmp(files[i], "-") == 0;
	return standard <= 1 ? 0 : ctl_fail(CTL_USAGE, "only one of the files can be standard input");
}

static int read_boots(struct proving *x)
{
	static struct manifest m;
	int code = attest_read_allowed(x->c, &m);
	const struct attest_policy policy = { .allowed = m.release, .n_allowed = m.n, .chain_only = chain_only(x) };

	return code == 0 ? boots_read(x->c->opt[OPT_DOCUMENTS], &policy, &x->progress, &x->boots) : code;
}

static int run(struct proving *x)
{
	int code = read_boots(x);

	if (code == 0 && lines_open(&x->lines, x->c->arg[0]) != 0)
		code = CTL_CONFIG;
	if (code != 0)
		return code;
	x->lines.seen = true; /* each line is one: nothing here goes over many */
	progress_start(x->c, &x->progress);
	code = prove_all(x);
	if (code == 0)
		code = conclude(x);
	lines_close(&x->lines);
	return code;
}

int cmd_receipts_verify(struct ctl *c)
{
	struct proof_asked asked;
	struct proving *x;
	int code = check_options(c, &asked);

	if (code != 0)
		return code;
	x = xcalloc(1, sizeof(*x));
	x->c = c;
	x->asked = asked;
	x->now_ms = clock_wall_us() / 1000;
	buf_init(&x->bytes, RECEIPT_MAX + 1);
	progress_start(c, &x->progress);
	code = run(x);
	boots_clear(&x->boots);
	buf_clear(&x->bytes);
	free(x);
	return code;
}
