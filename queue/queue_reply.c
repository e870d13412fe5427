/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_reply.h"

#include <limits.h>
#include <string.h>

#include "worker/base/text.h"

#define TAKE_CAPACITY (sizeof(((struct queue_take_answer *)NULL)->job) / sizeof(struct queue_taken))
#define TAKEN_FIELDS  18

struct word {
	const char *text;
	int value;
};

/* The status word that stands first in most answers. */
static enum err first_word(const struct resp_reply *r, const struct word *table, size_t n, int *ret_value)
{
	struct span word = resp_text(resp_at(r, 0));
	for (size_t i = 0; i < n; i++)
		if (span_eq_str(word, table[i].text)) {
			*ret_value = table[i].value;
			return ERR_OK;
		}
	return ERR_QUEUE_SCRIPT;
}

#define FIRST_WORD(r, table, ret) first_word((r), (table), sizeof(table) / sizeof((table)[0]), (ret))

/* Attempts, crashes, fates: far above any budget. */
#define COUNT_MAX 1000000

static unsigned count_at(const struct resp_reply *r, size_t i)
{
	int64_t v = resp_number(resp_at(r, i));
	return v < 0 || v > COUNT_MAX ? 0 : (unsigned)v;
}

static struct span text_at(const struct resp_reply *r, size_t i)
{
	return resp_text(resp_at(r, i));
}

/* Times and counters of the protocol fit a double exactly; what does not is not one of them. */
#define NUMBER_MAX (1LL << 53)

static int64_t number_at(const struct resp_reply *r, size_t i)
{
	int64_t v = resp_number(resp_at(r, i));
	return v < -NUMBER_MAX || v > NUMBER_MAX ? 0 : v;
}

static int64_t length_at(const struct resp_reply *r, size_t i)
{
	int64_t v = number_at(r, i);
	return v < 0 ? 0 : v;
}

enum err queue_reply_beat(const struct resp_reply *r, struct queue_beat_answer *ret_answer)
{
	static const struct word words[] = {
		{ "OK", QUEUE_BEAT_OK },     { "FENCED", QUEUE_BEAT_FENCED },   { "TAKEN", QUEUE_BEAT_TAKEN },
		{ "BUSY", QUEUE_BEAT_BUSY }, { "VERSION", QUEUE_BEAT_VERSION },
	};
	int status = 0;
	TRY(FIRST_WORD(r, words, &status));
	struct queue_beat_answer a = { .status = (enum queue_beat_status)status };
	if (a.status == QUEUE_BEAT_OK) {
		a.redis_us = number_at(r, 1);
		a.dead = length_at(r, 2);
		a.unknown = length_at(r, 3);
		a.stuck = length_at(r, 4);
		a.results = length_at(r, 5);
		a.drain = number_at(r, 6) == 1;
	}
	*ret_answer = a;
	return ERR_OK;
}

/* [sid, office, token, why, digest, previous, generation|-1, attempt, crashes, unknowns, delivery_id,
 *  date, begun_us, first_us, rev, last, status, bytes] */
static void read_taken(const struct resp_reply *r, struct queue_taken *ret_job)
{
	*ret_job = (struct queue_taken){
		.sid = text_at(r, 0),
		.office = text_at(r, 1),
		.token = text_at(r, 2),
		.why = text_at(r, 3),
		.digest = text_at(r, 4),
		.previous = text_at(r, 5),
		.generation = number_at(r, 6),
		.attempt = count_at(r, 7),
		.crashes = count_at(r, 8),
		.unknowns = count_at(r, 9),
		.delivery_id = text_at(r, 10),
		.date = text_at(r, 11),
		.begun_us = number_at(r, 12),
		.first_us = number_at(r, 13),
		.rev = number_at(r, 14),
		.last = text_at(r, 15),
		.last_status = number_at(r, 16),
		.bytes = text_at(r, 17),
	};
}

/* The letters that a sid and an office are made of: a name with others could not be said back to a script. */
static bool name_readable(struct span s, size_t max)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i], lower = c | 0x20;
		if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return s.n > 0 && s.n <= max;
}

/* Also an [ERR, text], and what does not fit: ADOPT gives back what is not known here. */
static bool taken_readable(const struct resp_reply *r)
{
	return r->type == RESP_ARRAY && r->n == TAKEN_FIELDS && name_readable(text_at(r, 0), QUEUE_SID_MAX) &&
	       name_readable(text_at(r, 1), QUEUE_OFFICE_LEN) && text_at(r, 1).n == QUEUE_OFFICE_LEN &&
	       text_at(r, 2).n > 0 && text_at(r, 2).n <= QUEUE_TOKEN_MAX &&
	       memchr(text_at(r, 2).p, 0, text_at(r, 2).n) == NULL;
}

static void read_take(const struct resp_reply *r, struct queue_take_answer *ret_answer)
{
	int64_t wait = number_at(r, 0);
	ret_answer->status = QUEUE_TAKE_OK;
	ret_answer->wait_us = wait > 0 ? wait : 0;
	ret_answer->full = number_at(r, 1) != 0;
	ret_answer->adopt = false;
	ret_answer->n = 0;
	for (size_t i = 2; i < r->n; i++)
		if (taken_readable(r->at[i]) && ret_answer->n < TAKE_CAPACITY)
			read_taken(r->at[i], &ret_answer->job[ret_answer->n++]);
		else
			ret_answer->adopt = true;
}

enum err queue_reply_take(const struct resp_reply *r, struct queue_take_answer *ret_answer)
{
	static const struct word words[] = { { "FENCED", QUEUE_TAKE_FENCED }, { "SKEW", QUEUE_TAKE_SKEW } };
	int status = 0;
	int64_t wait = 0;
	if (r->type == RESP_ARRAY && r->n >= 2 &&
	    (r->at[0]->type == RESP_INTEGER || text_int(text_at(r, 0), &wait) == ERR_OK)) {
		read_take(r, ret_answer);
		return ERR_OK;
	}
	TRY(FIRST_WORD(r, words, &status));
	ret_answer->status = (enum queue_take_status)status;
	ret_answer->wait_us = 0;
	ret_answer->full = false;
	ret_answer->adopt = false;
	ret_answer->n = 0;
	return ERR_OK;
}

enum err queue_reply_begin(const struct resp_reply *r, struct queue_begin_answer *ret_answer)
{
	static const struct word words[] = {
		{ "GO", QUEUE_BEGIN_GO },       { "STALE", QUEUE_BEGIN_STALE }, { "CANCELLED", QUEUE_BEGIN_CANCELLED },
		{ "CLOSE", QUEUE_BEGIN_CLOSE }, { "HELD", QUEUE_BEGIN_HELD },   { "OLDGEN", QUEUE_BEGIN_OLDGEN },
		{ "SKEW", QUEUE_BEGIN_SKEW },
	};
	int status = 0;
	TRY(FIRST_WORD(r, words, &status));
	struct queue_begin_answer a = { .status = (enum queue_begin_status)status };
	if (a.status == QUEUE_BEGIN_GO) {
		a.delivery_id = text_at(r, 1);
		a.date = text_at(r, 2);
		a.attempt = count_at(r, 3);
		a.unknowns = count_at(r, 4);
		a.begun_us = number_at(r, 5);
		/* Leave to send something else than what was recorded would be no leave. */
		if (r->n < 6 || a.delivery_id.n == 0 || a.date.n == 0 || a.attempt == 0)
			return ERR_QUEUE_SCRIPT;
	}
	*ret_answer = a;
	return ERR_OK;
}

/* The names of chambers and offices. */
static bool breaker_named(struct span what)
{
	return span_eq_str(what, "house") || span_eq_str(what, "senate") ||
	       (what.n == QUEUE_OFFICE_LEN && name_readable(what, QUEUE_OFFICE_LEN));
}

/* what, open|closed, until_us, from the fourth element on */
static void read_breakers(const struct resp_reply *r, struct queue_settle_answer *ret_answer)
{
	ret_answer->n_breakers = 0;
	for (size_t i = 3; i + 2 < r->n && ret_answer->n_breakers < QUEUE_BREAKERS_MAX; i += 3) {
		struct queue_breaker b = { .what = text_at(r, i), .open = span_eq_str(text_at(r, i + 1), "open") };
		if (!breaker_named(b.what) || (!b.open && !span_eq_str(text_at(r, i + 1), "closed")))
			continue;
		b.until_us = length_at(r, i + 2);
		ret_answer->breaker[ret_answer->n_breakers++] = b;
	}
}

enum err queue_reply_settle(const struct resp_reply *r, struct queue_settle_answer *ret_answer)
{
	static const struct word words[] = {
		{ "OK", QUEUE_SETTLE_OK },       { "LATE", QUEUE_SETTLE_LATE },    { "DUP", QUEUE_SETTLE_DUP },
		{ "STALE", QUEUE_SETTLE_STALE }, { "NOTBEGUN", QUEUE_SETTLE_BUG }, { "BEGUN", QUEUE_SETTLE_BUG },
		{ "BADVERB", QUEUE_SETTLE_BUG },
	};
	int status = 0;
	TRY(FIRST_WORD(r, words, &status));
	ret_answer->status = (enum queue_settle_status)status;
	ret_answer->state = text_at(r, 1);
	ret_answer->rev = number_at(r, 2);
	read_breakers(r, ret_answer);
	return ERR_OK;
}

enum err queue_reply_wait(const struct resp_reply *r, int64_t *ret_n)
{
	if (r->type != RESP_INTEGER || r->integer < 0 || r->integer > COUNT_MAX)
		return ERR_QUEUE_SCRIPT;
	*ret_n = r->integer;
	return ERR_OK;
}

enum err queue_reply_count(const struct resp_reply *r, bool *ret_fenced, int64_t *ret_n)
{
	enum { OK, FENCED, SKEW };
	static const struct word words[] = { { "OK", OK }, { "FENCED", FENCED }, { "SKEW", SKEW } };
	int status = 0;
	TRY(FIRST_WORD(r, words, &status));
	*ret_fenced = status == FENCED;
	*ret_n = status == SKEW ? -1 : status == OK ? number_at(r, 1) : 0;
	return ERR_OK;
}

/* --- the start-up check --------------------------------------------------------------------- */

/* The value of "key:value" in a text of lines; "" when there is none. */
static struct span info_value(struct span info, const char *key)
{
	struct span k = span_str(key);
	for (size_t at = 0; at < info.n;) {
		size_t end = at;
		while (end < info.n && info.p[end] != '\r' && info.p[end] != '\n')
			end++;
		if (end - at > k.n && info.p[at + k.n] == ':' && span_eq(span_of(info.p + at, k.n), k))
			return span_of(info.p + at + k.n + 1, end - at - k.n - 1);
		at = end + 1;
	}
	return span_of("", 0);
}

/* "7.0.15" -> 7, 0 */
static void read_version(struct span text, unsigned *ret_major, unsigned *ret_minor)
{
	unsigned v[2] = { 0, 0 };
	size_t part = 0;
	for (size_t i = 0; i < text.n && part < 2; i++) {
		if (text.p[i] >= '0' && text.p[i] <= '9' && v[part] < 100000)
			v[part] = v[part] * 10 + (unsigned)(text.p[i] - '0');
		else
			part = text.p[i] == '.' ? part + 1 : 2;
	}
	*ret_major = v[0];
	*ret_minor = v[1];
}

void queue_reply_info(struct span info, struct queue_info *ret_info)
{
	read_version(info_value(info, "redis_version"), &ret_info->major, &ret_info->minor);
	ret_info->replica = span_eq_str(info_value(info, "role"), "slave");
	ret_info->loading = span_eq_str(info_value(info, "loading"), "1");
	ret_info->policy = info_value(info, "maxmemory_policy");
	ret_info->server = info_value(info, "run_id");
}

struct span queue_reply_config(const struct resp_reply *r)
{
	return text_at(r, 1);
}

/* --- words of arguments --------------------------------------------------------------------- */

const char *queue_beat_word(enum queue_beat_verb verb)
{
	static const char *const words[] = {
		[QUEUE_JOIN] = "join",
		[QUEUE_REJOIN] = "rejoin",
		[QUEUE_BEAT] = "beat",
		[QUEUE_LEAVE] = "leave",
	};
	BUG_ON((unsigned)verb > QUEUE_LEAVE);
	return words[verb];
}

const char *queue_verb_word(enum queue_verb verb)
{
	static const char *const words[] = {
		[QUEUE_END] = "end",           [QUEUE_RETRY] = "retry",
		[QUEUE_UNKNOWN] = "unknown",   [QUEUE_THROTTLED] = "throttled",
		[QUEUE_NOT_SENT] = "not_sent", [QUEUE_RELEASE] = "release",
		[QUEUE_DEFER] = "defer",       [QUEUE_LIVE] = "live",
		[QUEUE_REFUSED] = "refused",   [QUEUE_CONFLICT] = "conflict",
	};
	BUG_ON((unsigned)verb > QUEUE_CONFLICT);
	return words[verb];
}
