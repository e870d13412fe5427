/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/recent.h"

#include <sodium.h>
#include <stdlib.h>

TAILQ_HEAD(recent_list, recent_entry);

struct recent {
	struct recent_list settled, doubted, out; /* the oldest first */
	size_t n_settled, n_doubted, n_out;
	unsigned dropped_settled, dropped_doubted;
};

struct recent *recent_new(void)
{
	struct recent *r = xcalloc(1, sizeof *r);
	TAILQ_INIT(&r->settled);
	TAILQ_INIT(&r->doubted);
	TAILQ_INIT(&r->out);
	return r;
}

static void destroy(struct recent_entry *e)
{
	sodium_memzero(e, sizeof *e);
	free(e);
}

static void drop_first(struct recent_list *l, size_t *n)
{
	struct recent_entry *e = TAILQ_FIRST(l);
	TAILQ_REMOVE(l, e, link);
	(*n)--;
	destroy(e);
}

void recent_free(struct recent *r)
{
	if (r == NULL)
		return;
	while (r->n_settled > 0)
		drop_first(&r->settled, &r->n_settled);
	while (r->n_doubted > 0)
		drop_first(&r->doubted, &r->n_doubted);
	while (r->n_out > 0)
		drop_first(&r->out, &r->n_out);
	free(r);
}

static void make_room(struct recent *r)
{
	if (recent_count(r) < RECENT_MAX)
		return;
	if (r->n_settled > 0) {
		drop_first(&r->settled, &r->n_settled);
		r->dropped_settled++;
	} else if (r->n_doubted > 0) {
		drop_first(&r->doubted, &r->n_doubted);
		r->dropped_doubted++;
	}
}

bool recent_dropped(struct recent *r, unsigned *ret_settled, unsigned *ret_doubted)
{
	*ret_settled = r->dropped_settled;
	*ret_doubted = r->dropped_doubted;
	r->dropped_settled = r->dropped_doubted = 0;
	return *ret_settled > 0 || *ret_doubted > 0;
}

void recent_add(struct recent *r, const struct recent_settle *s, void *owner, int64_t rev, int64_t boot_us)
{
	recent_expire(r, boot_us);
	make_room(r);
	struct recent_entry *e = xcalloc(1, sizeof *e);
	e->settle = *s;
	e->owner = owner;
	e->rev = rev;
	e->boot_us = boot_us;
	TAILQ_INSERT_TAIL(&r->settled, e, link);
	r->n_settled++;
}

void recent_expire(struct recent *r, int64_t boot_us)
{
	while (r->n_settled > 0 && boot_us - TAILQ_FIRST(&r->settled)->boot_us > RECENT_US)
		drop_first(&r->settled, &r->n_settled);
}

void recent_doubt(struct recent *r)
{
	struct recent_entry *e;
	for (e = TAILQ_FIRST(&r->settled); e != NULL; e = TAILQ_NEXT(e, link))
		e->doubted = true;
	TAILQ_CONCAT(&r->doubted, &r->settled, link);
	r->n_doubted += r->n_settled;
	r->n_settled = 0;
	/* Whatever was wrong, it was wrong on the connection that is gone. */
	for (e = TAILQ_FIRST(&r->doubted); e != NULL; e = TAILQ_NEXT(e, link)) {
		e->tries = 0;
		e->next_boot_us = 0;
	}
}

struct recent_entry *recent_out(struct recent *r, int64_t boot_us)
{
	struct recent_entry *e;
	for (e = TAILQ_FIRST(&r->doubted); e != NULL && e->next_boot_us > boot_us; e = TAILQ_NEXT(e, link))
		continue;
	if (e == NULL)
		return NULL;
	TAILQ_REMOVE(&r->doubted, e, link);
	r->n_doubted--;
	TAILQ_INSERT_TAIL(&r->out, e, link);
	r->n_out++;
	e->out = true;
	e->tries++;
	return e;
}

static void in(struct recent *r, struct recent_entry *e)
{
	BUG_ON(!e->out);
	TAILQ_REMOVE(&r->out, e, link);
	r->n_out--;
	e->out = false;
}

void recent_confirm(struct recent *r, struct recent_entry *e, int64_t boot_us)
{
	in(r, e);
	e->doubted = false;
	e->boot_us = boot_us;
	TAILQ_INSERT_TAIL(&r->settled, e, link);
	r->n_settled++;
}

void recent_back(struct recent *r, struct recent_entry *e, int64_t next_boot_us)
{
	in(r, e);
	e->next_boot_us = next_boot_us;
	TAILQ_INSERT_TAIL(&r->doubted, e, link);
	r->n_doubted++;
}

void recent_drop(struct recent *r, struct recent_entry *e)
{
	in(r, e);
	destroy(e);
}

size_t recent_count(const struct recent *r)
{
	return r->n_settled + r->n_doubted + r->n_out;
}

size_t recent_count_out(const struct recent *r)
{
	return r->n_out;
}

size_t recent_count_open(const struct recent *r)
{
	return r->n_doubted + r->n_out;
}

const struct recent_entry *recent_next_open(const struct recent *r, const struct recent_entry *e)
{
	if (e == NULL)
		return r->n_doubted > 0 ? TAILQ_FIRST(&r->doubted) : TAILQ_FIRST(&r->out);
	const struct recent_entry *next = TAILQ_NEXT(e, link);
	return next != NULL || e->out ? next : TAILQ_FIRST(&r->out);
}
