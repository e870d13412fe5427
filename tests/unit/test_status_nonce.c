/* SPDX-License-Identifier: Apache-2.0 */
/* The nonce of /attestation: base64url or hex, 8 to 64 bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/status_internal.h"

static enum err decode(const char *text, struct buf *out)
{
	buf_init(out, STATUS_NONCE_MAX);
	return status_nonce(span_str(text), out);
}

static void assert_nonce(const char *text, const void *bytes, size_t n)
{
	struct buf b;
	assert_int_equal(decode(text, &b), ERR_OK);
	assert_int_equal(b.n, n);
	assert_memory_equal(b.p, bytes, n);
	buf_clear(&b);
}

static void assert_refused(const char *text)
{
	struct buf b;
	if (decode(text, &b) == ERR_OK)
		fail_msg("taken: %s", text);
	buf_clear(&b);
}

static void forms(void **state)
{
	uint8_t full[STATUS_NONCE_MAX];
	char hex[2 * STATUS_NONCE_MAX + 3];
	(void)state;
	assert_nonce("0011223344556677", "\x00\x11\x22\x33\x44\x55\x66\x77", 8);
	assert_nonce("AABBccdd00112233", "\xaa\xbb\xcc\xdd\x00\x11\x22\x33", 8);
	assert_nonce("-_-_-_-_-_8", "\xfb\xff\xbf\xfb\xff\xbf\xfb\xff", 8);
	assert_nonce("-_-_-_-_-_8=", "\xfb\xff\xbf\xfb\xff\xbf\xfb\xff", 8);
	assert_nonce("AAECAwQFBgcICQ", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", 10);
	/* An odd number of hex digits is base64url. */
	assert_nonce("00000000000", "\xd3\x4d\x34\xd3\x4d\x34\xd3\x4d", 8);
	memset(full, 0xee, sizeof full);
	memset(hex, 'e', sizeof hex);
	hex[2 * STATUS_NONCE_MAX] = '\0';
	assert_nonce(hex, full, sizeof full);
}

static void refused(void **state)
{
	char many[200];
	(void)state;
	assert_refused("");
	assert_refused("00112233445566"); /* 7 bytes in hex, 10 in base64: not canonical */
	assert_refused("AAECAwQFBg");     /* 7 bytes */
	assert_refused("AAECAwQFB");      /* no whole number of bytes */
	assert_refused("AAECAwQFBgcICR"); /* bits that are not zero */
	assert_refused("+/+/+/+/+/8");    /* the other alphabet */
	assert_refused("AAECAwQFBgcICQ\xc3");
	assert_refused("AAEC AwQFBgcICQ");
	assert_refused("=AAECAwQFBgc");
	for (size_t n = 87; n < 140; n++) {
		memset(many, 'e', n);
		many[n] = '\0';
		if (n % 2 == 0 && n <= (size_t)2 * STATUS_NONCE_MAX)
			continue;
		assert_refused(many);
		many[0] = '_';
		assert_refused(many);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(forms), cmocka_unit_test(refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
