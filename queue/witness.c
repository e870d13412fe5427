/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/witness.h"

#include <string.h>

#include "worker/base/text.h"

#define DEPTH_MAX 8

/*
 * A scanner over the plaintext itself (RFC 8259). Strings are unescaped in place, which is possible
 * because no escape is shorter than what it stands for; so nothing is allocated, and wiping the one
 * buffer wipes everything. The error is sticky: after it, peek() sees the end of the input.
 */
struct scan {
	uint8_t *p;
	size_t at, n;
	bool bad;
};

/* One member that is looked at: where its text goes. */
struct want {
	const char *name;
	struct span *text;
};

static int peek(const struct scan *s)
{
	return s->bad || s->at >= s->n ? -1 : s->p[s->at];
}

static bool take(struct scan *s, char c)
{
	if (peek(s) != (uint8_t)c)
		return false;
	s->at++;
	return true;
}

static void need(struct scan *s, char c)
{
	if (!take(s, c))
		s->bad = true;
}

static void skip_space(struct scan *s)
{
	while (take(s, ' ') || take(s, '\t') || take(s, '\n') || take(s, '\r'))
		;
}

static void need_word(struct scan *s, const char *word)
{
	while (*word != '\0')
		need(s, *word++);
}

static bool digit(const struct scan *s)
{
	return peek(s) >= '0' && peek(s) <= '9';
}

static void need_digits(struct scan *s)
{
	if (!digit(s))
		s->bad = true;
	while (digit(s))
		s->at++;
}

/* Section 6: no plus sign, no leading zero, digits on both sides of the point. */
static void skip_number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0'))
		need_digits(s);
	if (take(s, '.'))
		need_digits(s);
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		need_digits(s);
	}
}

static uint32_t read_hex4(struct scan *s)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		int c = peek(s);

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			s->bad = true;
		s->at++;
	}
	return v;
}

/* Behind "\u". Half of a surrogate pair is no character: UTF-8 cannot hold it. */
static uint32_t read_unicode(struct scan *s)
{
	uint32_t high = read_hex4(s), low;

	if (high < 0xd800 || high > 0xdfff)
		return high;
	need(s, '\\');
	need(s, 'u');
	low = read_hex4(s);
	if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
		s->bad = true;
	return 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
}

static size_t put_utf8(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* Behind the backslash: what the escape stands for. */
static uint32_t read_escape(struct scan *s)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meaning[] = "\"\\/\b\f\n\r\t";
	int c = peek(s);
	const char *at;

	s->at++;
	if (c == 'u')
		return read_unicode(s);
	at = c > 0 ? strchr(letters, c) : NULL;
	if (at == NULL) {
		s->bad = true;
		return 0;
	}
	return (uint8_t)meaning[at - letters];
}

/* A string, unescaped in place. Checking the result is as good as checking the source: an escape
 * yields whole characters, so it can neither complete nor hide a malformed sequence around it. */
static struct span read_string(struct scan *s)
{
	struct span text;
	size_t out, points;

	need(s, '"');
	out = s->at;
	text.p = s->p + out;
	while (peek(s) >= 0x20 && peek(s) != '"') {
		uint8_t c = s->p[s->at++];

		if (c == '\\') {
			uint32_t point = read_escape(s);

			/* After an error `at` may have passed the end: nothing is written any more. */
			if (!s->bad)
				out += put_utf8(s->p + out, point);
		} else {
			s->p[out++] = c;
		}
	}
	need(s, '"');
	text.n = out - (size_t)(text.p - s->p);
	if (!s->bad && text_utf8_length(text, &points) != ERR_OK)
		s->bad = true;
	return s->bad ? span_of(NULL, 0) : text;
}

static void skip_value(struct scan *s, unsigned depth);

static void read_key(struct scan *s, struct span *ret_key)
{
	skip_space(s);
	*ret_key = read_string(s);
	skip_space(s);
	need(s, ':');
	skip_space(s);
}

static void skip_array(struct scan *s, unsigned depth)
{
	need(s, '[');
	skip_space(s);
	if (take(s, ']'))
		return;
	do
		skip_value(s, depth);
	while (take(s, ','));
	need(s, ']');
}

static void skip_object(struct scan *s, unsigned depth)
{
	struct span key;

	need(s, '{');
	skip_space(s);
	if (take(s, '}'))
		return;
	do {
		read_key(s, &key);
		skip_value(s, depth);
	} while (take(s, ','));
	need(s, '}');
}

/* Any value and the space around it. `depth` is the number of arrays and objects that are open; the
 * recursion ends with it. */
static void skip_value(struct scan *s, unsigned depth)
{
	skip_space(s);
	switch (peek(s)) {
	case '{':
	case '[':
		if (depth == DEPTH_MAX)
			s->bad = true;
		else if (peek(s) == '{')
			skip_object(s, depth + 1);
		else
			skip_array(s, depth + 1);
		break;
	case '"':
		(void)read_string(s);
		break;
	case 't':
		need_word(s, "true");
		break;
	case 'f':
		need_word(s, "false");
		break;
	case 'n':
		need_word(s, "null");
		break;
	default:
		skip_number(s);
	}
	skip_space(s);
}

/* A member that is looked at: a text, or null, which counts as absent. */
static void read_text(struct scan *s, struct span *ret_text)
{
	if (peek(s) == 'n')
		need_word(s, "null");
	else
		*ret_text = read_string(s);
	skip_space(s);
}

/* Finds the member in the list and marks it; a second one by the same name is an error. */
static const struct want *find_want(struct scan *s, const struct want *want, size_t n, struct span key, unsigned *seen)
{
	for (size_t i = 0; i < n; i++) {
		if (!span_eq_str(key, want[i].name))
			continue;
		if (*seen & 1u << i)
			s->bad = true;
		*seen |= 1u << i;
		return &want[i];
	}
	return NULL;
}

static void read_address(struct scan *s, struct witness *w)
{
	const struct want want[] = {
		{ "name", &w->name },   { "email", &w->email }, { "street", &w->street }, { "city", &w->city },
		{ "state", &w->state }, { "zip", &w->zip },     { "phone", &w->phone },
	};
	unsigned seen = 0;
	struct span key;

	need(s, '{');
	skip_space(s);
	if (!take(s, '}')) {
		do {
			const struct want *x;

			read_key(s, &key);
			x = find_want(s, want, sizeof(want) / sizeof(want[0]), key, &seen);
			if (x != NULL)
				read_text(s, x->text);
			else
				skip_value(s, 2);
		} while (take(s, ','));
		need(s, '}');
	}
	skip_space(s);
}

/* The whole object; *ret_address tells whether there was a deliveryAddress object in it. */
static void read_root(struct scan *s, struct witness *w, bool *ret_address)
{
	const struct want want[] = {
		{ "nullifier", &w->nullifier },
		{ "actionDomain", &w->action_domain },
		{ "deliveryAddress", NULL },
	};
	unsigned seen = 0;
	struct span key;

	need(s, '{');
	skip_space(s);
	if (take(s, '}'))
		return;
	do {
		const struct want *x;

		read_key(s, &key);
		x = find_want(s, want, sizeof(want) / sizeof(want[0]), key, &seen);
		if (x != NULL && x->text != NULL) {
			read_text(s, x->text);
		} else if (x != NULL && peek(s) == '{') {
			*ret_address = true;
			read_address(s, w);
		} else {
			skip_value(s, 1);
		}
	} while (take(s, ','));
	need(s, '}');
}

enum err witness_read(struct buf *plain, struct witness *ret_w)
{
	struct scan s = { .p = plain->p, .n = plain->n };
	struct witness w = { 0 };
	bool address = false;

	if (plain->n == 0)
		return ERR_WITNESS_SYNTAX;
	skip_space(&s);
	read_root(&s, &w, &address);
	skip_space(&s);
	if (s.bad || s.at != s.n)
		return ERR_WITNESS_SYNTAX;
	if (!address)
		return ERR_WITNESS_ADDRESS;
	*ret_w = w;
	return ERR_OK;
}

enum err witness_bound(const struct witness *w, struct span nullifier, struct span action_domain)
{
	if (w->nullifier.p == NULL || w->action_domain.p == NULL)
		return ERR_WITNESS_MISMATCH;
	if (!span_eq(w->nullifier, nullifier) || !span_eq(w->action_domain, action_domain))
		return ERR_WITNESS_MISMATCH;
	return ERR_OK;
}

void witness_split_name(struct span name, struct span *ret_first, struct span *ret_last)
{
	size_t n = 0;

	*ret_first = span_of(NULL, 0);
	*ret_last = span_of(NULL, 0);
	while (name.n > 0 && name.p[name.n - 1] == ' ')
		name.n--;
	while (name.n > 0 && name.p[0] == ' ')
		name = span_of(name.p + 1, name.n - 1);
	if (name.n == 0)
		return;
	while (n < name.n && name.p[n] != ' ')
		n++;
	*ret_first = span_of(name.p, n);
	while (n < name.n && name.p[n] == ' ')
		n++;
	if (n < name.n)
		*ret_last = span_of(name.p + n, name.n - n);
}
