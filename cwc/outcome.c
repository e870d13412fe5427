/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/outcome.h"

static const struct {
	const char *name;
	enum outcome_class class;
	enum outcome_state state;
	bool retryable;
	const char *text;
} rows[OUTCOME_COUNT] = {
#define OUTCOME_ROW(e, n, c, s, r, t) [OUT_##e] = { n, OUTCOME_CLASS_##c, OUTCOME_##s, r, t },
	OUTCOMES(OUTCOME_ROW)
#undef OUTCOME_ROW
};

static const char *const class_names[] = {
	[OUTCOME_CLASS_ACCEPTED] = "accepted",
	[OUTCOME_CLASS_REJECTED] = "rejected",
	[OUTCOME_CLASS_THROTTLED] = "throttled",
	[OUTCOME_CLASS_TRANSIENT] = "transient",
	[OUTCOME_CLASS_CONFIGURATION] = "configuration",
	[OUTCOME_CLASS_UNKNOWN] = "unknown",
	[OUTCOME_CLASS_ENDED] = "ended",
};

static const char *const state_names[] = {
	[OUTCOME_OPEN] = "open",       [OUTCOME_ACCEPTED] = "accepted", [OUTCOME_REJECTED] = "rejected",
	[OUTCOME_DEAD] = "dead",       [OUTCOME_EXPIRED] = "expired",   [OUTCOME_CANCELLED] = "cancelled",
	[OUTCOME_DROPPED] = "dropped", [OUTCOME_UNKNOWN] = "unknown",
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *outcome_name(enum outcome o)
{
	BUG_ON((unsigned)o >= OUTCOME_COUNT);
	return rows[o].name;
}

enum outcome_class outcome_class(enum outcome o)
{
	BUG_ON((unsigned)o >= OUTCOME_COUNT);
	return rows[o].class;
}

const char *outcome_class_name(enum outcome_class c)
{
	BUG_ON((unsigned)c >= COUNT(class_names));
	return class_names[c];
}

enum outcome_state outcome_state(enum outcome o)
{
	BUG_ON((unsigned)o >= OUTCOME_COUNT);
	return rows[o].state;
}

const char *outcome_state_name(enum outcome_state s)
{
	BUG_ON((unsigned)s >= COUNT(state_names));
	return state_names[s];
}

bool outcome_retryable(enum outcome o)
{
	BUG_ON((unsigned)o >= OUTCOME_COUNT);
	return rows[o].retryable;
}

const char *outcome_text(enum outcome o)
{
	BUG_ON((unsigned)o >= OUTCOME_COUNT);
	return rows[o].text;
}

enum err outcome_find(struct span name, enum outcome *ret_outcome)
{
	for (unsigned o = 0; o < OUTCOME_COUNT; o++) {
		if (span_eq_str(name, rows[o].name)) {
			*ret_outcome = (enum outcome)o;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}
