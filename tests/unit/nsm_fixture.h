/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that says what a test wants, and every command of the client with its request and a good answer to it, byte
 * for byte. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_NSM_FIXTURE_H
#define TESTS_UNIT_NSM_FIXTURE_H

#include <string.h>

#include "attest/nsm.h"
#include "worker/base/cbor.h"

#define REQUESTS_MAX 16
#define UNUSED       __attribute__((unused))

/* --- a device that says what a test wants ----------------------------------------------------- */

static struct {
	enum err e;
	struct span answer;
	size_t said; /* of the answer; 0: all of it */
	uint8_t request[NSM_REQUEST_MAX];
	size_t n_request;
	unsigned calls;
	/* ioctl */
	int errnos[REQUESTS_MAX]; /* 0: success */
	int fd;
	unsigned long command;
	uint64_t offered, written;
} device;

UNUSED static void device_says(struct span answer)
{
	memset(&device, 0, sizeof(device));
	device.answer = answer;
}

static enum err scripted(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	assert_ptr_equal(arg, &device);
	assert_int_equal(size, NSM_ANSWER_MAX);
	assert_true(request.n <= sizeof(device.request));
	memcpy(device.request, request.p, request.n);
	device.n_request = request.n;
	device.calls++;
	if (device.e != ERR_OK)
		return device.e;
	if (device.answer.n > 0)
		memcpy(answer, device.answer.p, device.answer.n);
	*ret_n = device.said > 0 ? device.said : device.answer.n;
	return ERR_OK;
}

UNUSED static struct nsm scripted_nsm(void)
{
	return (struct nsm){ .exchange = scripted, .arg = &device, .error = NSM_OTHER };
}

/* --- every command, with its outputs ---------------------------------------------------------- */

/* All outputs, so that a test sees whether a call that failed has touched them. */
struct outputs {
	struct nsm_description description;
	bool locked;
	uint8_t pcr[NSM_PCR_SIZE], random[NSM_RANDOM_MAX];
	size_t n_random, n_document;
	uint8_t document[NSM_ANSWER_MAX];
};

static enum err do_describe(struct nsm *n, struct outputs *o)
{
	return nsm_describe(n, &o->description);
}

static enum err do_describe_pcr(struct nsm *n, struct outputs *o)
{
	return nsm_describe_pcr(n, 24, &o->locked, o->pcr);
}

static enum err do_extend(struct nsm *n, struct outputs *o)
{
	return nsm_extend_pcr(n, 16, span_lit("\x01\x02\x03"), o->pcr);
}

static enum err do_lock(struct nsm *n, struct outputs *o)
{
	(void)o;
	return nsm_lock_pcr(n, 16);
}

static enum err do_lock_range(struct nsm *n, struct outputs *o)
{
	(void)o;
	return nsm_lock_pcrs(n, 32);
}

static enum err do_random(struct nsm *n, struct outputs *o)
{
	return nsm_random(n, o->random, &o->n_random);
}

static enum err do_attest(struct nsm *n, struct outputs *o)
{
	const struct span user_data = span_lit("\xaa"), nonce = span_lit("");
	struct buf b;
	enum err e;

	buf_init(&b, NSM_ANSWER_MAX);
	e = nsm_attest(n, &user_data, &nonce, NULL, &b);
	if (b.n > 0) {
		o->n_document = b.n;
		memcpy(o->document, b.p, b.n);
	}
	buf_clear(&b);
	return e;
}

#define B16 "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
#define B48 B16 B16 B16

#define DESCRIBE_MEMBERS                                                                                        \
	"\x66\x64igest\x66SHA384\x68max_pcrs\x18\x20\x69module_id\x6ei-1234-enc5678\x6blocked_pcrs\x83\x00\x01" \
	"\x18\x1f\x6dversion_major\x01\x6dversion_minor\x02\x6dversion_patch\x19\x01\x00"
#define DESCRIBE_ANSWER "\xa1\x6b\x44\x65scribeNSM\xa7" DESCRIBE_MEMBERS

#define SPAN(s)                                     \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static const struct {
	enum err (*run)(struct nsm *n, struct outputs *o);
	struct span request, answer;
	bool again; /* after a signal */
} commands[] = {
	{ do_describe, SPAN("\x6b\x44\x65\x73\x63\x72\x69\x62\x65\x4e\x53\x4d"), SPAN(DESCRIBE_ANSWER), true },
	{ do_describe_pcr,
	  SPAN("\xa1\x6b\x44\x65\x73\x63\x72\x69\x62\x65\x50\x43\x52\xa1\x65\x69\x6e\x64\x65\x78\x18\x18"),
	  SPAN("\xa1\x6b\x44\x65scribePCR\xa2\x64\x64\x61ta\x58\x30" B48 "\x64lock\xf5"), true },
	{ do_extend,
	  SPAN("\xa1\x69\x45\x78\x74\x65\x6e\x64\x50\x43\x52\xa2\x65\x69\x6e\x64\x65\x78\x10\x64\x64\x61\x74\x61\x43"
	       "\x01\x02"
	       "\x03"),
	  SPAN("\xa1\x69\x45xtendPCR\xa1\x64\x64\x61ta\x58\x30" B48), false },
	{ do_lock, SPAN("\xa1\x67\x4c\x6f\x63\x6b\x50\x43\x52\xa1\x65\x69\x6e\x64\x65\x78\x10"), SPAN("\x67LockPCR"),
	  false },
	{ do_lock_range, SPAN("\xa1\x68\x4c\x6f\x63\x6b\x50\x43\x52\x73\xa1\x65\x72\x61\x6e\x67\x65\x18\x20"),
	  SPAN("\x68LockPCRs"), true },
	{ do_random, SPAN("\x69\x47\x65\x74\x52\x61\x6e\x64\x6f\x6d"), SPAN("\xa1\x69GetRandom\xa1\x66random\x50" B16),
	  true },
	{ do_attest,
	  SPAN("\xa1\x6b\x41\x74\x74\x65\x73\x74\x61\x74\x69\x6f\x6e\xa3\x69\x75\x73\x65\x72\x5f\x64\x61\x74\x61\x41"
	       "\xaa\x65"
	       "\x6e\x6f\x6e\x63\x65\x40\x6a\x70\x75\x62\x6c\x69\x63\x5f\x6b\x65\x79\xf6"),
	  SPAN("\xa1\x6b\x41ttestation\xa1\x68\x64ocument\x43\x84\x01\x02"), true },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))
enum { DESCRIBE, DESCRIBE_PCR, EXTEND, LOCK, LOCK_RANGE, RANDOM, ATTEST };

/* Runs a command; after a failure, no output has been touched. */
UNUSED static enum err run(size_t i, struct nsm *n, struct outputs *o)
{
	struct outputs untouched;
	enum err e;

	memset(&untouched, 0xa5, sizeof(untouched));
	*o = untouched;
	n->error = NSM_OTHER;
	e = commands[i].run(n, o);
	if (e != ERR_OK)
		assert_memory_equal(o, &untouched, sizeof(untouched));
	if (e != ERR_PROTOCOL)
		assert_int_equal(n->error, NSM_NONE);
	return e;
}

UNUSED static void gives(size_t i, struct span answer, enum err expected, enum nsm_error error)
{
	struct nsm n = scripted_nsm();
	struct outputs o;

	device_says(answer);
	assert_int_equal(run(i, &n, &o), expected);
	assert_int_equal(n.error, error);
	assert_int_equal(device.calls, 1);
}

#define GIVES(i, answer, expected) gives((i), span_lit(answer), (expected), NSM_NONE)

#endif
