/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/nsm_sim.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "attest/hypervisor_cbor.h"
#include "worker/base/text.h"

#define BOOT_LOCKED  UINT32_C(0xffff)
#define CHAIN_LIFE_S (20 * 3600) /* the instance's certificate ends three hours later, as the last leaf then does */

struct nsm_sim {
	pthread_mutex_t lock;
	bool definite;
	char module_id[ATTEST_MODULE_SIZE + 1], region[33];
	uint8_t pcr[ATTEST_PCRS][NSM_PCR_SIZE];
	uint32_t locked;
	int64_t now_ms;
	struct pki_chain *chain; /* NULL: not needed yet */
	enum err fail;
	unsigned n_fail;
};

/* --- state ------------------------------------------------------------------------------------ */

static void extend(uint8_t pcr[NSM_PCR_SIZE], struct span data)
{
	struct buf b;

	buf_init(&b, NSM_PCR_SIZE + NSM_REQUEST_MAX);
	buf_add(&b, pcr, NSM_PCR_SIZE);
	buf_add_span(&b, data);
	BUG_ON(buf_ok(&b) != ERR_OK);
	BUG_ON(EVP_Digest(b.p, b.n, pcr, NULL, EVP_sha384(), NULL) != 1);
	buf_clear(&b);
}

void nsm_sim_measure(struct span data, uint8_t ret_pcr[NSM_PCR_SIZE])
{
	memset(ret_pcr, 0, NSM_PCR_SIZE);
	extend(ret_pcr, data);
}

static void measure_image(struct nsm_sim *s, const struct nsm_sim_options *o)
{
	static const char *const part[] = { "simulated image", "simulated kernel", "simulated application" };

	for (unsigned i = 0; i < 3; i++) {
		uint8_t hash[NSM_PCR_SIZE];

		if (o->pcr012 != NULL) {
			memcpy(s->pcr[i], o->pcr012[i], NSM_PCR_SIZE);
		} else {
			BUG_ON(EVP_Digest(part[i], strlen(part[i]), hash, NULL, EVP_sha384(), NULL) != 1);
			nsm_sim_measure(span_of(hash, sizeof(hash)), s->pcr[i]);
		}
	}
	if (o->debug)
		memset(s->pcr, 0, 3 * sizeof(s->pcr[0]));
	if (o->pcr8 != NULL)
		memcpy(s->pcr[8], o->pcr8, NSM_PCR_SIZE);
}

struct nsm_sim *nsm_sim_new(const struct nsm_sim_options *o)
{
	struct nsm_sim *s = xcalloc(1, sizeof(*s));
	char enclave[17] = "019a";
	uint8_t random[6];

	BUG_ON(sodium_init() < 0);
	BUG_ON(pthread_mutex_init(&s->lock, NULL) != 0);
	randombytes_buf(random, sizeof(random));
	text_hex(span_of(random, sizeof(random)), enclave + 4);
	snprintf(s->module_id, sizeof(s->module_id), "%.*s-enc%s", ATTEST_INSTANCE_SIZE,
		 o->instance_id != NULL ? o->instance_id : PKI_MODULE_ID,
		 o->enclave_id != NULL ? o->enclave_id : enclave);
	snprintf(s->region, sizeof(s->region), "%s", o->region != NULL ? o->region : "us-east-1");
	s->definite = o->definite;
	s->now_ms = o->now_ms;
	s->locked = BOOT_LOCKED;
	measure_image(s, o);
	if (o->role_arn != NULL)
		nsm_sim_measure(span_str(o->role_arn), s->pcr[3]);
	nsm_sim_measure(span_of(s->module_id, ATTEST_INSTANCE_SIZE), s->pcr[4]);
	return s;
}

void nsm_sim_free(struct nsm_sim *s)
{
	if (s == NULL)
		return;
	pki_chain_free(s->chain);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

const char *nsm_sim_module_id(const struct nsm_sim *s)
{
	return s->module_id;
}

void nsm_sim_set_pcr(struct nsm_sim *s, unsigned index, const uint8_t pcr[NSM_PCR_SIZE])
{
	BUG_ON(index >= ATTEST_PCRS);
	memcpy(s->pcr[index], pcr, NSM_PCR_SIZE);
}

void nsm_sim_set_now(struct nsm_sim *s, int64_t now_ms)
{
	s->now_ms = now_ms;
}

void nsm_sim_fail(struct nsm_sim *s, enum err e, unsigned n)
{
	s->fail = e;
	s->n_fail = n;
}

static int64_t now_ms(const struct nsm_sim *s)
{
	struct timespec t;

	if (s->now_ms != 0)
		return s->now_ms;
	BUG_ON(clock_gettime(CLOCK_REALTIME, &t) != 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- requests --------------------------------------------------------------------------------- */

/* The members of all requests. As the device does, unknown ones are passed over. */
struct arguments {
	bool has_index, has_range, has_data;
	uint64_t index, range;
	struct span data;
	struct attest_field user_data, nonce, public_key;
};

static void read_field(struct cbor *c, struct attest_field *f)
{
	f->present = cbor_peek(c) != CBOR_NULL;
	if (f->present)
		f->bytes = cbor_read_bytes(c, SIZE_MAX);
	else
		cbor_read_null(c);
}

static void read_argument(struct cbor *c, struct span key, struct arguments *a)
{
	if (span_eq(key, span_lit("index"))) {
		a->index = cbor_read_uint(c);
		a->has_index = true;
	} else if (span_eq(key, span_lit("range"))) {
		a->range = cbor_read_uint(c);
		a->has_range = true;
	} else if (span_eq(key, span_lit("data"))) {
		a->data = cbor_read_bytes(c, SIZE_MAX);
		a->has_data = true;
	} else if (span_eq(key, span_lit("user_data"))) {
		read_field(c, &a->user_data);
	} else if (span_eq(key, span_lit("nonce"))) {
		read_field(c, &a->nonce);
	} else if (span_eq(key, span_lit("public_key"))) {
		read_field(c, &a->public_key);
	} else {
		(void)cbor_skip(c);
	}
}

/* "command" or { "command": { arguments } }. */
static bool read_request(struct span in, struct span *ret_command, bool *ret_map, struct arguments *ret_a)
{
	struct hypervisor_items k;
	struct cbor c;

	*ret_a = (struct arguments){ 0 };
	cbor_start(&c, in);
	*ret_map = cbor_peek(&c) == CBOR_MAP;
	if (*ret_map && hypervisor_read_map(&c).left != 1)
		return false;
	*ret_command = cbor_read_text(&c, SIZE_MAX);
	if (*ret_map) {
		k = hypervisor_read_map(&c);
		while (hypervisor_next(&c, &k)) {
			struct span key = cbor_read_text(&c, SIZE_MAX);

			read_argument(&c, key, ret_a);
		}
	}
	return cbor_done(&c) == ERR_OK;
}

/* --- commands --------------------------------------------------------------------------------- */

/* Each appends the answer, or says which error it is. Order of members: by length, then bytewise, but for those of the
 * description, which have their own. */
typedef enum nsm_error command(struct nsm_sim *s, const struct arguments *a, struct buf *out);

static bool is_locked(const struct nsm_sim *s, uint64_t i)
{
	return (s->locked >> i & 1) != 0;
}

static void start_answer(struct buf *out, const char *name, size_t members)
{
	cbor_add_map(out, 1);
	cbor_add_str(out, name);
	cbor_add_map(out, members);
}

static void add_number(struct buf *out, const char *name, uint64_t v)
{
	cbor_add_str(out, name);
	cbor_add_uint(out, v);
}

static void add_bytes(struct buf *out, const char *name, struct span v)
{
	cbor_add_str(out, name);
	cbor_add_bytes(out, v);
}

static enum nsm_error describe_nsm(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	(void)a;
	start_answer(out, "DescribeNSM", 7);
	cbor_add_str(out, "digest");
	cbor_add_str(out, "SHA384");
	add_number(out, "max_pcrs", ATTEST_PCRS);
	cbor_add_str(out, "module_id");
	cbor_add_str(out, s->module_id);
	cbor_add_str(out, "locked_pcrs");
	cbor_add_array(out, (size_t)__builtin_popcount(s->locked));
	for (unsigned i = 0; i < ATTEST_PCRS; i++)
		if (is_locked(s, i))
			cbor_add_uint(out, i);
	add_number(out, "version_major", 1);
	add_number(out, "version_minor", 0);
	add_number(out, "version_patch", 0);
	return NSM_NONE;
}

static enum nsm_error describe_pcr(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	if (!a->has_index)
		return NSM_INVALID_OPERATION;
	if (a->index >= ATTEST_PCRS)
		return NSM_INVALID_INDEX;
	start_answer(out, "DescribePCR", 2);
	add_bytes(out, "data", span_of(s->pcr[a->index], NSM_PCR_SIZE));
	cbor_add_str(out, "lock");
	cbor_add_bool(out, is_locked(s, a->index));
	return NSM_NONE;
}

static enum nsm_error extend_pcr(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	if (!a->has_index || !a->has_data)
		return NSM_INVALID_OPERATION;
	if (a->index >= ATTEST_PCRS)
		return NSM_INVALID_INDEX;
	if (is_locked(s, a->index))
		return NSM_READ_ONLY_INDEX;
	extend(s->pcr[a->index], a->data);
	start_answer(out, "ExtendPCR", 1);
	add_bytes(out, "data", span_of(s->pcr[a->index], NSM_PCR_SIZE));
	return NSM_NONE;
}

static enum nsm_error lock_pcr(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	if (!a->has_index)
		return NSM_INVALID_OPERATION;
	if (a->index >= ATTEST_PCRS)
		return NSM_INVALID_INDEX;
	if (is_locked(s, a->index))
		return NSM_READ_ONLY_INDEX;
	s->locked |= UINT32_C(1) << a->index;
	cbor_add_str(out, "LockPCR");
	return NSM_NONE;
}

/* Those below `range`, whether they are locked already or not. */
static enum nsm_error lock_pcrs(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	if (!a->has_range)
		return NSM_INVALID_OPERATION;
	if (a->range > ATTEST_PCRS)
		return NSM_INVALID_INDEX;
	s->locked |= (uint32_t)((UINT64_C(1) << a->range) - 1);
	cbor_add_str(out, "LockPCRs");
	return NSM_NONE;
}

static enum nsm_error get_random(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	uint8_t random[NSM_RANDOM_MAX];

	(void)s;
	(void)a;
	randombytes_buf(random, sizeof(random));
	start_answer(out, "GetRandom", 1);
	add_bytes(out, "random", span_of(random, sizeof(random)));
	sodium_memzero(random, sizeof(random));
	return NSM_NONE;
}

/* A chain that is valid now, and the leaf for a while longer. */
static void provide_chain(struct nsm_sim *s, int64_t now_s)
{
	const struct pki_options o = { s->module_id, s->region, now_s };
	const struct pki_chain *c = s->chain;

	if (c == NULL || now_s < c->issued_s || now_s >= c->renewed_s + CHAIN_LIFE_S) {
		pki_chain_free(s->chain);
		s->chain = pki_chain_new(&o);
	} else if (now_s >= c->issued_s + PKI_LEAF_LIFE - PKI_LEAF_RENEW) {
		pki_chain_renew(s->chain, now_s);
	}
}

static enum nsm_error attestation(struct nsm_sim *s, const struct arguments *a, struct buf *out)
{
	const int64_t now = now_ms(s);
	struct pki_payload p = {
		.module_id = s->module_id,
		.timestamp_ms = (uint64_t)now,
		.pcrs = s->locked,
		.pcr = (const uint8_t(*)[ATTEST_PCR_SIZE])s->pcr,
		.public_key = a->public_key,
		.user_data = a->user_data,
		.nonce = a->nonce,
		.definite = s->definite,
	};
	struct buf payload, document;

	provide_chain(s, now / 1000);
	pki_payload_chain(&p, s->chain);
	buf_init(&payload, NSM_ANSWER_MAX);
	buf_init(&document, NSM_ANSWER_MAX);
	pki_encode_payload(&p, &payload);
	pki_sign_document(s->chain->cert[PKI_LEAF].key, span_buf(&payload), &document);
	BUG_ON(buf_ok(&payload) != ERR_OK || buf_ok(&document) != ERR_OK);
	start_answer(out, "Attestation", 1);
	add_bytes(out, "document", span_buf(&document));
	buf_clear(&payload);
	buf_clear(&document);
	return NSM_NONE;
}

/* --- the exchange ----------------------------------------------------------------------------- */

static enum nsm_error run(struct nsm_sim *s, struct span request, struct buf *out)
{
	static const struct {
		const char *name;
		bool map;
		command *run;
	} commands[] = {
		{ "DescribeNSM", false, describe_nsm }, { "GetRandom", false, get_random },
		{ "DescribePCR", true, describe_pcr },  { "ExtendPCR", true, extend_pcr },
		{ "LockPCR", true, lock_pcr },          { "LockPCRs", true, lock_pcrs },
		{ "Attestation", true, attestation },
	};
	struct arguments a;
	struct span name;
	bool map;

	if (!read_request(request, &name, &map, &a))
		return NSM_INVALID_OPERATION;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (map == commands[i].map && span_eq_str(name, commands[i].name))
			return commands[i].run(s, &a, out);
	return NSM_INVALID_OPERATION;
}

enum err nsm_sim_exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	struct nsm_sim *s = arg;
	enum nsm_error error;
	struct buf out;

	if (request.n > NSM_REQUEST_MAX)
		return ERR_LIMIT;
	BUG_ON(pthread_mutex_lock(&s->lock) != 0);
	if (s->n_fail > 0) {
		enum err e = s->fail;

		s->n_fail--;
		BUG_ON(pthread_mutex_unlock(&s->lock) != 0);
		return e;
	}
	buf_init(&out, NSM_ANSWER_MAX);
	error = run(s, request, &out);
	if (error != NSM_NONE) {
		cbor_add_map(&out, 1);
		cbor_add_str(&out, "Error");
		cbor_add_str(&out, nsm_error_text(error));
	}
	BUG_ON(buf_ok(&out) != ERR_OK);
	*ret_n = out.n < size ? out.n : size;
	memcpy(answer, out.p, *ret_n);
	buf_clear(&out);
	BUG_ON(pthread_mutex_unlock(&s->lock) != 0);
	return ERR_OK;
}
