/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the letters that have a DeliveryId, and what is not known any more. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/delivery.h"
#include "ops/cwcctl/job_record.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reply.h"

#define HISTORY_MAX 16 /* attempts that a record keeps */

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s != NULL ? s : "";
}

static void note(json_t *letter, const char *text)
{
	json_array_append_new(json_object_get(letter, "not_known"), json_string(text));
}

/* --- POSTs ------------------------------------------------------------------------------------ */

/* The POST that began at this time; NULL when it is not there. Each began at another: a letter has one at a time. */
static json_t *post_of(const json_t *posts, const char *begun)
{
	for (size_t i = 0; i < json_array_size(posts); i++)
		if (strcmp(text_of(json_array_get(posts, i), "begun"), begun) == 0)
			return json_array_get(posts, i);
	return NULL;
}

/* `fields` with what it is known by. */
static void add_post(json_t *posts, const char *from, const json_t *fields)
{
	static const char *const members[] = { "begun", "ended", "http_status", "outcome", "worker", "attempt" };
	json_t *o = json_object();
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *v = json_object_get(fields, members[i]);
		json_object_set_new(o, members[i], v != NULL ? json_incref(v) : json_null());
	}
	json_object_set_new(o, "known_by", json_string(from));
	json_array_append_new(posts, o);
}

static void posts_of_record(json_t *posts, const json_t *record)
{
	const json_t *history = json_object_get(record, "history"), *open = json_object_get(record, "unknown_posts");
	for (size_t i = 0; i < json_array_size(history); i++)
		add_post(posts, "record", json_array_get(history, i));
	for (size_t i = 0; i < json_array_size(open); i++) {
		const json_t *post = json_array_get(open, i);
		if (post_of(posts, text_of(post, "begun")) == NULL)
			add_post(posts, "mark", post);
		json_object_set_new(post_of(posts, text_of(post, "begun")), "open", json_true());
	}
	if (strcmp(text_of(record, "state"), "begun") == 0) {
		/* The rest of what the record says is of the attempt before. */
		static const char *const members[] = { "begun", "worker", "attempt" };
		json_t *now = json_object();
		for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
			json_object_set(now, members[i], json_object_get(record, members[i]));
		add_post(posts, "on the wire", now);
		json_decref(now);
	}
}

/* The last attempt of each result; its receipt says which boot signed it. */
static void posts_of_results(const struct delivery *d, json_t *posts, json_t *results)
{
	for (size_t i = 0; i < json_array_size(results); i++) {
		json_t *r = json_array_get(results, i);
		const char *kid = text_of(r, "receipt_kid"), *begun = text_of(r, "begun");
		json_t *worker = json_object_get(d->kids, kid);
		json_object_set_new(r, "signed_by", worker != NULL ? json_incref(worker) : json_null());
		if (begun[0] == '\0' || post_of(posts, begun) != NULL)
			continue;
		json_object_set(r, "worker", json_object_get(r, "signed_by"));
		add_post(posts, "result", r);
		json_object_del(r, "worker");
	}
}

static void sort_by_begun(json_t *posts)
{
	size_t n = json_array_size(posts);
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0; k--) {
			json_t *a = json_incref(json_array_get(posts, k - 1)),
			       *b = json_incref(json_array_get(posts, k));
			bool right = strcmp(text_of(a, "begun"), text_of(b, "begun")) <= 0;
			if (!right) {
				json_array_set(posts, k - 1, b);
				json_array_set(posts, k, a);
			}
			json_decref(a);
			json_decref(b);
			if (right)
				break;
		}
}

/* --- what is over ----------------------------------------------------------------------------- */

static void say_what_is_over(json_t *letter, const json_t *record)
{
	if (json_is_null(record))
		note(letter,
		     "its record: it is kept until a day after the letter's expiry, or was lost. Of its POSTs only the "
		     "last before each result that is still in the stream is here; the logs have all");
	else if (json_array_size(json_object_get(record, "history")) >= HISTORY_MAX)
		note(letter, "attempts before the last 16: a record keeps no more. The logs have all");
	if (json_array_size(json_object_get(letter, "results")) == 0)
		note(letter,
		     "a result: there is none yet, or it was collected and deleted. The app server has it then");
}

static int tell_letter(struct delivery *d, json_t *letter)
{
	json_t *posts = json_array();
	json_t *record = job_record_read(d->c, text_of(letter, "sid"), text_of(letter, "office"));
	json_object_set_new(letter, "posts", posts);
	json_object_set_new(letter, "acts", json_array());
	json_object_set_new(letter, "not_known", json_array());
	if (record == NULL)
		return d->c->session->code;
	posts_of_record(posts, record);
	posts_of_results(d, posts, json_object_get(letter, "results"));
	sort_by_begun(posts);
	say_what_is_over(letter, record);
	json_object_set_new(letter, "record", record);
	return CTL_OK;
}

/* --- acts ------------------------------------------------------------------------------------- */

/* `a` is the submission, or the letter as one word; `b` is its office, or of another kind. */
static bool is_about(const json_t *act, const char *sid, const char *office)
{
	const char *a = text_of(act, "a"), *b = text_of(act, "b");
	enum cwc_chamber chamber;
	size_t n = strlen(sid);
	if (strncmp(a, sid, n) != 0)
		return false;
	if (a[n] == ':')
		return strcmp(a + n + 1, office) == 0;
	return a[n] == '\0' && (strcmp(b, office) == 0 || cwc_office_parse(span_str(b), &chamber) != ERR_OK);
}

static void tell_act(struct delivery *d, json_t *act)
{
	const char *name;
	json_t *letter;
	if (d->acts_from[0] == '\0')
		snprintf(d->acts_from, sizeof(d->acts_from), "%s", text_of(act, "written"));
	json_object_foreach(d->letters, name, letter)
	{
		if (!is_about(act, text_of(letter, "sid"), text_of(letter, "office")))
			continue;
		out_dress_act(act);
		json_array_append(json_object_get(letter, "acts"), act);
	}
}

static int tell_acts(struct delivery *d)
{
	struct reply_pages p;
	bool good = reply_pages_begin(d->c, "audit", 0, &p);
	while (good && !p.over && !d->c->session->interrupted) {
		json_t *page = reply_page(&p);
		good = page != NULL;
		for (size_t i = 0; i < json_array_size(page); i++)
			tell_act(d, json_array_get(page, i));
		json_decref(page);
	}
	if (d->c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	return good ? CTL_OK : d->c->session->code;
}

int delivery_tell(struct delivery *d)
{
	const char *name;
	json_t *letter;
	int code = CTL_OK;
	json_object_foreach(d->letters, name, letter)
	{
		code = tell_letter(d, letter);
		if (code != 0)
			return code;
	}
	return tell_acts(d);
}
