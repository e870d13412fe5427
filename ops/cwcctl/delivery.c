/* SPDX-License-Identifier: Apache-2.0 */
/* Which letters have a DeliveryId. */
#include "ops/cwcctl/delivery.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/receipts.h"
#include "ops/cwcctl/reconcile.h"
#include "ops/cwcctl/reply.h"

#define SCAN_COUNT "500"
#define SCAN_MAX   1024 /* records that are asked at once */
#define PAGE       "256"
#define ID_SIZE    64

bool delivery_normal(const char *text, char ret_id[CWC_DELIVERY_ID_SIZE])
{
	size_t n = 0;
	for (const char *p = text; *p != '\0'; p++) {
		char c = *p >= 'A' && *p <= 'F' ? (char)(*p - 'A' + 'a') : *p;
		if (c == '-')
			continue;
		if (n == CWC_DELIVERY_ID_SIZE - 1 || !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		ret_id[n++] = c;
	}
	ret_id[n] = '\0';
	return n == CWC_DELIVERY_ID_SIZE - 1;
}

/* The letter of this name, made when it is not there. */
static json_t *letter(struct delivery *d, struct span sid, struct span office)
{
	char name[JOB_SID_MAX + QUEUE_OFFICE_LEN + 2];
	enum cwc_chamber chamber;
	if (!job_sid_valid(sid) || cwc_office_parse(office, &chamber) != ERR_OK)
		return NULL;
	snprintf(name, sizeof(name), "%.*s %.*s", (int)sid.n, (const char *)sid.p, (int)office.n,
		 (const char *)office.p);
	json_t *o = json_object_get(d->letters, name);
	if (o != NULL)
		return o;
	o = json_object();
	json_object_set_new(o, "sid", out_string(sid));
	json_object_set_new(o, "office", out_string(office));
	json_object_set_new(o, "chamber", json_string(chamber == CWC_HOUSE ? "house" : "senate"));
	json_object_set_new(o, "results", json_array());
	json_object_set_new(d->letters, name, o);
	return o;
}

/* --- records ---------------------------------------------------------------------------------- */

/* "{q}:job:SID:OFFICE" */
static void record(struct delivery *d, struct span key, size_t prefix)
{
	size_t n = key.n;
	while (n > prefix && key.p[n - 1] != ':')
		n--;
	if (n > prefix)
		letter(d, span_of(key.p + prefix, n - 1 - prefix), span_of(key.p + n, key.n - n));
}

/* The ids of these records; false after a report. */
static bool records_ids(struct delivery *d, struct resp_reply *const *key, size_t n, size_t prefix)
{
	static struct resp_reply *id[SCAN_MAX];
	enum err e = ERR_OK;
	for (int tries = 1;; tries++) {
		for (size_t i = 0; i < n; i++) {
			reply_free(id[i]);
			session_send(d->c, SESSION_ARGV(span_lit("HGET"), resp_text(key[i]), span_lit("delivery_id")),
				     &id[i]);
		}
		e = session_wait(d->c, true);
		if (e == ERR_OK || !session_again(d->c, e, tries))
			break;
	}
	for (size_t i = 0; i < n && e != ERR_TIMEOUT; i++) { /* after an interrupt the session still points at them */
		if (e == ERR_OK && span_eq_str(resp_text(id[i]), d->id))
			record(d, resp_text(key[i]), prefix);
		reply_free(id[i]);
		id[i] = NULL;
	}
	d->records += n;
	return e == ERR_OK;
}

/* SCAN may answer more than it was asked for. */
static bool records_page(struct delivery *d, const struct resp_reply *keys, size_t prefix)
{
	bool good = true;
	for (size_t i = 0; good && keys->type == RESP_ARRAY && i < keys->n; i += SCAN_MAX)
		good = records_ids(d, keys->at + i, keys->n - i < SCAN_MAX ? keys->n - i : SCAN_MAX, prefix);
	return good;
}

static bool find_records(struct delivery *d)
{
	char cursor[24] = "0", pattern[SESSION_KEY_SIZE];
	struct span prefix = session_key(d->c, "job:");
	snprintf(pattern, sizeof(pattern), "%.*s*", (int)prefix.n, (const char *)prefix.p);
	do {
		struct resp_reply *r =
			session_call(d->c, SESSION_ARGV(span_lit("SCAN"), span_str(cursor), span_lit("MATCH"),
							span_str(pattern), span_lit("COUNT"), span_lit(SCAN_COUNT)));
		if (r == NULL)
			return false;
		struct span next = resp_text(resp_at(r, 0));
		snprintf(cursor, sizeof(cursor), "%.*s", (int)next.n, next.n > 0 ? (const char *)next.p : "");
		bool good = records_page(d, resp_at(r, 1), strlen(pattern) - 1);
		reply_free(r);
		if (!good)
			return false;
		progress_show(&d->progress, d->records, 0, json_object_size(d->letters), "found");
	} while (strcmp(cursor, "0") != 0 && cursor[0] != '\0' && !d->c->session->interrupted);
	return !d->c->session->interrupted;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* Every entry of a stream; false after a report. */
static bool each_entry(struct delivery *d, const char *stream,
		       void (*each)(struct delivery *, const struct resp_reply *))
{
	char from[ID_SIZE] = "-";
	while (!d->c->session->interrupted) {
		struct resp_reply *r =
			session_call(d->c, SESSION_ARGV(span_lit("XRANGE"), session_key(d->c, stream), span_str(from),
							span_lit("+"), span_lit("COUNT"), span_lit(PAGE)));
		if (r == NULL)
			return false;
		size_t n = r->type == RESP_ARRAY ? r->n : 0;
		for (size_t i = 0; i < n; i++)
			each(d, r->at[i]);
		struct span last = n > 0 ? resp_text(resp_at(r->at[n - 1], 0)) : span_of(NULL, 0);
		snprintf(from, sizeof(from), "(%.*s", (int)last.n, last.n > 0 ? (const char *)last.p : "");
		reply_free(r);
		if (last.n == 0)
			return true;
	}
	return false;
}

static void result(struct delivery *d, const struct resp_reply *entry)
{
	const struct resp_reply *flat = resp_at(entry, 1);
	d->results++;
	progress_show(&d->progress, d->records + d->results, 0, json_object_size(d->letters), "found");
	if (!span_eq_str(reply_field(flat, "delivery_id"), d->id))
		return;
	json_t *of = letter(d, reply_field(flat, "sid"), reply_field(flat, "office"));
	if (of == NULL)
		return;
	json_t *o = reply_entry(entry), *receipt = receipts_decode(reply_field(flat, "receipt"));
	json_object_set(o, "receipt_kid", json_object_get(receipt, "kid"));
	json_array_append_new(json_object_get(of, "results"), o);
	json_decref(receipt);
}

/* Of `attestations`: the newest of each boot. */
static void boot(struct delivery *d, const struct resp_reply *entry)
{
	static const char *const members[] = {
		"worker", "version", "environment", "written", "pcr0", "document_sha256"
	};
	json_t *all = reply_entry(entry), *o = json_object();
	const char *worker = json_string_value(json_object_get(all, "worker"));
	const char *kid = json_string_value(json_object_get(all, "receipt_key_id"));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		json_object_set(o, members[i], json_object_get(all, members[i]));
	if (worker != NULL) {
		json_object_set(d->boots, worker, o);
		if (kid != NULL)
			json_object_set_new(d->kids, kid, json_string(worker));
	}
	json_decref(o);
	json_decref(all);
}

/* --- the producer's list ---------------------------------------------------------------------- */

static void compute(struct delivery *d, const struct reconcile_line *l)
{
	static const char *const environments[] = { "sandbox", "production" };
	char id[CWC_DELIVERY_ID_SIZE];
	for (size_t i = 0; i < l->n_offices; i++) {
		struct span sid = span_str(l->sid), office = span_str(l->office[i].code);
		for (size_t e = 0; e < 2; e++) {
			cwc_delivery_id(span_str(environments[e]), sid, office, id);
			json_t *o = strcmp(id, d->id) == 0 ? letter(d, sid, office) : NULL;
			if (o != NULL)
				json_object_set_new(o, "listed_for", json_string(environments[e]));
		}
	}
}

/* 0, or the exit status after a report. */
static int read_list(struct delivery *d)
{
	struct lines lines = { .fd = -1 };
	struct reconcile_line line;
	struct span text;
	const char *why;
	uint64_t bad = 0;
	enum lines_result r;
	int code = lines_open(&lines, d->c->opt[OPT_IDS]);
	if (code != 0)
		return code;
	while ((r = lines_next(&lines, &text)) == LINES_LINE || r == LINES_TOO_LONG) {
		if (r == LINES_LINE && reconcile_read(text, &line, &why) && line.n_offices > 0)
			compute(d, &line);
		else if (r == LINES_TOO_LONG || text.p[0] != '#')
			bad++;
	}
	if (r == LINES_FAILED)
		code = ctl_fail(CTL_NO, "%s: %s", lines.name, strerror(errno));
	if (code == 0 && bad > 0)
		ctl_complain("%s: %llu lines name no submission and its offices", lines.name, (unsigned long long)bad);
	lines_close(&lines);
	return code;
}

/* --- all -------------------------------------------------------------------------------------- */

int delivery_find(struct delivery *d)
{
	d->letters = json_object();
	d->boots = json_object();
	d->kids = json_object();
	int code = ctl_has(d->c, OPT_IDS) ? read_list(d) : 0;
	if (code == 0)
		code = session_open(d->c);
	if (code != 0)
		return code;
	session_watch(d->c);
	d->c->session->patient = true;
	progress_start(d->c, &d->progress);
	bool good = find_records(d) && each_entry(d, "results", result) && each_entry(d, "attestations", boot);
	progress_clear(&d->progress);
	if (d->c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end");
	return good ? CTL_OK : d->c->session->code;
}

void delivery_clear(struct delivery *d)
{
	json_decref(d->letters);
	json_decref(d->boots);
	json_decref(d->kids);
	d->letters = d->boots = d->kids = NULL;
}
