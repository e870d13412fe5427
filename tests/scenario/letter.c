/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/letter.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "queue/envelope.h"
#include "worker/base/text.h"

#define CONTEXT     "voter-protocol-witness-encryption-v1"
#define KNOWN_MAX   8192
#define KEYS        4 /* witness, letter, and both again that only a full ring has */
#define ENVIRONMENT "sandbox"

static uint8_t signer_public[crypto_sign_PUBLICKEYBYTES], signer_secret[crypto_sign_SECRETKEYBYTES];
static uint8_t other_public[crypto_sign_PUBLICKEYBYTES], other_secret[crypto_sign_SECRETKEYBYTES];
static uint8_t ring_secret[KEYS][32], ring_public[KEYS][32];
static char ring_id[KEYS][KEYRING_ID_MAX + 1];
static struct letter_known known[KNOWN_MAX];
static size_t n_known;

void letter_reset(void)
{
	crypto_sign_keypair(signer_public, signer_secret);
	crypto_sign_keypair(other_public, other_secret);
	for (int i = 0; i < KEYS; i++) {
		randombytes_buf(ring_secret[i], sizeof(ring_secret[i]));
		BUG_ON(crypto_scalarmult_base(ring_public[i], ring_secret[i]) != 0);
		keyring_id(ring_public[i], ring_id[i]);
	}
	n_known = 0;
}

const uint8_t *letter_signer(void)
{
	return signer_public;
}

const uint8_t *letter_other_signer(void)
{
	return other_public;
}

struct keyring *letter_ring(bool full)
{
	static const char *const context[] = { CONTEXT };
	static const struct keyring_times since_ever = { 0 };
	struct keyring *r = keyring_new();
	for (int i = 0; i < (full ? KEYS : 2); i++) {
		enum err e = i % 2 == 0 ? keyring_add(r, KEYRING_WITNESS, ring_secret[i], context, 1, &since_ever)
					: keyring_add(r, KEYRING_LETTER, ring_secret[i], NULL, 0, &since_ever);
		BUG_ON(e != ERR_OK);
	}
	return r;
}

/* --- who is who -------------------------------------------------------------------------------- */

const char *letter_sid(const char *delivery_id)
{
	for (size_t i = 0; i < n_known; i++)
		if (strcmp(known[i].delivery_id, delivery_id) == 0)
			return known[i].sid;
	return "";
}

struct letter_known *letter_find(const char *sid, const char *office)
{
	for (size_t i = 0; i < n_known; i++)
		if (strcmp(known[i].sid, sid) == 0 && strcmp(known[i].office, office) == 0)
			return &known[i];
	return NULL;
}

size_t letter_all(struct letter_known **ret_first)
{
	*ret_first = known;
	return n_known;
}

static void remember(const char *sid, struct span office)
{
	char code[CWC_OFFICE_SIZE] = { 0 };
	BUG_ON(office.n >= sizeof(code) || n_known == KNOWN_MAX);
	memcpy(code, office.p, office.n);
	if (letter_find(sid, code) != NULL)
		return;
	struct letter_known *k = &known[n_known++];
	memset(k, 0, sizeof(*k));
	snprintf(k->sid, sizeof(k->sid), "%s", sid);
	memcpy(k->office, code, sizeof(k->office));
	cwc_delivery_id(span_lit(ENVIRONMENT), span_str(sid), office, k->delivery_id);
}

/* --- the parts of a letter ---------------------------------------------------------------------- */

static void add_pair(struct buf *b, const char *name, const char *text)
{
	cbor_add_str(b, name);
	cbor_add_str(b, text);
}

/* Keys in deterministic order. */
static void clear_part(struct buf *b, const struct letter_options *o)
{
	bool witness = o->profile == JOB_WITNESS;
	cbor_add_map(b, witness ? 5 : 3);
	if (witness)
		add_pair(b, "Prefix", "Ms.");
	add_pair(b, "Subject", o->invalid ? "short" : "Please keep the ferry to Beaver Island");
	add_pair(b, "CampaignId", "ferry-2026");
	if (witness)
		add_pair(b, "ConstituentMessage", "It is the only way to the hospital in winter.");
	cbor_add_str(b, "LibraryOfCongressTopics");
	cbor_add_array(b, 1);
	cbor_add_str(b, "Education");
}

static void letter_part(struct buf *b)
{
	cbor_add_map(b, 9);
	add_pair(b, "Zip", "49782");
	add_pair(b, "City", "Beaver Island");
	add_pair(b, "Email", "wilma@mail.example.org");
	add_pair(b, "Prefix", "Ms.");
	add_pair(b, "Address1", "26215 Main Street");
	add_pair(b, "LastName", "Gallagher");
	add_pair(b, "FirstName", "Wilma");
	add_pair(b, "StateAbbreviation", "MI");
	add_pair(b, "ConstituentMessage", "It is the only way to the hospital in winter.");
}

#define NULLIFIER "0x1111111111111111111111111111111111111111111111111111111111111111"
#define DOMAIN    "0x2222222222222222222222222222222222222222222222222222222222222222"

static const char witness_part[] =
	"{\"nullifier\":\"" NULLIFIER "\",\"actionDomain\":\"" DOMAIN "\",\"deliveryAddress\":"
	"{\"name\":\"Wilma Gallagher\",\"email\":\"wilma@mail.example.org\","
	"\"street\":\"26215 Main Street\",\"city\":\"Beaver Island\",\"state\":\"MI\","
	"\"zip\":\"49782\"}}";

/* --- sealing ----------------------------------------------------------------------------------- */

static void split_offices(const char *text, struct job *j)
{
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");
		BUG_ON(j->n_offices == JOB_OFFICES_MAX);
		j->office[j->n_offices++] = span_of(p, n);
		p += n;
		if (*p == '\0')
			return;
	}
}

static enum err seal(const struct letter_options *o, const struct job *j, struct buf *out)
{
	int k = (o->other_key ? 2 : 0) + (o->profile == JOB_WITNESS ? 0 : 1);
	struct buf plain;
	enum err e;
	buf_init(&plain, ENVELOPE_PLAIN_MAX);
	if (o->profile == JOB_WITNESS) {
		e = envelope_seal_witness(span_str(witness_part), ring_public[k], ring_id[k], CONTEXT, NULL, NULL, out);
	} else {
		letter_part(&plain);
		e = envelope_seal_letter(span_buf(&plain), ring_public[k], ring_id[k], j, NULL, out);
	}
	buf_clear(&plain);
	return e;
}

void letter_make(const struct letter_options *o, struct buf *job)
{
	struct buf fields, envelope;
	struct job j = {
		.environment = span_lit(ENVIRONMENT),
		.queue = o->other_queue ? span_lit("other") : span_lit(LETTER_QUEUE),
		.sid = span_str(o->sid),
		.generation = o->generation,
		.expires_s = (uint64_t)o->expires_s,
		.not_before_s = (uint64_t)o->not_before_s,
		.priority = o->priority,
		.profile = o->profile,
	};
	if (o->profile == JOB_WITNESS) {
		j.nullifier = span_lit(NULLIFIER);
		j.action_domain = span_lit(DOMAIN);
	}
	split_offices(o->offices, &j);
	buf_init(&fields, JOB_MAX);
	buf_init(&envelope, ENVELOPE_MAX);
	clear_part(&fields, o);
	j.fields = span_buf(&fields);
	BUG_ON(seal(o, &j, &envelope) != ERR_OK);
	j.envelope = span_buf(&envelope);
	BUG_ON(job_sign(&j, span_str(o->other_signer ? LETTER_OTHER_KID : LETTER_KID),
			o->other_signer ? other_secret : signer_secret, job) != ERR_OK);
	if (o->broken)
		job->p[job->n - j.envelope.n - 8] ^= 1;
	buf_clear(&fields);
	buf_clear(&envelope);
	for (size_t i = 0; i < j.n_offices; i++)
		remember(o->sid, j.office[i]);
}
