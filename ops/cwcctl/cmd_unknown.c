/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters of unknown fate: what a person needs to ask the chamber, and what a person then says.
 *
 * The House confirms a single message by DeliveryId, office and date on request (HLOS A.10), so the
 * list has these, and when each POST began whose answer never came.
 */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/admin.h"
#include "ops/cwcctl/bulk.h"
#include "ops/cwcctl/letters.h"
#include "ops/cwcctl/out.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* --- list ------------------------------------------------------------------------------------- */

/* When the POSTs began, in one cell. */
static void dress(json_t *row)
{
	const json_t *posts = json_object_get(row, "unknown_posts");
	json_t *begun = json_array();
	for (size_t i = 0; i < json_array_size(posts); i++)
		json_array_append(begun, json_object_get(json_array_get(posts, i), "begun"));
	/* One that ended as unknown before its mark was kept has the time of its last POST. */
	if (json_array_size(begun) == 0 && json_is_string(json_object_get(row, "begun")))
		json_array_append(begun, json_object_get(row, "begun"));
	json_object_set_new(row, "posts_begun", begun);
}

int cmd_unknown_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "ended", "ENDED" },
		{ "sid", "SID" },
		{ "office", "OFFICE" },
		{ "outcome", "OUTCOME" },
		{ "http_status", "HTTP" },
		{ "attempt", "ATTEMPTS" },
		{ "delivery_id", "DELIVERY ID" },
		{ "date", "DATE" },
		{ "posts_begun", "POSTS BEGUN" },
	};
	if (ctl_has(c, OPT_EXPORT))
		return letters_export(c, WALK_UNKNOWN);
	return letters_list(c, WALK_UNKNOWN, col, N(col), dress);
}

/* --- resolve ---------------------------------------------------------------------------------- */

static const struct bulk_act acts[] = {
	{ WALK_UNKNOWN, "resolve", "accepted", "accepted", "said to be accepted", "would be said to be accepted" },
	{ WALK_UNKNOWN, "resolve", "resend", "resent", "to be sent again", "would be sent again" },
	{ WALK_UNKNOWN, "resolve", "drop", "dropped", "dropped", "would be dropped" },
};

static const struct bulk_act *act_named(const char *how)
{
	for (size_t i = 0; i < N(acts); i++)
		if (strcmp(acts[i].how, how) == 0)
			return &acts[i];
	ctl_complain("neither resend nor drop nor accepted: %s", how);
	return NULL;
}

/* The House may not know a DeliveryId again: whoever sends many anew says that he means it. */
static int check_resend(struct ctl *c, const struct bulk_act *act)
{
	struct filter f;
	int code = filter_read(c, &f);
	if (code != 0 || strcmp(act->how, "resend") != 0 || ctl_has(c, OPT_DRY_RUN) || ctl_has(c, OPT_MAY_SEND_TWICE) ||
	    filter_senate_only(&f))
		return code;
	return ctl_fail(CTL_USAGE, "a letter to the House that is sent again may arrive twice: ask the House first, "
				   "then give --may-send-twice; or --chamber senate");
}

static int resolve_many(struct ctl *c)
{
	const struct bulk_act *act = act_named(c->arg[0]);
	if (act == NULL)
		return CTL_USAGE;
	int code = check_resend(c, act);
	return code != 0 ? code : bulk_run(c, act);
}

static const char *said(const char *how, const char *office)
{
	if (strcmp(how, "resend") != 0)
		return "a worker writes the result";
	return office[0] == 'H' ? "it will be sent again, and may arrive twice" : "it will be sent again";
}

static int resolve_one(struct ctl *c)
{
	const char *sid = c->arg[0], *office = c->arg[1], *how = c->arg[2];
	int code = args_sid(sid);
	if (code == 0)
		code = args_office(office);
	if (code == 0 && act_named(how) == NULL)
		code = CTL_USAGE;
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r = admin_call(c, "resolve", sid, office, how);
	if (r == NULL)
		return c->session->code;
	struct span word = resp_text(resp_at(r, 0)), state = resp_text(resp_at(r, 1));
	if (span_eq_str(word, "NONE"))
		code = ctl_fail(CTL_NO, "%s %s: no such job", sid, office);
	else if (!span_eq_str(word, "OK"))
		code = ctl_fail(CTL_NO, "%s %s: not unknown but %.*s", sid, office, (int)state.n,
				(const char *)state.p);
	else if (c->json)
		out_document(json_pack("{s:s, s:s, s:s}", "sid", sid, "office", office, "resolved", how));
	else
		printf("%s %s: %s\n", sid, office, said(how, office));
	reply_free(r);
	return code;
}

int cmd_unknown_resolve(struct ctl *c)
{
	if (c->n_args == 1)
		return resolve_many(c);
	if (c->n_args != 3)
		return ctl_fail(CTL_USAGE, "either SID OFFICE HOW, or HOW and a filter, --ids or --all");
	if (filter_given(c) || ctl_has(c, OPT_ALL) || ctl_has(c, OPT_DRY_RUN))
		return ctl_fail(CTL_USAGE, "SID OFFICE HOW goes with no filter, --all or --dry-run");
	return resolve_one(c);
}
