/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CWC 2.0: the message, its rules, its XML, the answers of both chambers, office lists.
 *
 * Everything in this folder is pure: bytes and time in, values out. A letter is a set of views
 * (struct span) into memory that the caller owns and wipes; nothing here copies a value except
 * cwc_render() and the small normalised forms in `struct cwc_letter`. No problem text, outcome or
 * log field made here holds a value of a letter: only names of elements and rules.
 *
 * Sources: the House RelaxNG schema v2 (element names, lengths, patterns), the House vendor
 * documentation of 02/2023 (paths, answers, office codes), and the Senate SOAPBox technical page
 * as transcribed by approved vendors (prefixes, bill types, statuses).
 */
#ifndef CWC_CWC_H
#define CWC_CWC_H

#include "worker/base/buf.h"

enum cwc_chamber { CWC_HOUSE, CWC_SENATE, CWC_CHAMBERS };

/* "house", "senate". */
const char *cwc_chamber_name(enum cwc_chamber c);

/* --- offices --------------------------------------------------------------------------------- */

#define CWC_OFFICE_SIZE 6 /* five characters and a NUL */

/* HSSDD (at-large 00; American Samoa HAQ00) or SSS0N (N = class 1 to 3); the state must exist.
 * ERR_SYNTAX otherwise. Says nothing about whether the office takes part. */
ERR_MUST_CHECK enum err cwc_office_parse(struct span code, enum cwc_chamber *ret_chamber);

/* --- the letter ------------------------------------------------------------------------------ */

/* Who may set an element. */
enum cwc_source {
	CWC_FROM_WORKER, /* CWCVersion, DeliveryId, DeliveryDate, DeliveryAgent..., MemberOffice */
	CWC_FROM_PUBLIC, /* subject, topics, campaign, bodies, ...: the job's clear part or the sealed part */
	CWC_FROM_PERSON  /* the constituent's: only the sealed part (Prefix: both) */
};

/* X(ENUM, element name, group, source, required, min, max, kind). Order is the order of rendering,
 * which is the order of the official sample. Lengths are code points. Topics, Bills are lists. */
#define CWC_FIELDS(X)                                                                                \
	X(DELIVERY_ID, "DeliveryId", DELIVERY, WORKER, 1, 32, 32, ALNUM)                             \
	X(DELIVERY_DATE, "DeliveryDate", DELIVERY, WORKER, 1, 8, 8, DATE)                            \
	X(AGENT, "DeliveryAgent", DELIVERY, WORKER, 1, 4, 500, LINE)                                 \
	X(AGENT_ACK_EMAIL, "DeliveryAgentAckEmailAddress", DELIVERY, WORKER, 1, 1, 500, EMAIL)       \
	X(AGENT_CONTACT_NAME, "DeliveryAgentContactName", AGENT_CONTACT, WORKER, 1, 6, 500, LINE)    \
	X(AGENT_CONTACT_EMAIL, "DeliveryAgentContactEmail", AGENT_CONTACT, WORKER, 1, 1, 500, EMAIL) \
	X(AGENT_CONTACT_PHONE, "DeliveryAgentContactPhone", AGENT_CONTACT, WORKER, 1, 12, 12, PHONE) \
	X(ORGANIZATION, "Organization", DELIVERY, PUBLIC, 0, 6, 500, LINE)                           \
	X(ORG_CONTACT_NAME, "OrganizationContactName", ORG_CONTACT, PUBLIC, 0, 2, 500, LINE)         \
	X(ORG_CONTACT_EMAIL, "OrganizationContactEmail", ORG_CONTACT, PUBLIC, 0, 1, 500, EMAIL)      \
	X(ORG_CONTACT_PHONE, "OrganizationContactPhone", ORG_CONTACT, PUBLIC, 0, 12, 12, PHONE)      \
	X(ORG_ABOUT, "OrganizationAbout", DELIVERY, PUBLIC, 0, 6, 500, TEXT)                         \
	X(CAMPAIGN_ID, "CampaignId", DELIVERY, PUBLIC, 1, 2, 500, LINE)                              \
	X(MEMBER_OFFICE, "MemberOffice", RECIPIENT, WORKER, 1, 5, 5, OFFICE)                         \
	X(RESPONSE_REQUESTED, "IsResponseRequested", RECIPIENT, PUBLIC, 0, 1, 1, YES_NO)             \
	X(NEWSLETTER, "NewsletterOptIn", RECIPIENT, PUBLIC, 0, 1, 1, YES_NO)                         \
	X(PREFIX, "Prefix", CONSTITUENT, PERSON, 1, 1, 500, PREFIX)                                  \
	X(FIRST_NAME, "FirstName", CONSTITUENT, PERSON, 1, 1, 500, LINE)                             \
	X(MIDDLE_NAME, "MiddleName", CONSTITUENT, PERSON, 0, 1, 500, LINE)                           \
	X(LAST_NAME, "LastName", CONSTITUENT, PERSON, 1, 1, 500, LINE)                               \
	X(SUFFIX, "Suffix", CONSTITUENT, PERSON, 0, 1, 500, LINE)                                    \
	X(TITLE, "Title", CONSTITUENT, PERSON, 0, 1, 500, LINE)                                      \
	X(CONSTITUENT_ORG, "ConstituentOrganization", CONSTITUENT, PERSON, 0, 3, 500, LINE)          \
	X(ADDRESS1, "Address1", CONSTITUENT, PERSON, 1, 3, 500, LINE)                                \
	X(ADDRESS2, "Address2", CONSTITUENT, PERSON, 0, 3, 500, LINE)                                \
	X(ADDRESS3, "Address3", CONSTITUENT, PERSON, 0, 3, 500, LINE)                                \
	X(CITY, "City", CONSTITUENT, PERSON, 1, 3, 500, LINE)                                        \
	X(STATE, "StateAbbreviation", CONSTITUENT, PERSON, 1, 2, 2, STATE)                           \
	X(ZIP, "Zip", CONSTITUENT, PERSON, 1, 5, 10, ZIP)                                            \
	X(PHONE, "Phone", CONSTITUENT, PERSON, 0, 12, 12, PHONE)                                     \
	X(ADDRESS_VALIDATION, "AddressValidation", CONSTITUENT, PERSON, 0, 1, 1, YES_NO)             \
	X(EMAIL, "Email", CONSTITUENT, PERSON, 1, 1, 500, EMAIL)                                     \
	X(EMAIL_VALIDATION, "EmailValidation", CONSTITUENT, PERSON, 0, 1, 1, YES_NO)                 \
	X(SUBJECT, "Subject", MESSAGE, PUBLIC, 1, 6, 500, LINE)                                      \
	X(TOPICS, "LibraryOfCongressTopics", MESSAGE, PUBLIC, 1, 1, 32, TOPICS)                      \
	X(BILLS, "Bills", MESSAGE, PUBLIC, 0, 0, 16, BILLS)                                          \
	X(PRO_OR_CON, "ProOrCon", MESSAGE, PUBLIC, 0, 3, 3, PRO_CON)                                 \
	X(ORG_STATEMENT, "OrganizationStatement", MESSAGE, PUBLIC, 0, 6, 10000, TEXT)                \
	X(CONSTITUENT_MESSAGE, "ConstituentMessage", MESSAGE, PUBLIC, 0, 6, 10000, TEXT)             \
	X(MORE_INFO, "MoreInfo", MESSAGE, PUBLIC, 0, 1, 2000, URI)

enum cwc_field {
#define CWC_FIELD_ENUM(e, name, group, source, required, min, max, kind) CWC_##e,
	CWC_FIELDS(CWC_FIELD_ENUM)
#undef CWC_FIELD_ENUM
		CWC_FIELD_COUNT
};

const char *cwc_field_name(enum cwc_field f);
enum cwc_source cwc_field_source(enum cwc_field f);
/* ERR_NOT_FOUND for a name that CWC 2.0 lacks; names are case-sensitive. */
ERR_MUST_CHECK enum err cwc_field_find(struct span name, enum cwc_field *ret_field);

#define CWC_TOPICS_MAX 32
#define CWC_BILLS_MAX  16

/* congress and number are digits; type is in the spelling of either chamber. */
struct cwc_bill {
	struct span congress, type, number;
};

/* A field that is absent has v[f].p == NULL; an empty value counts as absent, too. Lists are not in
 * v[]. A list holds one entry more than CWC 2.0 (or our ceiling) allows, so that cwc_validate() can
 * say that there are too many; what comes after that entry is not kept. */
struct cwc_letter {
	struct span v[CWC_FIELD_COUNT];
	struct span topic[CWC_TOPICS_MAX + 1];
	struct cwc_bill bill[CWC_BILLS_MAX + 1];
	size_t n_topics, n_bills;
	char phone[13]; /* backs v[CWC_PHONE] after cwc_set_phone(): a letter is not copied after that */
};

void cwc_letter_init(struct cwc_letter *l);

/* Sets Phone from any spelling of a ten-digit US number ("(217) 555-0100", "+12175550100"): digits
 * regrouped as NNN-NNN-NNNN. What is not ten digits (or eleven with a leading 1; after a plus sign
 * only those), or has letters or an extension, is set as it is and fails in cwc_validate(). */
void cwc_set_phone(struct cwc_letter *l, struct span any);

/* Reads a deterministic CBOR map { element name: text, ... } into l. LibraryOfCongressTopics is an
 * array of texts; Bills an array of maps with BillCongress, BillTypeAbbreviation and BillNumber,
 * texts all three: views need digits to point at, so that an integer is LETTER_FIELD_TYPE. An empty
 * text counts as absent. Phone passes through cwc_set_phone(); every other view points into `map`.
 * `clear` says that the map is the clear part of a job. Errors: LETTER_SYNTAX, LETTER_FIELD_UNKNOWN,
 * LETTER_FIELD_TYPE, LETTER_FIELD_TWICE (set in l already), LETTER_FIELD_RESERVED (CWC_FROM_WORKER),
 * and LETTER_FIELD_PERSONAL (CWC_FROM_PERSON other than Prefix in a clear part). *ret_field is always set: to
 * the element, when one is to blame, else to CWC_FIELD_COUNT. After an error l is of no use. */
ERR_MUST_CHECK enum err cwc_letter_read(struct span map, bool clear, struct cwc_letter *l, enum cwc_field *ret_field);

/* --- validation ------------------------------------------------------------------------------ */

/* X(ENUM, stable name, text) */
#define CWC_RULES(X)                                                                      \
	X(MISSING, "missing", "is required")                                              \
	X(TOO_SHORT, "too_short", "is shorter than allowed")                              \
	X(TOO_LONG, "too_long", "is longer than allowed")                                 \
	X(ENCODING, "encoding", "is not well-formed UTF-8")                               \
	X(CONTROL, "control_character",                                                   \
	  "has a control character, one that XML 1.0 forbids, or a line break in a line") \
	X(PATTERN, "pattern", "does not have the required form")                          \
	X(VALUE, "value", "is not one of the allowed values")                             \
	X(TOO_MANY, "too_many", "has more entries than allowed")                          \
	X(DUPLICATE, "duplicate", "is given twice")                                       \
	X(NO_BODY, "no_body", "or ConstituentMessage is required")                        \
	X(SAME_BODY, "same_body", "repeats OrganizationStatement word for word")          \
	X(CHAMBER, "chamber", "does not belong to this chamber")

enum cwc_rule {
#define CWC_RULE_ENUM(e, name, text) CWC_RULE_##e,
	CWC_RULES(CWC_RULE_ENUM)
#undef CWC_RULE_ENUM
		CWC_RULE_COUNT
};

const char *cwc_rule_name(enum cwc_rule r);
const char *cwc_rule_text(enum cwc_rule r);

#define CWC_PROBLEMS_MAX 48

/* index counts the entry of a list from 1; 0 for a plain element. */
struct cwc_problem {
	enum cwc_field field;
	enum cwc_rule rule;
	unsigned index;
};

struct cwc_problems {
	struct cwc_problem at[CWC_PROBLEMS_MAX];
	size_t n;
};

/* Checks every element by the rules of the chamber and reports all problems, in rendering order.
 * ERR_LETTER_INVALID when there is at least one. */
ERR_MUST_CHECK enum err cwc_validate(const struct cwc_letter *l, enum cwc_chamber chamber, struct cwc_problems *ret_p);

/* "Zip:pattern,City:missing,Bills/2:value": for results and machines. */
void cwc_problems_brief(const struct cwc_problems *p, struct buf *out);
/* One line each: "Zip: does not have the required form (NNNNN or NNNNN-NNNN)". */
void cwc_problems_text(const struct cwc_problems *p, enum cwc_chamber chamber, struct buf *out);

/* --- rendering ------------------------------------------------------------------------------- */

/* Appends the XML document. The letter must have passed cwc_validate() for this chamber. Line
 * breaks become LF; the five special characters are escaped; bill types and Y/N, pro/con are
 * written in the chamber's spelling. Check buf_ok(). */
void cwc_render(const struct cwc_letter *l, enum cwc_chamber chamber, struct buf *out);

/* --- identity -------------------------------------------------------------------------------- */

#define CWC_DELIVERY_ID_SIZE 33 /* 32 hex digits and a NUL */

/* Deterministic: the first 16 bytes of BLAKE2b-256 (keyed with "cwc-delivery-id-v1") over
 * environment, sid and office, each preceded by its length as one byte, in lower-case hex. The same
 * submission to the same office has the same id for ever, whatever Redis forgets. */
void cwc_delivery_id(struct span environment, struct span sid, struct span office, char ret_id[CWC_DELIVERY_ID_SIZE]);

#define CWC_DATE_SIZE 9

/* The date in Washington (US Eastern time, rules of the Energy Policy Act of 2005): YYYYMMDD. */
void cwc_eastern_date(int64_t unix_s, char ret_date[CWC_DATE_SIZE]);
/* Seconds to add to UTC for US Eastern time: -18000, or -14400 in daylight saving time. */
int cwc_eastern_offset(int64_t unix_s);

/* --- office lists ---------------------------------------------------------------------------- */

#define CWC_OFFICES_MAX 1024

struct cwc_offices {
	char code[CWC_OFFICES_MAX][CWC_OFFICE_SIZE]; /* sorted, each once */
	size_t n;
	size_t ignored; /* malformed entries that were passed over */
};

/* House: a JSON array of codes. Senate: a JSON array of objects with "office_code". Entries that
 * are not codes of this chamber are ignored and counted. ERR_SYNTAX: not such an array.
 * ERR_LIMIT: more than 256 KiB, or more than CWC_OFFICES_MAX codes (a list is never cut short).
 * ERR_RANGE: no valid entry at all (an empty list is never accepted). */
ERR_MUST_CHECK enum err cwc_offices_parse(enum cwc_chamber chamber, struct span json, struct cwc_offices *ret_list);
bool cwc_offices_have(const struct cwc_offices *list, struct span code);

#endif
