/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/progress.h"

/* A page as rows; what is named but not there is reported. */
static json_t *page_rows(const struct walk *w, void (*dress)(json_t *row), bool *missing)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < w->n; i++) {
		const struct walk_item *item = &w->item[i];
		if (item->fate != WALK_HERE) {
			*missing = true;
			ctl_complain("%s %s: %s", item->sid, item->office,
				     item->fate == WALK_NONE ? "no such job"
				     : w->place == WALK_DEAD ? "not dead"
							     : "not unknown");
			continue;
		}
		json_t *row = walk_row(item);
		if (dress != NULL)
			dress(row);
		json_array_append_new(rows, row);
	}
	return rows;
}

static void reverse(json_t *rows)
{
	size_t n = json_array_size(rows);
	for (size_t i = 0; i < n / 2; i++) {
		json_t *a = json_incref(json_array_get(rows, i));
		json_t *b = json_incref(json_array_get(rows, n - 1 - i));
		json_array_set_new(rows, i, b);
		json_array_set_new(rows, n - 1 - i, a);
	}
}

/* The exit status of a walk that is over. */
static int ended(const struct walk *w, enum walk_result r, bool missing)
{
	if (r == WALK_FAILED)
		return w->c->session->code;
	if (w->c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	return missing || w->bad_lines > 0 ? CTL_NO : CTL_OK;
}

int letters_list(struct ctl *c, enum walk_place place, const struct out_column *col, size_t n,
		 void (*dress)(json_t *row))
{
	struct walk *w = xcalloc(1, sizeof(*w));
	struct out_pages pages;
	enum walk_result r;
	json_t *newest = json_array();
	bool missing = false, tail = ctl_has(c, OPT_COUNT) && !ctl_has(c, OPT_IDS);
	uint64_t count;
	int none_code = CTL_OK, code = args_count(c, OPT_COUNT, 1, &count);
	if (code == 0 && tail && count > LETTERS_MAX)
		code = ctl_fail(CTL_USAGE, "--count of a list must be at most %d; an export has no such limit",
				LETTERS_MAX);
	if (code == 0)
		code = walk_open(c, place, place == WALK_UNKNOWN, tail, w);
	if (code == 0) {
		out_pages_begin(c, col, n, &pages);
		while ((r = walk_next(w)) == WALK_MORE) {
			json_t *rows = page_rows(w, dress, &missing);
			if (tail) {
				json_array_extend(newest, rows);
				json_decref(rows);
			} else {
				out_page(&pages, rows);
			}
		}
		reverse(newest);
		out_page(&pages, json_incref(newest));
		code = ended(w, r, missing);
		const char *none = walk_nothing(w, &none_code);
		if (code == 0 && !pages.begun)
			code = none_code;
		out_pages_end(&pages, none);
	}
	walk_close(w);
	json_decref(newest);
	free(w);
	return code;
}

/* --- the sealed jobs -------------------------------------------------------------------------- */

/* Adds `job` to each row: the bytes that the submission has under the digest of the record, or null. */
static bool add_jobs(const struct walk *w, json_t *rows)
{
	struct resp_reply *job[WALK_PAGE] = { NULL };
	size_t n = json_array_size(rows);
	enum err e = ERR_OK;
	for (int tries = 1;; tries++) {
		for (size_t i = 0; i < n; i++) {
			char key[QUEUE_ID_MAX + 8], field[64];
			const json_t *row = json_array_get(rows, i);
			const char *digest = json_string_value(json_object_get(row, "digest"));
			snprintf(key, sizeof(key), "sub:%s", json_string_value(json_object_get(row, "sid")));
			snprintf(field, sizeof(field), "j:%.40s", digest != NULL ? digest : "");
			reply_free(job[i]);
			session_send(w->c, SESSION_ARGV(span_lit("HGET"), session_key(w->c, key), span_str(field)),
				     &job[i]);
		}
		e = session_wait(w->c, true);
		if (e == ERR_OK || !session_again(w->c, e, tries))
			break;
	}
	for (size_t i = 0; i < n; i++) {
		struct span bytes = e == ERR_OK ? resp_text(job[i]) : span_of(NULL, 0);
		json_object_set_new(json_array_get(rows, i), "job", bytes.n > 0 ? out_base64(bytes) : json_null());
		if (e != ERR_TIMEOUT) /* after an interrupt the session still points at them */
			reply_free(job[i]);
	}
	return e == ERR_OK;
}

/* --- export ----------------------------------------------------------------------------------- */

static void say_exported(const struct walk *w, uint64_t n, const char *last)
{
	int code;
	if (n == 0) {
		fprintf(stderr, "%s\n", walk_nothing(w, &code));
		return;
	}
	fprintf(stderr, "%" PRIu64 " exported", n);
	if (w->leftovers > 0)
		fprintf(stderr, ", %" PRIu64 " leftovers passed over", w->leftovers);
	if (last[0] != '\0' && w->from == WALK_PLACE)
		fprintf(stderr, "; what comes after these: --from %s", last);
	fputc('\n', stderr);
}

int letters_export(struct ctl *c, enum walk_place place)
{
	struct walk *w = xcalloc(1, sizeof(*w));
	struct progress progress;
	enum walk_result r;
	char last[WALK_ID_SIZE] = "";
	uint64_t n = 0;
	bool missing = false;
	int none_code, code = walk_open(c, place, true, false, w);
	progress_start(c, &progress);
	if (code == 0) {
		while ((r = walk_next(w)) == WALK_MORE) {
			json_t *rows = page_rows(w, NULL, &missing);
			if (ctl_has(c, OPT_JOBS) && !add_jobs(w, rows)) {
				json_decref(rows);
				r = c->session->interrupted ? WALK_END : WALK_FAILED;
				break;
			}
			for (size_t i = 0; i < json_array_size(rows); i++, n++)
				out_line(json_incref(json_array_get(rows, i)));
			if (w->n > 0)
				memcpy(last, w->item[w->n - 1].id, sizeof(last));
			json_decref(rows);
			out_flush();
			progress_show(&progress, w->seen, w->total, n, "exported");
		}
		progress_clear(&progress);
		code = ended(w, r, missing);
		walk_nothing(w, &none_code);
		if (code == 0 && n == 0)
			code = none_code;
		if (!progress.quiet && (n > 0 || r == WALK_END) && !(n == 0 && c->session->interrupted))
			say_exported(w, n, last);
	}
	walk_close(w);
	free(w);
	return code;
}
