/* SPDX-License-Identifier: Apache-2.0 */
/* A key ring as CBOR: with its secrets, to be sealed, and without, for everybody. */
#include <sodium.h>
#include <string.h>

#include "attest/keyring_parts.h"
#include "worker/base/cbor.h"

#define MEMBERS_READ_MAX 16
#define KEYS_READ_MAX    256 /* so that a ring of too many keys is told from what is no ring */

enum form { FORM_SECRET, FORM_PUBLIC, FORMS };
enum rule { NEVER, OPTIONAL, REQUIRED };

/* In deterministic order of the encoded keys (RFC 8949 section 4.2.1): by length, then bytewise. */
enum member {
	MEMBER_ID,
	MEMBER_RETIRE,
	MEMBER_SECRET,
	MEMBER_CREATED,
	MEMBER_DESTROY,
	MEMBER_PROFILE,
	MEMBER_ACTIVATE,
	MEMBER_CONTEXTS,
	MEMBER_PUBLIC_KEY,
	MEMBER_COUNT
};

static const struct {
	const char *name;
	enum rule rule[FORMS]; /* secret, public */
} members[MEMBER_COUNT] = {
	[MEMBER_ID] = { "id", { NEVER, REQUIRED } },
	[MEMBER_RETIRE] = { "retire", { OPTIONAL, OPTIONAL } },
	[MEMBER_SECRET] = { "secret", { REQUIRED, NEVER } },
	[MEMBER_CREATED] = { "created", { REQUIRED, REQUIRED } },
	[MEMBER_DESTROY] = { "destroy", { OPTIONAL, OPTIONAL } },
	[MEMBER_PROFILE] = { "profile", { REQUIRED, REQUIRED } },
	[MEMBER_ACTIVATE] = { "activate", { REQUIRED, REQUIRED } },
	[MEMBER_CONTEXTS] = { "contexts", { OPTIONAL, OPTIONAL } },
	[MEMBER_PUBLIC_KEY] = { "public_key", { NEVER, REQUIRED } },
};

/* --- writing ---------------------------------------------------------------------------------- */

/* A key and what of it is written; `secret` is NULL in the public form. */
struct item {
	enum form form;
	const struct keyring_key *key;
	const uint8_t *secret;
	size_t n_contexts;
};

static bool member_present(const struct item *it, enum member m)
{
	switch ((int)m) {
	case MEMBER_RETIRE:
		return it->key->times.retire_s != 0;
	case MEMBER_DESTROY:
		return it->key->times.destroy_s != 0;
	case MEMBER_CONTEXTS:
		return it->n_contexts > 0;
	default:
		return members[m].rule[it->form] == REQUIRED;
	}
}

static void add_contexts(struct buf *b, const struct item *it)
{
	cbor_add_array(b, it->n_contexts);
	for (size_t i = 0; i < it->n_contexts; i++)
		cbor_add_str(b, it->key->context[i]);
}

static void add_value(struct buf *b, const struct item *it, enum member m)
{
	const struct keyring_key *k = it->key;

	switch (m) {
	case MEMBER_ID:
		cbor_add_str(b, k->id);
		break;
	case MEMBER_RETIRE:
		cbor_add_int(b, k->times.retire_s);
		break;
	case MEMBER_SECRET:
		cbor_add_bytes(b, span_of(it->secret, KEYRING_SECRET_SIZE));
		break;
	case MEMBER_CREATED:
		cbor_add_int(b, k->times.created_s);
		break;
	case MEMBER_DESTROY:
		cbor_add_int(b, k->times.destroy_s);
		break;
	case MEMBER_PROFILE:
		cbor_add_str(b, keyring_profile_name(k->profile));
		break;
	case MEMBER_ACTIVATE:
		cbor_add_int(b, k->times.activate_s);
		break;
	case MEMBER_CONTEXTS:
		add_contexts(b, it);
		break;
	case MEMBER_PUBLIC_KEY:
		cbor_add_bytes(b, span_of(k->public_key, sizeof(k->public_key)));
		break;
	case MEMBER_COUNT:
		break;
	}
}

static void add_item(struct buf *b, const struct item *it)
{
	size_t n = 0;

	for (unsigned m = 0; m < MEMBER_COUNT; m++)
		n += member_present(it, (enum member)m);
	cbor_add_map(b, n);
	for (unsigned m = 0; m < MEMBER_COUNT; m++) {
		if (!member_present(it, (enum member)m))
			continue;
		cbor_add_str(b, members[m].name);
		add_value(b, it, (enum member)m);
	}
}

/* The default list is not written: it is of whoever reads. */
void keyring_write(const struct keyring *r, struct buf *out)
{
	cbor_add_array(out, r->n);
	keyring_unlock(r);
	for (size_t i = 0; i < r->n; i++) {
		const struct item it = {
			.form = FORM_SECRET,
			.key = &r->key[i],
			.secret = r->secret[i],
			.n_contexts = r->own_contexts[i] ? r->key[i].n_contexts : 0,
		};

		add_item(out, &it);
	}
	keyring_lock(r);
}

void keyring_write_keys(const struct keyring_key *k, size_t n, struct buf *out)
{
	cbor_add_array(out, n);
	for (size_t i = 0; i < n; i++) {
		const struct item it = { .form = FORM_PUBLIC, .key = &k[i], .n_contexts = k[i].n_contexts };

		add_item(out, &it);
	}
}

void keyring_write_public(const struct keyring *r, struct buf *out)
{
	keyring_write_keys(r->key, r->n, out);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* One key as it is read; views point into the input. */
struct parsed {
	struct span id, secret, public_key;
	enum keyring_profile profile;
	struct keyring_times times;
	struct span context[KEYRING_CONTEXTS_MAX];
	size_t n_contexts;
};

static enum keyring_profile read_profile(struct cbor *c)
{
	struct span s = cbor_read_text(c, SIZE_MAX);
	unsigned p = 0;

	while (p < KEYRING_PROFILES && !span_eq_str(s, keyring_profile_name((enum keyring_profile)p)))
		p++;
	if (p < KEYRING_PROFILES)
		return (enum keyring_profile)p;
	cbor_fail(c);
	return KEYRING_WITNESS;
}

static int64_t read_time(struct cbor *c)
{
	uint64_t v = cbor_read_uint(c);

	if (v <= INT64_MAX)
		return (int64_t)v;
	cbor_fail(c);
	return 0;
}

/* A time that is not decided is left out. */
static int64_t read_decided(struct cbor *c)
{
	int64_t v = read_time(c);

	if (v == 0)
		cbor_fail(c);
	return v;
}

static struct span read_32(struct cbor *c)
{
	struct span s = cbor_read_bytes(c, 32);

	if (s.n != 32)
		cbor_fail(c);
	return s;
}

/* No contexts are no member. */
static void read_contexts(struct cbor *c, struct parsed *p)
{
	p->n_contexts = cbor_read_array(c, KEYRING_CONTEXTS_MAX);
	if (p->n_contexts == 0)
		cbor_fail(c);
	for (size_t i = 0; i < p->n_contexts; i++)
		p->context[i] = cbor_read_text(c, SIZE_MAX);
}

static void read_value(struct cbor *c, enum member m, struct parsed *p)
{
	switch (m) {
	case MEMBER_ID:
		p->id = cbor_read_text(c, KEYRING_ID_MAX);
		break;
	case MEMBER_RETIRE:
		p->times.retire_s = read_decided(c);
		break;
	case MEMBER_SECRET:
		p->secret = read_32(c);
		break;
	case MEMBER_CREATED:
		p->times.created_s = read_time(c);
		break;
	case MEMBER_DESTROY:
		p->times.destroy_s = read_decided(c);
		break;
	case MEMBER_PROFILE:
		p->profile = read_profile(c);
		break;
	case MEMBER_ACTIVATE:
		p->times.activate_s = read_time(c);
		break;
	case MEMBER_CONTEXTS:
		read_contexts(c, p);
		break;
	case MEMBER_PUBLIC_KEY:
		p->public_key = read_32(c);
		break;
	case MEMBER_COUNT:
		cbor_fail(c);
		break;
	}
}

static void read_item(struct cbor *c, enum form form, struct parsed *ret_p)
{
	struct cbor_map map = cbor_read_map(c, MEMBERS_READ_MAX);
	struct parsed p = { 0 };
	struct span key;
	unsigned seen = 0;

	while (cbor_read_key(c, &map, &key)) {
		unsigned m = 0;

		while (m < MEMBER_COUNT && !span_eq_str(key, members[m].name))
			m++;
		if (m < MEMBER_COUNT && members[m].rule[form] == NEVER)
			m = MEMBER_COUNT;
		read_value(c, (enum member)m, &p);
		seen |= 1u << m;
	}
	for (unsigned m = 0; m < MEMBER_COUNT; m++)
		if (members[m].rule[form] == REQUIRED && !(seen & 1u << m))
			cbor_fail(c);
	*ret_p = p;
}

/* What both forms ask of a key beyond its form; copies the contexts. */
static enum err check_item(const struct parsed *p, char context[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1])
{
	if (!keyring_times_valid(&p->times) || (p->n_contexts > 0 && p->profile != KEYRING_WITNESS))
		return ERR_RANGE;
	for (size_t i = 0; i < p->n_contexts; i++) {
		if (!keyring_context_valid(p->context[i]))
			return ERR_RANGE;
		memcpy(context[i], p->context[i].p, p->context[i].n);
		context[i][p->context[i].n] = '\0';
	}
	return ERR_OK;
}

/* Starts an array of keys. */
static enum err read_count(struct cbor *c, struct span in, size_t *ret_n)
{
	size_t n;

	if (in.n > KEYRING_WRITTEN_MAX)
		return ERR_LIMIT;
	cbor_start(c, in);
	n = cbor_read_array(c, KEYS_READ_MAX);
	if (n > KEYRING_KEYS_MAX)
		return ERR_LIMIT;
	*ret_n = n;
	return ERR_OK;
}

static enum err read_into(struct keyring *r, struct cbor *c)
{
	char context[KEYRING_CONTEXTS_MAX][KEYRING_CONTEXT_MAX + 1] = { 0 };
	const char *list[KEYRING_CONTEXTS_MAX];
	struct parsed p;

	read_item(c, FORM_SECRET, &p);
	if (c->bad)
		return ERR_SYNTAX;
	TRY(check_item(&p, context));
	for (size_t i = 0; i < KEYRING_CONTEXTS_MAX; i++)
		list[i] = context[i];
	return keyring_add(r, p.profile, p.secret.p, list, p.n_contexts, &p.times);
}

enum err keyring_read(struct keyring *r, struct span in)
{
	struct cbor c;
	enum err e = ERR_OK;
	size_t n;

	BUG_ON(r->n > 0);
	TRY(read_count(&c, in, &n));
	for (size_t i = 0; i < n && e == ERR_OK; i++)
		e = read_into(r, &c);
	if (e == ERR_OK)
		e = cbor_done(&c);
	if (e != ERR_OK)
		keyring_cut(r, 0);
	return e;
}

static enum err read_public(struct cbor *c, struct keyring_key *k)
{
	struct parsed p;

	read_item(c, FORM_PUBLIC, &p);
	if (c->bad)
		return ERR_SYNTAX;
	*k = (struct keyring_key){ .profile = p.profile, .n_contexts = p.n_contexts, .times = p.times };
	TRY(check_item(&p, k->context));
	memcpy(k->public_key, p.public_key.p, sizeof(k->public_key));
	keyring_id(k->public_key, k->id);
	return span_eq_str(p.id, k->id) ? ERR_OK : ERR_RANGE;
}

enum err keyring_read_public(struct span in, struct keyring_key *ret_key, size_t *ret_n)
{
	struct keyring_key key[KEYRING_KEYS_MAX];
	struct cbor c;
	size_t n;

	TRY(read_count(&c, in, &n));
	for (size_t i = 0; i < n; i++) {
		TRY(read_public(&c, &key[i]));
		for (size_t j = 0; j < i; j++)
			if (strcmp(key[i].id, key[j].id) == 0)
				return ERR_RANGE;
	}
	TRY(cbor_done(&c));
	memcpy(ret_key, key, n * sizeof(key[0]));
	*ret_n = n;
	return ERR_OK;
}
