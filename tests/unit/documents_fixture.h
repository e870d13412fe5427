/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents with a device and clients that the test plays: the functions of attestor.h and status.h here take the place
 * of the library's. The test's own headers (setjmp.h, stdarg.h, stddef.h, stdint.h, cmocka.h) come first.
 */
#ifndef TESTS_UNIT_DOCUMENTS_FIXTURE_H
#define TESTS_UNIT_DOCUMENTS_FIXTURE_H

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attest/statement.h"
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"
#include "worker/documents.h"

#define ASKS_MAX 16

/* --- the device and the status server --------------------------------------------------------- */

struct attestor {
	uint8_t pcr[3][ATTEST_PCR_SIZE];
	int64_t ahead_ms, bound_ms;
};

struct asked {
	uint8_t user_data[64], nonce[64];
	size_t n_user_data, n_nonce;
	attestor_cb cb; /* NULL: answered or forgotten */
	void *arg;
};

static struct attestor device = { .pcr = { { 0xab, 0xcd } } };
static struct asked asks[ASKS_MAX];
static size_t n_asks;

void attestor_ask(struct attestor *a, struct span user_data, struct span nonce, attestor_cb cb, void *arg)
{
	struct asked *q = &asks[n_asks++];

	assert_ptr_equal(a, &device);
	assert_true(n_asks <= ASKS_MAX && user_data.n <= 64 && nonce.n <= 64);
	*q = (struct asked){ .n_user_data = user_data.n, .n_nonce = nonce.n, .cb = cb, .arg = arg };
	memcpy(q->user_data, user_data.p, user_data.n);
	memcpy(q->nonce, nonce.p, nonce.n);
}

void attestor_forget(struct attestor *a, const void *arg)
{
	assert_ptr_equal(a, &device);
	for (size_t i = 0; i < n_asks; i++)
		if (asks[i].arg == arg)
			asks[i].cb = NULL;
}

const uint8_t (*attestor_pcrs(const struct attestor *a))[ATTEST_PCR_SIZE]
{
	return a->pcr;
}

int64_t attestor_clock_ms(const struct attestor *a, int64_t *ret_bound_ms)
{
	assert_ptr_equal(a, &device);
	*ret_bound_ms = a->bound_ms;
	return a->ahead_ms;
}

static inline void device_says(size_t i, enum err e, const char *document)
{
	attestor_cb cb = asks[i].cb;

	assert_true(i < n_asks);
	assert_non_null(cb);
	asks[i].cb = NULL;
	cb(asks[i].arg, e, span_str(document));
}

struct status_ticket {
	unsigned answers;
	int code;
	char type[64], body[65536];
};

void status_reply(struct status_ticket *t, const struct status_answer *a)
{
	assert_int_equal(buf_ok(&a->body), ERR_OK);
	assert_true(a->body.n < sizeof(t->body) && strlen(a->type) < sizeof(t->type));
	t->answers++;
	t->code = a->code;
	memcpy(t->type, a->type, strlen(a->type) + 1);
	memcpy(t->body, a->body.p, a->body.n);
	t->body[a->body.n] = '\0';
}

void status_reply_json(struct status_ticket *t, int code, const char *json)
{
	struct status_answer a = { .code = code, .type = "application/json" };

	buf_init(&a.body, 1024);
	buf_add_str(&a.body, json);
	status_reply(t, &a);
	buf_clear(&a.body);
}

/* --- the fixture ------------------------------------------------------------------------------ */

static uv_loop_t loop;
static struct config config = { .environment = "sandbox", .queue_name = "q", .renew_s = 300, .skew_max_ms = 3000 };
static struct keyring *ring;
static struct receipt_key *receipt_key;
static struct documents *documents;
static struct status_ticket ticket;
static unsigned publications;
static char keys[4096], document[64], pcr0[97];
static uint8_t statement[STATEMENT_MAX];
static size_t n_statement;
static uint64_t bundle;
static bool within;

static inline int64_t now_s(void)
{
	return clock_wall_us() / 1000000;
}

static inline void published(void *arg, const struct engine_publication *p)
{
	uint8_t hash[32];

	assert_ptr_equal(arg, &publications);
	assert_false(within);
	assert_true(p->keys.n < sizeof(keys) && p->document.n < sizeof(document));
	memset(keys, 0, sizeof(keys));
	memset(document, 0, sizeof(document));
	if (p->keys.n > 0)
		memcpy(keys, p->keys.p, p->keys.n);
	if (p->document.n > 0) {
		memcpy(document, p->document.p, p->document.n);
		crypto_hash_sha256(hash, p->document.p, p->document.n);
		assert_memory_equal(p->document_sha256, hash, sizeof(hash));
	}
	memcpy(statement, p->statement.p, p->statement.n);
	n_statement = p->statement.n;
	memcpy(pcr0, p->pcr0, sizeof(pcr0));
	bundle = p->bundle;
	publications++;
	assert_ptr_equal(documents_current(documents), p);
}

static inline int set_up(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	ring = keyring_new();
	receipt_key = receipt_key_new();
	n_asks = publications = 0;
	memset(&ticket, 0, sizeof(ticket));
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	documents_free(documents);
	documents = NULL;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	keyring_free(ring);
	receipt_key_free(receipt_key);
	return 0;
}

static inline void start(struct attestor *a)
{
	const struct documents_options o = { .config = &config,
					     .attestor = a,
					     .ring = ring,
					     .receipt_key = receipt_key,
					     .version = "1.2.3",
					     .published = published,
					     .arg = &publications };

	within = true;
	documents = documents_new(&loop, &o);
	within = false;
	assert_null(documents_current(documents));
}

static inline void wait_asks(size_t n)
{
	while (n_asks < n)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(n_asks, n);
}

static inline void wait_publications(unsigned n)
{
	while (publications < n)
		uv_run(&loop, UV_RUN_ONCE);
}

static inline void granted(uint64_t version, struct span grant)
{
	within = true;
	documents_changed(documents, version, grant);
	within = false;
}

static inline void changed(uint64_t version)
{
	granted(version, span_lit(""));
}

static inline void make(enum keyring_profile profile, int64_t activate_s, int64_t retire_s)
{
	static const char *const context[] = { "a-context-of-the-witness" };
	const struct keyring_times t = { .created_s = 1000, .activate_s = activate_s, .retire_s = retire_s };

	assert_int_equal(keyring_default_contexts(ring, context, 1), ERR_OK);
	assert_int_equal(keyring_make(ring, profile, &t), ERR_OK);
}

/* The document of ask i is over what is published. */
static inline void assert_bound(size_t i)
{
	uint8_t hash[STATEMENT_HASH_SIZE];

	statement_hash(span_of(statement, n_statement), hash);
	assert_int_equal(asks[i].n_user_data, sizeof(hash));
	assert_memory_equal(asks[i].user_data, hash, sizeof(hash));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* Before the tests. */
static inline void prepare(void)
{
	BUG_ON(sodium_init() < 0);
	log_open(-1, LOG_ERROR, true);
}

#endif
