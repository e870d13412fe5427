/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds enclave images, good and bad, and measures them. The sections of make_known() are those whose measurements
 * test_eif.c knows. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_EIF_FIXTURE_H
#define TESTS_UNIT_EIF_FIXTURE_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attest/eif.h"
#include "worker/base/cbor.h"
#include "worker/base/text.h"

#define UNUSED    __attribute__((unused))
#define IMAGE_MAX 524288
#define OFFSETS   28
#define SIZES     (28 + 32 * 8)
#define CRC_AT    544
#define LIST_END  99

enum { KERNEL = 1, CMDLINE, RAMDISK, SIGNATURE, METADATA };

/* --- images ----------------------------------------------------------------------------------- */

UNUSED static const char signer_pem[] = "-----BEGIN CERTIFICATE-----\n"
					"MIIBxTCCAUqgAwIBAgIUErcaA0vT4fad1IYiDLa3mM8IHdYwCgYIKoZIzj0EAwMw\n"
					"GDEWMBQGA1UEAwwNU2FtcGxlIHNpZ25lcjAgFw0yNjExMjMxMzIwMDVaGA8yMTI2\n"
					"MTAzMDEzMjAwNVowGDEWMBQGA1UEAwwNU2FtcGxlIHNpZ25lcjB2MBAGByqGSM49\n"
					"AgEGBSuBBAAiA2IABC9q/60lfpBn6fMq+TNVwKOz+HGewO2cp57B2G5L/hoyB1Xw\n"
					"YdSUnJSKTr17h51mBdOKhkyHx+QNFebp4sB9tUBK20jRIuVVfGgWeYaK0JWpRqVg\n"
					"/F2cqVoZWJheA0ZyWKNTMFEwHQYDVR0OBBYEFPXH3MKfBsQC+LV4K1OYaOo3Q0RD\n"
					"MB8GA1UdIwQYMBaAFPXH3MKfBsQC+LV4K1OYaOo3Q0RDMA8GA1UdEwEB/wQFMAMB\n"
					"Af8wCgYIKoZIzj0EAwMDaQAwZgIxAO28BMkvtIz6t9LiZ/eK4+vpegpgzrYfgCLw\n"
					"98BSElUwuLEzCVGnRO/nYEs3bpVhtgIxAN6M/NDp/KP0Af1LjYrY28AJTf+u/kZ0\n"
					"TRyF2l21KER2Ywi1WGMgocylc+OsQ5KaaA==\n"
					"-----END CERTIFICATE-----\n";

UNUSED static void put(struct buf *b, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		buf_add_byte(b, (uint8_t)(v >> 8 * bytes));
}

UNUSED static void poke(struct buf *b, size_t at, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		b->p[at++] = (uint8_t)(v >> 8 * bytes);
}

/* Bit by bit, unlike the code under test. */
UNUSED static void seal(struct buf *b)
{
	uint32_t c = UINT32_MAX;

	for (size_t i = 0; i < b->n; i++) {
		if (i >= CRC_AT && i < EIF_HEADER_SIZE)
			continue;
		c ^= b->p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (UINT32_C(0xedb88320) & (0 - (c & 1)));
	}
	poke(b, CRC_AT, ~c, 4);
}

UNUSED static void begin(struct buf *b, unsigned version)
{
	buf_init(b, IMAGE_MAX);
	buf_add_str(b, ".eif");
	put(b, version, 2);
	put(b, 0, 2);
	put(b, UINT64_C(1) << 30, 8);
	put(b, 2, 8);
	while (b->n < EIF_HEADER_SIZE)
		buf_add_byte(b, 0);
}

UNUSED static unsigned sections(const struct buf *b)
{
	return b->p[27];
}

UNUSED static void add(struct buf *b, unsigned type, struct span data)
{
	unsigned i = sections(b);

	poke(b, 26, i + 1, 2);
	if (i < EIF_SECTIONS_MAX) {
		poke(b, OFFSETS + (size_t)8 * i, b->n, 8);
		poke(b, SIZES + (size_t)8 * i, data.n, 8);
	}
	put(b, type, 2);
	put(b, 0, 2);
	put(b, data.n, 8);
	buf_add_span(b, data);
}

/* Small sections of these types, up to LIST_END. */
UNUSED static void make(struct buf *b, unsigned version, const unsigned *types)
{
	begin(b, version);
	for (; *types != LIST_END; types++)
		add(b, *types, span_lit("some data"));
	seal(b);
}

UNUSED static const unsigned usual[] = { KERNEL, CMDLINE, METADATA, RAMDISK, RAMDISK, LIST_END };

UNUSED static void pattern(struct buf *b, size_t n, unsigned a, unsigned c)
{
	buf_reset(b);
	for (size_t i = 0; i < n; i++)
		buf_add_byte(b, (uint8_t)(i * a + c));
}

/* The sections whose measurements are in `known`. */
UNUSED static void make_known(struct buf *b, unsigned version, unsigned ramdisks)
{
	struct buf data;

	buf_init(&data, IMAGE_MAX);
	begin(b, version);
	pattern(&data, 70000, 7, 1);
	add(b, KERNEL, span_buf(&data));
	add(b, CMDLINE, span_lit("console=ttyS0 reboot=k panic=30"));
	if (version == 4)
		add(b, METADATA, span_lit("{}"));
	pattern(&data, 100000, 13, 5);
	if (ramdisks > 0)
		add(b, RAMDISK, span_buf(&data));
	pattern(&data, 65536, 31, 9);
	if (ramdisks > 1)
		add(b, RAMDISK, span_buf(&data));
	if (ramdisks > 2)
		add(b, RAMDISK, span_lit("app"));
	seal(b);
	buf_clear(&data);
}

UNUSED static enum err measured(struct span bytes, struct eif_measurement *ret_m, const char **ret_rule)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	enum err e;

	assert_true(fd >= 0);
	for (size_t at = 0; at < bytes.n;) {
		ssize_t n = write(fd, bytes.p + at, bytes.n - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	e = eif_measure(fd, ret_m, ret_rule);
	close(fd);
	return e;
}

UNUSED static void assert_good(struct span bytes)
{
	struct eif_measurement m;
	const char *rule = "none";

	if (measured(bytes, &m, &rule) != ERR_OK)
		fail_msg("refused: %s", rule);
}

/* Refused by a rule that begins so; nothing is handed out. */
UNUSED static void assert_broken(struct span bytes, const char *wanted)
{
	struct eif_measurement m, before;
	const char *rule = "none";

	memset(&m, 0x5a, sizeof(m));
	memset(&before, 0x5a, sizeof(before));
	assert_int_equal(measured(bytes, &m, &rule), ERR_SYNTAX);
	if (strncmp(rule, wanted, strlen(wanted)) != 0)
		fail_msg("refused by \"%s\", not by \"%s\"", rule, wanted);
	assert_memory_equal(&m, &before, sizeof(m));
}

UNUSED static void put_ints(struct buf *b, struct span s)
{
	cbor_add_array(b, s.n);
	for (size_t i = 0; i < s.n; i++)
		cbor_add_uint(b, s.p[i]);
}

/* In the order of the builder, which is not the deterministic one. */
UNUSED static void put_signature(struct buf *b, const char *pem)
{
	cbor_add_map(b, 2);
	cbor_add_str(b, "signing_certificate");
	put_ints(b, span_str(pem));
	cbor_add_str(b, "signature");
	put_ints(b, span_lit("\x84\x01"));
}

#endif
