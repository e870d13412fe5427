/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements of enclave images, against values that were computed by other means, and their signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/eif_fixture.h"

static void assert_pcr(const uint8_t pcr[EIF_PCR_SIZE], const char *hex)
{
	char got[2 * EIF_PCR_SIZE + 1];

	text_hex(span_of(pcr, EIF_PCR_SIZE), got);
	assert_string_equal(got, hex);
}

/* --- measurements ----------------------------------------------------------------------------- */

#define OF_NOTHING "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"
#define OF_ONE     "7d5255ae1ecd1e61e35f25fb411efe27775971559709931fccbd6155edea558de2e3d923a482f9410f2b7a0202e2b3ea"
#define OF_NO_DISK "1c72631f8c13a619b5961888e032198765937056a1a4f3f23dad3011e057e6adc4304333a8738eba8e78302fce0b3e0b"
#define OF_SIGNER  "485c6e279f7bf84d95cd65dd095449fa101d92cb4b43c6302e8af27347140f250cb48d01478bdf7342d2e659a7010499"

/* By the number of ramdisks, from Python's hashlib. */
static const struct {
	const char *pcr0, *pcr1, *pcr2;
} known[] = {
	{ OF_NO_DISK, OF_NO_DISK, OF_NOTHING },
	{ OF_ONE, OF_ONE, OF_NOTHING },
	{ "cdcfd7f93fa6cc4f51c13ed7498983ea4eae65eff879024d535963164ed9010728d60cac4cb809fc0d67661ad759280d", OF_ONE,
	  "fa902a7414b0bc9baf0a29576eac4683483d1fd7e5cdfd775b9b98f450adf5509c6075d5d58bc2b0ad3bc7b3b209f9be" },
	{ "ff4f30921041f4e626e1436acd0bb98eede03340e846ed309a4c1fa68d097f73444eab7c46c8fe004deea085569469c7", OF_ONE,
	  "789b7a9d6fde0923790a735d7bd238f0d062ad0fd6bfe37721e5dfc418ffdd1d47e24a4d21ae6f33ccf89cccfcc9d444" },
};

static void test_measurements(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned version = 2; version <= 4; version++) {
			struct eif_measurement m;
			const char *rule = NULL;
			struct buf b;

			make_known(&b, version, i);
			assert_int_equal(measured(span_buf(&b), &m, &rule), ERR_OK);
			assert_pcr(m.pcr0, known[i].pcr0);
			assert_pcr(m.pcr1, known[i].pcr1);
			assert_pcr(m.pcr2, known[i].pcr2);
			assert_false(m.signed_);
			assert_int_equal(m.pcr8[0] | m.pcr8[47], 0);
			assert_int_equal(m.version, version);
			assert_int_equal(m.ramdisks, i);
			assert_int_equal(m.size, b.n);
			assert_int_equal(m.default_memory, 1 << 30);
			assert_int_equal(m.default_cpus, 2);
			buf_clear(&b);
		}
	}
}

/* What is not measured: all of the header, and the metadata. */
static void test_not_measured(void **state)
{
	struct eif_measurement m;
	const char *rule;
	struct buf b;

	(void)state;
	make_known(&b, 4, 3);
	poke(&b, 6, 1, 2);
	poke(&b, 8, UINT64_MAX, 8);
	poke(&b, 16, 77, 8);
	seal(&b);
	assert_int_equal(measured(span_buf(&b), &m, &rule), ERR_OK);
	assert_true(m.aarch64);
	assert_int_equal(m.default_cpus, 77);
	assert_pcr(m.pcr0, known[3].pcr0);
	buf_clear(&b);
}

/* As long as a table can be: 29 ramdisks. */
static void test_most_sections(void **state)
{
	struct eif_measurement m;
	const char *rule;
	struct buf b;

	(void)state;
	make(&b, 4, (const unsigned[]){ KERNEL, CMDLINE, METADATA, LIST_END });
	while (sections(&b) < EIF_SECTIONS_MAX)
		add(&b, RAMDISK, span_lit("disk"));
	seal(&b);
	assert_int_equal(measured(span_buf(&b), &m, &rule), ERR_OK);
	assert_int_equal(m.ramdisks, 29);
	add(&b, RAMDISK, span_lit("disk"));
	seal(&b);
	assert_broken(span_buf(&b), "sections:");
	buf_clear(&b);
}

/* --- signature -------------------------------------------------------------------------------- */

static void sign_with(struct buf *image, unsigned version, const struct buf *section)
{
	make_known(image, version, 2);
	add(image, SIGNATURE, span_buf(section));
	seal(image);
}

static void test_signed(void **state)
{
	struct buf b, section;

	(void)state;
	buf_init(&section, EIF_SIGNATURE_MAX);
	for (unsigned n = 1; n <= 2; n++) {
		buf_reset(&section);
		cbor_add_array(&section, n);
		for (unsigned i = 0; i < n; i++)
			put_signature(&section, i == 0 ? signer_pem : "another");
		for (unsigned version = 3; version <= 4; version++) {
			struct eif_measurement m;
			const char *rule;

			sign_with(&b, version, &section);
			assert_int_equal(measured(span_buf(&b), &m, &rule), ERR_OK);
			assert_true(m.signed_);
			assert_pcr(m.pcr8, OF_SIGNER);
			assert_pcr(m.pcr0, known[2].pcr0);
			buf_clear(&b);
		}
	}
	sign_with(&b, 2, &section);
	assert_broken(span_buf(&b), "signature: there is none before");
	buf_clear(&b);
	buf_clear(&section);
}

static void refuse_section(const struct buf *section, const char *rule)
{
	struct buf b;

	sign_with(&b, 4, section);
	assert_broken(span_buf(&b), rule);
	buf_clear(&b);
}

static void test_signature_certificate(void **state)
{
	const char *rule = "signature: not one certificate";
	struct buf section, twice;

	(void)state;
	buf_init(&section, EIF_SIGNATURE_MAX);
	buf_init(&twice, EIF_SIGNATURE_MAX);
	buf_add_str(&twice, signer_pem);
	buf_add_str(&twice, signer_pem);
	const char *pems[] = { "no certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
			       buf_cstr(&twice) };
	for (size_t i = 0; i < 3; i++) {
		buf_reset(&section);
		cbor_add_array(&section, 1);
		put_signature(&section, pems[i]);
		refuse_section(&section, rule);
	}
	/* Every one of the section's prefixes, and a byte behind it. */
	buf_reset(&section);
	cbor_add_array(&section, 1);
	put_signature(&section, signer_pem);
	buf_add_byte(&section, 0);
	refuse_section(&section, "signature: not a CBOR");
	for (section.n -= 2; section.n > 0; section.n -= section.n > 50 ? 50 : 1)
		refuse_section(&section, "signature: not a CBOR");
	buf_clear(&section);
	buf_clear(&twice);
}

static void test_signature_form(void **state)
{
	static const char *const forms[] = {
		"80",
		"a0",
		"40",
		"f6",
		"81a0",
		"8140",
		"81a1697369676e617475726581184d",                     /* no certificate */
		"81a1737369676e696e675f6365727469666963617465811841", /* no signature */
		"81a2737369676e696e675f636572746966696361746541416973"
		"69676e61747572658101", /* a byte string */
		"81a2737369676e696e675f6365727469666963617465811901006973"
		"69676e61747572658101",                                 /* 256 */
		"81a2697369676e61747572658101697369676e61747572658101", /* twice */
		"81a3737369676e696e675f6365727469666963617465810169736967"
		"6e617475726581016178f6", /* a third member */
		"9bffffffffffffffff",
		"81a2737369676e696e675f63657274696669636174659bffffffffffffffff00",
		"9fff",
	};
	struct buf section;

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		buf_init(&section, EIF_SIGNATURE_MAX);
		size_t n = strlen(forms[i]) / 2;
		assert_int_equal(text_unhex(span_str(forms[i]), buf_room(&section, n), n), ERR_OK);
		buf_grew(&section, n);
		refuse_section(&section, "signature: not a CBOR");
		buf_clear(&section);
	}
	/* And the least that has the form. */
	buf_init(&section, EIF_SIGNATURE_MAX + 1);
	cbor_add_array(&section, 1);
	put_signature(&section, "x");
	refuse_section(&section, "signature: not one certificate");
	pattern(&section, EIF_SIGNATURE_MAX + 1, 1, 1);
	refuse_section(&section, "signature: larger");
	buf_clear(&section);
}

/* A pipe has no size and no place; a descriptor that is none cannot be asked. */
static void test_no_file(void **state)
{
	struct eif_measurement m;
	const char *rule = NULL;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(eif_measure(ends[0], &m, &rule), ERR_SYNTAX);
	assert_string_equal(rule, "file: must be a regular one");
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(eif_measure(-1, &m, &rule), ERR_IO);
}

/* It reads from the start, wherever the offset is, and can do so again. */
static void test_offset(void **state)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct eif_measurement m;
	const char *rule;
	struct buf b;

	(void)state;
	make_known(&b, 4, 1);
	assert_int_equal(write(fd, b.p, b.n), b.n);
	assert_int_equal(eif_measure(fd, &m, &rule), ERR_OK);
	assert_int_equal(eif_measure(fd, &m, &rule), ERR_OK);
	assert_pcr(m.pcr0, known[1].pcr0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), b.n);
	close(fd);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_measurements),
		cmocka_unit_test(test_not_measured),
		cmocka_unit_test(test_most_sections),
		cmocka_unit_test(test_signed),
		cmocka_unit_test(test_signature_certificate),
		cmocka_unit_test(test_signature_form),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_offset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
