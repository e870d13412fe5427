/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "worker/base/text.h"
#include "worker/status_internal.h"

static bool is_hex(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (strchr("0123456789abcdefABCDEF", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	}
	return s.n % 2 == 0 && s.n >= (size_t)2 * STATUS_NONCE_MIN;
}

static enum err unbase64url(struct span text, struct buf *out)
{
	uint8_t standard[(STATUS_NONCE_MAX + 2) / 3 * 4];
	size_t n = 0;
	if (text.n > sizeof standard)
		return ERR_LIMIT;
	for (; n < text.n; n++) {
		uint8_t c = text.p[n];
		if (c == '+' || c == '/')
			return ERR_SYNTAX;
		standard[n] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	while (n % 4 != 0)
		standard[n++] = '=';
	return text_unbase64(span_of(standard, n), out);
}

enum err status_nonce(struct span text, struct buf *out)
{
	uint8_t bytes[STATUS_NONCE_MAX];
	if (is_hex(text)) {
		if (text.n > 2 * sizeof bytes)
			return ERR_LIMIT;
		TRY(text_unhex(text, bytes, text.n / 2));
		buf_add(out, bytes, text.n / 2);
	} else {
		TRY(unbase64url(text, out));
	}
	TRY(buf_ok(out));
	return out->n < STATUS_NONCE_MIN ? ERR_RANGE : ERR_OK;
}
