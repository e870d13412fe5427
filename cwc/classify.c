/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/outcome.h"

/* What the House answers when DeliveryAgent is not the name registered for the API key. */
static const char agent_mismatch[] = "DeliveryAgent Mismatch";

/* Our access is refused, or the address is wrong: a redirect is never followed, for the URL holds
 * the key and the body a person's letter. */
static bool is_access(const struct cwc_answer *a)
{
	if (a->status == 400)
		return span_find(a->body, span_str(agent_mismatch)) != NULL;
	return a->status == 401 || a->status == 403 || a->status == 404 || a->status / 100 == 3;
}

static bool is_throttle(const struct cwc_answer *a)
{
	return a->status == 429 || (a->status == 503 && !a->body_left);
}

static enum outcome classify_status(enum cwc_chamber chamber, const struct cwc_answer *a, bool attempted_before)
{
	/* A success for a letter that cannot have been read is none. */
	if (a->status / 100 == 2)
		return a->body_left ? OUT_ACCEPTED : OUT_NOT_SENT;
	if (a->status == 409 && chamber == CWC_SENATE && !a->body_left)
		return OUT_NOT_SENT; /* the id stands in the body: nobody has read it */
	if (a->status == 409 && chamber == CWC_SENATE)
		return attempted_before ? OUT_ACCEPTED_EARLIER : OUT_ID_CONFLICT;
	if (is_throttle(a))
		return OUT_THROTTLED;
	if (is_access(a))
		return OUT_MISCONFIGURED;
	if (a->status == 408 || a->status / 100 == 5)
		return a->body_left ? OUT_NO_ANSWER : OUT_NOT_SENT;
	if (a->status / 100 == 4)
		return OUT_REJECTED_BY_CHAMBER;
	return OUT_NO_ANSWER;
}

enum outcome cwc_classify(enum cwc_chamber chamber, const struct cwc_answer *a, bool attempted_before)
{
	switch (a->fate) {
	case CWC_FATE_ANSWERED:
		return classify_status(chamber, a, attempted_before);
	case CWC_FATE_NOT_SENT:
		return OUT_NOT_SENT;
	case CWC_FATE_UNKNOWN:
		break;
	}
	return OUT_NO_ANSWER;
}
