/* SPDX-License-Identifier: Apache-2.0 */
/* nonce, user_data and public_key: every state that a document may have each in, under every policy that asks for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/attest_parts.h"

#define TEXT32 "0123456789abcdef0123456789ABCDEF"

/* Missing and null say the same. */
enum state { MISSING, NONE, EMPTY, VALUE, OTHER, LONGER, STATES };

static const struct span encoded[STATES] = {
	[NONE] = { (const uint8_t *)"\xf6", 1 },
	[EMPTY] = { (const uint8_t *)"\x40", 1 },
	[VALUE] = { (const uint8_t *)"\x58\x20" TEXT32, 34 },
	[OTHER] = { (const uint8_t *)"\x58\x20"
				     "1123456789abcdef0123456789ABCDEF",
		    34 },
	[LONGER] = { (const uint8_t *)"\x58\x21" TEXT32 "\0", 35 },
};

enum ask { ANYTHING, ABSENT, ABSENT_SIZED, EMPTY_STRING, EQUAL, ASKS };

/* A span without a p asks for a field that is not there, whatever its size says. */
static const struct span wanted[ASKS] = {
	[ABSENT] = { NULL, 0 },
	[ABSENT_SIZED] = { NULL, 32 },
	[EMPTY_STRING] = { (const uint8_t *)"", 0 },
	[EQUAL] = { (const uint8_t *)TEXT32, 32 },
};

static bool fits(enum state s, enum ask a)
{
	if (a == ANYTHING)
		return true;
	if (a == ABSENT || a == ABSENT_SIZED)
		return s == MISSING || s == NONE;
	return s == (a == EQUAL ? VALUE : EMPTY);
}

static const struct field {
	const char *name;
	enum attest_code code;
} fields[] = { { "nonce", ATTEST_BINDING_NONCE },
	       { "user_data", ATTEST_BINDING_USER_DATA },
	       { "public_key", ATTEST_BINDING_PUBLIC_KEY } };
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static void ask(struct attest_policy *p, size_t field, const struct span *s)
{
	const struct span **member[] = { &p->nonce, &p->user_data, &p->public_key };

	*member[field] = s;
}

/* A document with one field in a state; the others are null. */
static void start(struct parts *p, size_t field, enum state s)
{
	parts_start(p);
	if (s == MISSING)
		sample_remove(&p->members, fields[field].name);
	else
		*sample_value(&p->members, fields[field].name) = encoded[s];
}

static void test_each(void **state)
{
	(void)state;
	for (size_t f = 0; f < N_FIELDS; f++) {
		for (unsigned s = 0; s < STATES; s++) {
			struct parts p;

			start(&p, f, (enum state)s);
			for (unsigned a = 0; a < ASKS; a++) {
				bool good = fits((enum state)s, (enum ask)a);

				ask(&p.s.policy, f, a == ANYTHING ? NULL : &wanted[a]);
				/* An empty public_key is no public_key: its size is asked before. */
				if (s == EMPTY && strcmp(fields[f].name, "public_key") == 0)
					parts_give(&p, ATTEST_PAYLOAD_PUBLIC_KEY_SIZE);
				else
					parts_give(&p, good ? ATTEST_OK : fields[f].code);
			}
			parts_stop(&p);
		}
	}
}

/* What is asked of one field is not answered by another. */
static void test_others(void **state)
{
	(void)state;
	for (size_t f = 0; f < N_FIELDS; f++) {
		for (size_t other = 0; other < N_FIELDS; other++) {
			struct parts p;

			start(&p, f, VALUE);
			ask(&p.s.policy, other, &wanted[EQUAL]);
			parts_give(&p, other == f ? ATTEST_OK : fields[other].code);
			ask(&p.s.policy, other, &wanted[ABSENT]);
			parts_give(&p, other == f ? fields[other].code : ATTEST_OK);
			parts_stop(&p);
		}
	}
}

/* To ask that there is no nonce says nothing about when a document was made. */
static void test_absent_is_not_fresh(void **state)
{
	struct parts p;

	(void)state;
	start(&p, 0, NONE);
	p.s.policy.max_age_ms = 0;
	for (unsigned a = 0; a < ASKS; a++) {
		ask(&p.s.policy, 0, a == ANYTHING ? NULL : &wanted[a]);
		parts_give(&p, a == EQUAL ? ATTEST_BINDING_NONCE : ATTEST_TIME_UNBOUNDED);
	}
	parts_stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_absent_is_not_fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
