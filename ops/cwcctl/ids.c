/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/ids.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cwc/cwc.h"

#define LINE_SIZE 512

static void from_json(const json_t *o, char sid[IDS_SID_SIZE], char office[IDS_OFFICE_SIZE])
{
	const char *s = json_string_value(json_object_get(o, "sid"));
	const char *f = json_string_value(json_object_get(o, "office"));
	snprintf(sid, IDS_SID_SIZE, "%s", s != NULL ? s : "");
	snprintf(office, IDS_OFFICE_SIZE, "%s", f != NULL ? f : "");
}

/* The next word; moves on behind the blanks after it. */
static void word(const char **at, char *out, size_t size)
{
	static const char blanks[] = " \t\r\n";
	*at += strspn(*at, blanks);
	size_t n = strcspn(*at, blanks);
	snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), *at);
	*at += n + strspn(*at + n, blanks);
}

static void from_text(struct span line, char sid[IDS_SID_SIZE], char office[IDS_OFFICE_SIZE])
{
	char text[LINE_SIZE];
	const char *at = text;
	snprintf(text, sizeof(text), "%.*s", (int)line.n, (const char *)line.p);
	word(&at, sid, IDS_SID_SIZE);
	word(&at, office, IDS_OFFICE_SIZE);
	if (*at != '\0')
		office[0] = '\0';
}

bool ids_line(struct span line, char ret_sid[IDS_SID_SIZE], char ret_office[IDS_OFFICE_SIZE])
{
	enum cwc_chamber chamber;
	ret_sid[0] = ret_office[0] = '\0';
	if (line.n > 0 && line.p[0] == '{') {
		json_t *o = json_loadb((const char *)line.p, line.n, 0, NULL);
		from_json(o, ret_sid, ret_office);
		json_decref(o);
	} else if (line.n > 0 && line.n < LINE_SIZE) {
		from_text(line, ret_sid, ret_office);
	}
	return job_sid_valid(span_str(ret_sid)) && cwc_office_parse(span_str(ret_office), &chamber) == ERR_OK;
}
