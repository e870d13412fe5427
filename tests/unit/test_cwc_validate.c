/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cwc_fixture.h"

#include <stdio.h>
#include <string.h>

static struct cwc_problems problems;

static const char *brief_of(const struct cwc_letter *l, enum cwc_chamber chamber)
{
	static char text[8192];
	struct buf b;
	enum err e = cwc_validate(l, chamber, &problems);

	assert_int_equal(e, problems.n == 0 ? ERR_OK : ERR_LETTER_INVALID);
	buf_init(&b, sizeof(text) - 1);
	cwc_problems_brief(&problems, &b);
	assert_int_equal(buf_ok(&b), ERR_OK);
	if (b.n > 0)
		memcpy(text, b.p, b.n);
	text[b.n] = '\0';
	buf_clear(&b);
	return text;
}

/* The problems of a full letter in which one element has another value. */
static const char *with_span(enum cwc_chamber chamber, enum cwc_field f, struct span value)
{
	struct cwc_letter l;

	fixture_full(&l, chamber);
	l.v[f] = value;
	return brief_of(&l, chamber);
}

static const char *with(enum cwc_chamber chamber, enum cwc_field f, const char *value)
{
	return with_span(chamber, f, span_str(value));
}

#define house(f, value)  with(CWC_HOUSE, (f), (value))
#define senate(f, value) with(CWC_SENATE, (f), (value))

static void expect_all(enum cwc_field f, const char *const *values, size_t n, const char *rule)
{
	char expected[128];

	snprintf(expected, sizeof(expected), "%s%s%s", rule[0] != 0 ? cwc_field_name(f) : "", rule[0] != 0 ? ":" : "",
		 rule);
	for (size_t i = 0; i < n; i++) {
		const char *got = house(f, values[i]);

		if (strcmp(got, expected) != 0)
			fail_msg("%s = <%s>: %s", cwc_field_name(f), values[i], got);
	}
}

#define EXPECT(f, rule, ...)                                  \
	expect_all((f), (const char *const[]){ __VA_ARGS__ }, \
		   sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), (rule))

static void test_good_letters(void **state)
{
	struct cwc_letter l;

	(void)state;
	for (unsigned c = 0; c < CWC_CHAMBERS; c++) {
		fixture_required(&l, (enum cwc_chamber)c);
		assert_string_equal(brief_of(&l, (enum cwc_chamber)c), "");
		fixture_full(&l, (enum cwc_chamber)c);
		assert_string_equal(brief_of(&l, (enum cwc_chamber)c), "");
	}
}

static void test_what_is_missing(void **state)
{
	struct cwc_letter l;

	(void)state;
	cwc_letter_init(&l);
	assert_string_equal(
		brief_of(&l, CWC_SENATE),
		"DeliveryId:missing,DeliveryDate:missing,DeliveryAgent:missing,DeliveryAgentAckEmailAddress:missing,"
		"DeliveryAgentContactName:missing,DeliveryAgentContactEmail:missing,DeliveryAgentContactPhone:missing,"
		"CampaignId:missing,MemberOffice:missing,Prefix:missing,FirstName:missing,LastName:missing,"
		"Address1:missing,City:missing,StateAbbreviation:missing,Zip:missing,Email:missing,Subject:missing,"
		"LibraryOfCongressTopics:missing,OrganizationStatement:no_body");
	assert_string_equal(house(CWC_CITY, ""), "City:missing");
	assert_string_equal(house(CWC_ADDRESS2, ""), "");
}

/* Lengths count code points: here each takes four bytes. */
static void test_lengths(void **state)
{
	static char text[4 * 10001 + 1];
	static const struct {
		enum cwc_field field;
		size_t min, max;
	} rows[] = {
		{ CWC_AGENT, 4, 500 },
		{ CWC_AGENT_CONTACT_NAME, 6, 500 },
		{ CWC_ORGANIZATION, 6, 500 },
		{ CWC_ORG_ABOUT, 6, 500 },
		{ CWC_ORG_CONTACT_NAME, 2, 500 },
		{ CWC_CAMPAIGN_ID, 2, 500 },
		{ CWC_PREFIX, 1, 500 },
		{ CWC_FIRST_NAME, 1, 500 },
		{ CWC_MIDDLE_NAME, 1, 500 },
		{ CWC_LAST_NAME, 1, 500 },
		{ CWC_SUFFIX, 1, 500 },
		{ CWC_TITLE, 1, 500 },
		{ CWC_CONSTITUENT_ORG, 3, 500 },
		{ CWC_ADDRESS1, 3, 500 },
		{ CWC_ADDRESS2, 3, 500 },
		{ CWC_ADDRESS3, 3, 500 },
		{ CWC_CITY, 3, 500 },
		{ CWC_SUBJECT, 6, 500 },
		{ CWC_ORG_STATEMENT, 6, 10000 },
		{ CWC_CONSTITUENT_MESSAGE, 6, 10000 },
	};
	char expected[128];

	(void)state;
	for (size_t i = 0; i <= 10000; i++)
		memcpy(text + 4 * i, "\xf0\x9f\x8c\xbe", 4);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum cwc_field f = rows[i].field;

		assert_string_equal(with_span(CWC_HOUSE, f, span_of(text, 4 * rows[i].min)), "");
		assert_string_equal(with_span(CWC_HOUSE, f, span_of(text, 4 * rows[i].max)), "");
		snprintf(expected, sizeof(expected), "%s:too_long", cwc_field_name(f));
		assert_string_equal(with_span(CWC_HOUSE, f, span_of(text, 4 * (rows[i].max + 1))), expected);
		if (rows[i].min == 1)
			continue;
		snprintf(expected, sizeof(expected), "%s:too_short", cwc_field_name(f));
		assert_string_equal(with_span(CWC_HOUSE, f, span_of(text, 4 * (rows[i].min - 1))), expected);
	}
}

/* CR LF is one line break in the document, so that it counts as one. */
static void test_lengths_count_what_is_rendered(void **state)
{
	static char text[10002];

	(void)state;
	assert_string_equal(house(CWC_ORG_STATEMENT, "a\r\nb\r\n"), "OrganizationStatement:too_short");
	assert_string_equal(house(CWC_ORG_STATEMENT, "a\r\nb\r\ncd"), "");
	assert_string_equal(house(CWC_ORG_STATEMENT, "a\rb\rcd"), "");
	memset(text, 'x', sizeof(text));
	memcpy(text + 100, "\r\n", 2);
	assert_string_equal(with_span(CWC_HOUSE, CWC_ORG_STATEMENT, span_of(text, 10001)), "");
	assert_string_equal(with_span(CWC_HOUSE, CWC_ORG_STATEMENT, span_of(text, 10002)),
			    "OrganizationStatement:too_long");
}

static void test_encoding(void **state)
{
	(void)state;
	EXPECT(CWC_FIRST_NAME, "encoding", "\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80");
	EXPECT(CWC_EMAIL, "encoding", "a\x80@b.c");
	EXPECT(CWC_CONSTITUENT_MESSAGE, "encoding", "Six ch\xe2\x82");
}

static void test_control_characters(void **state)
{
	(void)state;
	EXPECT(CWC_FIRST_NAME, "control_character", "a\nb", "a\rb", "a\tb", "\x01", "\x1f", "\x7f", "\xc2\x80",
	       "\xc2\x9f", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbf\xbe", "\xef\xbf\xbf");
	EXPECT(CWC_FIRST_NAME, "", "\xc2\xa0x", "\xef\xbf\xbd", "\xee\x80\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf");
	EXPECT(CWC_ORG_STATEMENT, "", "a\nb\rc\td\r\n", "six ch\xe2\x80\xa8");
	EXPECT(CWC_ORG_STATEMENT, "control_character", "six ch\x0b", "six ch\x0c", "six ch\xc2\x85",
	       "six ch\xef\xbf\xbf");
	assert_string_equal(with_span(CWC_HOUSE, CWC_TITLE, span_of("a\0b", 3)), "Title:control_character");
	/* The length is looked at all the same, the form is not. */
	assert_string_equal(house(CWC_CITY, "a\n"), "City:control_character,City:too_short");
	assert_string_equal(house(CWC_ZIP, "6915\n"), "Zip:control_character");
}

static void test_fixed_forms(void **state)
{
	(void)state;
	EXPECT(CWC_DELIVERY_ID, "", "AZaz09AZaz09AZaz09AZaz09AZaz0912");
	EXPECT(CWC_DELIVERY_ID, "pattern", "9f1c0b7e5d2a4c68b3e7a1d4f6082c9", "9f1c0b7e5d2a4c68b3e7a1d4f6082c955",
	       "9f1c0b7e-5d2a-4c68-b3e7-a1d4f608", "9f1c0b7e5d2a4c68b3e7a1d4f6082c9\xc3\xa9");
	EXPECT(CWC_PHONE, "", "000-000-0000", "999-999-9999");
	EXPECT(CWC_PHONE, "pattern", "2025550117", "(202) 555-0117", "202-555-011", "202-555-01177", "202-555 0117",
	       "a02-555-0117", "/02-555-0117", ":02-555-0117");
	EXPECT(CWC_AGENT_CONTACT_PHONE, "pattern", "2025550117");
	EXPECT(CWC_ORG_CONTACT_PHONE, "pattern", "x");
	EXPECT(CWC_ZIP, "", "00000", "99999-9999");
	EXPECT(CWC_ZIP, "pattern", "6915", "691530", "69153-", "69153-001", "69153-00011", "69153 0001", " 69153",
	       "6915a");
}

static void test_dates(void **state)
{
	(void)state;
	EXPECT(CWC_DELIVERY_DATE, "", "20260302", "20240229", "20000229", "20261231", "00010101", "20260430");
	EXPECT(CWC_DELIVERY_DATE, "pattern", "20260229", "21000229", "19000229", "20260431", "20260631", "20260931",
	       "20261131", "20261301", "20260001", "20260100", "20260132", "00000101", "2026030", "202603022",
	       "2026-3-2", "20240230");
}

static void test_emails(void **state)
{
	(void)state;
	EXPECT(CWC_EMAIL, "", "a@b.c", "a@@b.c", "a@b..", "a@b.c.d", "\xc3\xbc@\xc3\xbc.de", "a.b@c.d");
	EXPECT(CWC_EMAIL, "pattern", "a", "@b.c", "a@.c", "a@b", "a@b.", "a@", "a.b@c", "a b@c.d", "a@b.c ",
	       "a@b\xc2\xa0.c",
	       "a@\xe2\x80\x83"
	       "b.c",
	       "a@b.\xe3\x80\x80", "a\xe1\x9a\x80@b.c", "a\xe2\x80\xaf@b.c", "a\xe2\x81\x9f@b.c");
	EXPECT(CWC_AGENT_ACK_EMAIL, "pattern", "a@b");
	EXPECT(CWC_AGENT_CONTACT_EMAIL, "pattern", "a@b");
	EXPECT(CWC_ORG_CONTACT_EMAIL, "pattern", "a@b");
}

static void test_fixed_values(void **state)
{
	static const enum cwc_field yes_no[] = { CWC_RESPONSE_REQUESTED, CWC_NEWSLETTER, CWC_ADDRESS_VALIDATION,
						 CWC_EMAIL_VALIDATION };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		EXPECT(yes_no[i], "", "Y", "N", "y", "n");
		EXPECT(yes_no[i], "value", "yes", "no", "1", "T", " Y");
	}
	EXPECT(CWC_PRO_OR_CON, "", "pro", "con", "Pro", "CON", "pRO");
	EXPECT(CWC_PRO_OR_CON, "value", "Undecided", "p", "pros");
	EXPECT(CWC_STATE, "", "NE", "DC", "AS", "GU", "MP", "PR", "VI");
	EXPECT(CWC_STATE, "value", "ne", "AQ", "XX", "N", "Nebraska");
}

static void test_prefix_by_chamber(void **state)
{
	static const char *const five[] = { "Mr.", "Mrs.", "Miss", "Ms.", "Dr." };
	static const char *const others[] = { "Mx.", "Mr", "mr.", "Reverend", "Dr. and Mrs." };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		assert_string_equal(house(CWC_PREFIX, five[i]), "");
		assert_string_equal(senate(CWC_PREFIX, five[i]), "");
		assert_string_equal(house(CWC_PREFIX, others[i]), "");
		assert_string_equal(senate(CWC_PREFIX, others[i]), "Prefix:value");
	}
}

static void test_office_by_chamber(void **state)
{
	(void)state;
	assert_string_equal(house(CWC_MEMBER_OFFICE, "HAQ00"), "");
	assert_string_equal(house(CWC_MEMBER_OFFICE, "HAS00"), "MemberOffice:pattern");
	assert_string_equal(house(CWC_MEMBER_OFFICE, "HNE3"), "MemberOffice:pattern");
	assert_string_equal(house(CWC_MEMBER_OFFICE, "SNE01"), "MemberOffice:chamber");
	assert_string_equal(senate(CWC_MEMBER_OFFICE, "HNE03"), "MemberOffice:chamber");
	assert_string_equal(senate(CWC_MEMBER_OFFICE, "SNE00"), "MemberOffice:pattern");
	assert_string_equal(senate(CWC_MEMBER_OFFICE, "SDC01"), "MemberOffice:pattern");
	assert_string_equal(senate(CWC_ADDRESS3, "Mail Stop 12"), "");
}

static void test_addresses_of_more_info(void **state)
{
	static char text[2002] = "https://a.example/";

	(void)state;
	EXPECT(CWC_MORE_INFO, "", "http://a", "https://a", "HTTPS://A.example", "https://a.example/",
	       "https://a?b=c&d='e'", "http://a:80", "http://a:65535/x", "https://a#b", "https://a/%20b/%C3%A9",
	       "https://a/\xc3\xa9\xf0\x9f\x8c\xbe", "https://a/b;c,d(e)!$*+~@:", "https://\xc3\xa9.example/");
	EXPECT(CWC_MORE_INFO, "pattern", "a", "http:", "http://", "https://", "https:///a", "ftp://a/", "//a/b", "/a",
	       "mailto:a@b.c", "javascript:x", "https://a b", "https://a/\xc2\xa0", "https://a/%", "https://a/%2",
	       "https://a/%2g", "https://a/%g2", "https://a:/", "https://a:b/", "https://a:123456/", "https://:80/",
	       "https://u:p@a/", "https://u@a/", "https://[::1]/", "https://a/?b[]=c", "https://a/<b>", "https://a/\"",
	       "https://a/{b}", "https://a/b|c", "https://a/b\\c", "https://a/b^c", "https://a/`", "https://a#b#c",
	       "http//abcdefg", "httpx://a");
	memset(text + 18, 'x', sizeof(text) - 19);
	assert_string_equal(house(CWC_MORE_INFO, text), "MoreInfo:too_long");
	text[2000] = '\0';
	assert_string_equal(house(CWC_MORE_INFO, text), "");
}

static void test_topics(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_SENATE);
	l.topic[1] = span_str("Law");
	l.topic[2] = span_str("Education");
	l.topic[3] = span_str("Gardening");
	l.topic[4] = span_of(NULL, 0);
	l.topic[5] = span_str("Law");
	l.n_topics = 6;
	assert_string_equal(brief_of(&l, CWC_SENATE),
			    "LibraryOfCongressTopics/3:duplicate,LibraryOfCongressTopics/4:value,"
			    "LibraryOfCongressTopics/5:value,LibraryOfCongressTopics/6:duplicate");
	for (size_t i = 1; i <= CWC_TOPICS_MAX; i++)
		l.topic[i] = span_str("x");
	l.n_topics = CWC_TOPICS_MAX + 1;
	assert_non_null(strstr(brief_of(&l, CWC_SENATE), ",LibraryOfCongressTopics/32:value,"
							 "LibraryOfCongressTopics:too_many"));
}

static const char *with_bill(const char *congress, const char *type, const char *number)
{
	struct cwc_letter l;

	fixture_full(&l, CWC_HOUSE);
	l.bill[1] = (struct cwc_bill){ span_str(congress), span_str(type), span_str(number) };
	l.n_bills = 2;
	return brief_of(&l, CWC_HOUSE);
}

static void test_bills(void **state)
{
	(void)state;
	assert_string_equal(with_bill("1", "H. Con. Res.", "999999"), "");
	assert_string_equal(with_bill("", "hr", "1"), "Bills/2:missing");
	assert_string_equal(with_bill("119", "", "1"), "Bills/2:missing");
	assert_string_equal(with_bill("119", "hr", ""), "Bills/2:missing");
	assert_string_equal(with_bill("0119", "hr", "1"), "Bills/2:pattern");
	assert_string_equal(with_bill("0", "hr", "1"), "Bills/2:pattern");
	assert_string_equal(with_bill("119", "hr", "1234567"), "Bills/2:pattern");
	assert_string_equal(with_bill("119", "hr", "-1"), "Bills/2:pattern");
	assert_string_equal(with_bill("119", "hr", "1a"), "Bills/2:pattern");
	assert_string_equal(with_bill("119", "ab", "1"), "Bills/2:value");
	assert_string_equal(with_bill("", "ab", "x"), "Bills/2:missing,Bills/2:pattern,Bills/2:value");
}

static void test_too_many_bills(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	for (size_t i = 0; i <= CWC_BILLS_MAX; i++)
		l.bill[i] = l.bill[0];
	l.n_bills = CWC_BILLS_MAX;
	assert_string_equal(brief_of(&l, CWC_HOUSE), "");
	l.n_bills++;
	assert_string_equal(brief_of(&l, CWC_HOUSE), "Bills:too_many");
}

static void test_bodies(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_HOUSE);
	fixture_set(&l, CWC_CONSTITUENT_MESSAGE, NULL);
	assert_string_equal(brief_of(&l, CWC_HOUSE), "");
	fixture_set(&l, CWC_ORG_STATEMENT, NULL);
	assert_string_equal(brief_of(&l, CWC_HOUSE), "OrganizationStatement:no_body");
	fixture_set(&l, CWC_ORG_STATEMENT, "The same words.");
	fixture_set(&l, CWC_CONSTITUENT_MESSAGE, "The same words.");
	assert_string_equal(brief_of(&l, CWC_HOUSE), "ConstituentMessage:same_body");
	fixture_set(&l, CWC_CONSTITUENT_MESSAGE, " The  same\r\nwords.\n");
	assert_string_equal(brief_of(&l, CWC_HOUSE), "ConstituentMessage:same_body");
	fixture_set(&l, CWC_CONSTITUENT_MESSAGE, "The same words. Mine.");
	assert_string_equal(brief_of(&l, CWC_HOUSE), "");
	fixture_set(&l, CWC_CONSTITUENT_MESSAGE, "The same word.");
	assert_string_equal(brief_of(&l, CWC_HOUSE), "");
}

static void test_all_problems_at_once(void **state)
{
	struct cwc_letter l;

	(void)state;
	fixture_full(&l, CWC_SENATE);
	fixture_set(&l, CWC_ZIP, "6915");
	fixture_set(&l, CWC_CITY, NULL);
	fixture_set(&l, CWC_PREFIX, "Mx.");
	l.bill[1] = (struct cwc_bill){ span_str("119"), span_str("law"), span_str("1") };
	l.n_bills = 2;
	assert_string_equal(brief_of(&l, CWC_SENATE), "Prefix:value,City:missing,Zip:pattern,Bills/2:value");
	assert_int_equal(problems.n, 4);
	assert_int_equal(problems.at[3].field, CWC_BILLS);
	assert_int_equal(problems.at[3].rule, CWC_RULE_VALUE);
	assert_int_equal(problems.at[3].index, 2);
}

static void test_the_list_of_problems_is_bounded(void **state)
{
	struct cwc_letter l;

	(void)state;
	cwc_letter_init(&l);
	l.n_topics = CWC_TOPICS_MAX + 1;
	l.n_bills = CWC_BILLS_MAX + 1;
	assert_int_equal(cwc_validate(&l, CWC_HOUSE, &problems), ERR_LETTER_INVALID);
	assert_int_equal(problems.n, CWC_PROBLEMS_MAX);
}

static void expect_text(enum cwc_chamber chamber, enum cwc_field f, enum cwc_rule rule, unsigned index,
			const char *text)
{
	struct cwc_problems p = { .at = { { f, rule, index } }, .n = 1 };
	struct buf b;

	buf_init(&b, 4096);
	cwc_problems_text(&p, chamber, &b);
	assert_string_equal(buf_cstr(&b), text);
	buf_clear(&b);
}

static void test_texts_for_people(void **state)
{
	(void)state;
	expect_text(CWC_HOUSE, CWC_ZIP, CWC_RULE_PATTERN, 0,
		    "Zip: does not have the required form (NNNNN or NNNNN-NNNN)\n");
	expect_text(CWC_HOUSE, CWC_CITY, CWC_RULE_TOO_SHORT, 0,
		    "City: is shorter than allowed (3 to 500 characters)\n");
	expect_text(CWC_HOUSE, CWC_SUBJECT, CWC_RULE_TOO_LONG, 0,
		    "Subject: is longer than allowed (6 to 500 characters)\n");
	expect_text(CWC_HOUSE, CWC_CITY, CWC_RULE_MISSING, 0, "City: is required\n");
	expect_text(CWC_HOUSE, CWC_BILLS, CWC_RULE_TOO_MANY, 0, "Bills: has more entries than allowed (at most 16)\n");
	expect_text(CWC_HOUSE, CWC_BILLS, CWC_RULE_MISSING, 2,
		    "Bills/2: is required (congress and number in digits, and a type such as H.R.)\n");
	expect_text(CWC_HOUSE, CWC_ORG_STATEMENT, CWC_RULE_NO_BODY, 0,
		    "OrganizationStatement: or ConstituentMessage is required\n");
	expect_text(CWC_SENATE, CWC_MEMBER_OFFICE, CWC_RULE_CHAMBER, 0,
		    "MemberOffice: does not belong to this chamber (S, state, 0, class: SNE02)\n");
	expect_text(CWC_HOUSE, CWC_MEMBER_OFFICE, CWC_RULE_PATTERN, 0,
		    "MemberOffice: does not have the required form (H, state, two digits: HNE03)\n");
	expect_text(CWC_SENATE, CWC_PREFIX, CWC_RULE_VALUE, 0,
		    "Prefix: is not one of the allowed values (Mr., Mrs., Miss, Ms. or Dr.)\n");
}

/* Every field and every rule makes one line with a name and a text. */
static void test_every_text_is_one_line(void **state)
{
	(void)state;
	for (unsigned f = 0; f < CWC_FIELD_COUNT; f++) {
		for (unsigned r = 0; r < CWC_RULE_COUNT; r++) {
			struct cwc_problems p = { .at = { { (enum cwc_field)f, (enum cwc_rule)r, 0 } }, .n = 1 };
			struct buf b;

			buf_init(&b, 4096);
			cwc_problems_text(&p, CWC_SENATE, &b);
			assert_int_equal(buf_ok(&b), ERR_OK);
			assert_ptr_equal(memchr(b.p, '\n', b.n), b.p + b.n - 1);
			assert_non_null(span_find(span_buf(&b), span_str(cwc_rule_text((enum cwc_rule)r))));
			buf_clear(&b);
		}
	}
	assert_string_equal(cwc_rule_name(CWC_RULE_CONTROL), "control_character");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_letters),
		cmocka_unit_test(test_what_is_missing),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_lengths_count_what_is_rendered),
		cmocka_unit_test(test_encoding),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_fixed_forms),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_emails),
		cmocka_unit_test(test_fixed_values),
		cmocka_unit_test(test_prefix_by_chamber),
		cmocka_unit_test(test_office_by_chamber),
		cmocka_unit_test(test_addresses_of_more_info),
		cmocka_unit_test(test_topics),
		cmocka_unit_test(test_bills),
		cmocka_unit_test(test_too_many_bills),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_all_problems_at_once),
		cmocka_unit_test(test_the_list_of_problems_is_bounded),
		cmocka_unit_test(test_texts_for_people),
		cmocka_unit_test(test_every_text_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
