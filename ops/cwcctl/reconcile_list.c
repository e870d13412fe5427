/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/reconcile.h"
#include "worker/base/text.h"

static const struct {
	const char *name;
	bool people;
	const char *text;
} fates[RECONCILE_N] = {
#define RECONCILE_ROW(e, name_, people_, text_) { name_, people_, text_ },
	RECONCILE_FATES(RECONCILE_ROW)
#undef RECONCILE_ROW
};

/* --- the list --------------------------------------------------------------------------------- */

static bool add_office(struct reconcile_line *l, struct span code)
{
	enum cwc_chamber chamber;
	if (l->n_offices == JOB_OFFICES_MAX || cwc_office_parse(code, &chamber) != ERR_OK)
		return false;
	struct reconcile_office *o = &l->office[l->n_offices++];
	*o = (struct reconcile_office){ .fate = RECONCILE_MISSING };
	memcpy(o->code, code.p, QUEUE_OFFICE_LEN);
	return true;
}

/* "A,B" */
static bool add_offices(struct reconcile_line *l, struct span s)
{
	while (s.n > 0) {
		const uint8_t *comma = memchr(s.p, ',', s.n);
		size_t n = comma != NULL ? (size_t)(comma - s.p) : s.n;
		if (!add_office(l, span_of(s.p, n)))
			return false;
		s = n < s.n ? span_of(s.p + n + 1, s.n - n - 1) : span_of(s.p, 0);
	}
	return true;
}

static bool set_sid(struct reconcile_line *l, struct span sid)
{
	if (!job_sid_valid(sid))
		return false;
	memcpy(l->sid, sid.p, sid.n);
	l->sid[sid.n] = '\0';
	return true;
}

static struct span text_of(const json_t *v)
{
	return json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : span_of(NULL, 0);
}

/* SHA-1 is the name that the queue gives to bytes, not a proof of them. */
static bool digest_of(struct span base64, char out[RECONCILE_DIGEST + 1])
{
	struct buf job;
	uint8_t sha1[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	buf_init(&job, JOB_MAX);
	bool good = text_unbase64(base64, &job) == ERR_OK &&
		    EVP_Digest(job.p, job.n, sha1, &n, EVP_sha1(), NULL) == 1 && 2 * n == RECONCILE_DIGEST;
	if (good)
		text_hex(span_of(sha1, n), out);
	buf_clear(&job);
	return good;
}

static bool read_digest(const json_t *o, struct reconcile_line *l)
{
	struct span digest = text_of(json_object_get(o, "digest")), job = text_of(json_object_get(o, "job"));
	uint8_t raw[RECONCILE_DIGEST / 2];
	if (digest.n == 0)
		return job.n == 0 || digest_of(job, l->digest);
	if (text_unhex(digest, raw, sizeof(raw)) != ERR_OK)
		return false;
	text_hex(span_of(raw, sizeof(raw)), l->digest);
	return true;
}

static const char *read_object(struct span line, struct reconcile_line *l)
{
	const char *why = NULL;
	json_t *o = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *offices = json_object_get(o, "offices");
	if (!json_is_object(o))
		why = "it is no JSON object";
	else if (!set_sid(l, text_of(json_object_get(o, "sid"))))
		why = "sid must be 1 to 64 characters of A-Z a-z 0-9 _ -";
	else if (!read_digest(o, l))
		why = "digest must be 40 hex digits, job the base64 of at most 98304 bytes";
	else if (offices != NULL && !json_is_array(offices) && !json_is_string(offices))
		why = "offices must be an array of codes";
	for (size_t i = 0; why == NULL && i < json_array_size(offices); i++)
		if (!add_office(l, text_of(json_array_get(offices, i))))
			why = "offices must be at most three codes such as HNE03 or SNE02";
	if (why == NULL && json_is_string(offices) && !add_offices(l, text_of(offices)))
		why = "offices must be at most three codes such as HNE03 or SNE02";
	json_decref(o);
	return why;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span word(struct span *rest)
{
	size_t start = 0, end;
	while (start < rest->n && is_space(rest->p[start]))
		start++;
	end = start;
	while (end < rest->n && !is_space(rest->p[end]))
		end++;
	struct span w = span_of(rest->p + start, end - start);
	*rest = span_of(rest->p + end, rest->n - end);
	return w;
}

bool reconcile_read(struct span line, struct reconcile_line *ret_line, const char **ret_why)
{
	struct span rest = line, sid = word(&rest);
	*ret_line = (struct reconcile_line){ .n_offices = 0 };
	*ret_why = NULL;
	if (sid.n > 0 && sid.p[0] == '{') {
		*ret_why = read_object(line, ret_line);
		return *ret_why == NULL;
	}
	if (!set_sid(ret_line, sid))
		*ret_why = "it must begin with a sid, 1 to 64 characters of A-Z a-z 0-9 _ -, or be a JSON object";
	for (struct span w = word(&rest); *ret_why == NULL && w.n > 0; w = word(&rest))
		if (!add_offices(ret_line, w))
			*ret_why = "after the sid come at most three office codes such as HNE03,SNE02";
	return *ret_why == NULL;
}

enum reconcile_fate reconcile_fate_of(struct span state)
{
	static const struct {
		const char *state;
		enum reconcile_fate fate;
	} rows[] = {
		{ "accepted", RECONCILE_DELIVERED }, { "rejected", RECONCILE_ENDED }, { "expired", RECONCILE_ENDED },
		{ "cancelled", RECONCILE_ENDED },    { "dropped", RECONCILE_ENDED },  { "dead", RECONCILE_DEAD },
		{ "unknown", RECONCILE_UNKNOWN },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (span_eq_str(state, rows[i].state))
			return rows[i].fate;
	return RECONCILE_PENDING;
}

/* --- what came of it -------------------------------------------------------------------------- */

void reconcile_tell(struct reconcile_count *t, const char *sid, const struct reconcile_office *o)
{
	t->fate[o->fate]++;
	if (t->c->json) {
		progress_clear(&t->progress);
		json_t *v = json_pack("{s:s, s:s}", "fate", fates[o->fate].name, "sid", sid);
		json_object_set_new(v, "office", o->code[0] ? out_string(span_str(o->code)) : json_null());
		json_object_set_new(v, "where", o->where[0] ? out_string(span_str(o->where)) : json_null());
		json_object_set_new(v, "other_bytes", json_boolean(o->other));
		out_line(v);
	} else if (o->fate != RECONCILE_DELIVERED) {
		struct buf b;
		char text[256];
		progress_clear(&t->progress);
		snprintf(text, sizeof(text), "%-10s%-32s  %-6s  %s%s", fates[o->fate].name, sid,
			 o->code[0] ? o->code : "-", o->where[0] ? o->where : "-", o->other ? " (other bytes)" : "");
		buf_init(&b, sizeof(text));
		buf_add_str(&b, text);
		out_clean(stdout, span_buf(&b));
		fputc('\n', stdout);
		buf_clear(&b);
	}
}

bool reconcile_good(const struct reconcile_count *t)
{
	uint64_t people = t->bad;
	for (size_t i = 0; i < RECONCILE_N; i++)
		people += fates[i].people ? t->fate[i] : 0;
	return people == 0;
}

void reconcile_summary(struct reconcile_count *t)
{
	progress_clear(&t->progress);
	if (t->c->json) {
		json_t *o = json_pack("{s:I, s:I}", "lines", (json_int_t)t->lines, "bad_lines", (json_int_t)t->bad);
		for (size_t i = 0; i < RECONCILE_N; i++)
			json_object_set_new(o, fates[i].name, json_integer((json_int_t)t->fate[i]));
		out_line(json_pack("{s:o}", "summary", o));
		return;
	}
	for (size_t i = 0; i < RECONCILE_N; i++)
		if (t->fate[i] > 0)
			printf("%10" PRIu64 "  %-10s %s\n", t->fate[i], fates[i].name, fates[i].text);
	printf("%10" PRIu64 "  lines of the list%s\n", t->lines, t->bad > 0 ? ", some of them cannot be read" : "");
}
