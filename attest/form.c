/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/form.h"

void form_key(struct cbor *c, struct cbor_map *m, const char *name)
{
	struct span key;

	if (!cbor_read_key(c, m, &key) || !span_eq_str(key, name))
		cbor_fail(c);
}

void form_literal(struct cbor *c, const char *text)
{
	if (!span_eq_str(cbor_read_text(c, FORM_NAME_MAX), text))
		cbor_fail(c);
}

uint64_t form_uint(struct cbor *c, uint64_t min, uint64_t max)
{
	uint64_t v = cbor_read_uint(c);

	if (v < min || v > max)
		cbor_fail(c);
	return v;
}

struct span form_bytes(struct cbor *c, size_t min, size_t max)
{
	struct span s = cbor_read_bytes(c, max);

	if (s.n < min)
		cbor_fail(c);
	return s;
}

struct span form_name(struct cbor *c)
{
	struct span s = cbor_read_text(c, FORM_NAME_MAX);

	if (!form_name_valid(s))
		cbor_fail(c);
	return s;
}

struct span form_environment(struct cbor *c)
{
	struct span s = cbor_read_text(c, FORM_NAME_MAX);

	if (form_environment_text(s) == NULL)
		cbor_fail(c);
	return s;
}

struct span form_visible(struct cbor *c, size_t max)
{
	struct span s = cbor_read_text(c, max);
	bool visible = s.n > 0;

	for (size_t i = 0; i < s.n; i++)
		visible = visible && s.p[i] > 0x20 && s.p[i] < 0x7f;
	if (!visible)
		cbor_fail(c);
	return s;
}

static bool name_byte(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
	       c == '-';
}

bool form_name_valid(struct span s)
{
	bool valid = s.n >= 1 && s.n <= FORM_NAME_MAX;

	for (size_t i = 0; valid && i < s.n; i++)
		valid = name_byte(s.p[i]);
	return valid;
}

const char *form_environment_text(struct span s)
{
	if (span_eq_str(s, "sandbox"))
		return "sandbox";
	return span_eq_str(s, "production") ? "production" : NULL;
}

bool form_printable(struct span s)
{
	unsigned other = 0;

	for (size_t i = 0; i < s.n; i++)
		other |= (unsigned)(s.p[i] < 0x20) | (unsigned)(s.p[i] > 0x7e);
	return other == 0;
}
