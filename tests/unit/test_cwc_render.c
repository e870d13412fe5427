/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN "tests/golden/"

static struct buf out;

static int setup(void **state)
{
	(void)state;
	buf_init(&out, (size_t)1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_clear(&out);
	return 0;
}

static struct span text_of(const json_t *value)
{
	assert_true(json_is_string(value));
	return span_of(json_string_value(value), json_string_length(value));
}

static void take_list(struct cwc_letter *l, enum cwc_field f, const json_t *list)
{
	assert_true(json_is_array(list));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);

		if (f == CWC_TOPICS)
			l->topic[l->n_topics++] = text_of(entry);
		else
			l->bill[l->n_bills++] = (struct cwc_bill){
				.congress = text_of(json_object_get(entry, "BillCongress")),
				.type = text_of(json_object_get(entry, "BillTypeAbbreviation")),
				.number = text_of(json_object_get(entry, "BillNumber")),
			};
	}
}

static void take_letter(struct cwc_letter *l, json_t *root)
{
	const char *name;
	json_t *value;

	cwc_letter_init(l);
	json_object_foreach(root, name, value)
	{
		enum cwc_field f = CWC_FIELD_COUNT;

		assert_int_equal(cwc_field_find(span_str(name), &f), ERR_OK);
		if (f == CWC_TOPICS || f == CWC_BILLS)
			take_list(l, f, value);
		else
			l->v[f] = text_of(value);
	}
}

static void expect_file(const char *name, struct span got)
{
	static char text[1 << 20];
	char path[256];

	snprintf(path, sizeof(path), GOLDEN "%s.xml", name);
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	size_t n = fread(text, 1, sizeof(text), f);

	fclose(f);
	if (!span_eq(span_of(text, n), got))
		fail_msg("%s differs from:\n%.*s", path, (int)got.n, (const char *)got.p);
}

static void expect_golden(const char *name, enum cwc_chamber chamber)
{
	struct cwc_letter l;
	struct cwc_problems p;
	char path[256];

	snprintf(path, sizeof(path), GOLDEN "%s.json", name);
	json_t *root = json_load_file(path, 0, NULL);

	assert_non_null(root);
	take_letter(&l, root);
	assert_int_equal(cwc_validate(&l, chamber, &p), ERR_OK);
	buf_reset(&out);
	cwc_render(&l, chamber, &out);
	assert_int_equal(buf_ok(&out), ERR_OK);
	expect_file(name, span_buf(&out));
	json_decref(root);
}

static void test_golden_house(void **state)
{
	(void)state;
	expect_golden("sample-house", CWC_HOUSE);
	expect_golden("house", CWC_HOUSE);
	expect_golden("house-minimal", CWC_HOUSE);
}

static void test_golden_senate(void **state)
{
	(void)state;
	expect_golden("senate", CWC_SENATE);
	expect_golden("senate-minimal", CWC_SENATE);
}

static const char *render(const struct cwc_letter *l, enum cwc_chamber chamber)
{
	const char *s;

	buf_reset(&out);
	cwc_render(l, chamber, &out);
	s = buf_cstr(&out);
	assert_non_null(s);
	return s;
}

static void test_contacts_without_a_value_are_left_out(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	fixture_set(&l, CWC_ORG_CONTACT_NAME, NULL);
	fixture_set(&l, CWC_ORG_CONTACT_EMAIL, "");
	assert_non_null(strstr(render(&l, CWC_HOUSE),
			       "    <OrganizationContact>\n"
			       "      <OrganizationContactPhone>202-555-0148</OrganizationContactPhone>\n"
			       "    </OrganizationContact>\n"));
	fixture_set(&l, CWC_ORG_CONTACT_PHONE, NULL);
	assert_null(strstr(render(&l, CWC_HOUSE), "OrganizationContact>"));
	assert_non_null(strstr(render(&l, CWC_HOUSE), "</Organization>\n    <OrganizationAbout>"));
	l.n_bills = 0;
	assert_null(strstr(render(&l, CWC_HOUSE), "<Bill"));
}

static void test_spellings(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_SENATE);
	fixture_set(&l, CWC_PRO_OR_CON, "cON");
	l.bill[0].type = span_str("h con res");
	assert_non_null(strstr(render(&l, CWC_SENATE), "<NewsletterOptIn>N</NewsletterOptIn>"));
	assert_non_null(strstr(render(&l, CWC_SENATE), "<AddressValidation>Y</AddressValidation>"));
	assert_non_null(strstr(render(&l, CWC_SENATE), "<ProOrCon>Con</ProOrCon>"));
	assert_non_null(strstr(render(&l, CWC_SENATE), "<BillTypeAbbreviation>H.Con.Res</BillTypeAbbreviation>"));
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<BillTypeAbbreviation>hconres</BillTypeAbbreviation>"));
}

static void test_escapes_and_line_breaks(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	fixture_set(&l, CWC_ORG_STATEMENT, "\r\n\r\r\n&<>\"'&\r");
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<OrganizationStatement>\n\n\n&amp;&lt;&gt;&quot;&apos;&amp;\n"
						      "</OrganizationStatement>"));
	fixture_set(&l, CWC_TITLE, "x&");
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<Title>x&amp;</Title>"));
}

/* The caller has to validate first. If it does not, the document is still markup of ours alone. */
static void test_what_was_not_validated_is_still_escaped(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	l.bill[0].type = span_str("<b>");
	fixture_set(&l, CWC_NEWSLETTER, "</NewsletterOptIn>");
	fixture_set(&l, CWC_PRO_OR_CON, "&");
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<BillTypeAbbreviation>&lt;b&gt;</BillTypeAbbreviation>"));
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<NewsletterOptIn>&lt;/NewsletterOptIn&gt;</NewsletterOptIn>"));
	assert_non_null(strstr(render(&l, CWC_HOUSE), "<ProOrCon>&amp;</ProOrCon>"));
	cwc_letter_init(&l);
	assert_string_equal(render(&l, CWC_HOUSE), "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CWC>\n"
						   "  <CWCVersion>2.0</CWCVersion>\n</CWC>\n");
}

static void test_the_ceiling_of_the_buffer_holds(void **state)
{
	struct cwc_letter l;
	struct buf small;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	render(&l, CWC_HOUSE);
	for (size_t max = 0; max < out.n; max += 7) {
		buf_init(&small, max);
		cwc_render(&l, CWC_HOUSE, &small);
		assert_int_equal(buf_ok(&small), ERR_LIMIT);
		assert_true(small.n <= max);
		buf_clear(&small);
	}
	buf_init(&small, out.n);
	cwc_render(&l, CWC_HOUSE, &small);
	assert_int_equal(buf_ok(&small), ERR_OK);
	buf_clear(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_golden_house, setup, teardown),
		cmocka_unit_test_setup_teardown(test_golden_senate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contacts_without_a_value_are_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spellings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_escapes_and_line_breaks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_was_not_validated_is_still_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_ceiling_of_the_buffer_holds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
