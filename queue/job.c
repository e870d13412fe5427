/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/job.h"

#include <sodium.h>
#include <string.h>

#define QUEUE_NAME_MAX   64
#define OFFICE_LENGTH    5
#define GENERATION_MAX   0x7fffffffu
#define PROOF_MAX        128 /* nullifier and actionDomain: a field element has 66 characters */
#define MEMBERS_READ_MAX 32  /* enough to reach, and name, an unknown member */

/* In deterministic order of the encoded keys (RFC 8949 section 4.2.1): by length, then bytewise. */
enum member {
	MEMBER_V,
	MEMBER_SID,
	MEMBER_QUEUE,
	MEMBER_FIELDS,
	MEMBER_EXPIRES,
	MEMBER_OFFICES,
	MEMBER_PROFILE,
	MEMBER_WITNESS,
	MEMBER_PRIORITY,
	MEMBER_GENERATION,
	MEMBER_NOT_BEFORE,
	MEMBER_ENVIRONMENT,
	MEMBER_ENVELOPE_SHA256,
	MEMBER_COUNT
};

static const struct {
	const char *name;
	enum cbor_type type;
	bool required;
} members[MEMBER_COUNT] = {
	[MEMBER_V] = { "v", CBOR_UINT, true },
	[MEMBER_SID] = { "sid", CBOR_TEXT, true },
	[MEMBER_QUEUE] = { "queue", CBOR_TEXT, true },
	[MEMBER_FIELDS] = { "fields", CBOR_MAP, true },
	[MEMBER_EXPIRES] = { "expires", CBOR_UINT, true },
	[MEMBER_OFFICES] = { "offices", CBOR_ARRAY, true },
	[MEMBER_PROFILE] = { "profile", CBOR_TEXT, true },
	[MEMBER_WITNESS] = { "witness", CBOR_MAP, false },
	[MEMBER_PRIORITY] = { "priority", CBOR_UINT, true },
	[MEMBER_GENERATION] = { "generation", CBOR_UINT, true },
	[MEMBER_NOT_BEFORE] = { "not_before", CBOR_UINT, false },
	[MEMBER_ENVIRONMENT] = { "environment", CBOR_TEXT, true },
	[MEMBER_ENVELOPE_SHA256] = { "envelope_sha256", CBOR_BYTES, true },
};

static const char *const profile_name[] = { [JOB_WITNESS] = "witness", [JOB_LETTER] = "letter" };

bool job_sid_valid(struct span sid)
{
	if (sid.n < 1 || sid.n > JOB_SID_MAX)
		return false;
	for (size_t i = 0; i < sid.n; i++) {
		uint8_t c = sid.p[i];
		bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
			  c == '-';
		if (!ok)
			return false;
	}
	return true;
}

static bool office_valid(struct span s)
{
	if (s.n != OFFICE_LENGTH)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= '0' && s.p[i] <= '9')))
			return false;
	return true;
}

static bool office_among(struct span s, const struct span *office, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_eq(s, office[i]))
			return true;
	return false;
}

bool job_read_offices(struct cbor *c, struct span ret_office[JOB_OFFICES_MAX], size_t *ret_n)
{
	size_t n = cbor_read_array(c, JOB_MAX);

	if (c->bad || n < 1 || n > JOB_OFFICES_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (cbor_peek(c) != CBOR_TEXT)
			return false;
		ret_office[i] = cbor_read_text(c, JOB_MAX);
		if (c->bad || !office_valid(ret_office[i]) || office_among(ret_office[i], ret_office, i))
			return false;
	}
	*ret_n = n;
	return true;
}

static bool read_text(struct cbor *c, size_t max, struct span *ret_text)
{
	*ret_text = cbor_read_text(c, JOB_MAX);
	return ret_text->n >= 1 && ret_text->n <= max;
}

static bool read_profile(struct cbor *c, enum job_profile *ret_profile)
{
	struct span s = cbor_read_text(c, JOB_MAX);

	if (span_eq_str(s, profile_name[JOB_WITNESS]))
		*ret_profile = JOB_WITNESS;
	else if (span_eq_str(s, profile_name[JOB_LETTER]))
		*ret_profile = JOB_LETTER;
	else
		return false;
	return true;
}

static bool read_environment(struct cbor *c, struct span *ret_environment)
{
	*ret_environment = cbor_read_text(c, JOB_MAX);
	return span_eq_str(*ret_environment, "sandbox") || span_eq_str(*ret_environment, "production");
}

static bool read_sid(struct cbor *c, struct span *ret_sid)
{
	*ret_sid = cbor_read_text(c, JOB_MAX);
	return job_sid_valid(*ret_sid);
}

static bool read_hash(struct cbor *c, uint8_t ret_hash[32])
{
	struct span s = cbor_read_bytes(c, JOB_MAX);

	if (s.n != 32)
		return false;
	memcpy(ret_hash, s.p, 32);
	return true;
}

/* { nullifier, actionDomain }: exactly both, in this (deterministic) order. */
static enum err read_witness(struct cbor *c, struct job *j, const char **member)
{
	struct cbor_map map = cbor_read_map(c, MEMBERS_READ_MAX);
	struct span key;

	while (cbor_read_key(c, &map, &key)) {
		bool nullifier = span_eq_str(key, "nullifier");

		*member = members[MEMBER_WITNESS].name;
		if (!nullifier && !span_eq_str(key, "actionDomain"))
			return ERR_JOB_FIELD_UNKNOWN;
		*member = nullifier ? "witness.nullifier" : "witness.actionDomain";
		if (cbor_peek(c) == CBOR_NONE)
			return ERR_JOB_SYNTAX;
		if (cbor_peek(c) != CBOR_TEXT ||
		    !read_text(c, PROOF_MAX, nullifier ? &j->nullifier : &j->action_domain))
			return c->bad ? ERR_JOB_SYNTAX : ERR_JOB_FIELD_TYPE;
	}
	if (c->bad)
		return ERR_JOB_SYNTAX;
	*member = j->nullifier.p == NULL ? "witness.nullifier" : "witness.actionDomain";
	if (j->nullifier.p == NULL || j->action_domain.p == NULL)
		return ERR_JOB_FIELD_MISSING;
	return ERR_OK;
}

/* The value of a member whose type is known to be right; false: its size or value is not allowed. */
static bool read_value(struct cbor *c, enum member m, struct job *j)
{
	switch (m) {
	case MEMBER_SID:
		return read_sid(c, &j->sid);
	case MEMBER_QUEUE:
		return read_text(c, QUEUE_NAME_MAX, &j->queue);
	case MEMBER_FIELDS:
		j->fields = cbor_skip(c);
		return true;
	case MEMBER_EXPIRES:
		j->expires_s = cbor_read_uint(c);
		return true;
	case MEMBER_OFFICES:
		return job_read_offices(c, j->office, &j->n_offices);
	case MEMBER_PROFILE:
		return read_profile(c, &j->profile);
	case MEMBER_PRIORITY: {
		uint64_t priority = cbor_read_uint(c);

		j->priority = priority != 0;
		return priority <= 1;
	}
	case MEMBER_GENERATION:
		j->generation = cbor_read_uint(c);
		return j->generation <= GENERATION_MAX;
	case MEMBER_NOT_BEFORE:
		j->not_before_s = cbor_read_uint(c);
		return true;
	case MEMBER_ENVIRONMENT:
		return read_environment(c, &j->environment);
	case MEMBER_ENVELOPE_SHA256:
		return read_hash(c, j->envelope_sha256);
	case MEMBER_V:
	case MEMBER_WITNESS:
	case MEMBER_COUNT:
		break;
	}
	return false;
}

static enum err read_member(struct cbor *c, enum member m, struct job *j, const char **member)
{
	enum cbor_type type = cbor_peek(c);

	if (type == CBOR_NONE)
		return ERR_JOB_SYNTAX;
	if (type != members[m].type)
		return ERR_JOB_FIELD_TYPE;
	if (m == MEMBER_WITNESS)
		return read_witness(c, j, member);
	if (m == MEMBER_V) {
		uint64_t version = cbor_read_uint(c);

		if (c->bad)
			return ERR_JOB_SYNTAX;
		return version == 1 ? ERR_OK : ERR_JOB_VERSION;
	}
	if (!read_value(c, m, j))
		return c->bad ? ERR_JOB_SYNTAX : ERR_JOB_FIELD_TYPE;
	return c->bad ? ERR_JOB_SYNTAX : ERR_OK;
}

static enum member find_member(struct span key)
{
	unsigned m = 0;

	while (m < MEMBER_COUNT && !span_eq_str(key, members[m].name))
		m++;
	return (enum member)m;
}

/* What one member alone cannot tell. */
static enum err check_members(const struct job *j, unsigned seen, const char **member)
{
	for (unsigned m = 0; m < MEMBER_COUNT; m++) {
		bool required = members[m].required || (m == MEMBER_WITNESS && j->profile == JOB_WITNESS);

		*member = members[m].name;
		if (required && !(seen & 1u << m))
			return ERR_JOB_FIELD_MISSING;
	}
	*member = members[MEMBER_WITNESS].name;
	if (j->profile != JOB_WITNESS && (seen & 1u << MEMBER_WITNESS))
		return ERR_JOB_FIELD_UNKNOWN;
	*member = members[MEMBER_NOT_BEFORE].name;
	if (j->not_before_s > j->expires_s)
		return ERR_JOB_FIELD_TYPE;
	*member = "";
	return ERR_OK;
}

static enum err parse_payload(struct span payload, struct job *j, const char **member)
{
	struct cbor c;
	struct cbor_map map;
	struct span key;
	unsigned seen = 0;

	cbor_start(&c, payload);
	map = cbor_read_map(&c, MEMBERS_READ_MAX);
	while (cbor_read_key(&c, &map, &key)) {
		enum member m = find_member(key);

		if (m == MEMBER_COUNT)
			return ERR_JOB_FIELD_UNKNOWN;
		*member = members[m].name;
		TRY(read_member(&c, m, j, member));
		*member = "";
		seen |= 1u << m;
	}
	if (cbor_done(&c) != ERR_OK)
		return ERR_JOB_SYNTAX;
	return check_members(j, seen, member);
}

enum err job_parse(struct span bytes, struct job *ret_job, const char **ret_member)
{
	struct job j = { 0 };
	struct cbor c;
	struct span message;
	enum err e;

	*ret_member = "";
	if (bytes.n > JOB_MAX)
		return ERR_JOB_TOO_LARGE;
	cbor_start(&c, bytes);
	if (cbor_read_array(&c, 2) != 2)
		return ERR_JOB_SYNTAX;
	message = cbor_skip(&c);
	j.envelope = cbor_read_bytes(&c, JOB_MAX);
	if (cbor_done(&c) != ERR_OK)
		return ERR_JOB_SYNTAX;
	e = cose_sign1_parse(message, &j.message);
	if (e != ERR_OK)
		return e == ERR_RANGE ? ERR_JOB_ALGORITHM : ERR_JOB_SYNTAX;
	j.kid = j.message.kid;
	e = parse_payload(j.message.payload, &j, ret_member);
	if (e == ERR_JOB_SYNTAX)
		*ret_member = "";
	TRY(e);
	*ret_job = j;
	return ERR_OK;
}

static bool signs_now(const struct job_signer *s, int64_t now_s)
{
	return (s->not_before_s == 0 || now_s >= s->not_before_s) && (s->not_after_s == 0 || now_s < s->not_after_s);
}

/* The first of this name whose time it is: a signer may be named again for a later time. */
static enum err verify_signature(const struct job *j, const struct job_expect *x)
{
	const struct job_signer *s = x->signer;
	size_t i = 0;

	while (i < x->n_signers && !(span_eq_str(j->kid, s[i].kid) && signs_now(&s[i], x->now_s)))
		i++;
	if (i == x->n_signers)
		return ERR_JOB_SIGNER;
	if (cose_sign1_verify(&j->message, span_lit(JOB_CONTEXT), s[i].public_key) != ERR_OK)
		return ERR_JOB_SIGNATURE;
	return ERR_OK;
}

static enum err verify_envelope(const struct job *j)
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, j->envelope.p, j->envelope.n);
	return memcmp(hash, j->envelope_sha256, sizeof(hash)) == 0 ? ERR_OK : ERR_JOB_ENVELOPE_HASH;
}

static enum err verify_times(const struct job *j, int64_t now_s)
{
	uint64_t now = now_s < 0 ? 0 : (uint64_t)now_s;

	if (j->expires_s > now + JOB_TTL_MAX_S)
		return ERR_JOB_EXPIRY;
	if (j->expires_s <= now)
		return ERR_JOB_EXPIRED;
	return j->not_before_s > now ? ERR_JOB_EARLY : ERR_OK;
}

enum err job_verify(const struct job *j, const struct job_expect *x)
{
	TRY(verify_signature(j, x));
	TRY(verify_envelope(j));
	if (!span_eq(j->environment, x->environment))
		return ERR_JOB_ENVIRONMENT;
	if (!span_eq(j->queue, x->queue))
		return ERR_JOB_QUEUE;
	if (!span_eq(j->sid, x->sid))
		return ERR_JOB_SID;
	if (!office_among(x->office, j->office, j->n_offices))
		return ERR_JOB_OFFICE;
	return verify_times(j, x->now_s);
}

static void add_key(struct buf *b, enum member m)
{
	cbor_add_str(b, members[m].name);
}

static void add_text_member(struct buf *b, enum member m, struct span s)
{
	add_key(b, m);
	cbor_add_text(b, s);
}

static void add_uint_member(struct buf *b, enum member m, uint64_t v)
{
	add_key(b, m);
	cbor_add_uint(b, v);
}

static void add_witness(struct buf *b, const struct job *j)
{
	add_key(b, MEMBER_WITNESS);
	cbor_add_map(b, 2);
	cbor_add_str(b, "nullifier");
	cbor_add_text(b, j->nullifier);
	cbor_add_str(b, "actionDomain");
	cbor_add_text(b, j->action_domain);
}

static void add_offices(struct buf *b, const struct job *j)
{
	add_key(b, MEMBER_OFFICES);
	cbor_add_array(b, j->n_offices);
	for (size_t i = 0; i < j->n_offices; i++)
		cbor_add_text(b, j->office[i]);
}

static void add_payload(struct buf *b, const struct job *j)
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, j->envelope.p, j->envelope.n);
	cbor_add_map(b, 11u + (j->profile == JOB_WITNESS) + (j->not_before_s > 0));
	add_uint_member(b, MEMBER_V, 1);
	add_text_member(b, MEMBER_SID, j->sid);
	add_text_member(b, MEMBER_QUEUE, j->queue);
	add_key(b, MEMBER_FIELDS);
	buf_add_span(b, j->fields.n > 0 ? j->fields : span_lit("\xa0")); /* the empty map */
	add_uint_member(b, MEMBER_EXPIRES, j->expires_s);
	add_offices(b, j);
	add_text_member(b, MEMBER_PROFILE, span_str(profile_name[j->profile]));
	if (j->profile == JOB_WITNESS)
		add_witness(b, j);
	add_uint_member(b, MEMBER_PRIORITY, j->priority);
	add_uint_member(b, MEMBER_GENERATION, j->generation);
	if (j->not_before_s > 0)
		add_uint_member(b, MEMBER_NOT_BEFORE, j->not_before_s);
	add_text_member(b, MEMBER_ENVIRONMENT, j->environment);
	add_key(b, MEMBER_ENVELOPE_SHA256);
	cbor_add_bytes(b, span_of(hash, sizeof(hash)));
}

enum err job_sign(const struct job *j, struct span kid, const uint8_t secret[COSE_ED25519_SECRET], struct buf *out)
{
	struct buf payload, whole;
	enum err e;

	if (kid.n < 1 || kid.n > COSE_KID_MAX || j->n_offices > JOB_OFFICES_MAX)
		return ERR_LIMIT;
	buf_init(&payload, JOB_MAX);
	buf_init(&whole, JOB_MAX);
	add_payload(&payload, j);
	e = buf_ok(&payload);
	if (e == ERR_OK) {
		cbor_add_array(&whole, 2);
		cose_sign1_sign(span_lit(JOB_CONTEXT), kid, span_buf(&payload), secret, &whole);
		cbor_add_bytes(&whole, j->envelope);
		e = buf_ok(&whole);
	}
	if (e == ERR_OK) {
		buf_add_span(out, span_buf(&whole));
		e = buf_ok(out);
	}
	buf_clear(&payload);
	buf_clear(&whole);
	return e;
}
