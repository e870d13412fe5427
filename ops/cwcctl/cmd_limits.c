/* SPDX-License-Identifier: Apache-2.0 */
/* The rates in effect, and what limits each chamber. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/holds.h"
#include "ops/cwcctl/limits.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/workers.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s != NULL ? s : "";
}

static void rate_text(const json_t *v, char out[32])
{
	if (json_is_number(v))
		snprintf(out, 32, "%.4g/s", json_number_value(v));
	else
		snprintf(out, 32, "-");
}

/* What `by` means, in a sentence. */
static void by_text(const json_t *o, char *out, size_t size)
{
	char text[256], rate[32], ceiling[32];
	const char *by = text_of(o, "by");
	rate_text(json_object_get(o, "lowest"), rate);
	rate_text(json_object_get(o, "ceiling"), ceiling);
	if (strcmp(by, "hold") == 0) {
		holds_hold_text(json_object_get(o, "hold"), text, sizeof(text));
		snprintf(out, size, "held %s", text);
	} else if (strcmp(by, "breaker") == 0) {
		snprintf(out, size, "its breaker is open: it does not answer");
	} else if (strcmp(by, "offices") == 0) {
		snprintf(out, size, "its offices: held, broken, or at their own limits");
	} else if (strcmp(by, "workers") == 0) {
		snprintf(out, size, "nothing but the workers: more of them help");
	} else if (strcmp(by, "rate") == 0 && json_is_string(json_object_get(o, "slowest"))) {
		snprintf(out, size, "the host's rate of %s: %s of %s", text_of(o, "slowest"), rate, ceiling);
	} else if (strcmp(by, "rate") == 0) {
		snprintf(out, size, "the measured ceiling");
	} else {
		snprintf(out, size, "nothing: no letter waits");
	}
}

/* For people: rates as texts, and what is not there as it reads. */
static json_t *dressed(const json_t *o)
{
	char rate[32], office[32], used[64], now[64], by[320];
	json_t *row = json_object();
	int64_t n = (int64_t)json_integer_value(json_object_get(o, "used"));
	int64_t allowed = (int64_t)json_integer_value(json_object_get(o, "allowed"));
	rate_text(json_object_get(o, "rate"), rate);
	rate_text(json_object_get(o, "office_rate"), office);
	if (allowed > 0)
		snprintf(used, sizeof(used), "%lld of %lld", (long long)n, (long long)allowed);
	else
		snprintf(used, sizeof(used), "%lld", (long long)n);
	if (json_is_string(json_object_get(o, "next")))
		snprintf(now, sizeof(now), "0 until %s", text_of(o, "next"));
	else
		snprintf(now, sizeof(now), "%lld", (long long)json_integer_value(json_object_get(o, "cells")));
	by_text(o, by, sizeof(by));
	json_object_set(row, "chamber", json_object_get(o, "chamber"));
	json_object_set(row, "burst", json_object_get(o, "burst"));
	json_object_set(row, "office_slots", json_object_get(o, "office_slots"));
	json_object_set_new(row, "rate", json_string(rate));
	json_object_set_new(row, "office_rate", json_string(office));
	json_object_set_new(row, "used", json_string(used));
	json_object_set_new(row, "cells", json_string(json_is_true(json_object_get(o, "known")) ? now : "-"));
	json_object_set_new(row, "by", out_string(span_str(by)));
	return row;
}

int cmd_limits(struct ctl *c)
{
	static const struct out_column col[] = {
		{ "chamber", "CHAMBER" },        { "rate", "RATE" },        { "burst", "BURST" },
		{ "used", "LAST MINUTE" },       { "cells", "MAY GO NOW" }, { "office_rate", "AN OFFICE" },
		{ "office_slots", "AT A TIME" }, { "by", "LIMITED BY" },
	};
	int code = session_open(c);
	if (code != 0)
		return code;
	json_t *reading = depth_read(c, DEPTH_HORIZON_US), *workers = reading != NULL ? workers_read(c) : NULL;
	json_t *limits = workers != NULL ? limits_read(c, reading, workers) : NULL;
	code = limits != NULL ? CTL_OK : c->session->code;
	json_t *rows = limits != NULL && !c->json ? json_array() : json_incref(limits);
	for (size_t i = 0; limits != NULL && !c->json && i < json_array_size(limits); i++)
		json_array_append_new(rows, dressed(json_array_get(limits, i)));
	if (rows != NULL)
		out_rows(c, rows, col, N(col), "");
	json_decref(limits);
	json_decref(workers);
	json_decref(reading);
	return code;
}
