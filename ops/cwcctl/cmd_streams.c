/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that people look at as they are: refused and stuck entries, the audit trail. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "worker/base/text.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* --- lists ------------------------------------------------------------------------------------ */

/* The exit status of a list that ended, or was ended. */
static int ended(const struct ctl *c, bool good)
{
	if (c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	return good ? CTL_OK : c->session->code;
}

/* dress: adds to a row what its columns need; may be NULL. */
static int list(struct ctl *c, const char *stream, const struct out_column *col, size_t n, const char *none,
		void (*dress)(json_t *row))
{
	uint64_t count;
	struct reply_pages p;
	struct out_pages out;
	int code = args_count(c, OPT_COUNT, 0, &count);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	session_watch(c);
	c->session->patient = true;
	bool good = reply_pages_begin(c, stream, count, &p);
	if (!good)
		return ended(c, good);
	out_pages_begin(c, col, n, &out);
	while (good && !p.over && !c->session->interrupted) {
		json_t *rows = reply_page(&p);
		good = rows != NULL;
		for (size_t i = 0; dress != NULL && i < json_array_size(rows); i++)
			dress(json_array_get(rows, i));
		if (good)
			out_page(&out, rows);
	}
	if (good || out.begun || c->json)
		out_pages_end(&out, none);
	return ended(c, good);
}

int cmd_refused_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "written", "WRITTEN" }, { "why", "WHY" },       { "sid", "SID" },
		{ "office", "OFFICE" },   { "detail", "DETAIL" }, { "digest", "DIGEST" },
	};
	return list(c, "refused", col, N(col), "nothing was refused", NULL);
}

int cmd_stuck_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "id", "ID" },           { "written", "WRITTEN" }, { "sid", "SID" },
		{ "offices", "OFFICES" }, { "error", "ERROR" },
	};
	return list(c, "stuck", col, N(col), "nothing is stuck", NULL);
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));
	return s != NULL ? s : "";
}

/* The arguments of an act in one text; that of a hold has a time in microseconds. */
static void audit_dress(json_t *row)
{
	char text[512], time[TEXT_TIME_SIZE];
	const char *a = text_of(row, "a"), *b = text_of(row, "b"), *c = text_of(row, "c");
	int64_t us;
	if (strcmp(text_of(row, "verb"), "hold") == 0 && text_int(span_str(b), &us) == ERR_OK) {
		text_time(us / 1000000, time);
		snprintf(text, sizeof(text), "%s until %s: %s", a, time, c);
	} else {
		snprintf(text, sizeof(text), "%s%s%s%s%s", a, b[0] ? " " : "", b, c[0] ? " " : "", c);
	}
	json_object_set_new(row, "what", out_string(span_str(text)));
}

int cmd_audit_list(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "written", "WRITTEN" },
		{ "who", "WHO" },
		{ "verb", "ACT" },
		{ "what", "WHAT" },
	};
	return list(c, "audit", col, N(col), "nothing was done", audit_dress);
}
