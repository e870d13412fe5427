/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: list, show, export, replay, drop. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/bulk.h"
#include "ops/cwcctl/job_record.h"
#include "ops/cwcctl/letters.h"
#include "ops/cwcctl/out.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

int cmd_dead_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "ended", "ENDED" },     { "sid", "SID" },          { "office", "OFFICE" },
		{ "outcome", "OUTCOME" }, { "http_status", "HTTP" }, { "attempt", "ATTEMPTS" },
		{ "crashes", "CRASHES" }, { "detail", "DETAIL" },
	};
	return letters_list(c, WALK_DEAD, col, N(col), NULL);
}

int cmd_dead_export(struct ctl *c)
{
	return letters_export(c, WALK_DEAD);
}

int cmd_dead_show(struct ctl *c)
{
	const char *sid = c->arg[0], *office = c->arg[1];
	int code = args_sid(sid);
	if (code == 0)
		code = args_office(office);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	json_t *job = job_record_read(c, sid, office);
	if (job == NULL)
		return c->session->code;
	const char *state = json_string_value(json_object_get(job, "state"));
	if (state == NULL || strcmp(state, "dead") != 0) {
		code = state == NULL ? ctl_fail(CTL_NO, "%s %s: no such job", sid, office)
				     : ctl_fail(CTL_NO, "%s %s: not dead but %s", sid, office, state);
	} else if (c->json) {
		out_document(json_incref(job));
	} else {
		job_record_print(job);
	}
	json_decref(job);
	return code;
}

/* --- replay and drop -------------------------------------------------------------------------- */

static int act(struct ctl *c, const struct bulk_act *a)
{
	if (c->n_args == 1)
		return ctl_fail(CTL_USAGE, "%s: its office is needed, too; or --sid %s for all of its offices",
				c->arg[0], c->arg[0]);
	return bulk_run(c, a);
}

int cmd_dead_replay(struct ctl *c)
{
	static const struct bulk_act a = { .place = WALK_DEAD,
					   .verb = "replay",
					   .key = "replayed",
					   .done = "replayed",
					   .would = "would be replayed" };
	return act(c, &a);
}

int cmd_dead_drop(struct ctl *c)
{
	static const struct bulk_act a = {
		.place = WALK_DEAD, .verb = "drop", .key = "dropped", .done = "dropped", .would = "would be dropped"
	};
	return act(c, &a);
}
