/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/cwcctl/seal.h"
#include "worker/base/text.h"

static struct span cut(struct span *rest, const char *end)
{
	size_t n = 0;
	while (n < rest->n && (rest->p[n] == '\0' || strchr(end, rest->p[n]) == NULL))
		n++;
	struct span part = span_of(rest->p, n);
	size_t skip = n < rest->n ? n + 1 : n;
	*rest = span_of(rest->p + skip, rest->n - skip);
	return part;
}

static struct span word(struct span *line)
{
	struct span w;
	do
		w = cut(line, " \t\r");
	while (w.n == 0 && line->n > 0);
	return w;
}

static bool printable(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
			return false;
	return true;
}

static const char *read_contexts(struct span line, struct keyring_key *k)
{
	for (struct span w = word(&line); w.n > 0; w = word(&line)) {
		if (k->n_contexts == KEYRING_CONTEXTS_MAX || w.n < 16 || w.n > KEYRING_CONTEXT_MAX || !printable(w))
			return "a context must have 16 to 64 bytes of printable ASCII, and there may be 4";
		memcpy(k->context[k->n_contexts], w.p, w.n);
		k->context[k->n_contexts++][w.n] = '\0';
	}
	if (k->profile != KEYRING_WITNESS && k->n_contexts > 0)
		return "only a witness key has contexts";
	if (k->profile == KEYRING_WITNESS && k->n_contexts == 0)
		return "a witness key needs a context";
	return NULL;
}

/* The broken rule, or NULL. Keys of the profile `secret` are not for letters: no worker publishes one here. */
static const char *read_key(struct span line, struct keyring_key *k)
{
	struct span profile = word(&line), kid = word(&line), hex = word(&line);
	memset(k, 0, sizeof(*k));
	if (span_eq_str(profile, "letter"))
		k->profile = KEYRING_LETTER;
	else if (span_eq_str(profile, "witness"))
		k->profile = KEYRING_WITNESS;
	else
		return "the profile must be letter or witness";
	if (text_unhex(hex, k->public_key, sizeof(k->public_key)) != ERR_OK)
		return "the key must be 64 hex digits";
	keyring_id(k->public_key, k->id);
	if (!span_eq_str(kid, k->id))
		return "the key id is not that of the key";
	return read_contexts(line, k);
}

enum err ring_parse(struct span text, struct ring *ret_ring, unsigned *ret_line, const char **ret_rule)
{
	struct ring r = { .n = 0 };
	for (*ret_line = 1; text.n > 0; ++*ret_line) {
		struct span line = cut(&text, "\n"), rest = line;
		struct span first = word(&rest);
		if (first.n == 0 || first.p[0] == '#')
			continue;
		if (r.n == KEYRING_KEYS_MAX) {
			*ret_rule = "more than 16 keys";
			return ERR_LIMIT;
		}
		*ret_rule = read_key(line, &r.key[r.n]);
		if (*ret_rule != NULL)
			return ERR_SYNTAX;
		r.n++;
	}
	*ret_ring = r;
	return ERR_OK;
}

const struct keyring_key *ring_find(const struct ring *r, enum keyring_profile profile)
{
	for (size_t i = r->n; i-- > 0;)
		if (r->key[i].profile == profile)
			return &r->key[i];
	return NULL;
}
