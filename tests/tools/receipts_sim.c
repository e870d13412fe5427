/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts of simulated boots, for tests in other languages:
 *
 *	receipts_sim BOOTS DOCUMENTS RECEIPTS [--now MS] [--debug BOOT] [--other BOOT] [--garbage BOOT] [--special]
 *
 * Each boot has a ring, a statement and a receipt key of its own, and DOCUMENTS attestation documents over the one
 * statement, three hours apart, the last of them at --now (default: an hour ago). RECEIPTS go round over boots and
 * documents; each ends within an hour of the document that it names. Prints an object a line: for each document what an
 * entry of `attestations` has, with `boot` and `signed_ms`; then for each receipt what a result has, with `boot`.
 *
 * One boot may run in debug mode, one have another image, one a statement that is none. --special adds receipts of the
 * last boot with one thing wrong that its worker has signed all the same; `special` says which.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/receipt.h"
#include "attest/statement.h"
#include "cwc/outcome.h"
#include "tests/sim/nsm_sim.h"
#include "worker/base/clock.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define BOOTS_MAX     256
#define DOCUMENTS_MAX 16
#define HOUR_MS       INT64_C(3600000)

struct boot {
	struct nsm_sim *sim;
	struct receipt_key *key;
	struct buf statement;
	uint8_t sha256[DOCUMENTS_MAX][32];
	int64_t signed_ms[DOCUMENTS_MAX];
};

static struct {
	size_t boots, documents, receipts;
	long debug, other, garbage; /* a boot, or -1 */
	bool special;
	int64_t now_ms;
} wanted = { .debug = -1, .other = -1, .garbage = -1 };

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "receipts_sim: %s\n", what);
	exit(2);
}

static json_t *base64(struct span s)
{
	struct buf b;
	json_t *v;

	buf_init(&b, 4 * s.n / 3 + 8);
	text_base64(s, &b);
	v = json_stringn((const char *)b.p, b.n);
	buf_clear(&b);
	return v;
}

static json_t *hex(struct span s)
{
	char text[2 * 64 + 1];

	must(s.n <= 64, "too long for hex");
	text_hex(s, text);
	return json_string(text);
}

static void put(json_t *o)
{
	must(o != NULL && json_dumpf(o, stdout, JSON_COMPACT) == 0 && putchar('\n') == '\n', "cannot write");
	json_decref(o);
}

/* --- boots ------------------------------------------------------------------------------------ */

static void write_statement(struct boot *b)
{
	struct keyring *ring = keyring_new();
	struct statement s = { .environment = span_lit("sandbox"),
			       .queue = span_lit("q"),
			       .release = span_lit("1.0.0") };
	struct buf keys;

	must(keyring_first(ring, wanted.now_ms / 1000 - 86400) == ERR_OK, "no ring");
	buf_init(&keys, KEYRING_WRITTEN_MAX);
	keyring_write_public(ring, &keys);
	s.keys = span_buf(&keys);
	memcpy(s.receipt_key, receipt_key_public(b->key), 32);
	s.receipt_key_id = span_str(receipt_key_id(b->key));
	buf_init(&b->statement, STATEMENT_MAX);
	must(statement_write(&s, &b->statement) == ERR_OK, "no statement");
	buf_clear(&keys);
	keyring_free(ring);
}

static void add_garbage(struct boot *b)
{
	buf_init(&b->statement, STATEMENT_MAX);
	buf_add_span(&b->statement, span_lit("\xa1\x61v\x02"));
}

static void put_document(size_t boot, const struct boot *b, size_t i, struct span document)
{
	put(json_pack("{s:I, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "boot", (json_int_t)boot, "signed_ms",
		      (json_int_t)b->signed_ms[i], "version", "1.0.0", "environment", "sandbox", "receipt_key_id",
		      receipt_key_id(b->key), "receipt_key", hex(span_of(receipt_key_public(b->key), 32)), "statement",
		      base64(span_buf(&b->statement)), "document", base64(document), "document_sha256",
		      hex(span_of(b->sha256[i], 32))));
}

static void make_document(size_t boot, struct boot *b, size_t i)
{
	struct nsm n = { .exchange = nsm_sim_exchange, .arg = b->sim };
	uint8_t hash[STATEMENT_HASH_SIZE] = { 0 };
	const struct span user_data = span_of(hash, sizeof(hash));
	struct buf document;

	b->signed_ms[i] = wanted.now_ms - (int64_t)(wanted.documents - 1 - i) * 3 * HOUR_MS;
	nsm_sim_set_now(b->sim, b->signed_ms[i]);
	statement_hash(span_buf(&b->statement), hash);
	buf_init(&document, NSM_ANSWER_MAX);
	must(nsm_attest(&n, &user_data, NULL, NULL, &document) == ERR_OK, "no document");
	crypto_hash_sha256(b->sha256[i], document.p, document.n);
	put_document(boot, b, i, span_buf(&document));
	buf_clear(&document);
}

static void make_boot(size_t i, struct boot *b)
{
	uint8_t other[NSM_PCR_SIZE];

	b->sim = nsm_sim_new(&(struct nsm_sim_options){ .debug = wanted.debug == (long)i });
	if (wanted.other == (long)i) {
		nsm_sim_measure(span_lit("another image"), other);
		nsm_sim_set_pcr(b->sim, 0, other);
	}
	b->key = receipt_key_new();
	if (wanted.garbage == (long)i)
		add_garbage(b);
	else
		write_statement(b);
	for (size_t k = 0; k < wanted.documents; k++)
		make_document(i, b, k);
}

static void end_boot(struct boot *b)
{
	buf_clear(&b->statement);
	receipt_key_free(b->key);
	nsm_sim_free(b->sim);
}

/* --- receipts --------------------------------------------------------------------------------- */

static const char delivery_id[] = "0123456789abcdef0123456789abcdef";

/* The result beside it, as cwcctl prints it. */
static json_t *result(const struct receipt *r, struct span signed_)
{
	char ended[TEXT_TIME_MS_SIZE];
	const bool sent = r->attempt > 0;
	enum outcome o;

	must(outcome_find(r->outcome, &o) == ERR_OK, "no outcome");
	text_time_ms(r->ended_ms, ended);
	return json_pack("{s:s%, s:s%, s:i, s:s, s:s, s:s%, s:o, s:s%, s:i, s:o, s:s, s:o}", "sid", r->sid.p, r->sid.n,
			 "office", r->office.p, r->office.n, "rev", 3, "state", outcome_state_name(outcome_state(o)),
			 "class", outcome_class_name(outcome_class(o)), "outcome", r->outcome.p, r->outcome.n,
			 "http_status", sent ? json_integer(r->http_status) : json_null(), "delivery_id",
			 sent ? (const char *)r->delivery_id.p : "", r->delivery_id.n, "attempt", (int)r->attempt,
			 "generation", sent ? json_integer((json_int_t)r->generation) : json_null(), "ended", ended,
			 "receipt_bytes", base64(signed_));
}

static void put_receipt(size_t boot, const struct boot *b, const struct receipt *r, const char *special)
{
	struct buf out;
	json_t *o;

	buf_init(&out, RECEIPT_MAX);
	receipt_sign(b->key, r, &out);
	must(buf_ok(&out) == ERR_OK, "no receipt");
	o = result(r, span_buf(&out));
	must(o != NULL, "no result");
	json_object_set_new(o, "boot", json_integer((json_int_t)boot));
	if (special != NULL)
		json_object_set_new(o, "special", json_string(special));
	put(o);
	buf_clear(&out);
}

static struct receipt receipt_of(const struct boot *b, size_t document, bool sent, const char *sid)
{
	const int64_t ended_ms = b->signed_ms[document] + 60000;

	return (struct receipt){ .environment = span_lit("sandbox"),
				 .queue = span_lit("q"),
				 .sid = span_str(sid),
				 .office = span_lit("HNE03"),
				 .generation = sent ? 1 : 0,
				 .delivery_id = span_str(sent ? delivery_id : ""),
				 .attempt = sent ? 1 : 0,
				 .outcome = span_str(sent ? "accepted" : "expired"),
				 .http_status = sent ? 200 : 0,
				 .begun_ms = sent ? ended_ms - 900 : 0,
				 .ended_ms = ended_ms,
				 .document = span_of(b->sha256[document], 32) };
}

static void put_numbered(size_t i, const struct boot *all)
{
	const size_t boot = i % wanted.boots, k = i / wanted.boots % wanted.documents;
	struct receipt r;
	char sid[32];

	snprintf(sid, sizeof(sid), "sid_%zu", i);
	r = receipt_of(&all[boot], k, i % 7 != 0, sid);
	r.ended_ms += (int64_t)(i * 37 % 3000000);
	if (r.attempt > 0) {
		r.generation += i % 2;
		r.attempt += i % 4;
	}
	put_receipt(boot, &all[boot], &r, NULL);
}

/* Of the last boot. What is not wrong here: a letter that ended long before the document that its receipt names. */
static void put_special(const struct boot *all)
{
	static const uint8_t unknown[32] = { 1 };
	const size_t boot = wanted.boots - 1, last = wanted.documents - 1;
	const struct boot *b = &all[boot];
	const struct receipt right = receipt_of(b, last, true, "special");
	struct receipt r = right;

	r.document = span_of(NULL, 0);
	put_receipt(boot, b, &r, "no_document");
	r.document = span_of(unknown, sizeof(unknown));
	put_receipt(boot, b, &r, "unknown_document");
	r.document = span_of(all[0].sha256[0], 32);
	put_receipt(boot, b, &r, "key");
	r = right;
	r.environment = span_lit("production");
	put_receipt(boot, b, &r, "environment");
	r = right;
	r.queue = span_lit("r");
	put_receipt(boot, b, &r, "queue");
	r = right;
	r.ended_ms = b->signed_ms[0] - 300001;
	put_receipt(boot, b, &r, "early");
	r.ended_ms++;
	put_receipt(boot, b, &r, "good");
	r.ended_ms = clock_wall_us() / 1000 + 3600000;
	put_receipt(boot, b, &r, "future");
	r.ended_ms = 0;
	put_receipt(boot, b, &r, "good");
	r.ended_ms = b->signed_ms[0] + 1000;
	put_receipt(boot, b, &r, "late_settlement");
	r = right;
	r.document = span_of(b->sha256[0], 32);
	put_receipt(boot, b, &r, "older_document");
	r = right;
	r.outcome = span_lit("attempts_exhausted");
	put_receipt(boot, b, &r, "dead");
}

/* --- arguments -------------------------------------------------------------------------------- */

static uint64_t number(const char *s, uint64_t max)
{
	uint64_t n;

	must(text_uint(span_str(s), max, &n) == ERR_OK, "a number is none, or too large");
	return n;
}

static void read_option(int option, const char *value)
{
	switch (option) {
	case 'n':
		wanted.now_ms = (int64_t)number(value, INT64_MAX / 2);
		break;
	case 's':
		wanted.special = true;
		break;
	case 'd':
		wanted.debug = (long)number(value, BOOTS_MAX);
		break;
	case 'o':
		wanted.other = (long)number(value, BOOTS_MAX);
		break;
	case 'g':
		wanted.garbage = (long)number(value, BOOTS_MAX);
		break;
	default:
		must(false, "the options are in the head of tests/tools/receipts_sim.c");
	}
}

static void read_arguments(int argc, char **argv)
{
	static const struct option options[] = {
		{ "now", required_argument, NULL, 'n' },   { "debug", required_argument, NULL, 'd' },
		{ "other", required_argument, NULL, 'o' }, { "garbage", required_argument, NULL, 'g' },
		{ "special", no_argument, NULL, 's' },     { NULL, 0, NULL, 0 }
	};
	int option;

	wanted.now_ms = clock_wall_us() / 1000 - HOUR_MS;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		read_option(option, optarg);
	must(argc - optind == 3, "BOOTS DOCUMENTS RECEIPTS");
	wanted.boots = number(argv[optind], BOOTS_MAX);
	wanted.documents = number(argv[optind + 1], DOCUMENTS_MAX);
	wanted.receipts = number(argv[optind + 2], 10000000);
	must(wanted.boots > 0 && wanted.documents > 0, "no boot, or no document");
}

int main(int argc, char **argv)
{
	static struct boot boots[BOOTS_MAX];

	must(secret_init() == ERR_OK, "no random generator");
	read_arguments(argc, argv);
	for (size_t i = 0; i < wanted.boots; i++)
		make_boot(i, &boots[i]);
	for (size_t i = 0; i < wanted.receipts; i++)
		put_numbered(i, boots);
	if (wanted.special)
		put_special(boots);
	for (size_t i = 0; i < wanted.boots; i++)
		end_boot(&boots[i]);
	return fflush(stdout) == 0 ? 0 : 2;
}
