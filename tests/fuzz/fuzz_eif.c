/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enclave images over any bytes, each once as it is and once with its CRC mended, so that what is behind it is reached.
 * Beyond memory errors: a refusal hands nothing out and names a rule, what is accepted keeps what the header says, is
 * refused with a byte behind it, and measures the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attest/eif.h"

#define CRC_AT 544

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* One file for all inputs: to make one is what takes the time. */
static int file_of(const uint8_t *p, size_t n)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("image", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	check(write(fd, p, n) == (ssize_t)n);
	return fd;
}

static bool accepted(const uint8_t *p, size_t n, struct eif_measurement *ret_m)
{
	struct eif_measurement before;
	const char *rule = NULL;
	enum err e;

	memset(ret_m, 0x5a, sizeof(*ret_m));
	before = *ret_m;
	e = eif_measure(file_of(p, n), ret_m, &rule);
	check(e == ERR_OK || e == ERR_SYNTAX);
	if (e == ERR_OK)
		return true;
	check(rule != NULL && strchr(rule, ':') != NULL && memcmp(ret_m, &before, sizeof(before)) == 0);
	return false;
}

static void try_image(const uint8_t *p, size_t n)
{
	static const uint8_t zero[EIF_PCR_SIZE];
	struct eif_measurement m, again;
	uint8_t *longer;

	if (!accepted(p, n, &m))
		return;
	check(m.size == n && n >= EIF_HEADER_SIZE);
	check(m.version >= 2 && m.version <= 4 && m.ramdisks <= EIF_SECTIONS_MAX - 2);
	check(m.signed_ == (memcmp(m.pcr8, zero, sizeof(zero)) != 0));
	check((m.ramdisks < 2) == (memcmp(m.pcr0, m.pcr1, sizeof(m.pcr0)) == 0));
	check(accepted(p, n, &again) && memcmp(&m, &again, sizeof(m)) == 0);
	longer = xmalloc(n + 1);
	memcpy(longer, p, n);
	longer[n] = 0;
	check(!accepted(longer, n + 1, &again));
	free(longer);
}

static void mend(uint8_t *p, size_t n)
{
	uint32_t c = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		if (i >= CRC_AT && i < EIF_HEADER_SIZE)
			continue;
		c ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (UINT32_C(0xedb88320) & (0 - (c & 1)));
	}
	for (unsigned i = 0; i < 4; i++)
		p[CRC_AT + i] = (uint8_t)(~c >> (24 - 8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	try_image(data, size);
	if (size < EIF_HEADER_SIZE)
		return 0;
	copy = xmalloc(size);
	memcpy(copy, data, size);
	mend(copy, size);
	try_image(copy, size);
	free(copy);
	return 0;
}
