/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chambers of a scenario: worker/http.h over nothing. Each POST that left is on record here, so that a scenario can
 * ask what the Congress has really got; how it is answered is what the scenario says.
 *
 * A POST connects (1 ms), hands its body out if its deadline allows, and arrives (1 ms later) whatever becomes of the
 * worker. Without a rule it is taken and answered 200 after 20 ms; the Senate answers 409 to a DeliveryId that it has
 * taken before, the House takes it again.
 */
#ifndef SCENARIO_CHAMBER_H
#define SCENARIO_CHAMBER_H

#include "cwc/cwc.h"
#include "tests/scenario/sim.h"

enum chamber_way {
	CHAMBER_ANSWERS, /* `status`, `retry_after_s`, after `after_us` */
	CHAMBER_EARLY,   /* the same, before the body was sent */
	CHAMBER_REFUSES, /* no connection */
	CHAMBER_HANGS,   /* the connection is never made */
	CHAMBER_SLOW,    /* it takes after_us to be made */
	CHAMBER_RESETS,  /* the connection ends after the body */
	CHAMBER_SILENT   /* no answer ever */
};

/* For which POSTs: empty matches all. The newest rule that matches counts. */
struct chamber_rule {
	char chamber[8], office[CWC_OFFICE_SIZE], sid[80];
	enum chamber_way way;
	bool takes; /* RESETS, SILENT: the chamber has the letter all the same */
	int status;
	int64_t retry_after_s, after_us;
	const char *body;
	int times; /* below 0: always */
};

/* A POST whose body left. */
struct chamber_post {
	int64_t wall_us;
	enum cwc_chamber chamber;
	char office[CWC_OFFICE_SIZE], sid[80], delivery_id[CWC_DELIVERY_ID_SIZE];
	const struct sim_process *process;
	char state[16]; /* of the record at that moment */
	bool taken;
};

void chamber_reset(void);
void chamber_rule_add(const struct chamber_rule *r);
/* Takes away the rules for exactly these. */
void chamber_rule_drop(const struct chamber_rule *r);
/* The answer to a GET of the office list, as JSON; NULL: 500. */
void chamber_offices(enum cwc_chamber c, const char *json);

size_t chamber_posts(const struct chamber_post **ret_first);
/* How often the chamber has taken this letter. */
unsigned chamber_taken(const char *delivery_id);

#endif
