/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/entropy.h"

/* --- a device that gives what it is told to ---------------------------------------------------- */

struct device {
	unsigned calls, fails_at; /* fails_at: the call, from 1; 0: never */
	size_t size;
	uint8_t first[2]; /* of each answer; the bytes after it count on */
	bool constant, random;
};

/* {"GetRandom": {"random": bstr}} */
static enum err exchange(void *arg, struct span request, uint8_t *answer, size_t size, size_t *ret_n)
{
	static const uint8_t head[] = "\xa1\x69GetRandom\xa1\x66random\x59";
	struct device *d = arg;
	size_t n = sizeof(head) - 1;

	assert_true(span_eq(request, span_lit("\x69GetRandom")));
	if (++d->calls == d->fails_at)
		return ERR_IO;
	assert_true(n + 2 + d->size <= size);
	memcpy(answer, head, n);
	if (d->size < 256) {
		answer[n - 1] = 0x58; /* the shortest head */
	} else {
		answer[n++] = (uint8_t)(d->size >> 8);
	}
	answer[n++] = (uint8_t)d->size;
	if (d->random)
		randombytes_buf(answer + n, d->size);
	for (size_t i = 0; i < d->size && !d->random; i++)
		answer[n + i] = (uint8_t)(d->first[(d->calls - 1) % 2] + (d->constant ? 0 : i));
	*ret_n = n + d->size;
	return ERR_OK;
}

/* --- a kernel that takes what it is given ------------------------------------------------------ */

struct kernel {
	unsigned calls;
	int bits;
	uint8_t bytes[1024];
	size_t n;
	enum err e;
};

static enum err take(void *arg, struct span bytes, int bits)
{
	struct kernel *k = arg;

	k->calls++;
	k->bits = bits;
	assert_in_range(bytes.n, 1, sizeof(k->bytes));
	memcpy(k->bytes, bytes.p, bytes.n);
	k->n = bytes.n;
	return k->e;
}

static char good_source[64], other_source[64], empty_source[64];

static void write_source(char path[64], const char *text)
{
	FILE *f;
	int fd;

	(void)snprintf(path, 64, "/tmp/cwc-rng-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int make_sources(void **state)
{
	(void)state;
	write_source(good_source, "nsm-hwrng\n");
	write_source(other_source, "nsm-hwrng2\n");
	write_source(empty_source, "");
	return 0;
}

static int remove_sources(void **state)
{
	(void)state;
	return unlink(good_source) | unlink(other_source) | unlink(empty_source);
}

static const struct device good = { .size = 256, .first = { 1, 2 } };

/* The verdict of both environments, and the text. */
static void check(struct device d, enum err kernel, const char *source, const char *want, unsigned credited)
{
	for (int required = 0; required < 2; required++) {
		struct device device = d;
		struct nsm n = { .exchange = exchange, .arg = &device };
		struct kernel k = { .e = kernel };
		const char *rule = NULL;
		enum err e = entropy_seed_by(&n, take, &k, source, required == 1, &rule);

		assert_int_equal(e, required == 1 && want[0] != '\0' ? ERR_CRYPTO : ERR_OK);
		assert_non_null(rule);
		assert_string_equal(rule, want);
		assert_int_equal(k.calls, credited);
	}
}

static void test_seeds(void **state)
{
	struct device device = good;
	struct nsm n = { .exchange = exchange, .arg = &device };
	struct kernel k = { .e = ERR_OK };
	const char *rule;

	(void)state;
	assert_int_equal(entropy_seed_by(&n, take, &k, good_source, true, &rule), ERR_OK);
	assert_string_equal(rule, "");
	assert_int_equal(device.calls, 2);
	assert_int_equal(k.calls, 1);
	assert_int_equal(k.n, 512);
	assert_int_equal(k.bits, 2048);
	for (size_t i = 0; i < 256; i++) {
		assert_int_equal(k.bytes[i], (uint8_t)(1 + i));
		assert_int_equal(k.bytes[256 + i], (uint8_t)(2 + i));
	}
}

static void test_constant(void **state)
{
	struct device d = good;

	(void)state;
	d.constant = true;
	check(d, ERR_OK, good_source, "the NSM's random bytes are all the same", 0);
}

static void test_twice_the_same(void **state)
{
	struct device d = good;

	(void)state;
	d.first[1] = d.first[0];
	check(d, ERR_OK, good_source, "the NSM gives the same random bytes twice", 0);
}

static void test_short(void **state)
{
	static const size_t sizes[] = { 32, 128, 255 };
	struct device d = good;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		d.size = sizes[i];
		check(d, ERR_OK, good_source, "the NSM gives fewer than 256 random bytes at once", 0);
	}
}

static void test_device_fails(void **state)
{
	struct device d = good;

	(void)state;
	for (d.fails_at = 1; d.fails_at <= 2; d.fails_at++)
		check(d, ERR_OK, good_source, "the NSM gives no random bytes", 0);
}

static void test_no_device(void **state)
{
	struct kernel k = { .e = ERR_OK };
	const char *rule;

	(void)state;
	assert_int_equal(entropy_seed_by(NULL, take, &k, good_source, true, &rule), ERR_CRYPTO);
	assert_string_equal(rule, "there is no NSM to take random bytes from");
	assert_int_equal(entropy_seed_by(NULL, take, &k, good_source, false, &rule), ERR_OK);
	assert_int_equal(k.calls, 0);
}

static void test_kernel_refuses(void **state)
{
	(void)state;
	check(good, ERR_IO, good_source, "the kernel does not take the NSM's random bytes", 1);
}

static void test_source(void **state)
{
	const char *want = "the kernel's source of random numbers is not nsm-hwrng";

	(void)state;
	check(good, ERR_OK, good_source, "", 1);
	check(good, ERR_OK, other_source, want, 1);
	check(good, ERR_OK, empty_source, want, 1);
	check(good, ERR_OK, "/nonexistent/rng_current", want, 1);
}

/* The ioctl itself: whatever is no random device does not take it. */
static void test_other_devices(void **state)
{
	static const char *const paths[] = { "/dev/null", "/nonexistent/random", good_source };

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct device device = good;
		struct nsm n = { .exchange = exchange, .arg = &device };
		const char *rule;

		assert_int_equal(entropy_seed(&n, paths[i], good_source, true, &rule), ERR_CRYPTO);
		assert_string_equal(rule, "the kernel does not take the NSM's random bytes");
	}
}

/* Where we may. The bytes come from the kernel: a pool that can give them is full, so that nothing false is credited.
 */
static void test_random_device(void **state)
{
	struct device device = { .size = 256, .random = true };
	struct nsm n = { .exchange = exchange, .arg = &device };
	const char *rule;

	(void)state;
	if (entropy_seed(&n, "/dev/random", good_source, true, &rule) != ERR_OK) {
		assert_string_equal(rule, "the kernel does not take the NSM's random bytes");
		skip(); /* needs CAP_SYS_ADMIN */
	}
	assert_string_equal(rule, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeds),          cmocka_unit_test(test_constant),
		cmocka_unit_test(test_twice_the_same), cmocka_unit_test(test_short),
		cmocka_unit_test(test_device_fails),   cmocka_unit_test(test_no_device),
		cmocka_unit_test(test_kernel_refuses), cmocka_unit_test(test_source),
		cmocka_unit_test(test_other_devices),  cmocka_unit_test(test_random_device),
	};

	return cmocka_run_group_tests(tests, make_sources, remove_sources);
}
