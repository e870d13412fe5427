/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tests/sim/pki_sim.h"
#include "worker/base/text.h"

static void add_head(struct buf *b, uint8_t tag, size_t n)
{
	buf_add_byte(b, tag);
	if (n >= 0x100) {
		buf_add_byte(b, 0x82);
		buf_add_byte(b, (uint8_t)(n >> 8));
	} else if (n >= 0x80) {
		buf_add_byte(b, 0x81);
	}
	buf_add_byte(b, (uint8_t)n);
}

void der_add(struct buf *b, uint8_t tag, struct span content)
{
	add_head(b, tag, content.n);
	buf_add_span(b, content);
}

void der_wrap(struct buf *b, uint8_t tag)
{
	struct buf head;

	buf_init(&head, 4);
	add_head(&head, tag, b->n);
	BUG_ON(buf_room(b, head.n) == NULL);
	memmove(b->p + head.n, b->p, b->n);
	memcpy(b->p, head.p, head.n);
	buf_grew(b, head.n);
	buf_clear(&head);
}

void der_add_time(struct buf *b, int64_t unix_s)
{
	char rfc3339[TEXT_TIME_SIZE], digits[16] = { 0 };
	size_t n = 0;
	bool utc;

	text_time(unix_s, rfc3339);
	for (const char *p = rfc3339; *p != '\0'; p++)
		if ((*p >= '0' && *p <= '9') || *p == 'Z')
			digits[n++] = *p;
	utc = memcmp(digits, "1950", 4) >= 0 && memcmp(digits, "2050", 4) < 0;
	der_add(b, utc ? 0x17 : 0x18, utc ? span_of(digits + 2, n - 2) : span_of(digits, n));
}
