/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/store.h"

#include "worker/base/cbor.h"

/* An item says what it is by the text that its array begins with (FORMATS.md). */
#define BUNDLE_TEXT    "cwc-bundle-v1"
#define BUNDLE_MEMBERS 5
#define SECRET_TEXT    "cwc-secret-v1"
#define SECRET_MEMBERS 4
#define TEXT_MAX       32

enum kind { BUNDLE, SECRET, OTHER };

/* What is behind the text is read by those who open the item. */
static enum kind kind_of(struct span item)
{
	struct cbor c;
	cbor_start(&c, item);
	size_t n = cbor_read_array(&c, BUNDLE_MEMBERS);
	struct span text = cbor_read_text(&c, TEXT_MAX);
	if (c.bad)
		return OTHER;
	if (n == BUNDLE_MEMBERS && span_eq_str(text, BUNDLE_TEXT))
		return BUNDLE;
	return n == SECRET_MEMBERS && span_eq_str(text, SECRET_TEXT) ? SECRET : OTHER;
}

static enum err take(struct store_items *items, struct span item)
{
	switch (kind_of(item)) {
	case BUNDLE:
		if (items->bundle.n > 0)
			return ERR_SYNTAX;
		items->bundle = item;
		return ERR_OK;
	case SECRET:
		if (items->n_secrets == STORE_ITEMS_MAX)
			return ERR_LIMIT;
		items->secret[items->n_secrets++] = item;
		return ERR_OK;
	case OTHER:
	default:
		return ERR_SYNTAX;
	}
}

enum err store_parse(struct span in, struct store_items *ret_items)
{
	struct store_items items = { 0 };
	struct cbor c;
	if (in.n > STORE_MAX)
		return ERR_LIMIT;
	cbor_start(&c, in);
	while (!c.bad && c.at < in.n) {
		struct span item = cbor_skip(&c);
		if (!c.bad)
			TRY(take(&items, item));
	}
	TRY(cbor_done(&c));
	*ret_items = items;
	return ERR_OK;
}
