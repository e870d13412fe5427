/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that people look at as they are: refused and stuck entries, the audit trail. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "worker/base/text.h"

#define N(a)        (sizeof(a) / sizeof((a)[0]))
#define SUMMARY_MAX 10000 /* of pairs of who and what */

/* --- lists ------------------------------------------------------------------------------------ */

/* The exit status of a list that ended, or was ended. */
static int ended(const struct ctl *c, bool good)
{
	if (c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	return good ? CTL_OK : c->session->code;
}

static int begin(struct ctl *c, uint64_t *ret_count)
{
	int code = args_count(c, OPT_COUNT, 0, ret_count);
	if (code == 0)
		code = session_open(c);
	if (code != 0)
		return code;
	session_watch(c);
	c->session->patient = true;
	return 0;
}

/* dress: adds to a row what its columns need; may be NULL. */
static int list(struct ctl *c, const char *stream, const struct out_column *col, size_t n, const char *none,
		void (*dress)(json_t *row))
{
	uint64_t count;
	struct reply_pages p;
	struct out_pages out;
	int code = begin(c, &count);
	if (code != 0)
		return code;
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

void out_dress_act(json_t *row)
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
	return list(c, "audit", col, N(col), "nothing was done", out_dress_act);
}

/* --- summary ---------------------------------------------------------------------------------- */

/* The row of this one who did this, which is made when there is none. NULL: there are too many. */
static json_t *summary_row(json_t *rows, json_t *index, const char *who, const char *verb)
{
	char key[160];
	snprintf(key, sizeof(key), "%.64s %.64s", verb, who);
	json_t *row = json_object_get(index, key);
	if (row != NULL || json_array_size(rows) >= SUMMARY_MAX)
		return row;
	row = json_pack("{s:s, s:s, s:i}", "who", who, "verb", verb, "times", 0);
	json_object_set(index, key, row);
	json_array_append_new(rows, row);
	return row;
}

static void summary_add(json_t *rows, json_t *index, const json_t *entry)
{
	json_t *row = summary_row(rows, index, text_of(entry, "who"), text_of(entry, "verb"));
	if (row == NULL)
		return;
	json_object_set_new(row, "times", json_integer(json_integer_value(json_object_get(row, "times")) + 1));
	if (json_object_get(row, "first") == NULL)
		json_object_set(row, "first", json_object_get(entry, "written"));
	json_object_set(row, "last", json_object_get(entry, "written"));
}

int cmd_audit_summary(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "who", "WHO" }, { "verb", "ACT" }, { "times", "TIMES" }, { "first", "FIRST" }, { "last", "LAST" },
	};
	uint64_t count;
	struct reply_pages p;
	int code = begin(c, &count);
	if (code != 0)
		return code;
	json_t *rows = json_array(), *index = json_object();
	bool good = reply_pages_begin(c, "audit", count, &p);
	while (good && !p.over && !c->session->interrupted) {
		json_t *page = reply_page(&p);
		good = page != NULL;
		for (size_t i = 0; i < json_array_size(page); i++)
			summary_add(rows, index, json_array_get(page, i));
		json_decref(page);
	}
	code = ended(c, good);
	if (code == 0)
		out_rows(c, json_incref(rows), col, N(col), "nothing was done");
	json_decref(rows);
	json_decref(index);
	return code;
}
