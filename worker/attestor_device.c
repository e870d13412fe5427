/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "worker/attestor_internal.h"
#include "worker/base/clock.h"
#include "worker/entropy.h"

#define DEVICE         "/dev/nsm"
#define RANDOM_DEVICE  "/dev/random"
#define RNG_CURRENT    "/sys/class/misc/hw_random/rng_current"
#define CLOCK_EVERY_MS 60000
#define NONCE_SIZE     32

/* --- a call ----------------------------------------------------------------------------------- */

static bool is(const struct attest_field *f, const uint8_t *p, size_t n)
{
	return n > 0 ? f->present && span_eq(f->bytes, span_of(p, n)) : !f->present;
}

/* The signed time lies somewhere between the call and its answer, and is cut to milliseconds; so is what is said. */
static struct attestor_clock compare(uint64_t signed_ms, int64_t wall_us, int64_t start_us, int64_t end_us)
{
	int64_t half_us = (end_us - start_us) / 2;
	int64_t ahead_us = wall_us + half_us - (int64_t)signed_ms * 1000 - 500;
	struct attestor_clock c = { .ahead_ms = ahead_us / 1000, .boot_us = end_us, .offset_us = wall_us - start_us };

	c.bound_ms = (half_us + 500 + 999) / 1000 + 1;
	return c;
}

void attestor_call(struct nsm *n, struct attestor_call *c)
{
	const struct span user_data = span_of(c->user_data, c->n_user_data), nonce = span_of(c->nonce, c->n_nonce);
	const int64_t wall_us = clock_wall_us(), start_us = clock_boot_us();
	struct attest_document d;

	c->e = nsm_attest(n, user_data.n > 0 ? &user_data : NULL, nonce.n > 0 ? &nonce : NULL, NULL, &c->document);
	const int64_t end_us = clock_boot_us();

	if (c->e != ERR_OK)
		return;
	if (attest_document_parse(span_buf(&c->document), &d) == ATTEST_OK &&
	    is(&d.user_data, c->user_data, c->n_user_data) && is(&d.nonce, c->nonce, c->n_nonce))
		c->clock = compare(d.timestamp_ms, wall_us, start_us, end_us);
	else
		c->e = ERR_PROTOCOL;
}

/* --- who it is -------------------------------------------------------------------------------- */

static enum err describe(struct nsm *n, struct attestor_identity *ret_identity)
{
	struct nsm_description d;

	TRY(nsm_describe(n, &d));
	if (strlen(d.module_id) != ATTEST_MODULE_SIZE)
		return ERR_PROTOCOL;
	memcpy(ret_identity->module_id, d.module_id, sizeof(ret_identity->module_id));
	for (unsigned i = 0; i < 3; i++) {
		bool locked;

		TRY(nsm_describe_pcr(n, i, &locked, ret_identity->pcr[i]));
		if (!locked)
			return ERR_PROTOCOL;
	}
	return ERR_OK;
}

/* Up to the anchor. Of a debug enclave it is the last of what is asked, and so the only thing that is wrong. */
static bool verifies(struct span document, const struct attest_anchor *anchor, struct attest_document *ret_document)
{
	const struct attest_policy policy = { .chain_only = true };
	struct attest_report report;
	enum attest_code code = attest_verify(document, anchor, &policy, ret_document, &report);

	if (code == ATTEST_DEBUG_MODE)
		code = attest_document_parse(document, ret_document);
	return code == ATTEST_OK;
}

static bool is_of(const struct attest_document *d, const struct attestor_identity *id)
{
	bool same = span_eq_str(d->module_id, id->module_id);

	for (unsigned i = 0; i < 3; i++)
		same = same && span_eq(d->pcr[i], span_of(id->pcr[i], ATTEST_PCR_SIZE));
	return same;
}

static const char *prove(const struct attestor_device *d, struct span document, struct attestor_identity *id)
{
	struct attest_document a;

	if (!verifies(document, d->anchor, &a))
		return "the security module's document does not verify";
	if (!is_of(&a, id))
		return "the security module's document is of another enclave than the module says";
	id->debug = attest_document_debug(&a);
	return id->debug && !d->debug_allowed ? "the enclave runs in debug mode, which production refuses" : NULL;
}

enum err attestor_identify(struct attestor_device *d, struct attestor_identity *ret_identity,
			   struct attestor_clock *ret_clock, const char **ret_rule)
{
	struct attestor_call c = { .n_nonce = NONCE_SIZE };

	*ret_rule = "the security module does not answer as one does";
	if (describe(&d->nsm, ret_identity) != ERR_OK)
		return ERR_CONFIG;
	randombytes_buf(c.nonce, NONCE_SIZE);
	buf_init(&c.document, ATTEST_DOCUMENT_MAX);
	attestor_call(&d->nsm, &c);
	if (c.e == ERR_OK) {
		*ret_rule = prove(d, span_buf(&c.document), ret_identity);
		*ret_clock = c.clock;
	}
	buf_clear(&c.document);
	return *ret_rule == NULL ? ERR_OK : ERR_CONFIG;
}

/* --- the device ------------------------------------------------------------------------------- */

static enum err open_module(struct attestor_device *d, const char **ret_rule)
{
	enum err e = nsm_open(DEVICE, &d->nsm);

	d->anchor = &attest_anchor_aws;
	*ret_rule = e == ERR_NOT_FOUND ? "there is no " DEVICE : DEVICE " cannot be opened";
	return e == ERR_OK ? ERR_OK : ERR_CONFIG;
}

static enum err open_simulated(struct attestor_device *d, const char **ret_rule)
{
#ifdef CWC_DEV
	return attestor_simulate(d, ret_rule);
#else
	(void)d;
	*ret_rule = "only a development build has a simulated device";
	return ERR_CONFIG;
#endif
}

enum err attestor_device_open(const struct config *c, struct attestor_device *ret_device, const char **ret_rule)
{
	const bool production = strcmp(c->environment, "production") == 0, nsm = c->device == CONFIG_DEVICE_NSM;
	struct attestor_device d = { .debug_allowed = !production,
				     .patience_ms = ATTESTOR_PATIENCE_MS,
				     .clock_every_ms = CLOCK_EVERY_MS };

	TRY(nsm ? open_module(&d, ret_rule) : open_simulated(&d, ret_rule));
	if (entropy_seed(&d.nsm, RANDOM_DEVICE, RNG_CURRENT, production && nsm, ret_rule) != ERR_OK) {
		nsm_close(&d.nsm);
		return ERR_CONFIG;
	}
	*ret_device = d;
	return ERR_OK;
}
