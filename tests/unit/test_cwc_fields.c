/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <string.h>

#include "cwc/fields.h"

static void test_chamber_names(void **state)
{
	(void)state;
	assert_string_equal(cwc_chamber_name(CWC_HOUSE), "house");
	assert_string_equal(cwc_chamber_name(CWC_SENATE), "senate");
}

static void test_every_name_finds_its_field(void **state)
{
	(void)state;
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++) {
		enum cwc_field found = CWC_FIELD_COUNT;

		assert_int_equal(cwc_field_find(span_str(cwc_field_name((enum cwc_field)f)), &found), ERR_OK);
		assert_int_equal(found, f);
	}
}

static void test_other_names_are_not_found(void **state)
{
	static const char *const names[] = {
		"", "zip", "ZIP", "Zip ", "Zi", "CWCVersion", "Delivery", "Bill", "LibraryOfCongressTopic", "OfficeCode"
	};
	enum cwc_field found = CWC_ZIP;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(cwc_field_find(span_str(names[i]), &found), ERR_NOT_FOUND);
	assert_int_equal(found, CWC_ZIP);
}

static void test_rows(void **state)
{
	(void)state;
	assert_int_equal(cwc_field_source(CWC_DELIVERY_ID), CWC_FROM_WORKER);
	assert_int_equal(cwc_field_source(CWC_MEMBER_OFFICE), CWC_FROM_WORKER);
	assert_int_equal(cwc_field_source(CWC_SUBJECT), CWC_FROM_PUBLIC);
	assert_int_equal(cwc_field_source(CWC_EMAIL), CWC_FROM_PERSON);
	assert_true(cwc_row(CWC_CITY)->required);
	assert_int_equal(cwc_row(CWC_CITY)->min, 3);
	assert_int_equal(cwc_row(CWC_ORG_STATEMENT)->max, 10000);
	assert_int_equal(cwc_row(CWC_ORG_CONTACT_NAME)->group, CWC_GROUP_ORG_CONTACT);
}

static void test_a_new_letter_has_nothing(void **state)
{
	struct cwc_letter l;

	(void)state;
	memset(&l, 0xff, sizeof(l));
	cwc_letter_init(&l);
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++)
		assert_false(cwc_has(&l, (enum cwc_field)f));
}

static void test_an_empty_value_is_absent(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++)
		assert_true(cwc_has(&l, (enum cwc_field)f));
	fixture_set(&l, CWC_CITY, "");
	l.n_topics = l.n_bills = 0;
	assert_false(cwc_has(&l, CWC_CITY));
	assert_false(cwc_has(&l, CWC_TOPICS));
	assert_false(cwc_has(&l, CWC_BILLS));
}

static void test_phone_is_regrouped(void **state)
{
	static const char *const spellings[] = { "2175550100",
						 "217-555-0100",
						 "(217) 555-0100",
						 "217.555.0100",
						 "+12175550100",
						 "1 217 555 0100",
						 "+1 (217)555/0100",
						 "217\xe2\x80\x91"
						 "555\xc2\xa0"
						 "0100",
						 " 217 555 0100 " };
	struct cwc_letter l;

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		cwc_letter_init(&l);
		cwc_set_phone(&l, span_str(spellings[i]));
		assert_true(span_eq_str(l.v[CWC_PHONE], "217-555-0100"));
		assert_ptr_equal(l.v[CWC_PHONE].p, l.phone);
		/* Again, from its own memory. */
		cwc_set_phone(&l, l.v[CWC_PHONE]);
		assert_true(span_eq_str(l.v[CWC_PHONE], "217-555-0100"));
	}
}

static void test_what_is_no_phone_number_stays(void **state)
{
	static const char *const others[] = { "217555010",      "21755501000",   "+442079460000", "217-555-0100 x4",
					      "217-555-0100#4", "1-800-FLOWERS", "none",          "22175550100",
					      "+2175550100",    "121755501000",  "2175550100;4",  "2175550100,4" };
	struct cwc_letter l;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		cwc_letter_init(&l);
		cwc_set_phone(&l, span_str(others[i]));
		assert_ptr_equal(l.v[CWC_PHONE].p, others[i]);
		assert_int_equal(l.v[CWC_PHONE].n, strlen(others[i]));
	}
	cwc_set_phone(&l, span_lit(""));
	assert_null(l.v[CWC_PHONE].p);
	cwc_set_phone(&l, span_of("2175550100\0", 11));
	assert_true(span_eq_str(l.v[CWC_PHONE], "217-555-0100"));
}

static void test_states(void **state)
{
	static const char codes[] =
		"ALAKAZARCACOCTDEFLGAHIIDILINIAKSKYLAMEMDMAMIMNMSMOMTNENVNHNJNMNYNCNDOHOKORPARISCSDTNTXUT"
		"VTVAWAWVWIWYDCASGUMPPRVI";
	unsigned known = 0, senate = 0;

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(codes); i += 2)
		assert_true(cwc_state_known(span_of(codes + i, 2)));
	for (unsigned a = 0; a < 26 * 26; a++) {
		char two[2] = { (char)('A' + a / 26), (char)('A' + a % 26) };

		known += cwc_state_known(span_of(two, 2));
		senate += cwc_state_has_senate(span_of(two, 2));
	}
	assert_int_equal(known, 56);
	assert_int_equal(senate, 50);
	assert_false(cwc_state_has_senate(span_lit("DC")));
	assert_false(cwc_state_known(span_lit("AQ")));
	assert_false(cwc_state_known(span_lit("ne")));
	assert_false(cwc_state_known(span_lit("N")));
	assert_false(cwc_state_known(span_lit("NEB")));
	assert_false(cwc_state_known(span_of(NULL, 0)));
}

static void test_topics_and_prefixes(void **state)
{
	(void)state;
	assert_true(cwc_topic_known(span_lit("Agriculture and Food")));
	assert_true(cwc_topic_known(span_lit("Civil Rights and Liberties, Minority Issues")));
	assert_true(cwc_topic_known(span_lit("Water Resources Development")));
	assert_false(cwc_topic_known(span_lit("law")));
	assert_false(cwc_topic_known(span_lit("Law ")));
	assert_false(cwc_topic_known(span_of(NULL, 0)));
	assert_true(cwc_prefix_known(span_lit("Miss")));
	assert_false(cwc_prefix_known(span_lit("Mr")));
	assert_false(cwc_prefix_known(span_lit("Mx.")));
}

static void test_bill_types_in_both_spellings(void **state)
{
	static const char *const pairs[][2] = {
		{ "hamdt", "H.Amdt." }, { "hconres", "H.Con.Res" },  { "hjres", "H.J.Res." },
		{ "hr", "H.R." },       { "hres", "H.Res." },        { "s", "S." },
		{ "samdt", "S.Amdt." }, { "sconres", "S.Con.Res." }, { "sjres", "S.J.Res." },
		{ "sres", "S.Res." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		for (size_t k = 0; k < 2; k++) {
			assert_string_equal(cwc_bill_type(span_str(pairs[i][k]), CWC_HOUSE), pairs[i][0]);
			assert_string_equal(cwc_bill_type(span_str(pairs[i][k]), CWC_SENATE), pairs[i][1]);
		}
	}
	assert_string_equal(cwc_bill_type(span_lit("H. Con. Res."), CWC_SENATE), "H.Con.Res");
	assert_string_equal(cwc_bill_type(span_lit(" SCONRES "), CWC_HOUSE), "sconres");
	assert_null(cwc_bill_type(span_lit(""), CWC_HOUSE));
	assert_null(cwc_bill_type(span_lit(". ."), CWC_HOUSE));
	assert_null(cwc_bill_type(span_lit("hconresx"), CWC_HOUSE));
	assert_null(cwc_bill_type(span_lit("hb"), CWC_HOUSE));
	assert_null(cwc_bill_type(span_lit("h-r"), CWC_HOUSE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chamber_names),
		cmocka_unit_test(test_every_name_finds_its_field),
		cmocka_unit_test(test_other_names_are_not_found),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_a_new_letter_has_nothing),
		cmocka_unit_test(test_an_empty_value_is_absent),
		cmocka_unit_test(test_phone_is_regrouped),
		cmocka_unit_test(test_what_is_no_phone_number_stays),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_topics_and_prefixes),
		cmocka_unit_test(test_bill_types_in_both_spellings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
