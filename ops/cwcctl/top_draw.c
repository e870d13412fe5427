/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/top.h"
#include "worker/base/text.h"

#define CELL_SIZE TOP_TEXT_SIZE
#define SHORT     24 /* a number, an age */
#define COLUMNS   10
#define GAP       2

#define RED    "\x1b[31m"
#define YELLOW "\x1b[33m"
#define BOLD   "\x1b[1m"
#define PLAIN  "\x1b[0m"

struct frame {
	struct buf *out;
	unsigned width, height, lines;
	bool colour;
};

/* --- lines ------------------------------------------------------------------------------------ */

/* Two columns for what East Asian terminals draw so; a narrower one does no harm. */
static unsigned columns_of(uint32_t point)
{
	return point >= 0x1100 ? 2 : 1;
}

/* What a terminal could take for a command, or has no width of its own. */
static bool is_plain(uint32_t point)
{
	return point >= 0x20 && (point < 0x7f || point >= 0xa0) && (point < 0x300 || point >= 0x370) &&
	       (point < 0x200b || point >= 0x2070) && point != 0xfeff && point != 0xfffd;
}

/* Appends at most `most` columns of the text; returns how many. What is cut ends in '~'. */
static unsigned add_text(struct buf *b, const char *text, unsigned most)
{
	struct span s = span_str(text);
	unsigned used = 0;
	for (size_t at = 0; at < s.n;) {
		size_t from = at;
		uint32_t point = text_utf8_next(s, &at);
		unsigned w = is_plain(point) ? columns_of(point) : 1;
		bool last = at == s.n;
		if (used + w > most || (used + w == most && !last)) {
			if (used < most) {
				buf_add_byte(b, '~');
				used++;
			}
			break;
		}
		if (is_plain(point))
			buf_add(b, s.p + from, at - from);
		else
			buf_add_byte(b, '?');
		used += w;
	}
	return used;
}

static bool has_room(const struct frame *f)
{
	return f->height == 0 || f->lines < f->height;
}

/* One line; `paint` as a whole, or "". */
static void line(struct frame *f, const char *text, const char *paint)
{
	if (!has_room(f))
		return;
	bool painted = f->colour && paint[0] != '\0';
	if (painted)
		buf_add_str(f->out, paint);
	add_text(f->out, text, f->width);
	if (painted)
		buf_add_str(f->out, PLAIN);
	buf_add_byte(f->out, '\n');
	f->lines++;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void number_text(int64_t n, char out[SHORT])
{
	if (n >= 10000000)
		snprintf(out, SHORT, "%" PRId64 "M", n / 1000000);
	else if (n >= 100000)
		snprintf(out, SHORT, "%" PRId64 "k", n / 1000);
	else
		snprintf(out, SHORT, "%" PRId64, n);
}

/* The largest unit alone: a column of six. */
static void age_text(int64_t us, char out[SHORT])
{
	int64_t s = us / 1000000;
	if (us <= 0)
		snprintf(out, SHORT, "-");
	else if (s < 120)
		snprintf(out, SHORT, "%" PRId64 "s", s);
	else if (s < 7200)
		snprintf(out, SHORT, "%" PRId64 "min", s / 60);
	else if (s < 2 * 86400)
		snprintf(out, SHORT, "%" PRId64 "h", s / 3600);
	else
		snprintf(out, SHORT, "%" PRId64 "d", s / 86400);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* `from`: the narrowest frame that shows it. The last column has what is left. */
struct column {
	const char *title;
	unsigned width, from;
	bool left;
};

struct table {
	struct frame *f;
	const struct column *col;
	size_t n;
};

typedef char cells[COLUMNS][CELL_SIZE];

static void add_spaces(struct buf *b, unsigned n)
{
	for (; n > 0; n--)
		buf_add_byte(b, ' ');
}

static void add_cell(struct buf *b, const struct column *col, const char *text, unsigned width)
{
	struct buf cell;
	buf_init(&cell, 4 * CELL_SIZE + 16);
	unsigned used = add_text(&cell, text, width);
	if (!col->left)
		add_spaces(b, width - used);
	buf_add_span(b, span_buf(&cell));
	if (col->left)
		add_spaces(b, width - used);
	buf_clear(&cell);
}

static void table_line(const struct table *t, cells cell, const char *paint)
{
	struct frame *f = t->f;
	unsigned at = 0;
	bool painted = f->colour && paint[0] != '\0';
	if (!has_room(f))
		return;
	if (painted)
		buf_add_str(f->out, paint);
	for (size_t i = 0; i < t->n; i++) {
		const struct column *col = &t->col[i];
		unsigned gap = at > 0 ? GAP : 0;
		if (f->width < col->from || at + gap >= f->width)
			continue;
		unsigned room = f->width - at - gap;
		unsigned width = i == t->n - 1 || col->width > room ? room : col->width;
		add_spaces(f->out, gap);
		if (i == t->n - 1)
			add_text(f->out, cell[i], width); /* no blanks at the end */
		else
			add_cell(f->out, col, cell[i], width);
		at += gap + width;
	}
	if (painted)
		buf_add_str(f->out, PLAIN);
	buf_add_byte(f->out, '\n');
	f->lines++;
}

static void table_head(const struct table *t)
{
	cells cell;
	for (size_t i = 0; i < t->n; i++)
		snprintf(cell[i], CELL_SIZE, "%s", t->col[i].title);
	table_line(t, cell, BOLD);
}

/* --- the parts -------------------------------------------------------------------------------- */

static void draw_head(struct frame *f, const struct top_state *t)
{
	char text[TOP_TEXT_SIZE], age[SHORT];
	snprintf(text, sizeof(text), "queue %.64s  %s  %" PRId64 " worker%s%s", t->queue, t->time, t->n_alive,
		 t->n_alive == 1 ? "" : "s", t->n_draining > 0 ? ", some draining" : "");
	line(f, text, t->n_alive == 0 ? RED : BOLD);
	if (t->away != NULL) {
		snprintf(text, sizeof(text), "NOT OF NOW: %.200s", t->away);
		line(f, text, RED);
	}
	age_text(t->door_oldest_us, age);
	snprintf(text, sizeof(text), "door %" PRId64 " (%s)  dead %" PRId64 "  unknown %" PRId64 "  stuck %" PRId64,
		 t->door, age, t->dead, t->unknown, t->stuck);
	line(f, text, t->stuck > 0 || t->unknown > 0 ? RED : t->dead > 0 ? YELLOW : "");
	snprintf(text, sizeof(text), "results to read %" PRId64 "  refused %" PRId64, t->results, t->refused);
	line(f, text, "");
}

static void draw_chambers(struct frame *f, const struct top_state *t)
{
	static const struct column col[] = {
		{ "CHAMBER", 7, 0, true },     { "WAIT", 6, 0, false },     { "HELD", 6, 60, false },
		{ "FLIGHT", 6, 0, false },     { "LATER", 6, 90, false },   { "OLDEST", 6, 40, false },
		{ "LAST MIN", 13, 70, false }, { "IN/MIN", 6, 100, false }, { "END/MIN", 7, 100, false },
		{ "STATE", 0, 30, true },
	};
	struct table table = { f, col, sizeof(col) / sizeof(col[0]) };
	_Static_assert(sizeof(col) / sizeof(col[0]) <= COLUMNS, "room for the cells");
	line(f, "", "");
	table_head(&table);
	for (size_t i = 0; i < TOP_CHAMBERS; i++) {
		const struct top_chamber *c = &t->chamber[i];
		cells cell;
		snprintf(cell[0], CELL_SIZE, "%s", c->name);
		number_text(c->waiting, cell[1]);
		number_text(c->held + c->held_rate, cell[2]);
		number_text(c->in_flight, cell[3]);
		number_text(c->later, cell[4]);
		age_text(c->oldest_us, cell[5]);
		if (c->allowed > 0)
			snprintf(cell[6], CELL_SIZE, "%" PRId64 " of %" PRId64, c->used, c->allowed);
		else
			snprintf(cell[6], CELL_SIZE, "%" PRId64, c->used);
		number_text(c->arrived, cell[7]);
		number_text(c->ended, cell[8]);
		snprintf(cell[9], CELL_SIZE, "%s", c->state[0] != '\0' ? c->state : "ok");
		table_line(&table, cell, c->state[0] != '\0' ? RED : "");
	}
}

static void more(struct frame *f, size_t n, const char *text)
{
	char s[64];
	if (n == 0)
		return;
	snprintf(s, sizeof(s), "and %zu more%s", n, text);
	line(f, s, "");
}

static void draw_offices(struct frame *f, const struct top_state *t, size_t most)
{
	static const struct column col[] = {
		{ "OFFICE", 7, 0, true },   { "WAIT", 6, 0, false },    { "FLIGHT", 6, 0, false },
		{ "OLDEST", 6, 40, false }, { "TROUBLE", 0, 30, true },
	};
	struct table table = { f, col, sizeof(col) / sizeof(col[0]) };
	size_t n = t->n_offices < most ? t->n_offices : most;
	if (n == 0)
		return;
	line(f, "", "");
	table_head(&table);
	for (size_t i = 0; i < n; i++) {
		const struct top_office *o = &t->office[i];
		cells cell;
		snprintf(cell[0], CELL_SIZE, "%s", o->code);
		number_text(o->waiting, cell[1]);
		number_text(o->in_flight, cell[2]);
		age_text(o->oldest_us, cell[3]);
		snprintf(cell[4], CELL_SIZE, "%s", o->trouble[0] != '\0' ? o->trouble : "-");
		table_line(&table, cell, o->trouble[0] != '\0' ? YELLOW : "");
	}
	more(f, t->more_offices + t->n_offices - n, "");
}

static void draw_workers(struct frame *f, const struct top_state *t, size_t most)
{
	static const struct column col[] = {
		{ "STATE", 8, 0, true },     { "HOLDS", 6, 0, false }, { "BEAT", 6, 40, false },
		{ "VERSION", 10, 70, true }, { "WORKER", 0, 0, true },
	};
	struct table table = { f, col, sizeof(col) / sizeof(col[0]) };
	size_t n = t->n_workers < most ? t->n_workers : most;
	if (n > 0 || t->n_workers == 0)
		line(f, "", "");
	if (t->n_workers == 0)
		line(f, "NO WORKER", RED);
	if (n == 0)
		return;
	table_head(&table);
	for (size_t i = 0; i < n; i++) {
		const struct top_worker *w = &t->worker[i];
		cells cell;
		snprintf(cell[0], CELL_SIZE, "%s", w->state);
		number_text(w->holds, cell[1]);
		age_text(w->beat_us, cell[2]);
		snprintf(cell[3], CELL_SIZE, "%s", w->version[0] != '\0' ? w->version : "-");
		snprintf(cell[4], CELL_SIZE, "%s", w->name);
		table_line(&table, cell,
			   strcmp(w->state, "dead") == 0      ? RED
			   : strcmp(w->state, "serving") != 0 ? YELLOW
							      : "");
	}
	more(f, t->more_workers + t->n_workers - n, "");
}

static void draw_acts(struct frame *f, const struct top_state *t, size_t most)
{
	static const struct column col[] = {
		{ "AGO", 6, 0, false },
		{ "WHO", 24, 70, true },
		{ "LAST ACTS OF PEOPLE", 0, 0, true },
	};
	struct table table = { f, col, sizeof(col) / sizeof(col[0]) };
	size_t n = t->n_acts < most ? t->n_acts : most;
	if (n == 0)
		return;
	line(f, "", "");
	table_head(&table);
	for (size_t i = 0; i < n; i++) {
		const struct top_act *a = &t->act[i];
		cells cell;
		age_text(a->ago_us > 0 ? a->ago_us : 1, cell[0]);
		snprintf(cell[1], CELL_SIZE, "%s", a->who);
		snprintf(cell[2], CELL_SIZE, "%s", a->what);
		table_line(&table, cell, "");
	}
}

/* --- the frame -------------------------------------------------------------------------------- */

/* Rows for a table that wants so many, of what is left, when as many tables are still to come. */
static size_t share(size_t wants, unsigned *left, unsigned tables)
{
	const unsigned around = 3; /* blank line, head, "and more" */
	unsigned mine = *left / tables;
	size_t n = mine > around ? mine - around : 0;
	n = wants < n ? wants : n;
	unsigned used = n > 0 ? (unsigned)n + around : 0;
	*left -= used < *left ? used : *left;
	return n;
}

void top_draw(const struct top_state *t, unsigned width, unsigned height, bool colour, struct buf *out)
{
	struct frame f = { .out = out, .height = height, .colour = colour };
	f.width = width < TOP_WIDTH_MIN ? TOP_WIDTH_MIN : width > TOP_WIDTH_MAX ? TOP_WIDTH_MAX : width;
	draw_head(&f, t);
	draw_chambers(&f, t);
	unsigned left = height == 0 ? 10000 : height > f.lines ? height - f.lines : 0;
	size_t offices = share(t->n_offices, &left, 3);
	size_t workers = share(t->n_workers, &left, 2);
	size_t acts = share(t->n_acts, &left, 1);
	draw_offices(&f, t, offices);
	draw_workers(&f, t, workers);
	draw_acts(&f, t, acts);
}
