/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What prepare_letter() needs, around one letter of tests/golden: a ring with a key of either profile, a
 * configuration with the letter's delivery agent, the letter cut into a clear and a sealed part, the job
 * over it. A test changes one thing, then seals and signs (world_make) and runs (world_run). Each run also
 * checks that no plaintext stays behind. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_PREPARE_FIXTURE_H
#define TESTS_UNIT_PREPARE_FIXTURE_H

#include <jansson.h>
#include <stdio.h>

#include "tests/unit/formats_fixture.h"

#include "worker/base/secret.h"
#include "worker/prepare.h"

#define SECOND      1000000LL
#define GOLDEN_DATE "20260302" /* of the letters in tests/golden */
#define DATE        "20270110" /* fixed by an earlier attempt */
#define FIRST_SEEN  ((NOW - 60) * SECOND)

struct world {
	struct keyring *ring;
	const struct keyring_key *key; /* to which the envelope is sealed */
	const char *kid;               /* what the envelope names; NULL: that key's id */
	struct config config;
	struct job_signer signer;
	struct cwc_offices list;
	struct prepare_context x;
	enum cwc_chamber chamber;
	json_t *clear, *sealed; /* the letter's elements; the witness's object in `sealed` */
	struct job job;
	struct queue_taken taken;
	char office[CWC_OFFICE_SIZE], golden_id[CWC_DELIVERY_ID_SIZE];
	int64_t now_us;
	struct buf arena, xml, fields, plain, envelope, bytes;
	struct prepared got;
};

UNUSED static uint8_t xml_memory[PREPARE_XML_MAX];

/* --- deterministic CBOR of a JSON value ------------------------------------------------------- */

/* RFC 8949 section 4.2.1; for texts of less than 24 bytes, and for any of our names, by length first. */
static int compare_keys(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	size_t n = strlen(*x), m = strlen(*y);

	return n != m ? (n < m ? -1 : 1) : strcmp(*x, *y);
}

static void encode(json_t *value, struct buf *out);

static void encode_object(json_t *object, struct buf *out)
{
	const char *keys[CWC_FIELD_COUNT + 8], *key;
	size_t n = 0;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(keys[0]), compare_keys);
	cbor_add_map(out, n);
	for (size_t i = 0; i < n; i++) {
		cbor_add_str(out, keys[i]);
		encode(json_object_get(object, keys[i]), out);
	}
}

static void encode(json_t *value, struct buf *out)
{
	if (json_is_object(value)) {
		encode_object(value, out);
	} else if (json_is_array(value)) {
		cbor_add_array(out, json_array_size(value));
		for (size_t i = 0; i < json_array_size(value); i++)
			encode(json_array_get(value, i), out);
	} else if (json_is_integer(value)) {
		cbor_add_uint(out, (uint64_t)json_integer_value(value));
	} else {
		cbor_add_text(out, span_of(json_string_value(value), json_string_length(value)));
	}
}

/* --- the letter ------------------------------------------------------------------------------- */

static void set_own(struct world *w, const char *name, const char *text)
{
	struct config_chamber *c = &w->config.chamber[w->chamber];
	const struct {
		const char *name;
		char *to;
	} table[] = {
		{ "DeliveryAgent", c->agent },
		{ "DeliveryAgentAckEmailAddress", c->agent_ack_email },
		{ "DeliveryAgentContactName", c->agent_contact_name },
		{ "DeliveryAgentContactEmail", c->agent_contact_email },
		{ "DeliveryAgentContactPhone", c->agent_contact_phone },
		{ "MemberOffice", w->office },
		{ "DeliveryId", w->golden_id },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].name, name) == 0)
			memcpy(table[i].to, text, strlen(text) + 1);
}

/* A letter envelope has both kinds of elements: those of the person, and half of the others. */
static bool is_clear(const struct world *w, enum cwc_field f)
{
	if (f == CWC_PREFIX)
		return w->job.profile == JOB_WITNESS;
	return cwc_field_source(f) == CWC_FROM_PUBLIC && (w->job.profile == JOB_WITNESS || f % 2 == 0);
}

static void take_element(struct world *w, const char *name, json_t *value)
{
	enum cwc_field f = CWC_FIELD_COUNT;

	assert_err(cwc_field_find(span_str(name), &f), ERR_OK);
	if (cwc_field_source(f) == CWC_FROM_WORKER)
		set_own(w, name, json_string_value(value));
	else
		json_object_set(is_clear(w, f) ? w->clear : w->sealed, name, value);
}

UNUSED static const char *sealed_text(const struct world *w, const char *name)
{
	const char *s = json_string_value(json_object_get(w->sealed, name));

	return s != NULL ? s : "";
}

/* From the elements of the person to the object that the app's browsers seal. */
static void make_witness(struct world *w)
{
	char name[128];

	snprintf(name, sizeof(name), "%s %s", sealed_text(w, "FirstName"), sealed_text(w, "LastName"));
	json_t *o = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}}", "nullifier", "0x04",
			      "actionDomain", "0x05", "userSecret", "0x1234", "deliveryAddress", "name", name, "email",
			      sealed_text(w, "Email"), "street", sealed_text(w, "Address1"), "city",
			      sealed_text(w, "City"), "state", sealed_text(w, "StateAbbreviation"), "zip",
			      sealed_text(w, "Zip"), "phone", sealed_text(w, "Phone"));

	assert_non_null(o);
	json_decref(w->sealed);
	w->sealed = o;
}

static void set_taken(struct world *w)
{
	w->taken = (struct queue_taken){
		.sid = w->job.sid,
		.office = span_str(w->office),
		.token = span_lit("w/1.1"),
		.date = span_lit(DATE),
		.first_us = FIRST_SEEN,
	};
}

/* --- the world -------------------------------------------------------------------------------- */

static void make_ring(struct world *w)
{
	static const char *const context[] = { CONTEXT_1 };
	const struct keyring_times since_ever = { 0 };
	uint8_t secret[32];

	w->ring = keyring_new();
	assert_err(keyring_default_contexts(w->ring, context, 1), ERR_OK);
	memset(secret, 0x11, sizeof(secret));
	assert_err(keyring_add(w->ring, KEYRING_WITNESS, secret, NULL, 0, &since_ever), ERR_OK);
	memset(secret, 0x12, sizeof(secret));
	assert_err(keyring_add(w->ring, KEYRING_LETTER, secret, NULL, 0, &since_ever), ERR_OK);
	memset(secret, 0x13, sizeof(secret));
	assert_err(keyring_add(w->ring, KEYRING_SECRET, secret, NULL, 0, &since_ever), ERR_OK);
}

static void fill_config(struct config *c)
{
	memcpy(c->environment, "sandbox", sizeof("sandbox"));
	memcpy(c->queue_name, "q", sizeof("q"));
	c->key_wait_s = 86400;
}

/* The letter of tests/golden/NAME.json for the chamber that its office belongs to. */
UNUSED static void world_init(struct world *w, const char *name, enum job_profile profile)
{
	char path[256];
	const char *key;
	json_t *root, *value;

	*w = (struct world){ .now_us = NOW * SECOND, .signer = signer_fixed() };
	w->chamber = strncmp(name, "house", 5) == 0 ? CWC_HOUSE : CWC_SENATE;
	make_ring(w);
	w->key = keyring_at(w->ring, profile == JOB_WITNESS ? 0 : 1);
	fill_config(&w->config);
	w->job = job_sample(profile, span_of(NULL, 0));
	w->clear = json_object();
	w->sealed = json_object();
	snprintf(path, sizeof(path), "tests/golden/%s.json", name);
	root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	json_object_foreach(root, key, value)
	{
		take_element(w, key, value);
	}
	json_decref(root);
	if (profile == JOB_WITNESS)
		make_witness(w);
	w->job.office[1] = span_str(w->office);
	set_taken(w);
	w->x = (struct prepare_context){
		.config = &w->config, .ring = w->ring, .signer = &w->signer, .n_signers = 1, .arena = &w->arena
	};
	secret_arena(&w->arena, PREPARE_ARENA_SIZE);
	w->xml = (struct buf){ .p = xml_memory, .cap = sizeof(xml_memory), .max = sizeof(xml_memory) };
	buf_init(&w->fields, JOB_MAX);
	buf_init(&w->plain, ENVELOPE_PLAIN_MAX);
	buf_init(&w->envelope, 2 * ENVELOPE_MAX);
	buf_init(&w->bytes, 2 * JOB_MAX);
}

UNUSED static void world_free(struct world *w)
{
	keyring_free(w->ring);
	json_decref(w->clear);
	json_decref(w->sealed);
	secret_arena_free(&w->arena);
	buf_clear(&w->fields);
	buf_clear(&w->plain);
	buf_clear(&w->envelope);
	buf_clear(&w->bytes);
}

/* The bytes that will be sealed. */
UNUSED static void world_plain(struct world *w)
{
	buf_reset(&w->plain);
	if (w->job.profile == JOB_LETTER) {
		encode(w->sealed, &w->plain);
	} else {
		uint8_t *room = buf_room(&w->plain, 16384);

		buf_grew(&w->plain, json_dumpb(w->sealed, (char *)room, 16384, JSON_COMPACT));
	}
	assert_err(buf_ok(&w->plain), ERR_OK);
}

UNUSED static void world_seal(struct world *w)
{
	const char *kid = w->kid != NULL ? w->kid : w->key->id;
	enum err e;

	buf_reset(&w->envelope);
	if (w->job.profile == JOB_WITNESS)
		e = envelope_seal_witness(span_buf(&w->plain), w->key->public_key, kid, CONTEXT_1, NULL, NULL,
					  &w->envelope);
	else
		e = envelope_seal_letter(span_buf(&w->plain), w->key->public_key, kid, &w->job, NULL, &w->envelope);
	assert_err(e, ERR_OK);
}

UNUSED static void world_sign(struct world *w)
{
	struct keys k = keys_fixed();

	buf_reset(&w->fields);
	encode(w->clear, &w->fields);
	w->job.fields = span_buf(&w->fields);
	w->job.envelope = span_buf(&w->envelope);
	buf_reset(&w->bytes);
	assert_err(job_sign(&w->job, span_lit(APP_KID), k.app_secret, &w->bytes), ERR_OK);
}

UNUSED static void world_make(struct world *w)
{
	world_plain(w);
	world_seal(w);
	world_sign(w);
}

/* Memory of exactly the job's size, so that a read behind it is seen. */
UNUSED static void world_run(struct world *w)
{
	uint8_t *exact = copy_exact(span_buf(&w->bytes));

	w->taken.bytes = span_of(exact, w->bytes.n);
	memset(&w->got, 0xee, sizeof(w->got));
	buf_reset(&w->xml);
	buf_add_str(&w->xml, "of the letter before");
	prepare_letter(&w->x, &w->taken, w->now_us, &w->xml, &w->got);
	free(exact);
	assert_int_equal(w->arena.n, 0);
	assert_true(all_zero(&w->arena));
	assert_true(w->got.send || (w->xml.n == 0 && all_zero(&w->xml)));
}

/* --- what must come of it --------------------------------------------------------------------- */

UNUSED static void expect_end(const struct world *w, enum outcome o, const char *detail)
{
	assert_false(w->got.send);
	assert_int_equal(w->got.decision.verb, QUEUE_END);
	assert_string_equal(outcome_name(w->got.decision.outcome), outcome_name(o));
	assert_string_equal(w->got.decision.detail, detail);
}

UNUSED static void expect_back(const struct world *w, enum queue_verb verb, int64_t due_us, const char *detail)
{
	assert_false(w->got.send);
	assert_int_equal(w->got.decision.verb, verb);
	assert_int_equal(w->got.decision.outcome, OUT_NOT_SENT);
	assert_int_equal(w->got.decision.due_us, due_us);
	assert_string_equal(w->got.decision.detail, detail);
}

UNUSED static void expect_sent(const struct world *w)
{
	if (!w->got.send)
		fail_msg("not sent: %s %s", outcome_name(w->got.decision.outcome), w->got.decision.detail);
	assert_int_equal(w->got.generation, w->job.generation);
	assert_int_equal(w->got.expires_us, (int64_t)w->job.expires_s * SECOND);
}

#endif
