/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps that are about the world around the workers: the chambers and Redis.
 */
#include <stdio.h>
#include <string.h>

#include "tests/scenario/chamber.h"
#include "tests/scenario/fleet.h"
#include "tests/scenario/net.h"
#include "tests/scenario/redis.h"
#include "tests/scenario/scenario.h"
#include "tests/scenario/steps.h"

/* --- chambers ---------------------------------------------------------------------------------- */

static bool is_office(const char *text, size_t n)
{
	return n == CWC_OFFICE_SIZE - 1 && (text[0] == 'H' || text[0] == 'S') && text[1] >= 'A' && text[1] <= 'Z' &&
	       text[2] >= 'A' && text[2] <= 'Z' && text[3] >= '0' && text[3] <= '9';
}

/* house, senate, an office, a sid, or SID:OFFICE. */
static void rule_about(const char *what, struct chamber_rule *r)
{
	const char *colon = strchr(what, ':');
	if (word_is(what, "house") || word_is(what, "senate")) {
		snprintf(r->chamber, sizeof(r->chamber), "%s", what);
		return;
	}
	const char *office = colon != NULL ? colon + 1 : what;
	if (is_office(office, strlen(office)))
		snprintf(r->office, sizeof(r->office), "%s", office);
	if (colon != NULL || r->office[0] == '\0')
		snprintf(r->sid, sizeof(r->sid), "%.*s", colon == NULL ? 79 : (int)(colon - what), what);
}

static bool rule_way(const char *word, struct chamber_rule *r)
{
	static const struct {
		const char *name;
		enum chamber_way way;
	} ways[] = { { "answers", CHAMBER_ANSWERS }, { "refuses", CHAMBER_REFUSES }, { "hangs", CHAMBER_HANGS },
		     { "slow", CHAMBER_SLOW },       { "resets", CHAMBER_RESETS },   { "silent", CHAMBER_SILENT } };
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (word_is(word, ways[i].name)) {
			r->way = ways[i].way;
			return true;
		}
	}
	return false;
}

static void rule_options(const char *const *w, struct chamber_rule *r)
{
	for (; *w != NULL; w++) {
		if (word_is(*w, "retry-after"))
			r->retry_after_s = parse_us(*++w) / SIM_SECOND_US;
		else if (word_is(*w, "after"))
			r->after_us = parse_us(*++w);
		else if (word_is(*w, "times"))
			r->times = (int)parse_number(*++w);
		else if (word_is(*w, "early"))
			r->way = CHAMBER_EARLY;
		else if (word_is(*w, "taking"))
			r->takes = true;
		else if (word_is(*w, "mismatch"))
			r->body = "DeliveryAgent Mismatch";
		else
			scenario_fail("\"%s\" is no option of an answer", *w);
	}
}

/* chamber house lists HCA12 HTX09 */
static void lists(const char *const *w)
{
	static char json[CWC_CHAMBERS][2048];
	enum cwc_chamber c = word_is(w[0], "senate") ? CWC_SENATE : CWC_HOUSE;
	size_t at = 0;
	if (word_is(w[2], "nothing")) {
		chamber_offices(c, NULL);
		return;
	}
	for (size_t i = 2; w[i] != NULL; i++)
		at += (size_t)snprintf(json[c] + at, sizeof(json[c]) - at,
				       c == CWC_HOUSE ? "%s\"%s\"" : "%s{\"office_code\":\"%s\"}", i == 2 ? "[" : ",",
				       w[i]);
	snprintf(json[c] + at, sizeof(json[c]) - at, "]");
	chamber_offices(c, json[c]);
}

void step_chamber(const char *const *w)
{
	struct chamber_rule r = { .status = 200, .retry_after_s = -1, .times = -1 };
	scenario_need(w[0] != NULL && w[1] != NULL, "chamber WHAT VERB");
	rule_about(w[0], &r);
	if (word_is(w[1], "normal")) {
		need_end(w[2]);
		chamber_rule_drop(&r);
		return;
	}
	if (word_is(w[1], "lists")) {
		lists(w);
		return;
	}
	if (!rule_way(w[1], &r))
		scenario_fail("\"%s\" is nothing that a chamber does", w[1]);
	w += 2;
	if (r.way == CHAMBER_ANSWERS)
		r.status = (int)parse_number(*w++);
	else if (r.way == CHAMBER_SLOW)
		r.after_us = parse_us(*w++);
	rule_options(w, &r);
	chamber_rule_add(&r);
}

/* --- Redis ------------------------------------------------------------------------------------- */

static const struct sim_process *process(const char *name)
{
	struct fleet_worker *f = name == NULL ? NULL : fleet_find(name);
	if (f == NULL)
		scenario_fail("\"%s\" is no worker", name == NULL ? "" : name);
	return fleet_process(f);
}

/* redis lose request|reply SCRIPT WORKER */
static void lose(const char *const *w)
{
	bool request = word_is(w[1], "request");
	scenario_need((request || word_is(w[1], "reply")) && w[2] != NULL, "redis lose request|reply SCRIPT WORKER");
	net_lose(process(w[3]), w[2], request ? NET_LOSE_REQUEST : NET_LOSE_REPLY);
	need_end(w[4]);
}

/* The replica that stood still is the primary now: what came after is lost. */
static void failover(void)
{
	net_cut(NULL);
	redis_restore();
	net_replicas_stall(false);
}

static bool redis_about(const char *const *w)
{
	if (word_is(w[0], "lose")) {
		lose(w);
	} else if (word_is(w[0], "cut")) {
		net_cut(process(w[1]));
		need_end(w[2]);
	} else if (word_is(w[0], "clock")) {
		redis_clock(parse_us(w[1]));
		need_end(w[2]);
	} else if (word_is(w[0], "replicas")) {
		net_replicas((unsigned)parse_number(w[1]));
		need_end(w[2]);
	} else {
		return false;
	}
	return true;
}

static bool redis_state(const char *word)
{
	if (word_is(word, "up") || word_is(word, "down"))
		net_redis_up(word_is(word, "up"));
	else if (word_is(word, "hangs") || word_is(word, "goes-on"))
		net_redis_hangs(word_is(word, "hangs"));
	else if (word_is(word, "full") || word_is(word, "roomy"))
		redis_full(word_is(word, "full"));
	else if (word_is(word, "writable"))
		redis_read_only(NULL);
	else if (word_is(word, "no-replicas"))
		redis_read_only("NOREPLICAS Not enough good replicas to write.");
	else if (word_is(word, "failover"))
		failover();
	else
		return false;
	return true;
}

void step_redis(const char *const *w)
{
	scenario_need(w[0] != NULL, "redis VERB");
	if (redis_about(w))
		return;
	if (word_is(w[0], "replica")) {
		bool stalls = word_is(w[1], "stalls");
		scenario_need(stalls || word_is(w[1], "follows"), "redis replica stalls|follows");
		need_end(w[2]);
		net_replicas_stall(stalls);
		if (stalls)
			redis_snapshot();
		return;
	}
	if (!redis_state(w[0]))
		scenario_fail("\"%s\" is nothing that Redis does", w[0]);
	need_end(w[1]);
}
