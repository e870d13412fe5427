/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "attest/keyring_parts.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define FILE_MAX 16384

_Static_assert(KEYRING_CONTEXT_MAX == crypto_generichash_KEYBYTES_MAX, "a context is a BLAKE2b key");

void keyring_unlock(const struct keyring *r)
{
	BUG_ON(sodium_mprotect_readwrite(r->secret) != 0);
}

void keyring_lock(const struct keyring *r)
{
	BUG_ON(sodium_mprotect_noaccess(r->secret) != 0);
}

struct keyring *keyring_new(void)
{
	struct keyring *r = xcalloc(1, sizeof(*r));

	r->secret = secret_alloc(sizeof(*r->secret) * KEYRING_KEYS_MAX);
	keyring_lock(r);
	return r;
}

void keyring_free(struct keyring *r)
{
	if (r == NULL)
		return;
	keyring_unlock(r);
	secret_free(r->secret);
	xfree_wipe(r, sizeof(*r));
}

void keyring_id(const uint8_t public_key[32], char ret_id[KEYRING_ID_MAX + 1])
{
	memcpy(ret_id, "wek-", sizeof("wek-"));
	text_hex(span_of(public_key, 8), ret_id + 4);
}

bool keyring_context_valid(struct span s)
{
	if (s.n < crypto_generichash_KEYBYTES_MIN || s.n > KEYRING_CONTEXT_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	return true;
}

static enum err check_contexts(const char *const *context, size_t n)
{
	if (n > KEYRING_CONTEXTS_MAX)
		return ERR_RANGE;
	for (size_t i = 0; i < n; i++)
		if (!keyring_context_valid(span_str(context[i])))
			return ERR_RANGE;
	return ERR_OK;
}

static void set_fallback(struct keyring *r, size_t i)
{
	if (r->key[i].profile != KEYRING_WITNESS || r->own_contexts[i])
		return;
	memcpy(r->key[i].context, r->fallback, sizeof(r->fallback));
	r->key[i].n_contexts = r->n_fallback;
}

enum err keyring_default_contexts(struct keyring *r, const char *const *context, size_t n)
{
	TRY(check_contexts(context, n));
	memset(r->fallback, 0, sizeof(r->fallback));
	for (size_t i = 0; i < n; i++)
		memcpy(r->fallback[i], context[i], strlen(context[i]));
	r->n_fallback = n;
	for (size_t i = 0; i < r->n; i++)
		set_fallback(r, i);
	return ERR_OK;
}

/* Completes slot r->n, whose secret is in place, and counts it. */
static enum err finish_key(struct keyring *r, enum keyring_profile profile, const char *const *context, size_t n,
			   const struct keyring_times *t)
{
	struct keyring_key *k = &r->key[r->n];

	*k = (struct keyring_key){ .profile = profile, .n_contexts = n, .times = *t };
	BUG_ON(crypto_scalarmult_base(k->public_key, r->secret[r->n]) != 0);
	keyring_id(k->public_key, k->id);
	for (size_t i = 0; i < n; i++)
		memcpy(k->context[i], context[i], strlen(context[i]));
	/* The id is the beginning of the public key: this also finds the same key in another profile. */
	if (keyring_find(r, span_str(k->id)) != NULL) {
		sodium_memzero(r->secret[r->n], KEYRING_SECRET_SIZE);
		return ERR_EXISTS;
	}
	r->own_contexts[r->n] = n > 0;
	set_fallback(r, r->n);
	r->n++;
	return ERR_OK;
}

enum err keyring_make(struct keyring *r, enum keyring_profile profile, const struct keyring_times *t)
{
	enum err e;

	if (!keyring_times_valid(t))
		return ERR_RANGE;
	if (r->n == KEYRING_KEYS_MAX)
		return ERR_LIMIT;
	keyring_unlock(r);
	randombytes_buf(r->secret[r->n], KEYRING_SECRET_SIZE);
	e = finish_key(r, profile, NULL, 0, t);
	keyring_lock(r);
	return e;
}

enum err keyring_add(struct keyring *r, enum keyring_profile profile, const uint8_t secret[32],
		     const char *const *context, size_t n_contexts, const struct keyring_times *t)
{
	enum err e;

	if ((profile != KEYRING_WITNESS && n_contexts > 0) || !keyring_times_valid(t))
		return ERR_RANGE;
	TRY(check_contexts(context, n_contexts));
	if (r->n == KEYRING_KEYS_MAX)
		return ERR_LIMIT;
	keyring_unlock(r);
	memcpy(r->secret[r->n], secret, KEYRING_SECRET_SIZE);
	e = finish_key(r, profile, context, n_contexts, t);
	keyring_lock(r);
	return e;
}

void keyring_cut(struct keyring *r, size_t n)
{
	BUG_ON(n > r->n);
	keyring_unlock(r);
	sodium_memzero(r->secret[n], (KEYRING_KEYS_MAX - n) * KEYRING_SECRET_SIZE);
	keyring_lock(r);
	r->n = n;
}

/* --- whole rings ----------------------------------------------------------------------------- */

struct keyring *keyring_copy(const struct keyring *r)
{
	struct keyring *copy = keyring_new();
	uint8_t(*secret)[KEYRING_SECRET_SIZE] = copy->secret;

	*copy = *r;
	copy->secret = secret;
	keyring_unlock(r);
	keyring_unlock(copy);
	memcpy(copy->secret, r->secret, sizeof(*r->secret) * KEYRING_KEYS_MAX);
	keyring_lock(copy);
	keyring_lock(r);
	return copy;
}

void keyring_replace(struct keyring *r, struct keyring *from)
{
	uint8_t(*wiped)[KEYRING_SECRET_SIZE] = r->secret;

	BUG_ON(r == from);
	keyring_cut(r, 0);
	r->secret = from->secret;
	from->secret = wiped;
	memcpy(r->key, from->key, sizeof(r->key));
	memcpy(r->own_contexts, from->own_contexts, sizeof(r->own_contexts));
	r->n = from->n;
	from->n = 0;
	for (size_t i = 0; i < r->n; i++)
		set_fallback(r, i);
}

/* --- the file -------------------------------------------------------------------------------- */

#define WORDS_MAX (2 + KEYRING_CONTEXTS_MAX)

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Splits a line in place; a word that begins with '#' ends it. Returns WORDS_MAX + 1 for too many. */
static size_t split_words(char *line, char *word[WORDS_MAX])
{
	size_t n = 0;

	for (;;) {
		while (blank(*line))
			line++;
		if (*line == '\0' || *line == '#')
			return n;
		if (n == WORDS_MAX)
			return WORDS_MAX + 1;
		word[n++] = line;
		while (*line != '\0' && !blank(*line))
			line++;
		if (*line != '\0')
			*line++ = '\0';
	}
}

static enum err parse_profile(const char *word, enum keyring_profile *ret_profile)
{
	if (strcmp(word, "witness") == 0)
		*ret_profile = KEYRING_WITNESS;
	else if (strcmp(word, "letter") == 0)
		*ret_profile = KEYRING_LETTER;
	else
		return ERR_CONFIG;
	return ERR_OK;
}

static enum err add_hex(struct keyring *r, enum keyring_profile profile, const char *hex, char *const *context,
			size_t n, const char **ret_rule)
{
	const struct keyring_times since_ever = { 0 };
	const char *list[KEYRING_CONTEXTS_MAX];
	uint8_t secret[KEYRING_SECRET_SIZE];
	enum err e;

	for (size_t i = 0; i < n; i++)
		list[i] = context[i];
	*ret_rule = "must have 64 hex digits as its second word";
	if (text_unhex(span_str(hex), secret, sizeof(secret)) != ERR_OK)
		return ERR_CONFIG;
	e = keyring_add(r, profile, secret, list, n, &since_ever);
	sodium_memzero(secret, sizeof(secret));
	if (e == ERR_LIMIT)
		*ret_rule = "is one key more than a ring can hold (16)";
	else if (e == ERR_EXISTS)
		*ret_rule = "must not repeat a key of the ring, under whatever profile";
	else if (profile == KEYRING_LETTER)
		*ret_rule = "must not name contexts for a letter key";
	else
		*ret_rule = "must name contexts of 16 to 64 visible ASCII characters";
	return e == ERR_RANGE ? ERR_CONFIG : e;
}

static enum err load_line(struct keyring *r, char *line, const char **ret_rule)
{
	char *word[WORDS_MAX];
	size_t n = split_words(line, word);
	enum keyring_profile profile;

	if (n == 0)
		return ERR_OK;
	*ret_rule = "must be PROFILE HEX64-PRIVATE-KEY [CONTEXT]..., with at most 4 contexts";
	if (n == 1 || n > WORDS_MAX)
		return ERR_CONFIG;
	*ret_rule = "must begin with witness or letter";
	TRY(parse_profile(word[0], &profile));
	return add_hex(r, profile, word[1], word + 2, n - 2, ret_rule);
}

static enum err load_text(struct keyring *r, char *text, unsigned *ret_line, const char **ret_rule)
{
	size_t before = r->n;

	for (*ret_line = 1; text != NULL; ++*ret_line) {
		char *end = strchr(text, '\n');

		if (end != NULL)
			*end++ = '\0';
		TRY(load_line(r, text, ret_rule));
		text = end;
	}
	*ret_line = 0;
	*ret_rule = "must hold at least one key";
	return r->n > before ? ERR_OK : ERR_CONFIG;
}

static const char *file_rule(enum err e)
{
	switch ((int)e) {
	case ERR_NOT_FOUND:
		return "does not exist";
	case ERR_LIMIT:
		return "is larger than 16384 bytes";
	case ERR_CONFIG:
		return "must not be empty, nor owned or readable by others (mode 0600)";
	default:
		return "cannot be read";
	}
}

/* All keys of the file or none. */
enum err keyring_load(struct keyring *r, const char *path, unsigned *ret_line, const char **ret_rule)
{
	size_t before = r->n;
	char *text;
	enum err e = secret_file(path, FILE_MAX, &text);

	if (e != ERR_OK) {
		*ret_line = 0;
		*ret_rule = file_rule(e);
		return e;
	}
	e = load_text(r, text, ret_line, ret_rule);
	secret_free(text);
	if (e != ERR_OK)
		keyring_cut(r, before);
	return e;
}

/* --- use ------------------------------------------------------------------------------------- */

size_t keyring_count(const struct keyring *r)
{
	return r->n;
}

const struct keyring_key *keyring_at(const struct keyring *r, size_t i)
{
	BUG_ON(i >= r->n);
	return &r->key[i];
}

const struct keyring_key *keyring_find(const struct keyring *r, struct span id)
{
	for (size_t i = 0; i < r->n; i++)
		if (span_eq_str(id, r->key[i].id))
			return &r->key[i];
	return NULL;
}

enum err keyring_dh(const struct keyring *r, const struct keyring_key *k, const uint8_t point[32],
		    uint8_t ret_shared[32])
{
	size_t i = (size_t)(k - r->key);
	uint8_t shared[32];
	int rc;

	BUG_ON(i >= r->n);
	keyring_unlock(r);
	/* Fails for a low-order point, whose shared secret is all zero whatever the key (RFC 7748 section 6.1). */
	rc = crypto_scalarmult(shared, r->secret[i], point);
	keyring_lock(r);
	if (rc == 0)
		memcpy(ret_shared, shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return rc == 0 ? ERR_OK : ERR_ENVELOPE_POINT;
}
