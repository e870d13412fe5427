/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/filter.h"

#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/units.h"
#include "queue/job.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define COUNT_MAX UINT64_C(1000000000)
#define SECOND_US INT64_C(1000000)

/* The next item of a list with commas; false at its end. */
static bool item_next(const char **at, struct span *ret_item)
{
	if (**at == '\0')
		return false;
	size_t n = strcspn(*at, ",");
	*ret_item = span_of(*at, n);
	*at += n + ((*at)[n] == ',');
	return true;
}

static bool listed(const char *list, struct span value)
{
	struct span item;
	while (item_next(&list, &item))
		if (span_eq(item, value))
			return true;
	return false;
}

static bool is_office(struct span s)
{
	enum cwc_chamber chamber;
	return cwc_office_parse(s, &chamber) == ERR_OK;
}

static bool is_status(struct span s)
{
	uint64_t n;
	return text_uint(s, 999, &n) == ERR_OK;
}

static bool is_name(struct span s)
{
	return s.n > 0;
}

/* 0, or the exit status after a report: every item of the list must be good. */
static int check_list(const struct ctl *c, enum ctl_option o, bool (*good)(struct span), const char *what)
{
	const char *at = ctl_value(c, o, NULL);
	struct span item;
	if (at == NULL)
		return 0;
	if (*at == '\0')
		return ctl_fail(CTL_USAGE, "--%s is empty", ctl_options[o].name);
	while (item_next(&at, &item))
		if (!good(item))
			return ctl_fail(CTL_USAGE, "--%s: not %s: %.*s", ctl_options[o].name, what, (int)item.n,
					(const char *)item.p);
	return 0;
}

static int read_chamber(const struct ctl *c, char *ret_chamber)
{
	const char *s = ctl_value(c, OPT_CHAMBER, "");
	*ret_chamber = strcmp(s, "house") == 0 ? 'H' : strcmp(s, "senate") == 0 ? 'S' : '\0';
	if (ctl_has(c, OPT_CHAMBER) && *ret_chamber == '\0')
		return ctl_fail(CTL_USAGE, "--chamber must be house or senate");
	return 0;
}

/* A duration before now, or a time. */
static int read_moment(const struct ctl *c, enum ctl_option o, int64_t *ret_s)
{
	*ret_s = 0;
	if (!ctl_has(c, o) || units_moment(c->opt[o], clock_wall_us() / SECOND_US, ret_s) == ERR_OK)
		return 0;
	return ctl_fail(CTL_USAGE,
			"--%s must be a duration in ms, s, min, h or d, such as 36h, or a time that is past (RFC 3339)",
			ctl_options[o].name);
}

bool filter_given(const struct ctl *c)
{
	for (int o = 0; o < CTL_N_OPTIONS; o++)
		if (o != OPT_COUNT && (FILTER_OPTIONS & CTL_BIT(o)) != 0 && c->opt[o] != NULL)
			return true;
	return false;
}

int filter_read(const struct ctl *c, struct filter *ret_filter)
{
	struct filter f = {
		.office = c->opt[OPT_OFFICE],
		.outcome = c->opt[OPT_OUTCOME],
		.class_ = c->opt[OPT_CLASS],
		.sid = c->opt[OPT_SID],
		.http = c->opt[OPT_HTTP],
	};
	int code = args_count(c, OPT_COUNT, COUNT_MAX, &f.count);
	if (code == 0)
		code = read_chamber(c, &f.chamber);
	if (code == 0)
		code = check_list(c, OPT_OFFICE, is_office, "an office code (such as HNE03 or SNE02)");
	if (code == 0)
		code = check_list(c, OPT_SID, job_sid_valid, "a submission's id");
	if (code == 0)
		code = check_list(c, OPT_OUTCOME, is_name, "an outcome");
	if (code == 0)
		code = check_list(c, OPT_CLASS, is_name, "a class");
	if (code == 0)
		code = check_list(c, OPT_HTTP, is_status, "an HTTP status, or 0");
	if (code == 0)
		code = read_moment(c, OPT_OLDER, &f.older_s);
	if (code == 0)
		code = read_moment(c, OPT_NEWER, &f.newer_s);
	f.any = filter_given(c);
	if (code == 0)
		*ret_filter = f;
	return code;
}

static bool pass_age(const struct filter *f, const struct resp_reply *flat)
{
	int64_t us = 0;
	if (f->older_s == 0 && f->newer_s == 0)
		return true;
	if (text_int(reply_field(flat, "ended_us"), &us) != ERR_OK || us <= 0)
		return false;
	return (f->older_s == 0 || us < f->older_s * SECOND_US) && (f->newer_s == 0 || us >= f->newer_s * SECOND_US);
}

/* An entry says `http_status`, a record `status`. */
static struct span status_of(const struct resp_reply *flat)
{
	struct span s = reply_field(flat, "http_status");
	return s.n > 0 ? s : reply_field(flat, "status");
}

bool filter_pass(const struct filter *f, struct span sid, struct span office, const struct resp_reply *flat)
{
	return (f->chamber == '\0' || (office.n > 0 && office.p[0] == (uint8_t)f->chamber)) &&
	       (f->office == NULL || listed(f->office, office)) && (f->sid == NULL || listed(f->sid, sid)) &&
	       (f->outcome == NULL || listed(f->outcome, reply_field(flat, "outcome"))) &&
	       (f->class_ == NULL || listed(f->class_, reply_field(flat, "class"))) &&
	       (f->http == NULL || listed(f->http, status_of(flat))) && pass_age(f, flat);
}

bool filter_senate_only(const struct filter *f)
{
	const char *at = f->office;
	struct span item;
	if (f->chamber != '\0')
		return f->chamber == 'S';
	if (at == NULL)
		return false;
	while (item_next(&at, &item))
		if (item.p[0] != 'S')
			return false;
	return true;
}
