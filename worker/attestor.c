/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/attestor.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "worker/attestor_internal.h"
#include "worker/base/clock.h"
#include "worker/sandbox.h"

/* Who waits. */
struct ask {
	struct ask *next;
	attestor_cb cb; /* NULL: nobody; the clock's, or forgotten */
	void *arg;
	int64_t deadline_us;
	struct span user_data, nonce; /* into `bytes` */
	uint8_t bytes[2 * ATTEST_FIELD_MAX];
};

struct asks {
	struct ask *first, **end;
	size_t n;
};

/*
 * What loop and thread share. It belongs to both, and the last of them frees it: a call that hangs may end long after
 * the attestor did. `call` is the thread's from `work` to `done`, the loop's otherwise.
 */
struct shared {
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool up, work, done, over;
	unsigned owners;
	uv_async_t *wake; /* not after `over` */
	struct nsm nsm;
	struct attestor_call call;
};

struct attestor {
	struct attestor_device device;
	struct attestor_identity identity;
	struct attestor_clock clock;
	struct shared *shared;
	struct asks waiting, refused; /* the latter: to be told so by the loop */
	struct ask *asked;            /* what the thread is at; NULL: nothing, or nobody waits for it any more */
	bool busy;                    /* the thread is at something */
	uv_async_t wake;
	uv_timer_t patience, every;
	unsigned handles; /* to close before the memory goes */
};

/* --- lists ------------------------------------------------------------------------------------ */

static void empty(struct asks *l)
{
	*l = (struct asks){ .end = &l->first };
}

static void append(struct asks *l, struct ask *q)
{
	*l->end = q;
	l->end = &q->next;
	l->n++;
}

/* Takes out the one that *at points to. */
static struct ask *take(struct asks *l, struct ask **at)
{
	struct ask *q = *at;

	*at = q->next;
	if (l->end == &q->next)
		l->end = at;
	q->next = NULL;
	l->n--;
	return q;
}

static void drop(struct asks *l, const void *arg, bool all)
{
	struct ask **at = &l->first;

	while (*at != NULL) {
		if (all || ((*at)->cb != NULL && (*at)->arg == arg))
			free(take(l, at));
		else
			at = &(*at)->next;
	}
}

/* --- the thread ------------------------------------------------------------------------------- */

/* With the lock. */
static void leave(struct shared *s)
{
	bool last = --s->owners == 0;

	BUG_ON(pthread_mutex_unlock(&s->lock) != 0);
	if (!last)
		return;
	(void)pthread_cond_destroy(&s->more);
	(void)pthread_mutex_destroy(&s->lock);
	buf_clear(&s->call.document);
	free(s);
}

static void lock(struct shared *s)
{
	BUG_ON(pthread_mutex_lock(&s->lock) != 0);
}

static void unlock(struct shared *s)
{
	BUG_ON(pthread_mutex_unlock(&s->lock) != 0);
}

static void *work(void *arg)
{
	struct shared *s = arg;

	/* It was made while the worker had them. Where it fails sandbox_enter() fails, too. */
	(void)sandbox_give_up_capabilities();
	lock(s);
	s->up = true;
	(void)pthread_cond_signal(&s->more);
	while (!s->over) {
		if (!s->work) {
			(void)pthread_cond_wait(&s->more, &s->lock);
			continue;
		}
		s->work = false;
		unlock(s);
		attestor_call(&s->nsm, &s->call);
		lock(s);
		s->done = true;
		if (!s->over)
			(void)uv_async_send(s->wake);
	}
	leave(s);
	return NULL;
}

/* The C library makes system calls in a thread before ours begin, which the sandbox does not know (rseq): a thread that
 * got its turn only then would be the worker's end. */
static void wait_for_thread(struct shared *s)
{
	lock(s);
	while (!s->up)
		(void)pthread_cond_wait(&s->more, &s->lock);
	unlock(s);
}

/* Detached, and without signals: those are the loop's. */
static bool start_thread(struct shared *s)
{
	pthread_attr_t detached;
	pthread_t id;
	sigset_t all, before;

	BUG_ON(pthread_attr_init(&detached) != 0);
	BUG_ON(pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) != 0);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	bool started = pthread_create(&id, &detached, work, s) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&detached);
	if (started)
		wait_for_thread(s);
	return started;
}

static struct shared *share(const struct attestor_device *d)
{
	struct shared *s = xcalloc(1, sizeof(*s));

	BUG_ON(pthread_mutex_init(&s->lock, NULL) != 0);
	BUG_ON(pthread_cond_init(&s->more, NULL) != 0);
	s->nsm = d->nsm;
	s->owners = 1;
	buf_init(&s->call.document, ATTEST_DOCUMENT_MAX);
	return s;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void on_patience(uv_timer_t *t);

/* All have the same patience, so that the first has the least left. */
static void wait_for_patience(struct attestor *a)
{
	const struct ask *q = a->asked != NULL ? a->asked : a->waiting.first;

	if (q == NULL) {
		uv_timer_stop(&a->patience);
		return;
	}
	const int64_t left_us = q->deadline_us - clock_boot_us();

	uv_update_time(a->patience.loop);
	uv_timer_start(&a->patience, on_patience, left_us > 0 ? (uint64_t)left_us / 1000 + 1 : 0, 0);
}

static void tell(struct ask *q, enum err e, struct span document)
{
	if (q->cb != NULL)
		q->cb(q->arg, e, document);
	free(q);
}

static void copy(struct span from, uint8_t *to, size_t *ret_n)
{
	if (from.n > 0)
		memcpy(to, from.p, from.n);
	*ret_n = from.n;
}

/* Gives the thread the next, if it has nothing. */
static void next(struct attestor *a)
{
	struct shared *s = a->shared;

	if (!a->busy && a->waiting.first != NULL) {
		a->asked = take(&a->waiting, &a->waiting.first);
		a->busy = true;
		lock(s);
		copy(a->asked->user_data, s->call.user_data, &s->call.n_user_data);
		copy(a->asked->nonce, s->call.nonce, &s->call.n_nonce);
		buf_reset(&s->call.document);
		s->work = true;
		(void)pthread_cond_signal(&s->more);
		unlock(s);
	}
	wait_for_patience(a);
}

/* A callback may free the attestor: its memory stays for this turn, and its lists are empty. */
static void on_patience(uv_timer_t *t)
{
	struct attestor *a = t->data;
	const int64_t now_us = clock_boot_us();

	for (;;) {
		struct ask *q = NULL;

		if (a->asked != NULL && a->asked->deadline_us <= now_us) {
			q = a->asked;
			a->asked = NULL;
		} else if (a->waiting.first != NULL && a->waiting.first->deadline_us <= now_us) {
			q = take(&a->waiting, &a->waiting.first);
		}
		if (q == NULL) {
			wait_for_patience(a);
			return;
		}
		tell(q, ERR_TIMEOUT, span_lit(""));
	}
}

/* The thread has an answer. One that nobody waits for any more came late: nothing of it is taken. */
static void answered(struct attestor *a)
{
	struct attestor_call *c = &a->shared->call;
	struct buf document = c->document;
	const enum err e = c->e;
	struct ask *q = a->asked;

	buf_init(&c->document, ATTEST_DOCUMENT_MAX);
	a->asked = NULL;
	a->busy = false;
	if (q != NULL && e == ERR_OK)
		a->clock = c->clock;
	next(a);
	if (q != NULL)
		tell(q, e, e == ERR_OK ? span_buf(&document) : span_lit(""));
	buf_clear(&document);
}

static void on_wake(uv_async_t *w)
{
	struct attestor *a = w->data;
	bool done;

	lock(a->shared);
	done = a->shared->done;
	a->shared->done = false;
	unlock(a->shared);
	if (done)
		answered(a);
	while (a->refused.first != NULL)
		tell(take(&a->refused, &a->refused.first), ERR_LIMIT, span_lit(""));
}

/* --- questions -------------------------------------------------------------------------------- */

static struct span keep(struct ask *q, size_t at, struct span s)
{
	if (s.n > 0)
		memcpy(q->bytes + at, s.p, s.n);
	return span_of(q->bytes + at, s.n);
}

void attestor_ask(struct attestor *a, struct span user_data, struct span nonce, attestor_cb cb, void *arg)
{
	struct ask *q = xcalloc(1, sizeof(*q));

	q->cb = cb;
	q->arg = arg;
	if (a->waiting.n == ATTESTOR_WAITING || user_data.n > ATTEST_FIELD_MAX || nonce.n > ATTEST_FIELD_MAX) {
		append(&a->refused, q);
		(void)uv_async_send(&a->wake);
		return;
	}
	q->user_data = keep(q, 0, user_data);
	q->nonce = keep(q, ATTEST_FIELD_MAX, nonce);
	q->deadline_us = clock_boot_us() + (int64_t)a->device.patience_ms * 1000;
	append(&a->waiting, q);
	next(a);
}

void attestor_forget(struct attestor *a, const void *arg)
{
	drop(&a->waiting, arg, false);
	drop(&a->refused, arg, false);
	if (a->asked != NULL && a->asked->arg == arg)
		a->asked->cb = NULL;
	wait_for_patience(a);
}

/* For the signed time alone. */
static void on_every(uv_timer_t *t)
{
	attestor_ask(t->data, span_lit(""), span_lit(""), NULL, NULL);
}

/* --- life ------------------------------------------------------------------------------------- */

enum err attestor_start(uv_loop_t *loop, const struct attestor_device *d, struct attestor **ret_attestor,
			const char **ret_rule)
{
	struct attestor *a = xcalloc(1, sizeof(*a));

	a->device = *d;
	if (attestor_identify(&a->device, &a->identity, &a->clock, ret_rule) != ERR_OK) {
		free(a);
		return ERR_CONFIG;
	}
	a->shared = share(d);
	a->shared->wake = &a->wake;
	empty(&a->waiting);
	empty(&a->refused);
	a->wake.data = a->patience.data = a->every.data = a;
	uv_timer_init(loop, &a->patience);
	uv_timer_init(loop, &a->every);
	BUG_ON(uv_async_init(loop, &a->wake, on_wake) != 0);
	uv_timer_start(&a->every, on_every, d->clock_every_ms, d->clock_every_ms);
	a->shared->owners++;
	BUG_ON(!start_thread(a->shared)); /* as for memory: there is no worker without */
	*ret_attestor = a;
	return ERR_OK;
}

enum err attestor_open(uv_loop_t *loop, const struct config *c, struct attestor **ret_attestor, const char **ret_rule)
{
	struct attestor_device d;

	if (c->device == CONFIG_DEVICE_NONE) {
		*ret_attestor = NULL;
		return ERR_OK;
	}
	TRY(attestor_device_open(c, &d, ret_rule));
	enum err e = attestor_start(loop, &d, ret_attestor, ret_rule);

	if (e != ERR_OK)
		nsm_close(&d.nsm);
	return e;
}

static void closed(uv_handle_t *h)
{
	struct attestor *a = h->data;

	if (--a->handles == 0)
		free(a);
}

void attestor_free(struct attestor *a)
{
	if (a == NULL)
		return;
	drop(&a->waiting, NULL, true);
	drop(&a->refused, NULL, true);
	free(a->asked);
	a->asked = NULL;
	lock(a->shared);
	a->shared->over = true;
	(void)pthread_cond_signal(&a->shared->more);
	leave(a->shared);
	a->shared = NULL;
	a->handles = 3;
	uv_close((uv_handle_t *)&a->wake, closed);
	uv_close((uv_handle_t *)&a->patience, closed);
	uv_close((uv_handle_t *)&a->every, closed);
}

/* --- what it is ------------------------------------------------------------------------------- */

struct nsm attestor_nsm(const struct attestor *a)
{
	return a->device.nsm;
}

const struct attest_anchor *attestor_anchor(const struct attestor *a)
{
	return a->device.anchor;
}

const uint8_t (*attestor_pcrs(const struct attestor *a))[ATTEST_PCR_SIZE]
{
	return a->identity.pcr;
}

const char *attestor_module_id(const struct attestor *a)
{
	return a->identity.module_id;
}

bool attestor_debug(const struct attestor *a)
{
	return a->identity.debug;
}

int64_t attestor_clock_ms(const struct attestor *a, int64_t *ret_bound_ms)
{
	int64_t stepped_us = clock_wall_us() - clock_boot_us() - a->clock.offset_us;

	*ret_bound_ms = a->clock.bound_ms;
	return a->clock.ahead_ms + stepped_us / 1000;
}

int64_t attestor_clock_age_ms(const struct attestor *a)
{
	return (clock_boot_us() - a->clock.boot_us) / 1000;
}
