/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to cwc/: the rows behind CWC_FIELDS and the fixed lists of values, as lookups.
 *
 * All data here is constant. A lookup takes a view and returns a static answer; none keeps it.
 */
#ifndef CWC_FIELDS_H
#define CWC_FIELDS_H

#include "cwc/cwc.h"

/* The element that holds a field. Contacts stand inside of Delivery. */
enum cwc_group {
	CWC_GROUP_DELIVERY,
	CWC_GROUP_AGENT_CONTACT,
	CWC_GROUP_ORG_CONTACT,
	CWC_GROUP_RECIPIENT,
	CWC_GROUP_CONSTITUENT,
	CWC_GROUP_MESSAGE,
	CWC_GROUP_COUNT
};

/* What a value looks like; the checks are in validate.c. */
enum cwc_kind {
	CWC_KIND_ALNUM,
	CWC_KIND_DATE,
	CWC_KIND_LINE, /* free text without line breaks */
	CWC_KIND_TEXT, /* free text */
	CWC_KIND_EMAIL,
	CWC_KIND_PHONE,
	CWC_KIND_OFFICE,
	CWC_KIND_YES_NO,
	CWC_KIND_PREFIX,
	CWC_KIND_STATE,
	CWC_KIND_ZIP,
	CWC_KIND_PRO_CON,
	CWC_KIND_URI,
	CWC_KIND_TOPICS,
	CWC_KIND_BILLS
};

struct cwc_row {
	const char *name;
	size_t name_n;
	size_t min, max; /* code points; entries for a list */
	enum cwc_group group;
	enum cwc_source source;
	enum cwc_kind kind;
	bool required;
};

const struct cwc_row *cwc_row(enum cwc_field f);

/* True when the letter has a value, or a list with an entry. An empty value counts as absent. */
bool cwc_has(const struct cwc_letter *l, enum cwc_field f);

/* One of the 56 values of StateAbbreviation. */
bool cwc_state_known(struct span s);
/* One of the 50 states, which alone have senators. */
bool cwc_state_has_senate(struct span s);
/* One of the 32 values of LibraryOfCongressTopic, to the letter. */
bool cwc_topic_known(struct span s);
/* One of the five prefixes that the Senate takes, to the letter. */
bool cwc_prefix_known(struct span s);
/* The chamber's spelling of a bill type given in either ("HR", "h.r.", "H. R."), or NULL. */
const char *cwc_bill_type(struct span any, enum cwc_chamber chamber);

#endif
