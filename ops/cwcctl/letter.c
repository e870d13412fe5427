/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/letter.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/units.h"
#include "worker/base/text.h"

#define TTL_DEFAULT_S  3600
#define GENERATION_MAX 0x7fffffff

/* In this order in help and manual. */
const struct letter_member letter_members[] = {
	{ "sid", "Submission id, 1 to 64 characters of A-Z a-z 0-9 _ -. Generated when absent." },
	{ "offices", "Array of one to three office codes: [\"HNE03\", \"SNE02\"]." },
	{ "profile", "\"letter\" (default) or \"witness\"." },
	{ "letter",
	  "The part that is sealed: an object of CWC element names and texts (LibraryOfCongressTopics: an array; "
	  "Bills: an array of objects); for a witness the browser's JSON object." },
	{ "fields",
	  "Elements in the clear, in the same form. Elements of the person cannot stand here, but for Prefix." },
	{ "witness", "For a witness: an object of nullifier and actionDomain. Default: those of the letter." },
	{ "expires_in", "Time to live, such as \"90min\"; default \"1h\", at most 30d." },
	{ "expires", "The expiry itself, RFC 3339 or seconds since 1970." },
	{ "not_before", "Not sent before this time, RFC 3339 or seconds since 1970." },
	{ "priority", "0 (first) or 1 (default)." },
	{ "generation", "0 (default) for a new submission; higher to try again after a definite non-acceptance." },
	{ "job", "Base64 of a sealed and signed job, as `cwcctl seal` prints it; what the other members say is then "
		 "taken from the job." },
};
const size_t letter_n_members = sizeof(letter_members) / sizeof(letter_members[0]);

void letter_init(struct letter *l)
{
	memset(l, 0, sizeof(*l));
	buf_init(&l->job, JOB_MAX);
}

void letter_clear(struct letter *l)
{
	json_decref(l->root);
	buf_clear(&l->job);
	letter_init(l);
}

static bool bad(struct buf *why, const char *member, const char *rule)
{
	buf_add_str(why, member);
	buf_add_str(why, member[0] ? ": " : "");
	buf_add_str(why, rule);
	buf_add_byte(why, '\n');
	return false;
}

static struct span text_of(const json_t *v)
{
	return json_is_string(v) ? span_of(json_string_value(v), json_string_length(v)) : span_of(NULL, 0);
}

/* --- members ---------------------------------------------------------------------------------- */

static bool read_names(const struct letter *l, struct buf *why)
{
	bool good = true;
	for (void *it = json_object_iter(l->root); it != NULL; it = json_object_iter_next(l->root, it)) {
		const char *name = json_object_iter_key(it);
		size_t i = 0;
		while (i < letter_n_members && strcmp(name, letter_members[i].name) != 0)
			i++;
		if (i == letter_n_members)
			good = bad(why, name, "there is no such member");
	}
	return good;
}

static bool read_sid(struct letter *l, struct buf *why)
{
	const json_t *v = json_object_get(l->root, "sid");
	uint8_t random[16];
	if (v == NULL) {
		randombytes_buf(random, sizeof(random));
		text_hex(span_of(random, sizeof(random)), l->sid);
		l->generated = true;
		return true;
	}
	struct span s = text_of(v);
	if (!job_sid_valid(s))
		return bad(why, "sid", "must be 1 to 64 characters of A-Z a-z 0-9 _ -");
	memcpy(l->sid, s.p, s.n);
	l->sid[s.n] = '\0';
	return true;
}

static bool add_office(struct letter *l, struct span code, struct buf *why)
{
	enum cwc_chamber chamber;
	if (cwc_office_parse(code, &chamber) != ERR_OK)
		return bad(why, "offices", "every entry must be an office code such as HNE03 or SNE02");
	for (size_t i = 0; i < l->n_offices; i++)
		if (span_eq_str(code, l->office[i]))
			return bad(why, "offices", "an office is given twice");
	memcpy(l->office[l->n_offices], code.p, CWC_OFFICE_SIZE - 1);
	l->office[l->n_offices++][CWC_OFFICE_SIZE - 1] = '\0';
	return true;
}

static bool read_offices(struct letter *l, struct buf *why)
{
	const json_t *v = json_object_get(l->root, "offices");
	size_t n = json_array_size(v);
	if (n < 1 || n > JOB_OFFICES_MAX)
		return bad(why, "offices", "must be an array of one to three office codes");
	for (size_t i = 0; i < n; i++)
		if (!add_office(l, text_of(json_array_get(v, i)), why))
			return false;
	return true;
}

static bool read_profile(struct letter *l, struct buf *why)
{
	const json_t *v = json_object_get(l->root, "profile");
	l->profile = JOB_LETTER;
	if (v == NULL || span_eq_str(text_of(v), "letter"))
		return true;
	l->profile = JOB_WITNESS;
	return span_eq_str(text_of(v), "witness") || bad(why, "profile", "must be \"letter\" or \"witness\"");
}

static bool read_parts(struct letter *l, struct buf *why)
{
	l->content = json_object_get(l->root, "letter");
	l->fields = json_object_get(l->root, "fields");
	if (!json_is_object(l->content))
		return bad(why, "letter", l->content == NULL ? "is missing" : "must be an object");
	if (l->fields != NULL && !json_is_object(l->fields))
		return bad(why, "fields", "must be an object");
	return true;
}

static bool read_proof(const json_t *from, const char *name, char out[LETTER_PROOF_SIZE])
{
	struct span s = text_of(json_object_get(from, name));
	if (s.n < 1 || s.n >= LETTER_PROOF_SIZE)
		return false;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

static bool read_witness(struct letter *l, struct buf *why)
{
	const json_t *v = json_object_get(l->root, "witness");
	if (l->profile != JOB_WITNESS)
		return v == NULL || bad(why, "witness", "belongs to the profile \"witness\"");
	const json_t *from = v != NULL ? v : l->content;
	const char *member = v != NULL ? "witness" : "letter";
	if (!read_proof(from, "nullifier", l->nullifier) || !read_proof(from, "actionDomain", l->action_domain))
		return bad(why, member, "nullifier and actionDomain must be texts of 1 to 128 bytes");
	return true;
}

/* --- times and numbers ------------------------------------------------------------------------ */

static bool read_time(const struct letter *l, const char *name, uint64_t *ret_s, struct buf *why)
{
	const json_t *v = json_object_get(l->root, name);
	int64_t s = json_is_integer(v) ? json_integer_value(v) : -1;
	if (v == NULL)
		return true;
	if (json_is_string(v) && units_time(json_string_value(v), &s) != ERR_OK)
		s = -1;
	if (s <= 0)
		return bad(why, name, "must be a time, RFC 3339 or seconds since 1970");
	*ret_s = (uint64_t)s;
	return true;
}

static bool read_expiry(struct letter *l, int64_t now_s, struct buf *why)
{
	const json_t *in = json_object_get(l->root, "expires_in");
	uint64_t ms = UINT64_C(1000) * TTL_DEFAULT_S;
	if (in != NULL && json_object_get(l->root, "expires") != NULL)
		return bad(why, "expires_in", "cannot stand beside expires");
	if (in != NULL && (!json_is_string(in) || units_duration(json_string_value(in), &ms) != ERR_OK || ms < 1000))
		return bad(why, "expires_in", "must be a duration from 1s, such as \"90min\"");
	l->expires_s = (uint64_t)now_s + ms / 1000;
	if (!read_time(l, "expires", &l->expires_s, why) || !read_time(l, "not_before", &l->not_before_s, why))
		return false;
	if (l->expires_s <= (uint64_t)now_s)
		return bad(why, "expires", "is past");
	if (l->expires_s > (uint64_t)now_s + JOB_TTL_MAX_S)
		return bad(why, "expires", "is more than 30 days ahead");
	return l->not_before_s <= l->expires_s || bad(why, "not_before", "is later than the expiry");
}

static bool read_integer(const struct letter *l, const char *name, uint64_t max, uint64_t *ret_n, struct buf *why)
{
	const json_t *v = json_object_get(l->root, name);
	if (v == NULL)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
		return bad(why, name, max == 1 ? "must be 0 or 1" : "must be a whole number from 0 to 2147483647");
	*ret_n = (uint64_t)json_integer_value(v);
	return true;
}

static bool read_clear(struct letter *l, int64_t now_s, struct buf *why)
{
	uint64_t priority = 1;
	/* All of them, so that all that is wrong is said at once. */
	bool good = read_sid(l, why);
	good = read_offices(l, why) && good;
	good = read_profile(l, why) && good;
	good = read_parts(l, why) && good;
	good = good && read_witness(l, why);
	good = read_expiry(l, now_s, why) && good;
	good = read_integer(l, "priority", 1, &priority, why) && good;
	good = read_integer(l, "generation", GENERATION_MAX, &l->generation, why) && good;
	l->priority = (unsigned)priority;
	return good;
}

/* --- sealed lines ----------------------------------------------------------------------------- */

/* The members beside the job, where they are given, must be the job's. */
static bool same_as_job(struct letter *l, const struct job *j, struct buf *why)
{
	const json_t *sid = json_object_get(l->root, "sid"), *offices = json_object_get(l->root, "offices");
	if (sid != NULL && !span_eq(text_of(sid), j->sid))
		return bad(why, "sid", "is not the job's");
	if (offices == NULL)
		return true;
	bool same = json_array_size(offices) == j->n_offices;
	for (size_t i = 0; same && i < j->n_offices; i++)
		same = span_eq(text_of(json_array_get(offices, i)), j->office[i]);
	return same || bad(why, "offices", "are not the job's");
}

static bool read_sealed(struct letter *l, const char *queue, int64_t now_s, struct buf *why)
{
	struct job j;
	const char *member;
	if (text_unbase64(text_of(json_object_get(l->root, "job")), &l->job) != ERR_OK || l->job.n == 0)
		return bad(why, "job", "must be base64 of at most 98304 bytes");
	enum err e = job_parse(span_buf(&l->job), &j, &member);
	if (e != ERR_OK) {
		buf_add_str(why, "job: ");
		bad(why, err_name(e), err_text(e));
		return false;
	}
	if (!same_as_job(l, &j, why))
		return false;
	if (!span_eq_str(j.queue, queue))
		return bad(why, "job", "was signed for another queue; see --queue");
	if (j.expires_s <= (uint64_t)now_s)
		return bad(why, "job", "has expired");
	for (size_t i = 0; i < j.n_offices; i++)
		if (!add_office(l, j.office[i], why))
			return false;
	memcpy(l->sid, j.sid.p, j.sid.n);
	l->profile = j.profile;
	l->expires_s = j.expires_s;
	l->not_before_s = j.not_before_s;
	l->generation = j.generation;
	l->priority = j.priority;
	return true;
}

bool letter_read(struct span line, const char *queue, int64_t now_s, struct letter *l, struct buf *why)
{
	json_error_t error;
	letter_clear(l);
	l->root = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &error);
	if (l->root == NULL) {
		/* jansson's own text quotes the input. */
		char rule[80];
		snprintf(rule, sizeof(rule), "not JSON (line %d, column %d), or a member twice", error.line,
			 error.column);
		return bad(why, "", rule);
	}
	if (!json_is_object(l->root))
		return bad(why, "", "not a JSON object");
	if (!read_names(l, why))
		return false;
	if (json_object_get(l->root, "job") != NULL)
		return read_sealed(l, queue, now_s, why);
	return read_clear(l, now_s, why);
}

void letter_offices(const struct letter *l, char ret_out[LETTER_OFFICES_SIZE])
{
	size_t n = 0;
	for (size_t i = 0; i < l->n_offices; i++) {
		if (i > 0)
			ret_out[n++] = ',';
		memcpy(ret_out + n, l->office[i], CWC_OFFICE_SIZE - 1);
		n += CWC_OFFICE_SIZE - 1;
	}
	ret_out[n] = '\0';
}
