/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/ids.h"
#include "ops/cwcctl/job_record.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/units.h"

#define LIMIT_MAX (RESP_ARRAY_MAX / 2) /* members with their scores in one reply */
#define BAD_MAX   20

static void set_text(char *out, size_t size, struct span s)
{
	snprintf(out, size, "%.*s", (int)(s.n < size ? s.n : size - 1), s.n > 0 ? (const char *)s.p : "");
}

static const char *state_of(const struct walk *w)
{
	return w->place == WALK_DEAD ? "dead" : "unknown";
}

/* --- asking ----------------------------------------------------------------------------------- */

/* send() anew, as often as the connection is lost. False after a report, or when interrupted. */
static bool ask(struct walk *w, void (*send)(struct walk *))
{
	for (int tries = 1;; tries++) {
		send(w);
		enum err e = session_wait(w->c, true);
		if (e == ERR_OK)
			return true;
		if (!session_again(w->c, e, tries))
			return false;
	}
}

static void item_clear(struct walk_item *item)
{
	reply_free(item->record);
	*item = (struct walk_item){ .fate = WALK_NONE };
}

static void page_clear(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		item_clear(&w->item[i]);
	w->n = 0;
	reply_free(w->page);
	w->page = NULL;
}

static void send_page_dead(struct walk *w)
{
	char from[WALK_ID_SIZE + 1];
	bool open = w->cursor[0] != '\0';
	snprintf(from, sizeof(from), "%s%s", open ? "(" : "", open ? w->cursor : w->reverse ? "+" : "-");
	const char *end = w->reverse ? "-" : w->end;
	reply_free(w->page);
	session_send(w->c,
		     SESSION_ARGV(w->reverse ? span_lit("XREVRANGE") : span_lit("XRANGE"), session_key(w->c, "dead"),
				  span_str(from), span_str(end), span_lit("COUNT"), span_lit("100")),
		     &w->page);
}

/* Its members have scores, of which several may be equal: the page begins at the last score. */
static void send_page_unknown(struct walk *w)
{
	char limit[24];
	struct span argv[10] = { span_lit("ZRANGE"), session_key(w->c, "unknown") };
	size_t n = 2;
	snprintf(limit, sizeof(limit), "%zu", w->limit);
	argv[n++] = span_str(w->cursor[0] ? w->cursor : w->reverse ? w->end : "-inf");
	argv[n++] = w->reverse ? span_lit("-inf") : span_str(w->end);
	argv[n++] = span_lit("BYSCORE");
	if (w->reverse)
		argv[n++] = span_lit("REV");
	argv[n++] = span_lit("LIMIT");
	argv[n++] = span_lit("0");
	argv[n++] = span_str(limit);
	argv[n++] = span_lit("WITHSCORES");
	BUG_ON(n > sizeof(argv) / sizeof(argv[0]));
	reply_free(w->page);
	session_send(w->c, argv, n, &w->page);
}

static void send_records(struct walk *w)
{
	bool all = w->full || w->from != WALK_PLACE || w->place == WALK_UNKNOWN;
	for (size_t i = 0; i < w->n; i++) {
		char key[QUEUE_ID_MAX + 8];
		struct walk_item *item = &w->item[i];
		snprintf(key, sizeof(key), "job:%s:%s", item->sid, item->office);
		reply_free(item->record);
		item->whole = all;
		struct span k = session_key(w->c, key);
		if (all)
			session_send(w->c, SESSION_ARGV(span_lit("HGETALL"), k), &item->record);
		else
			session_send(w->c, SESSION_ARGV(span_lit("HMGET"), k, span_lit("state"), span_lit("dead_id")),
				     &item->record);
	}
}

static void send_size(struct walk *w)
{
	bool dead = w->place == WALK_DEAD;
	reply_free(w->page);
	reply_free(w->page_end);
	session_send(w->c, SESSION_ARGV(dead ? span_lit("XLEN") : span_lit("ZCARD"), session_key(w->c, state_of(w))),
		     &w->page);
	if (dead)
		session_send(w->c,
			     SESSION_ARGV(span_lit("XREVRANGE"), session_key(w->c, "dead"), span_lit("+"),
					  span_lit("-"), span_lit("COUNT"), span_lit("1")),
			     &w->page_end);
	else
		session_send(w->c,
			     SESSION_ARGV(span_lit("ZRANGE"), session_key(w->c, "unknown"), span_lit("-1"),
					  span_lit("-1"), span_lit("WITHSCORES")),
			     &w->page_end);
}

/* --- items ------------------------------------------------------------------------------------ */

/* A new item; NULL when the names are none: such an entry is not ours. */
static struct walk_item *add(struct walk *w, struct span sid, struct span office)
{
	struct walk_item *item = &w->item[w->n];
	enum cwc_chamber chamber;
	if (!job_sid_valid(sid) || cwc_office_parse(office, &chamber) != ERR_OK)
		return NULL;
	*item = (struct walk_item){ .fate = WALK_NONE };
	set_text(item->sid, sizeof(item->sid), sid);
	set_text(item->office, sizeof(item->office), office);
	w->n++;
	return item;
}

/* The entries that pass, as far as their own fields tell. */
static bool page_dead(struct walk *w)
{
	page_clear(w);
	if (!ask(w, send_page_dead))
		return false;
	for (size_t i = 0; i < w->page->n && w->n < w->left && w->n < WALK_PAGE; i++) {
		const struct resp_reply *entry = w->page->at[i], *flat = resp_at(entry, 1);
		struct span sid = reply_field(flat, "sid"), office = reply_field(flat, "office");
		set_text(w->cursor, sizeof(w->cursor), resp_text(resp_at(entry, 0)));
		w->seen++;
		if (!filter_pass(&w->filter, sid, office, flat))
			continue;
		struct walk_item *item = add(w, sid, office);
		if (item == NULL) {
			w->leftovers++;
			continue;
		}
		item->entry = entry;
		memcpy(item->id, w->cursor, sizeof(item->id));
	}
	w->over = w->page->n == 0;
	return true;
}

/* Members of one score are in the order of their bytes. */
static bool before_cursor(const struct walk *w, struct span member, struct span score)
{
	struct span last = span_str(w->member);
	if (w->cursor[0] == '\0' || !span_eq_str(score, w->cursor))
		return false;
	int order = memcmp(member.p, last.p, member.n < last.n ? member.n : last.n);
	if (order == 0)
		order = (member.n > last.n) - (member.n < last.n);
	return w->reverse ? order >= 0 : order <= 0;
}

/* The members of the zset are "sid:office". */
static bool page_unknown(struct walk *w)
{
	page_clear(w);
	if (!ask(w, send_page_unknown))
		return false;
	size_t passed = 0, members = w->page->n / 2;
	for (size_t i = 0; i < members && w->n < w->left && w->n < WALK_PAGE; i++) {
		struct span id = resp_text(w->page->at[2 * i]), score = resp_text(w->page->at[2 * i + 1]);
		size_t n = id.n;
		if (before_cursor(w, id, score)) {
			passed++;
			continue;
		}
		if (!span_eq_str(score, w->cursor))
			w->limit = 2 * WALK_PAGE;
		set_text(w->cursor, sizeof(w->cursor), score);
		set_text(w->member, sizeof(w->member), id);
		w->seen++;
		while (n > 0 && id.p[n - 1] != ':')
			n--;
		if (n == 0 || add(w, span_of(id.p, n - 1), span_of(id.p + n, id.n - n)) == NULL)
			w->leftovers++;
	}
	w->over = passed == members && members < w->limit;
	if (passed < members || w->over)
		return true;
	/* More of one score than a page: a larger one. */
	if (w->limit < LIMIT_MAX) {
		w->limit = w->limit < LIMIT_MAX / 4 ? 4 * w->limit : LIMIT_MAX;
		return true;
	}
	w->c->session->code =
		ctl_fail(CTL_INTERNAL, "more than %d letters of unknown fate of the same moment", LIMIT_MAX);
	return false;
}

/* Whoever types the names may interrupt instead. */
static void on_idle(void *arg)
{
	struct walk *w = arg;
	w->lines.stop = !session_input(w->c, w->lines.fd);
}

static void bad_line(struct walk *w, const char *why)
{
	if (++w->bad_lines <= BAD_MAX)
		ctl_complain("%s:%u: %s", w->lines.name, w->lines.number, why);
	if (w->bad_lines == BAD_MAX)
		ctl_complain("further bad lines are only counted");
}

static bool page_file(struct walk *w)
{
	char sid[IDS_SID_SIZE], office[IDS_OFFICE_SIZE];
	struct span line;
	page_clear(w);
	while (w->n < WALK_PAGE && w->n < w->left && !w->over && !w->c->session->interrupted) {
		enum lines_result r = lines_next(&w->lines, &line);
		if (r == LINES_FAILED) {
			w->c->session->code = ctl_fail(CTL_NO, "%s: %s", w->lines.name, strerror(errno));
			return false;
		}
		w->over = r == LINES_END;
		if (w->over || (r == LINES_LINE && line.p[0] == '#'))
			continue;
		w->seen++;
		if (r != LINES_LINE)
			bad_line(w, "longer than a line may be");
		else if (!ids_line(line, sid, office))
			bad_line(w, "not SID OFFICE");
		else
			add(w, span_str(sid), span_str(office));
	}
	return true;
}

static bool page_args(struct walk *w)
{
	page_clear(w);
	for (; w->arg < w->c->n_args && w->n < w->left; w->arg++, w->seen++)
		add(w, span_str(w->c->arg[0]), span_str(w->c->arg[w->arg]));
	w->over = w->arg == w->c->n_args;
	return true;
}

/* --- what the records say --------------------------------------------------------------------- */

static void judge(struct walk *w, struct walk_item *item)
{
	bool whole = item->whole;
	struct span state = whole ? reply_field(item->record, "state") : resp_text(resp_at(item->record, 0));
	struct span id = whole ? reply_field(item->record, "dead_id") : resp_text(resp_at(item->record, 1));
	set_text(item->state, sizeof(item->state), state);
	if (state.n == 0)
		item->fate = WALK_NONE;
	else if (!span_eq_str(state, state_of(w)) || (item->entry != NULL && !span_eq_str(id, item->id)))
		item->fate = WALK_ELSEWHERE;
	else
		item->fate = WALK_HERE;
	if (item->entry == NULL && w->place == WALK_DEAD)
		set_text(item->id, sizeof(item->id), id);
}

/* Whether the item stays in the page. */
static bool stays(struct walk *w, const struct walk_item *item)
{
	if (item->fate != WALK_HERE) {
		w->leftovers += w->from == WALK_PLACE;
		return w->from != WALK_PLACE;
	}
	return item->entry != NULL || w->from == WALK_ARGS ||
	       filter_pass(&w->filter, span_str(item->sid), span_str(item->office), item->record);
}

static bool records(struct walk *w)
{
	if (!ask(w, send_records))
		return false;
	size_t kept = 0;
	for (size_t i = 0; i < w->n; i++) {
		judge(w, &w->item[i]);
		if (!stays(w, &w->item[i])) {
			item_clear(&w->item[i]);
			continue;
		}
		if (kept != i) {
			w->item[kept] = w->item[i];
			w->item[i] = (struct walk_item){ .fate = WALK_NONE };
		}
		kept++;
	}
	w->n = kept;
	w->left -= kept;
	return true;
}

/* --- the walk --------------------------------------------------------------------------------- */

static int read_place(struct walk *w)
{
	if (!ask(w, send_size))
		return w->c->session->interrupted ? CTL_NO : w->c->session->code;
	w->total = (uint64_t)resp_number(w->page);
	if (w->place == WALK_DEAD)
		set_text(w->end, sizeof(w->end), resp_text(resp_at(resp_at(w->page_end, 0), 0)));
	else
		set_text(w->end, sizeof(w->end), resp_text(resp_at(w->page_end, 1)));
	w->over = w->end[0] == '\0';
	return 0;
}

static int read_from(struct walk *w)
{
	struct entry_id from;
	if (!ctl_has(w->c, OPT_FROM))
		return 0;
	if (w->from != WALK_PLACE)
		return ctl_fail(CTL_USAGE, "--from does not go with --ids or SID OFFICE");
	if (units_entry_id(span_str(w->c->opt[OPT_FROM]), &from) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--from must be the id of an entry, such as 1767225600000-0");
	_Static_assert(WALK_ID_SIZE >= ENTRY_ID_SIZE, "an id");
	units_entry_id_text(from, w->cursor);
	return 0;
}

int walk_open(struct ctl *c, enum walk_place place, bool full, bool reverse, struct walk *w)
{
	bool args = c->n_args >= 2;
	*w = (struct walk){ .c = c, .place = place, .full = full, .arg = 1, .limit = 2 * WALK_PAGE };
	w->lines.fd = -1;
	int code = filter_read(c, &w->filter);
	if (code == 0 && args && w->filter.any)
		code = ctl_fail(CTL_USAGE, "either SID OFFICE... or filters");
	w->from = args ? WALK_ARGS : ctl_has(c, OPT_IDS) ? WALK_FILE : WALK_PLACE;
	w->left = w->filter.count;
	w->reverse = reverse && w->from == WALK_PLACE;
	if (code == 0)
		code = read_from(w);
	if (code == 0 && w->from == WALK_FILE)
		code = lines_open(&w->lines, c->opt[OPT_IDS]);
	w->lines.idle = on_idle;
	w->lines.idle_arg = w;
	if (code == 0)
		code = session_open(c);
	if (code == 0)
		session_watch(c);
	if (code == 0 && w->from == WALK_PLACE)
		code = read_place(w);
	if (w->from == WALK_ARGS)
		w->total = c->n_args - 1;
	return code;
}

void walk_rewind(struct walk *w)
{
	page_clear(w);
	w->seen = w->leftovers = w->bad_lines = 0;
	w->left = w->filter.count;
	w->cursor[0] = w->member[0] = '\0';
	w->arg = 1;
	w->limit = 2 * WALK_PAGE;
	w->over = w->from == WALK_PLACE && w->end[0] == '\0';
	if (w->from == WALK_FILE)
		lines_rewind(&w->lines);
	BUG_ON(read_from(w) != 0);
}

enum walk_result walk_next(struct walk *w)
{
	if (w->over || w->left == 0 || w->c->session->interrupted) {
		page_clear(w);
		return WALK_END;
	}
	bool good = w->from == WALK_FILE    ? page_file(w)
		    : w->from == WALK_ARGS  ? page_args(w)
		    : w->place == WALK_DEAD ? page_dead(w)
					    : page_unknown(w);
	if (good)
		good = records(w);
	if (good)
		return WALK_MORE;
	w->n = w->c->session->interrupted ? 0 : w->n;
	return w->c->session->interrupted ? WALK_END : WALK_FAILED;
}

bool walk_is_last(const struct walk *w)
{
	bool at_end = w->from == WALK_PLACE && w->place == WALK_DEAD && strcmp(w->cursor, w->end) == 0;
	return w->over || w->left == 0 || at_end;
}

void walk_close(struct walk *w)
{
	if (w->c == NULL)
		return;
	/* Answers that an interrupt left open still point at items and pages. */
	session_close(w->c);
	for (size_t i = 0; i < WALK_PAGE; i++)
		item_clear(&w->item[i]);
	w->n = 0;
	page_clear(w);
	reply_free(w->page_end);
	w->page_end = NULL;
	if (w->lines.fd >= 0)
		lines_close(&w->lines);
}

json_t *walk_row(const struct walk_item *item)
{
	json_t *o = item->entry != NULL ? reply_entry(item->entry) : json_object();
	if (item->entry != NULL)
		json_object_set_new(o, "history", reply_history(reply_field(resp_at(item->entry, 1), "history")));
	else if (item->id[0] != '\0')
		json_object_set_new(o, "id", json_string(item->id));
	json_object_set_new(o, "sid", json_string(item->sid));
	json_object_set_new(o, "office", json_string(item->office));
	if (item->whole) {
		json_t *record = job_record_json(item->record);
		json_object_update_missing(o, record);
		json_decref(record);
	}
	return o;
}

const char *walk_nothing(const struct walk *w, int *ret_code)
{
	bool dead = w->place == WALK_DEAD;
	*ret_code = w->filter.any ? CTL_NO : CTL_OK;
	if (w->filter.any)
		return dead ? "no dead letter matches" : "no letter of unknown fate matches";
	return dead ? "no dead letters" : "no letter is of unknown fate";
}
