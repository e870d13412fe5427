/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/bulk_say.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

#define FAILURES_MAX 20
#define COMMAND_MAX  65536

static bool table(const struct bulk *b)
{
	return b->walk.from == WALK_ARGS;
}

void bulk_say_start(struct bulk *b)
{
	if (table(b))
		b->rows = json_array();
}

/* --- one after the other ---------------------------------------------------------------------- */

/* Widths are fixed: what comes next is not known yet. */
static void print_would(const struct bulk *b, const struct walk_item *item, const char *text)
{
	const struct resp_reply *flat = item->entry != NULL ? resp_at(item->entry, 1) : item->record;
	struct span outcome = reply_field(flat, "outcome");
	progress_clear(&b->progress);
	printf("%-32s  %-6s  ", item->sid, item->office);
	out_clean(stdout, outcome);
	printf("%*s  %s\n", outcome.n < 20 ? (int)(20 - outcome.n) : 0, "", text);
}

/* What went wrong, in JSON. */
static json_t *error_json(const struct bulk_answer *a)
{
	if (a->e == ERR_OK)
		return a->word[0] != '\0' ? out_string(span_str(a->word)) : json_null();
	return json_string(err_name(a->e));
}

void bulk_say_one(struct bulk *b, const struct walk_item *item, const struct bulk_answer *a, const char *text,
		  bool good)
{
	const char *said = b->dry_run && good && !table(b) ? b->act->would : text;
	if (!table(b) && !b->c->json) {
		if (b->dry_run)
			print_would(b, item, said);
		return;
	}
	json_t *o = json_pack("{s:s, s:s}", "sid", item->sid, "office", item->office);
	if (item->id[0] != '\0')
		json_object_set_new(o, "id", json_string(item->id));
	json_object_set_new(o, "done", json_boolean(good && !b->dry_run));
	json_object_set_new(o, "answer", json_string(text));
	if (strcmp(text, "failed") == 0)
		json_object_set_new(o, "error", error_json(a));
	if (table(b)) {
		json_array_append_new(b->rows, o);
		return;
	}
	progress_clear(&b->progress);
	out_line(o);
}

void bulk_say_failed(struct bulk *b, const struct walk_item *item, const struct bulk_answer *a)
{
	if (b->said++ >= FAILURES_MAX)
		return;
	progress_clear(&b->progress);
	ctl_complain("%s %s: %s%s%s%s", item->sid, item->office, a->e == ERR_OK ? a->word : err_text(a->e),
		     a->error[0] ? ": " : "", a->error, a->e == ERR_QUEUE_LOST ? "; it may have been done" : "");
	if (b->said == FAILURES_MAX)
		ctl_complain("further failures are only counted");
}

/* --- the command that goes on ----------------------------------------------------------------- */

static void add_word(struct buf *b, const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%";
	if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
		buf_add_str(b, word);
		return;
	}
	buf_add_byte(b, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_add_str(b, "'\\''");
		else
			buf_add_byte(b, (uint8_t)*word);
	}
	buf_add_byte(b, '\'');
}

static void add_option(struct buf *b, enum ctl_option o, const char *value)
{
	buf_add_str(b, " --");
	buf_add_str(b, ctl_options[o].name);
	if (ctl_options[o].arg == NULL)
		return;
	buf_add_byte(b, ' ');
	add_word(b, value);
}

/* Ages become times and --count what is left of it, and what failed: the command means the same letters later, too. */
static void add_options(const struct bulk *b, struct buf *out)
{
	const struct filter *f = &b->walk.filter;
	for (int o = 0; o < CTL_N_OPTIONS; o++) {
		char text[TEXT_TIME_SIZE] = "";
		const char *value = b->c->opt[o];
		if (value == NULL || o == OPT_FROM || o == OPT_COUNT_CHECK || o == OPT_YES)
			continue;
		if (o == OPT_OLDER || o == OPT_NEWER) {
			text_time(o == OPT_OLDER ? f->older_s : f->newer_s, text);
			value = text;
		} else if (o == OPT_COUNT) {
			snprintf(text, sizeof(text), "%" PRIu64, b->walk.left + b->failed);
			value = text;
		}
		add_option(out, (enum ctl_option)o, value);
	}
	add_option(out, OPT_YES, ""); /* who gave it, or said so, has meant these */
}

void bulk_selection(const struct bulk *b, struct buf *out)
{
	const ctl_set said = FILTER_OPTIONS | CTL_BIT(OPT_ALL) | CTL_BIT(OPT_MAY_SEND_TWICE);
	for (int o = 0; o < CTL_N_OPTIONS; o++)
		if ((said & CTL_BIT(o)) != 0 && b->c->opt[o] != NULL)
			add_option(out, (enum ctl_option)o, b->c->opt[o]);
}

static void say_resume(const struct bulk *b)
{
	struct buf command;
	const char *from = b->last[0] != '\0' ? b->last : ctl_value(b->c, OPT_FROM, "");
	bool same = b->walk.from == WALK_FILE;
	buf_init(&command, COMMAND_MAX);
	buf_add_str(&command, "cwcctl ");
	buf_add_str(&command, b->c->command->name);
	for (size_t i = 0; i < b->c->n_args; i++) {
		buf_add_byte(&command, ' ');
		add_word(&command, b->c->arg[i]);
	}
	add_options(b, &command);
	if (!same && !table(b) && b->act->place == WALK_DEAD && from[0] != '\0')
		add_option(&command, OPT_FROM, from);
	if (buf_ok(&command) != ERR_OK) { /* a part of it could mean other letters */
		ctl_complain("stopped before the end. To go on give the same command again: what was done is passed "
			     "over");
	} else {
		fprintf(stderr, "cwcctl: stopped before the end. To go on%s:\n  ",
			same ? " (with the same input: what was done is passed over)" : "");
		out_clean(stderr, span_buf(&command));
		fputc('\n', stderr);
	}
	buf_clear(&command);
}

/* --- the summary ------------------------------------------------------------------------------ */

static json_t *summary_json(const struct bulk *b)
{
	json_t *o = json_object(), *skipped = json_object();
	json_object_set_new(o, "dry_run", json_boolean(b->dry_run));
	json_object_set_new(o, b->act->key, json_integer((json_int_t)b->done));
	json_object_set_new(skipped, b->act->place == WALK_DEAD ? "not_dead" : "not_unknown",
			    json_integer((json_int_t)b->gone));
	json_object_set_new(skipped, "no_such_job", json_integer((json_int_t)b->none));
	json_object_set_new(skipped, "leftovers", json_integer((json_int_t)b->walk.leftovers));
	json_object_set_new(o, "skipped", skipped);
	json_object_set_new(o, "failed", json_integer((json_int_t)b->failed));
	json_object_set_new(o, "bad_lines", json_integer((json_int_t)b->walk.bad_lines));
	json_object_set_new(o, "asked_again", json_integer((json_int_t)b->repeated));
	json_object_set_new(o, "looked_at", json_integer((json_int_t)b->walk.seen));
	json_object_set_new(o, "stopped", json_boolean(b->stopped));
	json_object_set_new(o, "seconds", out_seconds(progress_us(&b->progress)));
	json_object_set_new(o, "last", b->last[0] != '\0' ? json_string(b->last) : json_null());
	return json_pack("{s:o}", "summary", o);
}

static void add_count(struct buf *b, const char *before, uint64_t n, const char *text)
{
	if (n == 0)
		return;
	buf_add_str(b, before);
	buf_add_uint(b, n);
	buf_add_byte(b, ' ');
	buf_add_str(b, text);
}

static void print_summary(const struct bulk *b, double seconds)
{
	uint64_t skipped = b->gone + b->none + b->walk.leftovers;
	struct buf why;
	buf_init(&why, 512);
	add_count(&why, "", b->gone, b->act->place == WALK_DEAD ? "not dead any more" : "not unknown any more");
	add_count(&why, why.n > 0 ? ", " : "", b->none, "without a job");
	add_count(&why, why.n > 0 ? ", " : "", b->walk.leftovers, "leftovers");
	printf("%" PRIu64 " %s, %" PRIu64 " skipped%s%.*s%s, %" PRIu64 " failed", b->done,
	       b->dry_run ? b->act->would : b->act->done, skipped, why.n > 0 ? " (" : "", (int)why.n,
	       why.n > 0 ? (const char *)why.p : "", why.n > 0 ? ")" : "", b->failed);
	if (b->walk.bad_lines > 0)
		printf(", %" PRIu64 " bad lines", b->walk.bad_lines);
	if (b->repeated > 0)
		printf(", %" PRIu64 " asked again", b->repeated);
	printf(" (%.2f s, %.0f/s)\n", seconds, (double)b->handled / seconds);
	buf_clear(&why);
}

static bool nothing(const struct bulk *b)
{
	return b->handled == 0 && !b->stopped && b->walk.bad_lines == 0;
}

int bulk_say_end(struct bulk *b, int code)
{
	static const struct out_column col[] = { { "sid", "SID" }, { "office", "OFFICE" }, { "answer", "ANSWER" } };
	double seconds = progress_seconds(&b->progress);
	progress_clear(&b->progress);
	if (table(b)) {
		out_rows(b->c, json_incref(b->rows), col, sizeof(col) / sizeof(col[0]), "");
	} else {
		const char *none = "";
		if (nothing(b) && code == 0)
			none = walk_nothing(&b->walk, &code);
		if (b->c->json)
			out_line(summary_json(b));
		else if (none[0] != '\0')
			puts(none);
		else
			print_summary(b, seconds);
	}
	b->mute = !out_good() || b->mute;
	if (b->mute)
		fprintf(stderr, "cwcctl: the output cannot be written: %" PRIu64 " %s\n", b->done,
			b->dry_run ? b->act->would : b->act->done);
	if (b->stopped)
		say_resume(b);
	return code;
}
