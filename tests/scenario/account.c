/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of every scenario, whatever it is about.
 */
#include <stdio.h>
#include <string.h>

#include "attest/receipt.h"
#include "tests/scenario/chamber.h"
#include "tests/scenario/fleet.h"
#include "tests/scenario/letter.h"
#include "tests/scenario/net.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/scenario.h"
#include "worker/base/text.h"

static bool is_final(const char *state)
{
	static const char *const words[] = { "accepted",  "rejected", "dead",   "expired",
					     "cancelled", "dropped",  "unknown" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], state) == 0)
			return true;
	return false;
}

/* What the receipt names must stand in `attestations` by now, from the worker that signed it. */
static void check_document(const struct redis_result *r, const struct receipt *receipt, const uint8_t key[32])
{
	char sha256[65], key_hex[65];
	const char *argv[] = { sha256, key_hex };
	if (receipt->document.n != 32) {
		scenario_fail("the receipt of %s %s names no document", r->sid, r->office);
		return;
	}
	text_hex(receipt->document, sha256);
	text_hex(span_of(key, 32), key_hex);
	const char *entry = redis_check("published", argv, 2);
	struct letter_known *k = letter_find(r->sid, r->office);
	if (entry[0] < '0' || entry[0] > '9')
		scenario_fail("the document that the receipt of %s %s names %s", r->sid, r->office, entry);
	if (k != NULL)
		k->named = parse_number(entry);
}

/* Signed by a worker of this scenario, about this job, with this outcome. */
static void check_receipt(const struct redis_result *r)
{
	struct receipt receipt = { 0 };
	const uint8_t *key, *signer = NULL;
	enum err e = ERR_CRYPTO;
	for (size_t i = 0; e != ERR_OK && (key = fleet_receipt_key(i)) != NULL; i++) {
		e = receipt_verify(span_of(r->receipt, r->receipt_n), key, &receipt);
		signer = key;
	}
	if (e != ERR_OK)
		scenario_fail("the receipt of %s %s is not genuine", r->sid, r->office);
	if (!span_eq_str(receipt.sid, r->sid) || !span_eq_str(receipt.office, r->office) ||
	    !span_eq_str(receipt.outcome, r->outcome))
		scenario_fail("the receipt of %s %s says something else", r->sid, r->office);
	if (e == ERR_OK)
		check_document(r, &receipt, signer);
}

void account_results(void)
{
	struct redis_result r;
	while (redis_next_result(&r)) {
		if (r.wrong[0] != '\0')
			scenario_fail("a result: %s", r.wrong);
		if (r.receipt_n > 0)
			check_receipt(&r);
		else if (strcmp(r.state, "late") != 0)
			scenario_fail("the result of %s %s has no receipt", r.sid, r.office);
	}
}

static void check_posts(void)
{
	const struct chamber_post *p;
	size_t n = chamber_posts(&p);
	for (size_t i = 0; i < n; i++) {
		const struct letter_known *k = letter_find(p[i].sid, p[i].office);
		if (k == NULL)
			scenario_fail("a POST of %s to %s, who did not ask for it", p[i].sid, p[i].office);
		else if (is_final(p[i].state) && !k->may_be_twice)
			scenario_fail("a POST of %s %s when it was %s", p[i].sid, p[i].office, p[i].state);
	}
}

static void check_letter(const struct letter_known *k)
{
	char word[16];
	const char *argv[] = { k->sid, k->office };
	const char *state = redis_check("state", argv, 2);
	if (state != NULL) {
		snprintf(word, sizeof(word), "%s", state);
		state = word;
	}
	if (chamber_taken(k->delivery_id) > 1 && !k->may_be_twice)
		scenario_fail("%s %s was taken %u times", k->sid, k->office, chamber_taken(k->delivery_id));
	if (state != NULL && strcmp(state, "accepted") == 0 && chamber_taken(k->delivery_id) == 0 && !k->may_be_twice)
		scenario_fail("%s %s is accepted, and the chamber has nothing", k->sid, k->office);
	if (k->may_be_open || (state != NULL && is_final(state)))
		return;
	if (state != NULL)
		scenario_fail("at the end %s %s is %s", k->sid, k->office, state);
	/* The record may be over and gone; then there is a result, or bytes that were refused. */
	if (redis_check("told", argv, 2) == NULL)
		scenario_fail("%s %s is lost", k->sid, k->office);
}

void account_close(void)
{
	struct letter_known *k;
	size_t n = letter_all(&k);
	account_results();
	check_posts();
	for (size_t i = 0; i < n; i++)
		check_letter(&k[i]);
	const char *wrong = redis_check("store", NULL, 0);
	if (wrong != NULL)
		scenario_fail("the keys: %s", wrong);
	if (net_left() > 0)
		scenario_fail("a fault that was asked for did not come about");
}
