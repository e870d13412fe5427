/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nitro Security Module: a device of the hypervisor that measures, signs and gives entropy.
 *
 * Requests and answers are CBOR items over one ioctl of /dev/nsm (Linux: include/uapi/linux/nsm.h). The codec is apart
 * from the way of transport: `nsm_exchange` is the ioctl, or the simulator of a development build, or a test.
 *
 * The form of an answer is asked strictly, but for what the device is free to choose: maps may be of indefinite length
 * and come in any order, and the description may have members that are not known.
 *
 * Calls block: the driver gives up after 120 s. The engine calls it off the loop.
 */
#ifndef ATTEST_NSM_H
#define ATTEST_NSM_H

#include "worker/base/buf.h"

#define NSM_REQUEST_MAX 4096
#define NSM_ANSWER_MAX  12288
#define NSM_RANDOM_MAX  256
#define NSM_PCR_SIZE    48

/* X(ENUM, the device's text): the device's own errors, in the order of its C codes 1 to 8. */
#define NSM_ERRORS(X)                            \
	X(INVALID_ARGUMENT, "InvalidArgument")   \
	X(INVALID_INDEX, "InvalidIndex")         \
	X(INVALID_RESPONSE, "InvalidResponse")   \
	X(READ_ONLY_INDEX, "ReadOnlyIndex")      \
	X(INVALID_OPERATION, "InvalidOperation") \
	X(BUFFER_TOO_SMALL, "BufferTooSmall")    \
	X(INPUT_TOO_LARGE, "InputTooLarge")      \
	X(INTERNAL_ERROR, "InternalError")

enum nsm_error {
	NSM_NONE,
#define NSM_ERROR_ENUM(e, text) NSM_##e,
	NSM_ERRORS(NSM_ERROR_ENUM)
#undef NSM_ERROR_ENUM
		NSM_OTHER /* a text that is not known */
};

/* Sends `request`, writes at most `size` bytes of the answer, and says how many. ERR_LIMIT: the request is too large
 * (EMSGSIZE). ERR_TIMEOUT, ERR_IO. */
typedef enum err nsm_exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n);

struct nsm {
	nsm_exchange *exchange; /* NULL: the device that nsm_open() has opened */
	void *arg;
	int fd;               /* of the device; of no meaning with an exchange */
	enum nsm_error error; /* of the last call that failed with ERR_PROTOCOL by the device's word; NSM_NONE else */
};

struct nsm_description {
	unsigned version_major, version_minor, version_patch, max_pcrs;
	uint32_t locked; /* bit i: PCR i */
	char module_id[100];
};

/* Opens the device. ERR_NOT_FOUND: there is none. ERR_IO. The struct may be copied; the last copy closes. */
ERR_MUST_CHECK enum err nsm_open(const char *path, struct nsm *ret_nsm);
/* NULL is allowed, and a struct nsm with an exchange: there is nothing to close then. */
void nsm_close(struct nsm *n);

/* All: ERR_PROTOCOL when the answer is not the one to the request, in full and nothing behind it, or is an error of the
 * device (then n->error says which); ERR_TIMEOUT, ERR_IO, ERR_LIMIT from the transport. */
ERR_MUST_CHECK enum err nsm_describe(struct nsm *n, struct nsm_description *ret_description);
ERR_MUST_CHECK enum err nsm_describe_pcr(struct nsm *n, unsigned index, bool *ret_locked,
					 uint8_t ret_pcr[NSM_PCR_SIZE]);
ERR_MUST_CHECK enum err nsm_extend_pcr(struct nsm *n, unsigned index, struct span data, uint8_t ret_pcr[NSM_PCR_SIZE]);
ERR_MUST_CHECK enum err nsm_lock_pcr(struct nsm *n, unsigned index);
ERR_MUST_CHECK enum err nsm_lock_pcrs(struct nsm *n, unsigned range);
/* 1 to NSM_RANDOM_MAX bytes; *ret_n is how many. ERR_PROTOCOL for none. */
ERR_MUST_CHECK enum err nsm_random(struct nsm *n, uint8_t ret_bytes[NSM_RANDOM_MAX], size_t *ret_n);
/* Appends the document to `out`. A NULL field is absent (null). Fields have 0 to 512 (user_data, nonce) and 1 to 1024
 * (public_key) bytes: ERR_LIMIT, and the device is not asked. */
ERR_MUST_CHECK enum err nsm_attest(struct nsm *n, const struct span *user_data, const struct span *nonce,
				   const struct span *public_key, struct buf *out);
const char *nsm_error_text(enum nsm_error e);

#endif
