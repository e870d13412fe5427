/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"

#define WHY_MAX 32768

static int open_sealer(struct input *in)
{
	in->sealer_tried = true;
	return sealer_open(in->c, &in->sealer);
}

int input_open(struct ctl *c, const char *file, bool sealer, struct input *in)
{
	memset(in, 0, sizeof(*in));
	in->c = c;
	letter_init(&in->letter);
	buf_init(&in->job, JOB_MAX);
	buf_init(&in->why, WHY_MAX);
	if (session_queue_name(c) == NULL)
		return CTL_USAGE;
	int code = lines_open(&in->lines, file);
	return code == 0 && sealer ? open_sealer(in) : code;
}

void input_close(struct input *in)
{
	lines_close(&in->lines);
	sealer_close(&in->sealer);
	letter_clear(&in->letter);
	buf_clear(&in->job);
	buf_clear(&in->why);
}

/* One reason a line: "FILE:3: Zip: is required". */
static void report(struct input *in)
{
	struct span rest = span_buf(&in->why);
	in->bad++;
	while (rest.n > 0) {
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		size_t n = end != NULL ? (size_t)(end - rest.p) : rest.n;
		ctl_complain("%s:%u: %.*s", in->lines.name, in->lines.number, (int)n, (const char *)rest.p);
		rest = n < rest.n ? span_of(rest.p + n + 1, rest.n - n - 1) : span_of(NULL, 0);
	}
	if (in->on_bad != NULL)
		in->on_bad(in->arg, in->lines.number, span_buf(&in->why));
}

/* One line up to the check; false when it is bad. */
static bool read_line(struct input *in, struct span line)
{
	int64_t now_s = clock_wall_us() / 1000000;
	buf_reset(&in->why);
	if (!letter_read(line, session_queue_name(in->c), now_s, &in->letter, &in->why))
		return false;
	return ctl_has(in->c, OPT_FORCE) || letter_check(&in->letter, &in->why);
}

static int read_failed(const struct input *in)
{
	return ctl_fail(CTL_NO, "%s: %s", in->lines.name, strerror(errno));
}

static void too_long(struct input *in)
{
	buf_reset(&in->why);
	buf_add_str(&in->why, "longer than 1 MiB");
	report(in);
}

/* Reads the rest and reports what is bad. */
static int check_rest(struct input *in)
{
	struct span line;
	for (;;) {
		switch (lines_next(&in->lines, &line)) {
		case LINES_LINE:
			if (!read_line(in, line))
				report(in);
			break;
		case LINES_TOO_LONG:
			too_long(in);
			break;
		case LINES_END:
			return 0;
		case LINES_FAILED:
			return read_failed(in);
		}
	}
}

int input_check(struct input *in)
{
	if (!in->lines.regular || ctl_has(in->c, OPT_KEEP_GOING))
		return 0;
	int code = check_rest(in);
	if (code == 0 && in->bad > 0)
		code = ctl_fail(CTL_NO, "%u bad line%s, so nothing was done; --keep-going does the good ones", in->bad,
				in->bad == 1 ? "" : "s");
	if (code == 0)
		lines_rewind(&in->lines);
	return code;
}

static bool seal_line(struct input *in, int *ret_code)
{
	buf_reset(&in->job);
	if (in->letter.job.n > 0) {
		buf_add_span(&in->job, span_buf(&in->letter.job));
		return true;
	}
	if (!in->sealer_tried && (*ret_code = open_sealer(in)) != 0)
		return false;
	return sealer_seal(&in->sealer, &in->letter, &in->job, &in->why);
}

/* After a bad line; false: stop. */
static bool go_on(struct input *in, int *ret_code)
{
	if (ctl_has(in->c, OPT_KEEP_GOING))
		return true;
	*ret_code = check_rest(in);
	return false;
}

bool input_next(struct input *in, int *ret_code)
{
	struct span line;
	*ret_code = 0;
	for (;;) {
		switch (lines_next(&in->lines, &line)) {
		case LINES_LINE:
			if (read_line(in, line) && seal_line(in, ret_code)) {
				in->good++;
				return true;
			}
			if (*ret_code != 0)
				return false;
			report(in);
			break;
		case LINES_TOO_LONG:
			too_long(in);
			break;
		case LINES_END:
			return false;
		case LINES_FAILED:
			*ret_code = read_failed(in);
			return false;
		}
		if (!go_on(in, ret_code))
			return false;
	}
}
