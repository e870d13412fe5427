/* SPDX-License-Identifier: Apache-2.0 */
/* The life of keys: states, what ends, rotation. */
#include <sodium.h>
#include <string.h>

#include "attest/keyring_parts.h"

bool keyring_times_valid(const struct keyring_times *t)
{
	if (t->created_s < 0 || t->activate_s < t->created_s || t->activate_s > KEYRING_TIME_MAX)
		return false;
	if (t->retire_s == 0)
		return t->destroy_s == 0;
	if (t->retire_s < t->activate_s || t->retire_s > KEYRING_TIME_MAX)
		return false;
	return t->destroy_s == 0 || (t->destroy_s >= t->retire_s && t->destroy_s <= KEYRING_TIME_MAX);
}

enum keyring_state keyring_state(const struct keyring_key *k, int64_t now_s)
{
	const struct keyring_times *t = &k->times;

	if (t->destroy_s != 0 && now_s >= t->destroy_s)
		return KEYRING_DESTROYED;
	if (t->retire_s != 0 && now_s >= t->retire_s)
		return KEYRING_DECRYPT_ONLY;
	return now_s >= t->activate_s ? KEYRING_ACTIVE : KEYRING_PENDING;
}

const char *keyring_state_name(enum keyring_state s)
{
	static const char *const name[] = {
		[KEYRING_PENDING] = "pending",
		[KEYRING_ACTIVE] = "active",
		[KEYRING_DECRYPT_ONLY] = "decrypt-only",
		[KEYRING_DESTROYED] = "destroyed",
	};

	BUG_ON((unsigned)s > KEYRING_DESTROYED);
	return name[s];
}

const char *keyring_profile_name(enum keyring_profile p)
{
	static const char *const name[KEYRING_PROFILES] = {
		[KEYRING_WITNESS] = "witness",
		[KEYRING_LETTER] = "letter",
		[KEYRING_SECRET] = "secret",
	};

	BUG_ON((unsigned)p >= KEYRING_PROFILES);
	return name[p];
}

int64_t keyring_next_change(const struct keyring *r, int64_t now_s)
{
	int64_t next = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct keyring_times *t = &r->key[i].times;
		const int64_t at[] = { t->activate_s, t->retire_s, t->destroy_s };

		for (size_t j = 0; j < sizeof(at) / sizeof(at[0]); j++)
			if (at[j] > now_s && (next == 0 || at[j] < next))
				next = at[j];
	}
	return next;
}

/* Moves the keys that stay together, and wipes what is behind them. */
static void close_gaps(struct keyring *r, int64_t now_s)
{
	size_t n = 0;

	keyring_unlock(r);
	for (size_t i = 0; i < r->n; i++) {
		if (keyring_state(&r->key[i], now_s) == KEYRING_DESTROYED)
			continue;
		if (n < i) {
			r->key[n] = r->key[i];
			r->own_contexts[n] = r->own_contexts[i];
			memcpy(r->secret[n], r->secret[i], KEYRING_SECRET_SIZE);
		}
		n++;
	}
	sodium_memzero(r->secret[n], (r->n - n) * KEYRING_SECRET_SIZE);
	keyring_lock(r);
	r->n = n;
}

size_t keyring_expire(struct keyring *r, int64_t now_s, void (*gone)(void *arg, const struct keyring_key *k), void *arg)
{
	size_t count = 0;

	for (size_t i = 0; i < r->n; i++) {
		if (keyring_state(&r->key[i], now_s) != KEYRING_DESTROYED)
			continue;
		count++;
		if (gone != NULL)
			gone(arg, &r->key[i]);
	}
	if (count > 0)
		close_gaps(r, now_s);
	return count;
}

/* Adds a key of each of the first n profiles, or none. */
static enum err make_each(struct keyring *r, size_t n, const struct keyring_times *t)
{
	size_t before = r->n;

	for (size_t p = 0; p < n; p++) {
		enum err e = keyring_make(r, (enum keyring_profile)p, t);

		if (e != ERR_OK) {
			keyring_cut(r, before);
			return e;
		}
	}
	return ERR_OK;
}

enum err keyring_first(struct keyring *r, int64_t now_s)
{
	const struct keyring_times t = { .created_s = now_s, .activate_s = now_s };

	if (r->n > 0)
		return ERR_EXISTS;
	return make_each(r, KEYRING_PROFILES, &t);
}

/* The profiles that letters are sealed to; they come first in their enumeration. */
#define ROTATED 2
_Static_assert(KEYRING_WITNESS < ROTATED && KEYRING_LETTER < ROTATED && KEYRING_SECRET >= ROTATED, "what is rotated");

static bool is_rotated(const struct keyring_key *k)
{
	return (size_t)k->profile < ROTATED;
}

/* Both sides of a rotation: created_s and activate_s of the new keys, retire_s and destroy_s of the old ones. Nothing
 * happens in the second 0, because a time of 0 is none. */
static enum err plan_times(int64_t now_s, const struct keyring_plan *p, struct keyring_times *ret_t)
{
	struct keyring_times t = { .created_s = now_s };

	if (now_s <= 0 || now_s > KEYRING_TIME_MAX || p->delay_s < 0 || p->delay_s > KEYRING_TIME_MAX ||
	    p->overlap_s < 0 || p->overlap_s > KEYRING_TIME_MAX)
		return ERR_RANGE;
	t.activate_s = t.retire_s = now_s + p->delay_s;
	t.destroy_s = t.retire_s + p->overlap_s;
	if (!keyring_times_valid(&t))
		return ERR_RANGE;
	*ret_t = t;
	return ERR_OK;
}

enum err keyring_rotate(struct keyring *r, int64_t now_s, const struct keyring_plan *p)
{
	struct keyring_times t, fresh;
	size_t before = r->n;

	TRY(plan_times(now_s, p, &t));
	for (size_t i = 0; i < before; i++)
		if (is_rotated(&r->key[i]) && keyring_state(&r->key[i], now_s) == KEYRING_PENDING)
			return ERR_EXISTS;
	fresh = (struct keyring_times){ .created_s = t.created_s, .activate_s = t.activate_s };
	TRY(make_each(r, ROTATED, &fresh));
	for (size_t i = 0; i < before; i++) {
		struct keyring_key *k = &r->key[i];

		if (!is_rotated(k) || k->times.retire_s != 0)
			continue;
		k->times.retire_s = t.retire_s;
		k->times.destroy_s = t.destroy_s;
	}
	return ERR_OK;
}
