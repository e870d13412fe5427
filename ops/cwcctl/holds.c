/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/holds.h"

#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

/* The next word, and the rest behind one space. */
static struct span word(struct span *rest)
{
	const uint8_t *space = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
	size_t n = space != NULL ? (size_t)(space - rest->p) : rest->n;
	struct span w = span_of(rest->p, n);
	size_t skip = space != NULL ? n + 1 : n;
	*rest = span_of(rest->p + skip, rest->n - skip);
	return w;
}

json_t *holds_hold(struct span value, int64_t now_us)
{
	int64_t until_us;
	if (value.n == 0 || text_int(word(&value), &until_us) != ERR_OK || until_us <= now_us)
		return json_null();
	json_t *o = json_object();
	json_object_set_new(o, "until", out_time_us(until_us));
	json_object_set_new(o, "who", out_string(word(&value)));
	json_object_set_new(o, "reason", out_string(value));
	return o;
}

json_t *holds_breaker(struct span value)
{
	int64_t opens, until_us;
	struct span state = value.n > 0 ? word(&value) : value;
	if (!span_eq_str(state, "open") && !span_eq_str(state, "half"))
		return json_null();
	json_t *o = json_object();
	json_object_set_new(o, "state", out_string(state));
	json_object_set_new(o, "opens", text_int(word(&value), &opens) == ERR_OK ? json_integer(opens) : json_null());
	json_object_set_new(o, "until",
			    text_int(word(&value), &until_us) == ERR_OK ? out_time_us(until_us) : json_null());
	return o;
}

static const char *member(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s != NULL ? s : "?";
}

void holds_hold_text(const json_t *hold, char *out, size_t size)
{
	if (json_is_object(hold))
		snprintf(out, size, "until %s by %s: %s", member(hold, "until"), member(hold, "who"),
			 member(hold, "reason"));
	else
		snprintf(out, size, "-");
}

void holds_breaker_text(const json_t *breaker, int64_t now_us, char *out, size_t size)
{
	char now[TEXT_TIME_MS_SIZE];
	text_time_ms(now_us / 1000, now);
	if (!json_is_object(breaker))
		snprintf(out, size, "-");
	else if (strcmp(member(breaker, "state"), "half") == 0 || strcmp(member(breaker, "until"), now) <= 0)
		snprintf(out, size, "one letter is tried");
	else
		snprintf(out, size, "until %s", member(breaker, "until"));
}
