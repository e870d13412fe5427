/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/scale_state.h"
#include "ops/cwcctl/session.h"

#define WATCH_MAX_S 86400
#define TEXT_MAX    65536

/* --- the table -------------------------------------------------------------------------------- */

enum form { COUNT, RATE, AGE };

struct row {
	const char *text, *name;
	enum form form;
};

static const struct row of_chamber[] = {
	{ "waiting", "waiting", COUNT },
	{ "  held by people", "held_pause", COUNT },
	{ "  held for maintenance", "held_maintenance", COUNT },
	{ "  held by the receiver", "held_receiver", COUNT },
	{ "  held by breakers", "held_breaker", COUNT },
	{ "  held by limits", "held_rate", COUNT },
	{ "taken", "taken", COUNT },
	{ "being sent", "begun", COUNT },
	{ "later", "later", COUNT },
	{ "to be ended", "close", COUNT },
	{ "dead", "dead", COUNT },
	{ "unknown", "unknown", COUNT },
	{ "more workers help", "scalable", COUNT },
	{ "offices with jobs", "offices", COUNT },
	{ "offices held", "offices_pause", COUNT },
	{ "offices broken", "breakers", COUNT },
	{ "chamber broken", "down", COUNT },
	{ "oldest waiting", "oldest_s", AGE },
	{ "  not held", "oldest_free_s", AGE },
	{ "oldest later", "later_oldest_s", AGE },
	{ "came, a second", "arrival_rate", RATE },
	{ "ended, a second", "drain_rate", RATE },
	{ "empty in", "eta_s", AGE },
	{ "slowest POSTs", "post_p95_s", AGE },
};
static const struct row of_queue[] = {
	{ "in", "in", COUNT },
	{ "stuck", "stuck", COUNT },
	{ "refused", "refused", COUNT },
	{ "dead", "dead", COUNT },
	{ "unknown", "unknown", COUNT },
	{ "results", "results", COUNT },
	{ "workers", "workers", COUNT },
	{ "workers alive", "alive", COUNT },
	{ "workers idle", "idle", COUNT },
	{ "oldest of in", "in_oldest_s", AGE },
};

static void cell(const json_t *o, const char *chamber, const struct row *r)
{
	char text[OUT_AGE_SIZE];
	double x = depth_number(o, chamber, r->name);
	switch (r->form) {
	case COUNT:
		printf(" %12.0f", x);
		return;
	case RATE:
		printf(" %12.2f", x);
		return;
	case AGE:
		snprintf(text, sizeof(text), "-");
		if (x > 0)
			out_age((int64_t)(x * 1e6), text);
		printf(" %12s", text);
		return;
	}
}

static void print_depth(const json_t *o)
{
	printf("%-22s %12s %12s\n", "", "HOUSE", "SENATE");
	for (size_t i = 0; i < sizeof(of_chamber) / sizeof(of_chamber[0]); i++) {
		printf("%-22s", of_chamber[i].text);
		cell(o, depth_chambers[0], &of_chamber[i]);
		cell(o, depth_chambers[1], &of_chamber[i]);
		puts("");
	}
	puts("");
	for (size_t i = 0; i < sizeof(of_queue) / sizeof(of_queue[0]); i++) {
		printf("%-22s", of_queue[i].text);
		cell(o, "", &of_queue[i]);
		puts("");
	}
}

/* --- the other forms -------------------------------------------------------------------------- */

static void print_prometheus(struct ctl *c, const json_t *o)
{
	struct scale_published p = { .scale.known = false };
	struct buf text;
	buf_init(&text, TEXT_MAX);
	if (scale_state_read(c, &p) == 0 || !c->session->interrupted)
		depth_prometheus(o, &p.scale, &text);
	if (buf_ok(&text) == ERR_OK)
		fwrite(text.p, 1, text.n, stdout);
	buf_clear(&text);
}

static void print(struct ctl *c, json_t *o, bool watch)
{
	if (ctl_has(c, OPT_PROMETHEUS)) {
		print_prometheus(c, o);
	} else if (ctl_has(c, OPT_EMF)) {
		depth_emf(o, ctl_value(c, OPT_NAMESPACE, DEPTH_NAMESPACE), c->session->name);
	} else if (c->json) {
		(watch ? out_line : out_document)(json_incref(o));
	} else {
		if (watch)
			printf("%s%s\n", isatty(STDOUT_FILENO) ? "\x1b[H\x1b[J" : "",
			       json_string_value(json_object_get(o, "time")));
		print_depth(o);
		if (watch)
			puts("");
	}
	out_flush();
}

/* --- the command ------------------------------------------------------------------------------ */

static int once(struct ctl *c, bool watch)
{
	json_t *o = depth_read(c, DEPTH_HORIZON_US);
	if (o == NULL)
		return c->session->interrupted ? 0 : c->session->code;
	print(c, o, watch);
	json_decref(o);
	return 0;
}

static int check_options(const struct ctl *c)
{
	if (c->json + ctl_has(c, OPT_PROMETHEUS) + ctl_has(c, OPT_EMF) > 1)
		return ctl_fail(CTL_USAGE, "one of --json, --prometheus and --emf, not two");
	if (ctl_has(c, OPT_NAMESPACE) && !ctl_has(c, OPT_EMF))
		return ctl_fail(CTL_USAGE, "--namespace needs --emf");
	return 0;
}

int cmd_depth(struct ctl *c)
{
	uint64_t seconds;
	bool watch = ctl_has(c, OPT_WATCH);
	int code = args_count(c, OPT_WATCH, 0, &seconds);
	if (code == 0 && seconds > WATCH_MAX_S)
		code = ctl_fail(CTL_USAGE, "--watch must be a number of seconds, at most a day");
	if (code == 0)
		code = check_options(c);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	if (watch)
		session_watch(c);
	c->session->patient = watch;
	code = once(c, watch);
	while (code == 0 && watch && !c->session->interrupted && out_good()) {
		session_sleep(c, seconds * 1000);
		if (!c->session->interrupted)
			code = once(c, watch);
	}
	return code;
}
