/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/out.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#include "worker/base/text.h"

#define CELL_MAX  4096
#define GAP       2
#define SECOND_US INT64_C(1000000)
/* Beyond ASCII there are C1 and more that a terminal obeys. Milliseconds of 30,000 years have 15 digits. */
#define JSON_FLAGS (JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15))

/* --- text ------------------------------------------------------------------------------------ */

/* C0, DEL and C1: what a terminal may take for a command. Then marks without width, line ends and what turns the
 * direction of the text: it would read otherwise than it is. */
static bool is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x200b && point <= 0x200f) ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

static void add_clean(struct buf *b, struct span s)
{
	size_t at = 0;
	while (at < s.n) {
		size_t start = at;
		uint32_t point = text_utf8_next(s, &at);
		if (is_control(point))
			buf_add_byte(b, '?');
		else if (point == 0xfffd)
			buf_add_str(b, "\xef\xbf\xbd");
		else
			buf_add(b, s.p + start, at - start);
	}
}

void out_clean(FILE *f, struct span s)
{
	struct buf b;
	buf_init(&b, 4 * s.n + 16);
	add_clean(&b, s);
	fwrite(b.p, 1, b.n, f);
	buf_clear(&b);
}

/* --- values ---------------------------------------------------------------------------------- */

json_t *out_string(struct span s)
{
	json_t *v = s.n == 0 ? json_string("") : json_stringn((const char *)s.p, s.n);
	if (v != NULL)
		return v;
	/* Not UTF-8. */
	struct buf b;
	buf_init(&b, 6 * s.n + 16);
	text_json(s, &b);
	v = json_loadb((const char *)b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	buf_clear(&b);
	return v;
}

json_t *out_time_us(int64_t us)
{
	char text[TEXT_TIME_MS_SIZE];
	if (us <= 0)
		return json_null();
	text_time_ms(us / 1000, text);
	return json_string(text);
}

json_t *out_seconds(int64_t us)
{
	int64_t ms = (us + 999) / 1000;
	return json_real((double)ms / 1000);
}

json_t *out_hex(struct span s)
{
	char *hex = xmalloc(2 * s.n + 1);
	text_hex(s, hex);
	json_t *v = json_string(hex);
	free(hex);
	return v;
}

json_t *out_base64(struct span s)
{
	struct buf b;
	buf_init(&b, s.n * 4 / 3 + 8);
	text_base64(s, &b);
	json_t *v = out_string(span_buf(&b));
	buf_clear(&b);
	return v;
}

void out_age(int64_t us, char ret_out[OUT_AGE_SIZE])
{
	int64_t s = us / SECOND_US;
	if (us < SECOND_US)
		snprintf(ret_out, OUT_AGE_SIZE, "%.2fs", us < 0 ? 0 : (double)us / (double)SECOND_US);
	else if (s < 60)
		snprintf(ret_out, OUT_AGE_SIZE, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(ret_out, OUT_AGE_SIZE, "%" PRId64 "min %" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(ret_out, OUT_AGE_SIZE, "%" PRId64 "h %" PRId64 "min", s / 3600, s % 3600 / 60);
	else
		snprintf(ret_out, OUT_AGE_SIZE, "%" PRId64 "d %" PRId64 "h", s / 86400, s % 86400 / 3600);
}

/* --- JSON ------------------------------------------------------------------------------------ */

void out_document(json_t *v)
{
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_FLAGS);
	fputc('\n', stdout);
	json_decref(v);
}

void out_line(json_t *v)
{
	json_dumpf(v, stdout, JSON_COMPACT | JSON_FLAGS);
	fputc('\n', stdout);
	json_decref(v);
}

/* --- tables ---------------------------------------------------------------------------------- */

static void add_array(const json_t *v, struct buf *b)
{
	if (json_array_size(v) == 0)
		buf_add_str(b, "-");
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *item = json_array_get(v, i);
		if (i > 0)
			buf_add_str(b, ", ");
		out_cell(item, b);
	}
}

void out_cell(const json_t *v, struct buf *b)
{
	switch (v == NULL ? JSON_NULL : json_typeof(v)) {
	case JSON_STRING:
		if (json_string_length(v) == 0)
			buf_add_str(b, "-");
		add_clean(b, span_of(json_string_value(v), json_string_length(v)));
		break;
	case JSON_INTEGER:
		buf_add_int(b, json_integer_value(v));
		break;
	case JSON_TRUE:
		buf_add_str(b, "yes");
		break;
	case JSON_FALSE:
		buf_add_str(b, "no");
		break;
	case JSON_ARRAY:
		add_array(v, b);
		break;
	case JSON_NULL:
	case JSON_REAL:
	case JSON_OBJECT:
		buf_add_str(b, "-");
		break;
	}
}

static size_t width_of(struct span s)
{
	size_t points;
	return text_utf8_length(s, &points) == ERR_OK ? points : s.n;
}

/* The last column is not padded: nothing follows it. */
static void print_cell(struct span s, size_t width, bool last)
{
	fwrite(s.p, 1, s.n, stdout);
	for (size_t w = width_of(s); !last && w < width + GAP; w++)
		fputc(' ', stdout);
}

static void measure(const json_t *rows, const struct out_column *col, size_t n, size_t *width)
{
	struct buf cell;
	buf_init(&cell, CELL_MAX);
	for (size_t i = 0; i < n; i++) {
		size_t w = width_of(span_str(col[i].title));
		width[i] = w > width[i] ? w : width[i];
	}
	for (size_t r = 0; r < json_array_size(rows); r++) {
		const json_t *row = json_array_get(rows, r);
		for (size_t i = 0; i < n; i++) {
			buf_reset(&cell);
			out_cell(json_object_get(row, col[i].key), &cell);
			size_t w = width_of(span_buf(&cell));
			width[i] = w > width[i] ? w : width[i];
		}
	}
	buf_clear(&cell);
}

static void print_head(const struct out_column *col, size_t n, const size_t *width)
{
	for (size_t i = 0; i < n; i++)
		print_cell(span_str(col[i].title), width[i], i + 1 == n);
	fputc('\n', stdout);
}

static void print_rows(const json_t *rows, const struct out_column *col, size_t n, const size_t *width)
{
	struct buf cell;
	buf_init(&cell, CELL_MAX);
	for (size_t r = 0; r < json_array_size(rows); r++) {
		const json_t *row = json_array_get(rows, r);
		for (size_t i = 0; i < n; i++) {
			buf_reset(&cell);
			out_cell(json_object_get(row, col[i].key), &cell);
			print_cell(span_buf(&cell), width[i], i + 1 == n);
		}
		fputc('\n', stdout);
	}
	buf_clear(&cell);
}

void out_table(const json_t *rows, const struct out_column *col, size_t n)
{
	size_t width[OUT_COLUMNS_MAX] = { 0 };
	BUG_ON(n > OUT_COLUMNS_MAX);
	measure(rows, col, n, width);
	print_head(col, n, width);
	print_rows(rows, col, n, width);
}

/* A bar would end the cell. */
static void markdown_cell(struct span s)
{
	fputs(" ", stdout);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '|')
			fputc('\\', stdout);
		fputc(s.p[i], stdout);
	}
	fputs(" |", stdout);
}

void out_markdown(const json_t *rows, const struct out_column *col, size_t n)
{
	struct buf cell;
	fputc('|', stdout);
	for (size_t i = 0; i < n; i++)
		markdown_cell(span_str(col[i].title));
	fputs("\n|", stdout);
	for (size_t i = 0; i < n; i++)
		fputs(" --- |", stdout);
	fputc('\n', stdout);
	buf_init(&cell, CELL_MAX);
	for (size_t r = 0; r < json_array_size(rows); r++) {
		const json_t *row = json_array_get(rows, r);
		fputc('|', stdout);
		for (size_t i = 0; i < n; i++) {
			buf_reset(&cell);
			out_cell(json_object_get(row, col[i].key), &cell);
			markdown_cell(span_buf(&cell));
		}
		fputc('\n', stdout);
	}
	buf_clear(&cell);
}

void out_list(const json_t *object, const struct out_column *col, size_t n)
{
	size_t width = 0;
	struct buf cell;
	for (size_t i = 0; i < n; i++) {
		size_t w = width_of(span_str(col[i].title));
		width = w > width ? w : width;
	}
	buf_init(&cell, CELL_MAX);
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_object_get(object, col[i].key);
		if (v == NULL || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0))
			continue;
		print_cell(span_str(col[i].title), width, false);
		buf_reset(&cell);
		out_cell(v, &cell);
		print_cell(span_buf(&cell), 0, true);
		fputc('\n', stdout);
	}
	buf_clear(&cell);
}

void out_rows(const struct ctl *c, json_t *rows, const struct out_column *col, size_t n, const char *none)
{
	if (c->json) {
		out_document(rows);
		return;
	}
	if (ctl_has(c, OPT_MARKDOWN))
		out_markdown(rows, col, n);
	else if (json_array_size(rows) > 0)
		out_table(rows, col, n);
	else
		puts(none);
	json_decref(rows);
}

/* --- pages ----------------------------------------------------------------------------------- */

void out_pages_begin(const struct ctl *c, const struct out_column *col, size_t n, struct out_pages *ret_p)
{
	BUG_ON(n > OUT_COLUMNS_MAX);
	*ret_p = (struct out_pages){ .json = c->json, .col = col, .n = n };
}

void out_page(struct out_pages *p, json_t *rows)
{
	for (size_t i = 0; p->json && i < json_array_size(rows); i++) {
		fputs(p->begun ? ",\n" : "[\n", stdout);
		json_dumpf(json_array_get(rows, i), stdout, JSON_INDENT(2) | JSON_FLAGS);
		p->begun = true;
	}
	if (!p->json && json_array_size(rows) > 0) {
		measure(rows, p->col, p->n, p->width);
		if (!p->begun)
			print_head(p->col, p->n, p->width);
		print_rows(rows, p->col, p->n, p->width);
		p->begun = true;
	}
	json_decref(rows);
	out_flush();
}

void out_pages_end(struct out_pages *p, const char *none)
{
	if (p->json)
		puts(p->begun ? "\n]" : "[]");
	else if (!p->begun)
		puts(none);
}

/* --- writing --------------------------------------------------------------------------------- */

static bool gone; /* the reader, as out_good() found */

static void reader_gone(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
}

void out_flush(void)
{
	if (fflush(stdout) != 0 && errno == EPIPE)
		reader_gone();
}

bool out_good(void)
{
	if (fflush(stdout) != 0)
		gone = gone || errno == EPIPE;
	return !ferror(stdout);
}

int out_raw(struct span s)
{
	out_flush();
	while (s.n > 0) {
		ssize_t n = write(STDOUT_FILENO, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE)
			reader_gone();
		if (n <= 0)
			return ctl_fail(CTL_INTERNAL, "the output cannot be written");
		s = span_of(s.p + n, s.n - (size_t)n);
	}
	return 0;
}

int out_finish(int code)
{
	if (gone)
		reader_gone();
	out_flush();
	if (ferror(stdout))
		return ctl_fail(CTL_INTERNAL, "the output cannot be written");
	return code;
}
