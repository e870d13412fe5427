/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/verify.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#include "attest/chain.h"

#define COORDINATE_SIZE 48  /* r and s: of the order of P-384 */
#define SIGNATURE_MAX   104 /* two integers of at most 49 bytes in DER */

/* --- codes ------------------------------------------------------------------------------------ */

static const struct {
	enum attest_stage stage;
	const char *name, *text;
} codes[ATTEST_CODE_COUNT] = {
#define CODE_ROW(e, stage_, name_, text_) [ATTEST_##e] = { ATTEST_##stage_, name_, text_ },
	ATTEST_CODES(CODE_ROW)
#undef CODE_ROW
};

static const char *const stage_name[ATTEST_STAGES] = {
	[ATTEST_ENVELOPE] = "envelope",   [ATTEST_PAYLOAD] = "payload", [ATTEST_CHAIN] = "chain",
	[ATTEST_SIGNATURE] = "signature", [ATTEST_TIME] = "time",       [ATTEST_DEBUG] = "debug",
	[ATTEST_POLICY] = "policy",       [ATTEST_BINDING] = "binding",
};

static bool code_known(enum attest_code c)
{
	return (unsigned)c < ATTEST_CODE_COUNT;
}

const char *attest_code_name(enum attest_code c)
{
	return code_known(c) ? codes[c].name : "unknown";
}

enum attest_stage attest_code_stage(enum attest_code c)
{
	return code_known(c) ? codes[c].stage : ATTEST_STAGES;
}

const char *attest_code_text(enum attest_code c)
{
	return code_known(c) ? codes[c].text : "not a code of the verifier";
}

const char *attest_stage_name(enum attest_stage s)
{
	return (unsigned)s < ATTEST_STAGES ? stage_name[s] : "none";
}

/* --- signature -------------------------------------------------------------------------------- */

/* FIPS 186-5 section 6.4.2 step 1, on big-endian numbers: 1 to the order of P-384 less one. */
static bool in_range(const uint8_t v[COORDINATE_SIZE])
{
	static const uint8_t order[COORDINATE_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
							0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
							0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37,
							0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a,
							0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73 };

	return !sodium_is_zero(v, COORDINATE_SIZE) && memcmp(v, order, COORDINATE_SIZE) < 0;
}

/* r | s as the SEQUENCE of integers that OpenSSL takes. */
static size_t signature_der(struct span s, uint8_t ret_der[SIGNATURE_MAX])
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	uint8_t *end = ret_der;
	int n;

	BUG_ON(sig == NULL);
	BUG_ON(ECDSA_SIG_set0(sig, BN_bin2bn(s.p, COORDINATE_SIZE, NULL),
			      BN_bin2bn(s.p + COORDINATE_SIZE, COORDINATE_SIZE, NULL)) != 1);
	n = i2d_ECDSA_SIG(sig, NULL);
	BUG_ON(n <= 0 || n > SIGNATURE_MAX);
	n = i2d_ECDSA_SIG(sig, &end);
	ECDSA_SIG_free(sig);
	return (size_t)n;
}

#define PREFIX_SIZE 21

/* Sig_structure (RFC 9052 section 4.4) up to the payload's bytes: [ "Signature1", h'a1013822', h'', payload ]. Made
 * anew and not taken from the message, so that it does not depend on how that was written. The head of the payload has
 * three bytes: six PCRs alone are longer than what fits a shorter one. */
static void signed_prefix(size_t payload, uint8_t ret_prefix[PREFIX_SIZE])
{
	static const uint8_t fixed[] = { 0x84, 0x6a, 'S',  'i',  'g',  'n',  'a',  't',  'u', 'r',
					 'e',  '1',  0x44, 0xa1, 0x01, 0x38, 0x22, 0x40, 0x59 };

	_Static_assert(sizeof(fixed) + 2 == PREFIX_SIZE, "the size of the prefix");
	BUG_ON(payload < 0x100 || payload > ATTEST_DOCUMENT_MAX);
	memcpy(ret_prefix, fixed, sizeof(fixed));
	ret_prefix[sizeof(fixed)] = (uint8_t)(payload >> 8);
	ret_prefix[sizeof(fixed) + 1] = (uint8_t)payload;
}

static bool signature_right(const struct attest_document *d, EVP_PKEY *leaf)
{
	uint8_t prefix[PREFIX_SIZE], der[SIGNATURE_MAX];
	size_t n_der = signature_der(d->signature, der);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool right;

	BUG_ON(ctx == NULL);
	signed_prefix(d->payload.n, prefix);
	right = EVP_DigestVerifyInit_ex(ctx, NULL, "SHA384", NULL, NULL, leaf, NULL) == 1 &&
		EVP_DigestVerifyUpdate(ctx, prefix, sizeof(prefix)) == 1 &&
		EVP_DigestVerifyUpdate(ctx, d->payload.p, d->payload.n) == 1 &&
		EVP_DigestVerifyFinal(ctx, der, n_der) == 1;
	EVP_MD_CTX_free(ctx);
	return right;
}

static enum attest_code check_signature(const struct attest_document *d, EVP_PKEY *leaf)
{
	bool right;

	if (!in_range(d->signature.p) || !in_range(d->signature.p + COORDINATE_SIZE))
		return ATTEST_SIGNATURE_RANGE;
	ERR_set_mark();
	right = signature_right(d, leaf);
	ERR_pop_to_mark();
	return right ? ATTEST_OK : ATTEST_SIGNATURE_WRONG;
}

/* --- time, measurements, bindings ------------------------------------------------------------- */

static bool has_nonce(const struct attest_policy *p)
{
	return p->nonce != NULL && p->nonce->p != NULL && p->nonce->n >= ATTEST_NONCE_MIN;
}

static enum attest_code check_time(const struct attest_document *d, const struct attest_policy *p)
{
	const int64_t at = (int64_t)d->timestamp_ms;
	int64_t ahead, age;

	if (p->max_age_ms == 0 && !has_nonce(p))
		return ATTEST_TIME_UNBOUNDED;
	/* A clock so far off that the difference does not fit says nothing about freshness. */
	if (__builtin_sub_overflow(at, p->now_ms, &ahead) || ahead > p->max_future_ms)
		return ATTEST_TIME_FUTURE;
	if (p->max_age_ms == 0)
		return ATTEST_OK;
	if (__builtin_sub_overflow(p->now_ms, at, &age) || age > p->max_age_ms)
		return ATTEST_TIME_STALE;
	return ATTEST_OK;
}

static bool same_bytes(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

/* All that the set names, together: parts of two sets never add up to one. */
static bool matches(const struct attest_document *d, const struct attest_measurement *m)
{
	bool same = (d->pcrs & m->pcrs) == m->pcrs;

	for (unsigned i = 0; same && i < ATTEST_PCRS; i++)
		if (m->pcrs & UINT32_C(1) << i)
			same = same_bytes(d->pcr[i], span_of(m->pcr[i], ATTEST_PCR_SIZE));
	return same;
}

/* PCR4 = SHA-384(48 zero bytes | instance id). The leaf's name binds module_id; this binds PCR4 to it. */
static bool instance_right(const struct attest_document *d)
{
	uint8_t in[ATTEST_PCR_SIZE + ATTEST_INSTANCE_SIZE] = { 0 }, pcr[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	memcpy(in + ATTEST_PCR_SIZE, d->module_id.p, ATTEST_INSTANCE_SIZE);
	BUG_ON(EVP_Digest(in, sizeof(in), pcr, &n, EVP_sha384(), NULL) != 1);
	return same_bytes(d->pcr[4], span_of(pcr, n));
}

static enum attest_code check_policy(const struct attest_document *d, const struct attest_policy *p,
				     const struct attest_measurement **ret_release)
{
	const struct attest_measurement *release = NULL;

	if (p->allowed == NULL || p->n_allowed == 0)
		return ATTEST_POLICY_EMPTY;
	if (p->n_allowed > ATTEST_MEASUREMENTS_MAX)
		return ATTEST_POLICY_UNPINNED;
	/* Even when another set matches: who wrote such a policy expects something else of it than it does. */
	for (size_t i = 0; i < p->n_allowed; i++)
		if ((p->allowed[i].pcrs & 1) == 0)
			return ATTEST_POLICY_UNPINNED;
	for (size_t i = 0; release == NULL && i < p->n_allowed; i++)
		if (matches(d, &p->allowed[i]))
			release = &p->allowed[i];
	if (release == NULL)
		return ATTEST_POLICY_MISMATCH;
	if (!instance_right(d))
		return ATTEST_POLICY_INSTANCE;
	*ret_release = release;
	return ATTEST_OK;
}

/* An empty string has a `p`, and is something that is there. */
static bool bound(const struct attest_field *f, const struct span *wanted)
{
	if (wanted == NULL)
		return true;
	return wanted->p == NULL ? !f->present : f->present && same_bytes(f->bytes, *wanted);
}

static enum attest_code check_binding(const struct attest_document *d, const struct attest_policy *p)
{
	if (!bound(&d->nonce, p->nonce))
		return ATTEST_BINDING_NONCE;
	if (!bound(&d->user_data, p->user_data))
		return ATTEST_BINDING_USER_DATA;
	return bound(&d->public_key, p->public_key) ? ATTEST_OK : ATTEST_BINDING_PUBLIC_KEY;
}

/* --- the order of the stages ------------------------------------------------------------------ */

/* Writes a stage's verdict down; true when the next one may be asked. */
static bool settle(struct attest_report *r, enum attest_stage stage, enum attest_code code)
{
	r->code = code;
	r->stage[stage] = code == ATTEST_OK ? ATTEST_PASSED : ATTEST_FAILED;
	return code == ATTEST_OK;
}

static void verify_form(struct span in, struct attest_document *d, struct attest_report *r)
{
	enum attest_code code = attest_document_parse(in, d);

	if (attest_code_stage(code) == ATTEST_ENVELOPE) {
		(void)settle(r, ATTEST_ENVELOPE, code);
		return;
	}
	(void)settle(r, ATTEST_ENVELOPE, ATTEST_OK);
	(void)settle(r, ATTEST_PAYLOAD, code);
}

static void verify_origin(const struct attest_document *d, const struct attest_anchor *anchor,
			  const struct attest_policy *p, struct attest_report *r)
{
	EVP_PKEY *leaf = NULL;

	if (settle(r, ATTEST_CHAIN, chain_verify(d, anchor, p->cache, &leaf, &r->certificate)))
		(void)settle(r, ATTEST_SIGNATURE, check_signature(d, leaf));
	EVP_PKEY_free(leaf);
}

static void verify_meaning(const struct attest_document *d, const struct attest_policy *p, struct attest_report *r)
{
	const bool binds = p->nonce != NULL || p->user_data != NULL || p->public_key != NULL;

	if (!p->chain_only && !settle(r, ATTEST_TIME, check_time(d, p)))
		return;
	if (!settle(r, ATTEST_DEBUG, attest_document_debug(d) ? ATTEST_DEBUG_MODE : ATTEST_OK))
		return;
	if (p->chain_only || !settle(r, ATTEST_POLICY, check_policy(d, p, &r->release)))
		return;
	if (binds)
		(void)settle(r, ATTEST_BINDING, check_binding(d, p));
}

enum attest_code attest_verify(struct span in, const struct attest_anchor *anchor, const struct attest_policy *policy,
			       struct attest_document *ret_doc, struct attest_report *ret_report)
{
	struct attest_report r = { .certificate = -1, .anchor = anchor };
	struct attest_document d;

	verify_form(in, &d, &r);
	if (r.code == ATTEST_OK)
		verify_origin(&d, anchor, policy, &r);
	if (r.code == ATTEST_OK)
		verify_meaning(&d, policy, &r);
	if (r.code != ATTEST_OK)
		r.release = NULL;
	*ret_doc = r.code == ATTEST_OK ? d : (struct attest_document){ 0 };
	*ret_report = r;
	return r.code;
}
