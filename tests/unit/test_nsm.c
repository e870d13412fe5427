/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attest/document.h"
#include "tests/unit/nsm_fixture.h"

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		struct nsm n = scripted_nsm();
		struct outputs o;

		device_says(commands[i].answer);
		assert_int_equal(run(i, &n, &o), ERR_OK);
		assert_int_equal(device.n_request, commands[i].request.n);
		assert_memory_equal(device.request, commands[i].request.p, commands[i].request.n);
	}
}

static void test_values(void **state)
{
	struct nsm n = scripted_nsm();
	struct outputs o;

	(void)state;
	device_says(commands[DESCRIBE].answer);
	assert_int_equal(run(DESCRIBE, &n, &o), ERR_OK);
	assert_int_equal(o.description.version_major, 1);
	assert_int_equal(o.description.version_minor, 2);
	assert_int_equal(o.description.version_patch, 256);
	assert_int_equal(o.description.max_pcrs, 32);
	assert_int_equal(o.description.locked, 0x80000003);
	assert_string_equal(o.description.module_id, "i-1234-enc5678");
	device_says(commands[DESCRIBE_PCR].answer);
	assert_int_equal(run(DESCRIBE_PCR, &n, &o), ERR_OK);
	assert_true(o.locked);
	assert_memory_equal(o.pcr, B48, NSM_PCR_SIZE);
	device_says(commands[EXTEND].answer);
	assert_int_equal(run(EXTEND, &n, &o), ERR_OK);
	assert_memory_equal(o.pcr, B48, NSM_PCR_SIZE);
	device_says(commands[RANDOM].answer);
	assert_int_equal(run(RANDOM, &n, &o), ERR_OK);
	assert_int_equal(o.n_random, 16);
	assert_memory_equal(o.random, B16, 16);
	device_says(commands[ATTEST].answer);
	assert_int_equal(run(ATTEST, &n, &o), ERR_OK);
	assert_int_equal(o.n_document, 3);
	assert_memory_equal(o.document, "\x84\x01\x02", 3);
}

/* --- the form of answers ---------------------------------------------------------------------- */

/* Cut off at each length, and with a byte behind; the answer to one command is none to another. */
static void test_whole_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		uint8_t longer[1024] = { 0 };
		struct span a = commands[i].answer;

		for (size_t n = 0; n < a.n; n++)
			gives(i, span_of(a.p, n), ERR_PROTOCOL, NSM_NONE);
		memcpy(longer, a.p, a.n);
		gives(i, span_of(longer, a.n + 1), ERR_PROTOCOL, NSM_NONE);
		longer[a.n] = 0xff;
		gives(i, span_of(longer, a.n + 1), ERR_PROTOCOL, NSM_NONE);
		memcpy(longer + a.n, a.p, a.n);
		gives(i, span_of(longer, 2 * a.n), ERR_PROTOCOL, NSM_NONE);
		for (size_t k = 0; k < N_COMMANDS; k++)
			if (k != i)
				gives(i, commands[k].answer, ERR_PROTOCOL, NSM_NONE);
	}
}

/* No single bit can be flipped in a name or a head without notice; in values, it gives another value. */
static void test_every_bit(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		for (size_t at = 0; at < commands[i].answer.n * 8; at++) {
			uint8_t changed[1024];
			struct nsm n = scripted_nsm();
			struct outputs o;
			enum err e;

			memcpy(changed, commands[i].answer.p, commands[i].answer.n);
			changed[at / 8] ^= (uint8_t)(1U << at % 8);
			device_says(span_of(changed, commands[i].answer.n));
			e = run(i, &n, &o);
			assert_true(e == ERR_OK || e == ERR_PROTOCOL);
			assert_true(e == ERR_PROTOCOL || i == DESCRIBE || at / 8 > 14);
		}
	}
}

static void test_indefinite_and_permuted(void **state)
{
	(void)state;
	GIVES(DESCRIBE_PCR, "\xbf\x6b\x44\x65scribePCR\xbf\x64lock\xf4\x64\x64\x61ta\x58\x30" B48 "\xff\xff", ERR_OK);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xbf\x64lock\xf4\x64\x64\x61ta\x58\x30" B48 "\xff", ERR_OK);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa2\x64lock\xf4\x64\x64\x61ta\x58\x30" B48, ERR_OK);
	GIVES(DESCRIBE_PCR, "\xbf\x6b\x44\x65scribePCR\xbf\x64lock\xf4\x64\x64\x61ta\x58\x30" B48 "\xff", ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xbf\x6b\x44\x65scribePCR\xbf\x64lock\xf4\x64\x64\x61ta\x58\x30" B48 "\xff\xff\xff",
	      ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xbf\x64lock\xff\x64\x64\x61ta\x58\x30" B48 "\xff", ERR_PROTOCOL);
	GIVES(RANDOM, "\xbf\x69GetRandom\xbf\x66random\x41\x01\xff\xff", ERR_OK);
	GIVES(RANDOM, "\xa1\x69GetRandom\xa1\x66random\x5f\x41\x01\xff", ERR_PROTOCOL);
	GIVES(RANDOM, "\xa1\x7f\x69GetRandom\xff\xa1\x66random\x41\x01", ERR_PROTOCOL);
	GIVES(DESCRIBE,
	      "\xbf\x6b\x44\x65scribeNSM\xbf\x6dversion_patch\x00\x6blocked_pcrs\x9f\x00\x01\xff\x68max_pcrs\x10"
	      "\x6dversion_major\x01\x66\x64igest\x66SHA384\x6dversion_minor\x00\x69module_id\x61m\xff\xff",
	      ERR_OK);
}

static void test_members(void **state)
{
	(void)state;
	/* Missing, twice, unknown. */
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa1\x64\x64\x61ta\x58\x30" B48, ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa1\x64lock\xf5", ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa3\x64lock\xf5\x64\x64\x61ta\x58\x30" B48 "\x64lock\xf5",
	      ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa3\x64lock\xf5\x64\x64\x61ta\x58\x30" B48 "\x61x\xf5",
	      ERR_PROTOCOL);
	GIVES(RANDOM, "\xa1\x69GetRandom\xa0", ERR_PROTOCOL);
	GIVES(RANDOM, "\xa2\x69GetRandom\xa1\x66random\x41\x01\x61x\x00", ERR_PROTOCOL);
	GIVES(RANDOM, "\xa0", ERR_PROTOCOL);
	GIVES(RANDOM, "\xbf\xff", ERR_PROTOCOL);
	/* A newer device may say more of itself, but no member of ours twice. */
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\xa1\x01\x82\xf6\x40" DESCRIBE_MEMBERS, ERR_OK);
	/* ... in maps and arrays of indefinite length, as it writes its own, nested in every way. */
	GIVES(DESCRIBE,
	      "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\xbf\x61x\x9f\x01\xf6\xbf\xff\xff\x61x\xff" DESCRIBE_MEMBERS,
	      ERR_PROTOCOL);
	GIVES(DESCRIBE,
	      "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\xbf\x61x\x9f\x01\xf6\xbf\xff\xff\x61x\x00\xff" DESCRIBE_MEMBERS,
	      ERR_OK);
	GIVES(DESCRIBE,
	      "\xbf\x6b\x44\x65scribeNSM\xbf" DESCRIBE_MEMBERS
	      "\x64more\x9f\xd8\x20\x9f\xff\x82\x9f\x40\xff\xa1\x9f\xff\xbf\xff\xff\xff\xff",
	      ERR_OK);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\x9f\x01" DESCRIBE_MEMBERS, ERR_PROTOCOL);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\xff" DESCRIBE_MEMBERS, ERR_PROTOCOL);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\x5f\x41\x00\xff" DESCRIBE_MEMBERS, ERR_PROTOCOL);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\x9f\x7f\x61x\xff\xff" DESCRIBE_MEMBERS, ERR_PROTOCOL);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8\x64more\x9b\xff\xff\xff\xff\xff\xff\xff\xff" DESCRIBE_MEMBERS,
	      ERR_PROTOCOL);
	GIVES(DESCRIBE, "\xa1\x6b\x44\x65scribeNSM\xa8" DESCRIBE_MEMBERS "\x68max_pcrs\x18\x20", ERR_PROTOCOL);
	/* Another type, another size. */
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa2\x64lock\x01\x64\x64\x61ta\x58\x30" B48, ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa2\x64lock\xf6\x64\x64\x61ta\x58\x30" B48, ERR_PROTOCOL);
	GIVES(DESCRIBE_PCR, "\xa1\x6b\x44\x65scribePCR\xa2\x64lock\xf5\x64\x64\x61ta\x78\x30" B48, ERR_PROTOCOL);
	GIVES(EXTEND, "\xa1\x69\x45xtendPCR\xa1\x64\x64\x61ta\x58\x20" B16 B16, ERR_PROTOCOL);
	GIVES(EXTEND, "\xa1\x69\x45xtendPCR\xa1\x64\x64\x61ta\x58\x31" B48 "\x00", ERR_PROTOCOL);
	GIVES(EXTEND, "\xa1\x69\x45xtendPCR\xa1\x64\x64\x61ta\x40", ERR_PROTOCOL);
	GIVES(RANDOM, "\xa1\x69GetRandom\xa1\x66random\x40", ERR_PROTOCOL);
	GIVES(ATTEST, "\xa1\x6b\x41ttestation\xa1\x68\x64ocument\x40", ERR_PROTOCOL);
	GIVES(ATTEST, "\xa1\x6b\x41ttestation\xa1\x68\x64ocument\xf6", ERR_PROTOCOL);
	/* Commands that have no members are answered by their name only. */
	GIVES(LOCK, "\xa1\x67LockPCR\xa0", ERR_PROTOCOL);
	GIVES(LOCK, "\x47LockPCR", ERR_PROTOCOL);
	GIVES(RANDOM, "\x69GetRandom", ERR_PROTOCOL);
}

/* Eight deep and no deeper, in each of the ways to nest. */
static void test_depth(void **state)
{
	static const struct {
		struct span open, close;
	} ways[] = { { SPAN("\x9f"), SPAN("\xff") },
		     { SPAN("\x81"), SPAN("") },
		     { SPAN("\xbf\x00"), SPAN("\xff") },
		     { SPAN("\xa1\x00"), SPAN("") },
		     { SPAN("\xd8\x20"), SPAN("") } };

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		for (unsigned depth = 1; depth < 5000; depth = depth < 10 ? depth + 1 : depth * 4) {
			struct buf b;

			buf_init(&b, NSM_ANSWER_MAX);
			buf_add_span(&b, span_lit("\xa1\x6b\x44\x65scribeNSM\xa8" DESCRIBE_MEMBERS "\x64more"));
			for (unsigned k = 0; k < depth; k++)
				buf_add_span(&b, ways[i].open);
			buf_add_byte(&b, 0xf6);
			for (unsigned k = 0; k < depth; k++)
				buf_add_span(&b, ways[i].close);
			assert_int_equal(buf_ok(&b), ERR_OK);
			gives(DESCRIBE, span_buf(&b), depth <= 8 ? ERR_OK : ERR_PROTOCOL, NSM_NONE);
			buf_clear(&b);
		}
	}
}

/* What a verifier would refuse, the device is not asked for. */
static void test_fields(void **state)
{
	static const uint8_t bytes[ATTEST_KEY_MAX + 1];
	static const struct {
		size_t user_data, nonce, public_key;
		enum err expected;
	} cases[] = { { 0, 0, 1, ERR_OK },
		      { ATTEST_FIELD_MAX, ATTEST_FIELD_MAX, ATTEST_KEY_MAX, ERR_OK },
		      { ATTEST_FIELD_MAX + 1, 0, 1, ERR_LIMIT },
		      { 0, ATTEST_FIELD_MAX + 1, 1, ERR_LIMIT },
		      { 0, 0, ATTEST_KEY_MAX + 1, ERR_LIMIT },
		      { 0, 0, 0, ERR_LIMIT } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct span user_data = span_of(bytes, cases[i].user_data),
				  nonce = span_of(bytes, cases[i].nonce), key = span_of(bytes, cases[i].public_key);
		struct nsm n = scripted_nsm();
		struct buf b;

		buf_init(&b, NSM_ANSWER_MAX);
		device_says(commands[ATTEST].answer);
		assert_int_equal(nsm_attest(&n, &user_data, &nonce, &key, &b), cases[i].expected);
		assert_int_equal(device.calls, cases[i].expected == ERR_OK ? 1 : 0);
		assert_int_equal(b.n > 0, cases[i].expected == ERR_OK);
		buf_clear(&b);
	}
}

static void test_description(void **state)
{
	static const struct {
		const char *from;
		struct span to;
	} changes[] = { { "SHA384", SPAN("SHA512") },
			{ "\x18\x20\x69", SPAN("\x18\x21\x69") },
			{ "\x18\x20\x69", SPAN("\x18\x1f\x69") },
			{ "\x83\x00\x01", SPAN("\x83\x01\x01") },
			{ "\x18\x1f\x6d", SPAN("\x18\x20\x6d") },
			{ "i-1234", SPAN("i-12\0004") },
			{ "i-1234", SPAN("i-12 4") },
			{ "i-1234", SPAN("i-12\n4") } };

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t changed[] = DESCRIBE_ANSWER;
		const uint8_t *p = span_find(span_of(changed, sizeof(changed) - 1), span_str(changes[i].from));

		assert_non_null(p);
		memcpy(changed + (p - changed), changes[i].to.p, changes[i].to.n);
		gives(DESCRIBE, span_of(changed, sizeof(changed) - 1), ERR_PROTOCOL, NSM_NONE);
	}
}

/* The largest values, and those that are one byte too large. */
static void test_ceilings(void **state)
{
	static uint8_t answer[NSM_ANSWER_MAX];
	const size_t frame = 27; /* of a document behind a head of three bytes */
	struct buf b;

	(void)state;
	for (size_t over = 0; over < 2; over++) {
		static const uint8_t zeros[NSM_RANDOM_MAX + 1];

		buf_init(&b, sizeof(answer));
		buf_add_span(&b, span_lit("\xa1\x69GetRandom\xa1\x66random"));
		cbor_add_bytes(&b, span_of(zeros, NSM_RANDOM_MAX + over));
		gives(RANDOM, span_buf(&b), over ? ERR_PROTOCOL : ERR_OK, NSM_NONE);
		buf_clear(&b);
	}
	buf_init(&b, sizeof(answer));
	buf_add_span(&b, span_lit("\xa1\x6b\x41ttestation\xa1\x68\x64ocument"));
	cbor_add_bytes(&b, span_of(answer, sizeof(answer) - frame));
	assert_int_equal(buf_ok(&b), ERR_OK);
	memcpy(answer, b.p, b.n);
	assert_int_equal(b.n, sizeof(answer) - 1);
	gives(ATTEST, span_of(answer, b.n), ERR_OK, NSM_NONE);
	/* Cut off by the driver. */
	answer[25]++;
	gives(ATTEST, span_of(answer, b.n), ERR_PROTOCOL, NSM_NONE);
	buf_clear(&b);
	device_says(commands[RANDOM].answer);
	device.said = NSM_ANSWER_MAX + 1;
	{
		struct nsm n = scripted_nsm();
		struct outputs o;

		assert_int_equal(run(RANDOM, &n, &o), ERR_PROTOCOL);
	}
}

/* --- errors ----------------------------------------------------------------------------------- */

static void test_device_errors(void **state)
{
	static const struct {
		struct span answer;
		enum nsm_error error;
	} cases[] = { { SPAN("\xa1\x65\x45rror\x6fInvalidArgument"), NSM_INVALID_ARGUMENT },
		      { SPAN("\xa1\x65\x45rror\x6cInvalidIndex"), NSM_INVALID_INDEX },
		      { SPAN("\xa1\x65\x45rror\x6fInvalidResponse"), NSM_INVALID_RESPONSE },
		      { SPAN("\xa1\x65\x45rror\x6dReadOnlyIndex"), NSM_READ_ONLY_INDEX },
		      { SPAN("\xa1\x65\x45rror\x70InvalidOperation"), NSM_INVALID_OPERATION },
		      { SPAN("\xa1\x65\x45rror\x6e\x42ufferTooSmall"), NSM_BUFFER_TOO_SMALL },
		      { SPAN("\xa1\x65\x45rror\x6dInputTooLarge"), NSM_INPUT_TOO_LARGE },
		      { SPAN("\xbf\x65\x45rror\x6dInternalError\xff"), NSM_INTERNAL_ERROR },
		      { SPAN("\xa1\x65\x45rror\x6cTooMuchToAsk"), NSM_OTHER },
		      { SPAN("\xa1\x65\x45rror\x60"), NSM_OTHER },
		      { SPAN("\xa1\x65\x45rror\x6dInternalError\x00"), NSM_NONE },
		      { SPAN("\xa1\x65\x45rror\x6dInternalErro"), NSM_NONE },
		      { SPAN("\xa1\x65\x45rror\x4dInternalError"), NSM_NONE },
		      { SPAN("\xa1\x65\x45rror\x08"), NSM_NONE },
		      { SPAN("\xa2\x65\x45rror\x6dInternalError\x61x\x00"), NSM_NONE },
		      { SPAN("\x65\x45rror"), NSM_NONE } };

	(void)state;
	for (size_t i = 0; i < N_COMMANDS; i++)
		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
			gives(i, cases[k].answer, ERR_PROTOCOL, cases[k].error);
	assert_string_equal(nsm_error_text(NSM_READ_ONLY_INDEX), "ReadOnlyIndex");
	assert_string_equal(nsm_error_text(NSM_INTERNAL_ERROR), "InternalError");
	assert_string_equal(nsm_error_text(NSM_NONE), "none");
	assert_string_equal(nsm_error_text(NSM_OTHER), "unknown");
	assert_string_equal(nsm_error_text((enum nsm_error)99), "unknown");
}

static void test_transport_errors(void **state)
{
	static const enum err errors[] = { ERR_LIMIT, ERR_TIMEOUT, ERR_IO };

	(void)state;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		for (size_t k = 0; k < 3; k++) {
			struct nsm n = scripted_nsm();
			struct outputs o;

			device_says(commands[i].answer);
			device.e = errors[k];
			assert_int_equal(run(i, &n, &o), errors[k]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_whole_answers),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_indefinite_and_permuted),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_ceilings),
		cmocka_unit_test(test_device_errors),
		cmocka_unit_test(test_transport_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
