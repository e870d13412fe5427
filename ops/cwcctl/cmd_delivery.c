/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery: every POST of a DeliveryId, for a complaint that a letter came twice. It prints names, times and answers,
 * nothing of a letter.
 */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/delivery.h"
#include "ops/cwcctl/out.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct out_column head[] = {
	{ "sid", "submission" },        { "office", "office" },
	{ "chamber", "chamber" },       { "listed_for", "on the list, for" },
	{ "state", "state" },           { "outcome", "outcome" },
	{ "why", "to be ended as" },    { "date", "DeliveryDate" },
	{ "first", "first seen" },      { "opened", "opened again" },
	{ "ended", "ended" },           { "expires", "expires" },
	{ "generation", "generation" },
};
static const struct out_column post[] = {
	{ "begun", "BEGUN" },   { "ended", "ENDED" },     { "http_status", "HTTP" },  { "outcome", "OUTCOME" },
	{ "worker", "WORKER" }, { "attempt", "ATTEMPT" }, { "open", "FATE UNKNOWN" }, { "known_by", "KNOWN BY" },
};
static const struct out_column result[] = {
	{ "written", "WRITTEN" },  { "state", "STATE" },     { "outcome", "OUTCOME" }, { "late", "LATE" },
	{ "http_status", "HTTP" }, { "attempt", "ATTEMPT" }, { "rev", "REV" },         { "signed_by", "SIGNED BY" },
};
static const struct out_column act[] = {
	{ "written", "WRITTEN" },
	{ "who", "WHO" },
	{ "verb", "ACT" },
	{ "what", "WHAT" },
};
static const struct out_column boot[] = {
	{ "worker", "WORKER" },
	{ "version", "VERSION" },
	{ "written", "PUBLISHED" },
	{ "pcr0", "PCR0" },
};

/* --- boots ------------------------------------------------------------------------------------ */

static void name_boot(const struct delivery *d, json_t *named, const json_t *worker)
{
	const char *name = json_string_value(worker);
	const json_t *boot_of = name != NULL ? json_object_get(d->boots, name) : NULL;
	if (boot_of != NULL)
		json_object_set_new(named, name, json_deep_copy(boot_of));
}

/* Those of the boots that a POST or a receipt names. */
static json_t *boots_named(const struct delivery *d, const json_t *letters)
{
	json_t *named = json_object(), *rows = json_array();
	const char *name;
	json_t *row;
	for (size_t i = 0; i < json_array_size(letters); i++) {
		const json_t *posts = json_object_get(json_array_get(letters, i), "posts");
		const json_t *results = json_object_get(json_array_get(letters, i), "results");
		for (size_t k = 0; k < json_array_size(posts); k++)
			name_boot(d, named, json_object_get(json_array_get(posts, k), "worker"));
		for (size_t k = 0; k < json_array_size(results); k++)
			name_boot(d, named, json_object_get(json_array_get(results, k), "signed_by"));
	}
	json_object_foreach(named, name, row)
	{
		json_array_append(rows, row);
	}
	json_decref(named);
	return rows;
}

/* --- for people ------------------------------------------------------------------------------- */

static void table(const char *title, const json_t *rows, const struct out_column *col, size_t n)
{
	if (json_array_size(rows) == 0)
		return;
	printf("\n%s\n", title);
	out_table(rows, col, n);
}

static void print_letter(const json_t *letter)
{
	json_t *o = json_deep_copy(letter);
	json_t *record = json_object_get(o, "record");
	const json_t *posts = json_object_get(letter, "posts"), *not_known = json_object_get(letter, "not_known");
	char title[64];
	if (json_is_object(record))
		json_object_update_missing(o, record);
	out_list(o, head, N(head));
	snprintf(title, sizeof(title), "POSTs that began: %zu", json_array_size(posts));
	if (json_array_size(posts) == 0)
		printf("\n%s\n", title);
	table(title, posts, post, N(post));
	table("Results in the stream:", json_object_get(letter, "results"), result, N(result));
	table("What people did:", json_object_get(letter, "acts"), act, N(act));
	if (json_array_size(not_known) > 0)
		puts("\nNot known here any more:");
	for (size_t i = 0; i < json_array_size(not_known); i++)
		printf("- %s.\n", json_string_value(json_array_get(not_known, i)));
	json_decref(o);
}

static void print_all(const struct delivery *d, const json_t *o)
{
	const json_t *letters = json_object_get(o, "letters");
	for (size_t i = 0; i < json_array_size(letters); i++) {
		if (i > 0)
			puts("");
		print_letter(json_array_get(letters, i));
	}
	table("Boots of these workers:", json_object_get(o, "boots"), boot, N(boot));
	if (d->acts_from[0] != '\0')
		printf("\nThe audit trail begins at %s.\n", d->acts_from);
	printf("\nIn the logs of all workers:\n  %s\n", json_string_value(json_object_get(o, "logs")));
}

/* --- the command ------------------------------------------------------------------------------ */

static json_t *document(const struct delivery *d)
{
	json_t *o = json_object(), *letters = json_array();
	char logs[128];
	const char *name;
	json_t *letter;
	json_object_foreach(d->letters, name, letter)
	{
		json_array_append(letters, letter);
	}
	snprintf(logs, sizeof(logs), "journalctl -o cat -t cwc-worker | sed -n '/%s/p'", d->id);
	json_object_set_new(o, "delivery_id", json_string(d->id));
	json_object_set_new(o, "letters", letters);
	json_object_set_new(o, "boots", boots_named(d, letters));
	json_object_set_new(o, "records_looked_at", json_integer((json_int_t)d->records));
	json_object_set_new(o, "results_looked_at", json_integer((json_int_t)d->results));
	json_object_set_new(o, "audit_from", d->acts_from[0] != '\0' ? json_string(d->acts_from) : json_null());
	json_object_set_new(o, "logs", json_string(logs));
	return o;
}

int cmd_delivery(struct ctl *c)
{
	struct delivery d = { .c = c };
	if (!delivery_normal(c->arg[0], d.id))
		return ctl_fail(CTL_USAGE, "a DeliveryId has 32 hexadecimal digits");
	int code = delivery_find(&d);
	if (code == 0)
		code = delivery_tell(&d);
	if (code == 0) {
		json_t *o = document(&d);
		bool found = json_object_size(d.letters) > 0;
		if (c->json)
			out_document(json_incref(o));
		else if (found)
			print_all(&d, o);
		if (!found)
			code = ctl_fail(CTL_NO,
					"%s: no record and no result of this queue has it%s; look into the logs: %s",
					d.id, ctl_has(c, OPT_IDS) ? ", and no submission of the list" : "",
					json_string_value(json_object_get(o, "logs")));
		json_decref(o);
	}
	delivery_clear(&d);
	return code;
}
