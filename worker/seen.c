/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/seen.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "worker/base/text.h"

#define ID_SIZE     16
#define FIRST_SLOTS 1024

/* Open addressing with linear probing, at most half full; the all-zero id marks an empty slot and
 * is itself never stored (its chance is 2^-128). */
struct table {
	uint8_t (*slot)[ID_SIZE];
	size_t slots, used;
};

struct seen {
	struct table young, old;
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

static const uint8_t empty[ID_SIZE];

struct seen *seen_new(void)
{
	struct seen *s = xcalloc(1, sizeof *s);
	randombytes_buf(s->hash_key, sizeof s->hash_key);
	return s;
}

void seen_free(struct seen *s)
{
	if (s == NULL)
		return;
	free(s->young.slot);
	free(s->old.slot);
	free(s);
}

/* Where the id is, or the empty slot where it belongs. Keyed, since ids can be chosen. */
static uint8_t *find(const struct seen *s, const struct table *t, const uint8_t id[ID_SIZE])
{
	uint64_t h;
	uint8_t digest[crypto_shorthash_BYTES];
	crypto_shorthash(digest, id, ID_SIZE, s->hash_key);
	memcpy(&h, digest, sizeof h);
	size_t i = (size_t)h & (t->slots - 1);
	while (memcmp(t->slot[i], empty, ID_SIZE) != 0 && memcmp(t->slot[i], id, ID_SIZE) != 0)
		i = (i + 1) & (t->slots - 1);
	return t->slot[i];
}

static void grow(const struct seen *s, struct table *t)
{
	struct table bigger = { .slots = t->slots == 0 ? FIRST_SLOTS : t->slots * 2, .used = t->used };
	bigger.slot = xcalloc(bigger.slots, ID_SIZE);
	for (size_t i = 0; i < t->slots; i++) {
		if (memcmp(t->slot[i], empty, ID_SIZE) != 0)
			memcpy(find(s, &bigger, t->slot[i]), t->slot[i], ID_SIZE);
	}
	free(t->slot);
	*t = bigger;
}

static bool parse(const char *id, uint8_t ret_id[ID_SIZE])
{
	return text_unhex(span_str(id), ret_id, ID_SIZE) == ERR_OK && memcmp(ret_id, empty, ID_SIZE) != 0;
}

void seen_add(struct seen *s, const char *id)
{
	uint8_t raw[ID_SIZE];
	if (!parse(id, raw))
		return;
	if (s->young.used == SEEN_MAX) {
		free(s->old.slot);
		s->old = s->young;
		s->young = (struct table){ 0 };
	}
	if (2 * (s->young.used + 1) > s->young.slots)
		grow(s, &s->young);
	uint8_t *at = find(s, &s->young, raw);
	if (memcmp(at, empty, ID_SIZE) == 0) {
		memcpy(at, raw, ID_SIZE);
		s->young.used++;
	}
}

static bool has(const struct seen *s, const struct table *t, const uint8_t id[ID_SIZE])
{
	return t->slots > 0 && memcmp(find(s, t, id), empty, ID_SIZE) != 0;
}

bool seen_has(const struct seen *s, const char *id)
{
	uint8_t raw[ID_SIZE];
	return parse(id, raw) && (has(s, &s->young, raw) || has(s, &s->old, raw));
}
