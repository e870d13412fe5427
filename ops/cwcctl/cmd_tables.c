/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the program itself, for people and for the documentation. */
#include <stdio.h>

#include "cwc/outcome.h"
#include "ops/cwcctl/out.h"
#include "queue/queue.h"
#include "worker/pipeline.h"
#include "worker/version.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

int cmd_outcomes(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "outcome", "outcome" },     { "class", "class" },  { "state", "state" },
		{ "retryable", "retryable" }, { "text", "meaning" },
	};
	json_t *rows = json_array();
	for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
		enum outcome o = (enum outcome)i;
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:b, s:s}", "outcome", outcome_name(o), "class",
						      outcome_class_name(outcome_class(o)), "state",
						      outcome_state_name(outcome_state(o)), "retryable",
						      outcome_retryable(o), "text", outcome_text(o)));
	}
	out_rows(c, rows, col, N(col), "");
	return CTL_OK;
}

static const char *class_text(enum err_class class)
{
	switch (class) {
	case ERR_CLASS_NONE:
		return "none";
	case ERR_CLASS_RETRY:
		return "retry";
	case ERR_CLASS_PERMANENT:
		return "permanent";
	case ERR_CLASS_CONFIG:
		return "configuration";
	case ERR_CLASS_BUG:
		return "bug";
	}
	return "";
}

int cmd_errors(struct ctl *c)
{
	static const struct out_column col[] = { { "code", "code" }, { "class", "class" }, { "text", "meaning" } };
	json_t *rows = json_array();
	for (unsigned i = 0; i < ERR_COUNT; i++) {
		enum err e = (enum err)i;
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "code", err_name(e), "class",
						      class_text(err_class(e)), "text", err_text(e)));
	}
	out_rows(c, rows, col, N(col), "");
	return CTL_OK;
}

/* Pairs that cannot come about are left out. */
int cmd_model(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "state", "state" },
		{ "event", "event" },
		{ "next", "next state" },
		{ "action", "action" },
	};
	json_t *rows = json_array();
	for (unsigned s = 0; s < PIPELINE_STATE_COUNT; s++) {
		for (unsigned e = 0; e < PIPELINE_EVENT_COUNT; e++) {
			enum pipeline_state next;
			enum pipeline_action action;
			pipeline_step((enum pipeline_state)s, (enum pipeline_event)e, &next, &action);
			if (action == PIPELINE_DO_IMPOSSIBLE)
				continue;
			json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "state",
							      pipeline_state_name((enum pipeline_state)s), "event",
							      pipeline_event_name((enum pipeline_event)e), "next",
							      pipeline_state_name(next), "action",
							      pipeline_action_name(action)));
		}
	}
	out_rows(c, rows, col, N(col), "");
	return CTL_OK;
}

int cmd_version(struct ctl *c)
{
	if (c->json)
		out_document(json_pack("{s:s, s:i}", "version", CWC_VERSION, "queue_protocol", QUEUE_PROTOCOL_VERSION));
	else
		puts("cwcctl " CWC_VERSION);
	return CTL_OK;
}
