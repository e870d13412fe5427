/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verification of a document costs:
 *
 *	attest_bench ROUNDS DOCUMENT...
 *
 * Each round verifies every document (up to the signature: all that costs) twice, with an empty cache and with one that
 * has seen its certificates, and does what no verifier can do without: five ECDSA verifications over P-384, with keys
 * and hashes that are ready. Prints the least and the median CPU time of a document, and the ratio to that bare chain.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "attest/verify.h"

#define DOCUMENTS_MAX 64
#define ROUNDS_MAX    10000
#define CHAIN         5

struct document {
	uint8_t bytes[ATTEST_DOCUMENT_MAX + 1];
	size_t n;
};

struct column {
	const char *name;
	double us[ROUNDS_MAX]; /* of one document, by round */
};

static struct document documents[DOCUMENTS_MAX];
static size_t n_documents;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "attest_bench: %s\n", what);
	exit(1);
}

static double cpu_us(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0, "no clock");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void load(const char *path)
{
	struct document *d = &documents[n_documents++];
	FILE *f = fopen(path, "rb");

	must(f != NULL, path);
	d->n = fread(d->bytes, 1, sizeof(d->bytes), f);
	fclose(f);
}

static void verify(const struct document *in, struct attest_cache *cache)
{
	const struct attest_policy policy = { .chain_only = true, .cache = cache };
	struct attest_document d;
	struct attest_report r;

	(void)attest_verify(span_of(in->bytes, in->n), &attest_anchor_aws, &policy, &d, &r);
	must(r.stage[ATTEST_SIGNATURE] == ATTEST_PASSED, attest_code_name(r.code));
}

/* --- the bare chain --------------------------------------------------------------------------- */

struct bare {
	EVP_PKEY *key;
	uint8_t hash[48], signature[112];
	size_t n;
};

static void bare_new(struct bare *b)
{
	EVP_PKEY_CTX *ctx;

	b->key = EVP_EC_gen("P-384");
	must(b->key != NULL && RAND_bytes(b->hash, sizeof(b->hash)) == 1, "no key");
	ctx = EVP_PKEY_CTX_new(b->key, NULL);
	b->n = sizeof(b->signature);
	must(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, b->signature, &b->n, b->hash, sizeof(b->hash)) == 1,
	     "no signature");
	EVP_PKEY_CTX_free(ctx);
}

static void bare_verify(const struct bare *b)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(b->key, NULL);

	must(EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_verify(ctx, b->signature, b->n, b->hash, sizeof(b->hash)) == 1,
	     "a signature is wrong");
	EVP_PKEY_CTX_free(ctx);
}

/* --- the table -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_row(struct column *c, size_t rounds, double bare)
{
	qsort(c->us, rounds, sizeof(c->us[0]), compare);
	printf("%-34s %10.0f %10.0f %8.2f\n", c->name, c->us[0], c->us[rounds / 2], c->us[rounds / 2] / bare);
}

static void run_round(size_t round, const struct bare bare[CHAIN], struct column *chain, struct column *cold,
		      struct column *warm)
{
	double start = cpu_us();

	for (size_t i = 0; i < CHAIN; i++)
		bare_verify(&bare[i]);
	chain->us[round] = cpu_us() - start;
	for (size_t i = 0; i < n_documents; i++) {
		struct attest_cache cache = { 0 };
		double begun = cpu_us(), middle;

		verify(&documents[i], &cache);
		middle = cpu_us();
		verify(&documents[i], &cache);
		cold->us[round] += (middle - begun) / (double)n_documents;
		warm->us[round] += (cpu_us() - middle) / (double)n_documents;
	}
}

int main(int argc, char **argv)
{
	static struct column chain = { .name = "bare chain: 5 verifications" },
			     cold = { .name = "document, nothing cached" },
			     warm = { .name = "document, certificates cached" };
	struct bare bare[CHAIN];
	size_t rounds = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	double ratio_to;

	if (rounds < 1 || rounds > ROUNDS_MAX || argc - 2 > DOCUMENTS_MAX) {
		fprintf(stderr, "usage: attest_bench ROUNDS DOCUMENT...\n");
		return 64;
	}
	for (int i = 2; i < argc; i++)
		load(argv[i]);
	for (size_t i = 0; i < CHAIN; i++)
		bare_new(&bare[i]);
	for (size_t round = 0; round < rounds; round++)
		run_round(round, bare, &chain, &cold, &warm);
	printf("%-34s %10s %10s %8s\n", "CPU us", "least", "median", "ratio");
	qsort(chain.us, rounds, sizeof(chain.us[0]), compare);
	ratio_to = chain.us[rounds / 2];
	print_row(&chain, rounds, ratio_to);
	print_row(&cold, rounds, ratio_to);
	print_row(&warm, rounds, ratio_to);
	for (size_t i = 0; i < CHAIN; i++)
		EVP_PKEY_free(bare[i].key);
	return 0;
}
