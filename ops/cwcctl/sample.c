/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/sample.h"

#include "worker/base/clock.h"

const char *sample_value(enum cwc_field f)
{
	static char date[CWC_DATE_SIZE];
	switch ((int)f) {
	case CWC_DELIVERY_ID:
		return "00000000000000000000000000000000";
	case CWC_DELIVERY_DATE:
		cwc_eastern_date(clock_wall_us() / 1000000, date);
		return date;
	case CWC_AGENT:
		return "Sample Delivery Agent";
	case CWC_AGENT_ACK_EMAIL:
		return "acks@agent.example.org";
	case CWC_AGENT_CONTACT_NAME:
		return "Sample Contact";
	case CWC_AGENT_CONTACT_EMAIL:
		return "contact@agent.example.org";
	case CWC_AGENT_CONTACT_PHONE:
		return "202-555-0100";
	default:
		return NULL;
	}
}

void sample_fill(struct cwc_letter *l)
{
	for (unsigned i = 0; i < CWC_FIELD_COUNT; i++) {
		const char *v = sample_value((enum cwc_field)i);
		if (v != NULL && l->v[i].n == 0)
			l->v[i] = span_str(v);
	}
}
