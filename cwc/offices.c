/* SPDX-License-Identifier: Apache-2.0 */
#include "cwc/fields.h"

#include <jansson.h>
#include <string.h>

#define LIST_BYTES_MAX ((size_t)256 * 1024)
#define CODE_LENGTH    (CWC_OFFICE_SIZE - 1)

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* American Samoa has AQ in office codes, because AS is the name of a committee there. */
static bool house_state(struct span state)
{
	if (span_eq(state, span_lit("AQ")))
		return true;
	return cwc_state_known(state) && !span_eq(state, span_lit("AS"));
}

enum err cwc_office_parse(struct span code, enum cwc_chamber *ret_chamber)
{
	if (code.n != CODE_LENGTH || !is_digit(code.p[3]) || !is_digit(code.p[4]))
		return ERR_SYNTAX;
	struct span state = span_of(code.p + 1, 2);

	if (code.p[0] == 'H' && house_state(state)) {
		*ret_chamber = CWC_HOUSE;
		return ERR_OK;
	}
	if (code.p[0] == 'S' && cwc_state_has_senate(state) && code.p[3] == '0' && code.p[4] >= '1' &&
	    code.p[4] <= '3') {
		*ret_chamber = CWC_SENATE;
		return ERR_OK;
	}
	return ERR_SYNTAX;
}

/* Where a code is, or belongs. */
static size_t place_of(const struct cwc_offices *list, struct span code)
{
	size_t low = 0, high = list->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(list->code[mid], code.p, CODE_LENGTH) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_at(const struct cwc_offices *list, size_t place, struct span code)
{
	return place < list->n && memcmp(list->code[place], code.p, CODE_LENGTH) == 0;
}

bool cwc_offices_have(const struct cwc_offices *list, struct span code)
{
	return code.n == CODE_LENGTH && is_at(list, place_of(list, code), code);
}

static enum err add_code(struct cwc_offices *list, struct span code)
{
	size_t place = place_of(list, code);

	if (is_at(list, place, code))
		return ERR_OK;
	if (list->n == CWC_OFFICES_MAX)
		return ERR_LIMIT;
	memmove(list->code[place + 1], list->code[place], (list->n - place) * CWC_OFFICE_SIZE);
	memcpy(list->code[place], code.p, CODE_LENGTH);
	list->code[place][CODE_LENGTH] = '\0';
	list->n++;
	return ERR_OK;
}

/* The lists of both chambers have had malformed entries for years: they are passed over. */
static enum err add_entry(struct cwc_offices *list, enum cwc_chamber chamber, const json_t *entry)
{
	const json_t *text = chamber == CWC_HOUSE ? entry : json_object_get(entry, "office_code");
	struct span code = span_of(json_string_value(text), json_string_length(text));
	enum cwc_chamber c;

	if (cwc_office_parse(code, &c) != ERR_OK || c != chamber) {
		list->ignored++;
		return ERR_OK;
	}
	return add_code(list, code);
}

static enum err add_all(struct cwc_offices *list, enum cwc_chamber chamber, const json_t *root)
{
	if (!json_is_array(root))
		return ERR_SYNTAX;
	for (size_t i = 0; i < json_array_size(root); i++)
		TRY(add_entry(list, chamber, json_array_get(root, i)));
	return list->n > 0 ? ERR_OK : ERR_RANGE;
}

enum err cwc_offices_parse(enum cwc_chamber chamber, struct span json, struct cwc_offices *ret_list)
{
	struct cwc_offices list = { .n = 0 };

	if (json.n > LIST_BYTES_MAX)
		return ERR_LIMIT;
	json_t *root = json_loadb((const char *)json.p, json.n, 0, NULL);
	enum err e = add_all(&list, chamber, root);

	json_decref(root);
	TRY(e);
	*ret_list = list;
	return ERR_OK;
}
