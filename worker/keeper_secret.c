/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "worker/base/log.h"
#include "worker/base/secret.h"
#include "worker/keeper_internal.h"

static bool needed(const struct config *c, enum sealed_name n)
{
	switch (n) {
	case SEALED_HOUSE_API_KEY:
		return c->chamber[CONFIG_HOUSE].enabled;
	case SEALED_SENATE_API_KEY:
		return c->chamber[CONFIG_SENATE].enabled;
	case SEALED_QUEUE_PASSWORD:
		return c->queue_user[0] != '\0';
	case SEALED_NAME_COUNT:
	default:
		return false;
	}
}

bool keeper_secrets_there(const struct keeper *k)
{
	for (int n = 0; n < SEALED_NAME_COUNT; n++)
		if (needed(k->c, (enum sealed_name)n) && k->secret[n] == NULL)
			return false;
	return true;
}

static void refuse(struct keeper *k, struct span item, const char *name, const char *reason, const char *code)
{
	uint8_t id[KEEPER_ID_SIZE];
	keeper_item_id(item, id);
	if (keeper_refuse(k, id, false))
		log_event(LOG_SECRET_REFUSED, LOG_STR(F_CONFIG_KEY, name), LOG_STR(F_REASON, reason),
			  LOG_STR(F_CODE, code));
}

/* Anybody can seal a secret: whose account letters go out under is said by what is measured. A password of Redis has no
 * hash: it may be short enough to be guessed from one, and Redis is the parent's anyway. */
static bool expected(const struct keeper *k, enum sealed_name n)
{
	if (n == SEALED_HOUSE_API_KEY)
		return secret_has_hash(span_buf(&k->plain), k->c->chamber[CONFIG_HOUSE].api_key_sha256);
	if (n == SEALED_SENATE_API_KEY)
		return secret_has_hash(span_buf(&k->plain), k->c->chamber[CONFIG_SENATE].api_key_sha256);
	return true;
}

static void keep(struct keeper *k, const struct sealed *s)
{
	char *copy = secret_alloc(k->plain.n + 1);
	memcpy(copy, k->plain.p, k->plain.n);
	k->secret[s->name] = copy;
	k->progress = true;
	log_event(LOG_SECRET_LOADED, LOG_STR(F_CONFIG_KEY, sealed_name_text(s->name)), LOG_NAME(F_KEY_ID, s->kid));
}

static void take(struct keeper *k, struct span item)
{
	struct sealed s;
	enum err e = sealed_parse(item, &s);
	if (e != ERR_OK) {
		refuse(k, item, "unknown", e == ERR_NOT_FOUND ? "name" : "form", err_name(e));
		return;
	}
	const char *name = sealed_name_text(s.name);
	if (!span_eq_str(s.environment, k->c->environment)) {
		refuse(k, item, name, "environment", "none");
		return;
	}
	if (!span_eq_str(s.queue, k->c->queue_name)) {
		refuse(k, item, name, "queue", "none");
		return;
	}
	/* A store may serve workers of another configuration, too. */
	if (!needed(k->c, s.name) || k->secret[s.name] != NULL || keyring_count(k->o.ring) == 0)
		return;
	e = sealed_open(&s, k->o.ring, &k->plain);
	if (e != ERR_OK)
		refuse(k, item, name, "open", err_name(e));
	else if (!expected(k, s.name))
		refuse(k, item, name, "hash", "none");
	else
		keep(k, &s);
	buf_reset(&k->plain);
}

void keeper_secrets_take(struct keeper *k)
{
	if (keeper_secrets_there(k))
		return;
	for (size_t i = 0; i < k->items.n_secrets; i++)
		take(k, k->items.secret[i]);
}

void keeper_secrets_free(struct keeper *k)
{
	for (int n = 0; n < SEALED_NAME_COUNT; n++) {
		secret_free(k->secret[n]);
		k->secret[n] = NULL;
	}
}
