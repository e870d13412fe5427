/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated device of a development build's worker. The environment says which one, for tests that need several
 * side by side:
 *
 * - CWC_SIM_IMAGE: a text; PCR0, 1, 2 are nsm_sim_measure(SHA-384("PART TEXT")), where PART is "image", "kernel",
 *   "application". Two releases of a program are two texts.
 * - CWC_SIM_DEBUG=1: an enclave in debug mode.
 * - CWC_SIM_CLOCK_MS: by how much the signed time is ahead of the machine's clock.
 * - CWC_SIM_FAIL=N or N+M: after N documents the device gives no more, or fails M times and then goes on.
 * - CWC_SIM_HANG=1: what asks for a document for KMS hangs for ever, and so does all that comes behind it.
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/nsm_sim.h"
#include "worker/attestor_internal.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

/* Lives as long as the process: threads may be in it to the end. */
static struct {
	pthread_mutex_t lock;
	struct nsm_sim *sim;
	int64_t ahead_ms;
	bool fails, hangs, hung;
	pthread_cond_t never;
	uint64_t good, bad; /* documents that are given; that fail then; 0: all */
} device = { .lock = PTHREAD_MUTEX_INITIALIZER, .never = PTHREAD_COND_INITIALIZER };

static void measure(const char *part, const char *image, uint8_t ret_pcr[NSM_PCR_SIZE])
{
	uint8_t hash[NSM_PCR_SIZE];
	struct buf text;

	buf_init(&text, 1024);
	buf_add_str(&text, part);
	buf_add_byte(&text, ' ');
	buf_add_str(&text, image);
	BUG_ON(buf_ok(&text) != ERR_OK);
	BUG_ON(EVP_Digest(text.p, text.n, hash, NULL, EVP_sha384(), NULL) != 1);
	nsm_sim_measure(span_of(hash, sizeof(hash)), ret_pcr);
	buf_clear(&text);
}

static bool is_attestation(struct span request)
{
	static const uint8_t head[] = "\xa1\x6b"
				      "Attestation";

	return request.n >= sizeof(head) - 1 && memcmp(request.p, head, sizeof(head) - 1) == 0;
}

/* The last member is the public key, null for all but KMS's. */
static bool is_for_kms(struct span request)
{
	return is_attestation(request) && request.p[request.n - 1] != 0xf6;
}

/* With the lock. Counts. */
static bool fails_now(void)
{
	if (!device.fails)
		return false;
	if (device.good > 0) {
		device.good--;
		return false;
	}
	device.fails = device.bad != 1;
	device.bad -= device.bad > 0 ? 1 : 0;
	return true;
}

static enum err parse_failure(void)
{
	const char *text = getenv("CWC_SIM_FAIL"), *plus;

	device.fails = text != NULL;
	device.bad = 0;
	if (text == NULL)
		return ERR_OK;
	plus = strchr(text, '+');
	if (plus != NULL)
		TRY(text_uint(span_str(plus + 1), UINT32_MAX, &device.bad));
	return text_uint(span_of(text, plus != NULL ? (size_t)(plus - text) : strlen(text)), UINT32_MAX, &device.good);
}

static enum err exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	enum err e;

	(void)arg;
	BUG_ON(pthread_mutex_lock(&device.lock) != 0);
	device.hung = device.hung || (device.hangs && is_for_kms(request));
	while (device.hung)
		(void)pthread_cond_wait(&device.never, &device.lock);
	if (device.ahead_ms != 0)
		nsm_sim_set_now(device.sim, clock_wall_us() / 1000 + device.ahead_ms);
	if (is_attestation(request) && fails_now())
		nsm_sim_fail(device.sim, ERR_IO, 1);
	e = nsm_sim_exchange(device.sim, request, answer, size, ret_n);
	BUG_ON(pthread_mutex_unlock(&device.lock) != 0);
	return e;
}

enum err attestor_simulate(struct attestor_device *ret_device, const char **ret_rule)
{
	static const char *const part[] = { "image", "kernel", "application" };
	const char *image = getenv("CWC_SIM_IMAGE"), *debug = getenv("CWC_SIM_DEBUG");
	const char *clock = getenv("CWC_SIM_CLOCK_MS"), *hang = getenv("CWC_SIM_HANG");
	struct nsm_sim_options o = { .debug = debug != NULL && strcmp(debug, "1") == 0 };
	uint8_t pcr[3][NSM_PCR_SIZE];

	*ret_rule = "CWC_SIM_CLOCK_MS is not a number";
	if (clock != NULL && text_int(span_str(clock), &device.ahead_ms) != ERR_OK)
		return ERR_CONFIG;
	device.hangs = hang != NULL && strcmp(hang, "1") == 0;
	*ret_rule = "CWC_SIM_FAIL is not N or N+M";
	if (parse_failure() != ERR_OK)
		return ERR_CONFIG;
	for (size_t i = 0; image != NULL && i < 3; i++)
		measure(part[i], image, pcr[i]);
	if (image != NULL)
		o.pcr012 = (const uint8_t(*)[NSM_PCR_SIZE])pcr;
	nsm_sim_free(device.sim);
	device.sim = nsm_sim_new(&o);
	ret_device->nsm = (struct nsm){ .exchange = exchange, .fd = -1 };
	ret_device->anchor = &attest_anchor_sim;
	return ERR_OK;
}
