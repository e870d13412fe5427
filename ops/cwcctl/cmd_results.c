/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/receipts.h"
#include "ops/cwcctl/reply.h"
#include "ops/cwcctl/units.h"

#define PAGE_MAX 256
#define BLOCK_MS 1000

struct results {
	struct ctl *c;
	struct receipts *receipts; /* with --verify */
	char last[64];
	uint64_t left;
	bool bad; /* a receipt that is not good */
	bool printed;
};

/* --- one entry -------------------------------------------------------------------------------- */

static const char *text_or(const json_t *v, const char *other)
{
	const char *s = json_string_value(v);
	return s != NULL && s[0] != '\0' ? s : other;
}

/* Widths are fixed: what comes next is not known yet. */
static void print_head(const struct results *x)
{
	if (!x->c->json)
		printf("%-24s  %-32s  %-6s  %-9s  %-20s  %4s  %s%s\n", "ENDED", "SID", "OFFICE", "STATE", "OUTCOME",
		       "HTTP", x->receipts != NULL ? "RECEIPT        " : "", "DETAIL");
}

static void print_line(const json_t *o, const char *verified)
{
	struct buf line;
	char text[512], status[24] = "-";
	buf_init(&line, 8192);
	const json_t *http = json_object_get(o, "http_status");
	if (json_is_integer(http))
		snprintf(status, sizeof(status), "%lld", (long long)json_integer_value(http));
	snprintf(text, sizeof(text), "%-24s  %-32s  %-6s  %-9s  %-20s  %4s  ",
		 text_or(json_object_get(o, "ended"), "-"), text_or(json_object_get(o, "sid"), "-"),
		 text_or(json_object_get(o, "office"), "-"), text_or(json_object_get(o, "state"), "-"),
		 text_or(json_object_get(o, "outcome"), "-"), status);
	buf_add_str(&line, text);
	if (verified != NULL) {
		snprintf(text, sizeof(text), "%-13s  ", verified);
		buf_add_str(&line, text);
	}
	buf_add_str(&line, text_or(json_object_get(o, "detail"), ""));
	while (line.n > 0 && line.p[line.n - 1] == ' ')
		line.n--;
	out_clean(stdout, span_buf(&line));
	fputc('\n', stdout);
	buf_clear(&line);
}

/* False after a report. */
static bool print_entry(struct results *x, const struct resp_reply *entry)
{
	const struct resp_reply *flat = resp_at(entry, 1);
	const char *verified = NULL;
	if (x->receipts != NULL) {
		verified = receipts_verify(x->receipts, flat);
		if (verified == NULL)
			return false;
		x->bad = x->bad || (strcmp(verified, "ok") != 0 && strcmp(verified, "none") != 0);
	}
	json_t *o = reply_entry(entry);
	if (x->c->json) {
		struct span receipt = reply_field(flat, "receipt");
		json_object_set_new(o, "receipt", receipts_decode(receipt));
		json_object_set_new(o, "receipt_bytes", receipt.n > 0 ? out_base64(receipt) : json_null());
		if (verified != NULL)
			json_object_set_new(o, "verified", json_string(verified));
		out_line(json_incref(o));
	} else {
		print_line(o, verified);
	}
	json_decref(o);
	return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void send_read(struct results *x, bool block, struct resp_reply **ret_reply)
{
	char count[24], wait[24];
	unsigned ms = x->c->session->timeout_ms / 2;
	struct span argv[8] = { span_lit("XREAD"), span_lit("COUNT"), span_str(count) };
	size_t n = 3;
	snprintf(count, sizeof(count), "%u", x->left < PAGE_MAX ? (unsigned)x->left : PAGE_MAX);
	snprintf(wait, sizeof(wait), "%u", ms < 1 ? 1 : ms > BLOCK_MS ? BLOCK_MS : ms);
	argv[2] = span_str(count);
	if (block) {
		argv[n++] = span_lit("BLOCK");
		argv[n++] = span_str(wait);
	}
	argv[n++] = span_lit("STREAMS");
	argv[n++] = session_key(x->c, "results");
	argv[n++] = span_str(x->last);
	session_send(x->c, argv, n, ret_reply);
}

/* 0 to go on, -1 at the end (nothing more, enough, interrupted), or an exit status. */
static int read_page(struct results *x, bool follow)
{
	struct ctl *c = x->c;
	struct resp_reply *r;
	send_read(x, follow, &r);
	enum err e = session_wait(c, follow);
	if (c->session->interrupted) {
		reply_free(r);
		return -1;
	}
	if (follow && (e == ERR_QUEUE_LOST || e == ERR_QUEUE_BUSY)) {
		ctl_complain("%s: trying again",
			     e == ERR_QUEUE_LOST ? "the connection to Redis was lost" : err_text(e));
		if (e == ERR_QUEUE_BUSY)
			session_sleep(c, BLOCK_MS);
		return session_up_again(c, 0) ? 0 : -1;
	}
	if (e != ERR_OK) {
		if (x->printed)
			ctl_complain("not all were printed; what comes after these: --from %s", x->last);
		return c->session->code;
	}
	const struct resp_reply *entries = resp_at(resp_at(r, 0), 1);
	size_t n = entries->type == RESP_ARRAY ? entries->n : 0;
	int code = n == 0 && !follow ? -1 : 0;
	for (size_t i = 0; i < n && code == 0; i++) {
		struct span id = resp_text(resp_at(entries->at[i], 0));
		snprintf(x->last, sizeof(x->last), "%.*s", (int)id.n, (const char *)id.p);
		if (!print_entry(x, entries->at[i]))
			code = c->session->code;
		x->left--;
		x->printed = true;
	}
	reply_free(r);
	out_flush();
	return code == 0 && x->left == 0 ? -1 : code;
}

/* "$" is what is newest now. */
static int start_from(struct results *x, const char *from)
{
	struct entry_id id;
	if (units_entry_id(span_str(from), &id) == ERR_OK) {
		units_entry_id_text(id, x->last);
		return 0;
	}
	if (strcmp(from, "$") != 0)
		return ctl_fail(CTL_USAGE, "--from must be the id of an entry, such as 1767225600000-0, or $");
	json_t *newest = reply_stream_tail(x->c, "results", 1);
	if (newest == NULL)
		return x->c->session->code;
	snprintf(x->last, sizeof(x->last), "%s", text_or(json_object_get(json_array_get(newest, 0), "id"), "0"));
	json_decref(newest);
	return 0;
}

static int prepare(struct results *x)
{
	struct ctl *c = x->c;
	const char *from = ctl_value(c, OPT_FROM, "0");
	int code = args_count(c, OPT_COUNT, UINT64_MAX, &x->left);
	if (code == 0)
		code = session_open(c);
	if (code == 0)
		code = start_from(x, from);
	if (code == 0 && ctl_has(c, OPT_VERIFY) && (x->receipts = receipts_new(c)) == NULL)
		code = c->session->code;
	return code;
}

int cmd_results(struct ctl *c)
{
	struct results x = { .c = c };
	bool follow = ctl_has(c, OPT_FOLLOW);
	int code = prepare(&x);
	if (code != 0) {
		receipts_free(x.receipts);
		return code;
	}
	session_watch(c);
	print_head(&x);
	out_flush();
	do
		code = read_page(&x, follow);
	while (code == 0);
	receipts_free(x.receipts);
	if (code > 0)
		return code;
	if (!follow && c->session->interrupted)
		return ctl_fail(CTL_NO, "stopped before the end; what comes after these: --from %s", x.last);
	return x.bad ? CTL_NO : CTL_OK;
}
