/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A valid letter for either chamber, for the tests of cwc/. The views point at string literals; a
 * test changes one thing and looks at what that does.
 */
#ifndef TESTS_UNIT_CWC_FIXTURE_H
#define TESTS_UNIT_CWC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cwc/cwc.h"

static inline void fixture_set(struct cwc_letter *l, enum cwc_field f, const char *text)
{
	l->v[f] = text != NULL ? span_str(text) : span_of(NULL, 0);
}

static inline void fixture_required(struct cwc_letter *l, enum cwc_chamber chamber)
{
	cwc_letter_init(l);
	fixture_set(l, CWC_DELIVERY_ID, "9f1c0b7e5d2a4c68b3e7a1d4f6082c95");
	fixture_set(l, CWC_DELIVERY_DATE, "20260302");
	fixture_set(l, CWC_AGENT, "Prairie Civic Relay LLC");
	fixture_set(l, CWC_AGENT_ACK_EMAIL, "acks@relay.example.org");
	fixture_set(l, CWC_AGENT_CONTACT_NAME, "Dana Okafor");
	fixture_set(l, CWC_AGENT_CONTACT_EMAIL, "ops@relay.example.org");
	fixture_set(l, CWC_AGENT_CONTACT_PHONE, "202-555-0117");
	fixture_set(l, CWC_CAMPAIGN_ID, "campaign-7");
	fixture_set(l, CWC_MEMBER_OFFICE, chamber == CWC_HOUSE ? "HNE03" : "SNE02");
	fixture_set(l, CWC_PREFIX, "Ms.");
	fixture_set(l, CWC_FIRST_NAME, "Rosa");
	fixture_set(l, CWC_LAST_NAME, "Lindqvist");
	fixture_set(l, CWC_ADDRESS1, "410 East Depot Street");
	fixture_set(l, CWC_CITY, "Ogallala");
	fixture_set(l, CWC_STATE, "NE");
	fixture_set(l, CWC_ZIP, "69153");
	fixture_set(l, CWC_EMAIL, "rosa@mail.example.com");
	fixture_set(l, CWC_SUBJECT, "Please protect our libraries");
	l->topic[0] = span_str("Education");
	l->n_topics = 1;
	fixture_set(l, CWC_CONSTITUENT_MESSAGE, "Our reading room is the only free internet in town.");
}

/* With every optional element, too. */
static inline void fixture_full(struct cwc_letter *l, enum cwc_chamber chamber)
{
	fixture_required(l, chamber);
	fixture_set(l, CWC_ORGANIZATION, "Friends of Rural Libraries");
	fixture_set(l, CWC_ORG_CONTACT_NAME, "Lee Marsh");
	fixture_set(l, CWC_ORG_CONTACT_EMAIL, "lee@libraries.example.org");
	fixture_set(l, CWC_ORG_CONTACT_PHONE, "202-555-0148");
	fixture_set(l, CWC_ORG_ABOUT, "A volunteer network.");
	fixture_set(l, CWC_RESPONSE_REQUESTED, "Y");
	fixture_set(l, CWC_NEWSLETTER, "n");
	fixture_set(l, CWC_MIDDLE_NAME, "E.");
	fixture_set(l, CWC_SUFFIX, "Jr.");
	fixture_set(l, CWC_TITLE, "Librarian");
	fixture_set(l, CWC_CONSTITUENT_ORG, "Ogallala Reading Room");
	fixture_set(l, CWC_ADDRESS2, "Unit 7B");
	fixture_set(l, CWC_ADDRESS3, "Mail Stop 12");
	fixture_set(l, CWC_PHONE, "308-555-0163");
	fixture_set(l, CWC_ADDRESS_VALIDATION, "y");
	fixture_set(l, CWC_EMAIL_VALIDATION, "N");
	l->bill[0] = (struct cwc_bill){ span_str("119"), span_str("hr"), span_str("9999") };
	l->n_bills = 1;
	fixture_set(l, CWC_PRO_OR_CON, "Pro");
	fixture_set(l, CWC_ORG_STATEMENT, "Rural libraries ask Congress to keep the grants.");
	fixture_set(l, CWC_MORE_INFO, "https://libraries.example.org/issues");
}

#endif
