/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/sim.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "worker/base/clock.h"
#include "worker/base/err.h"

/* The boot-time clock is another one than the wall clock, and never 0. */
#define BOOT_US (1000 * SIM_SECOND_US)

struct sim_event {
	TAILQ_ENTRY(sim_event) link;
	int64_t at_us;
	struct sim_process *process;
	sim_fn fn, drop;
	void *arg;
	bool timer;   /* of libuv */
	bool closing; /* a close callback: runs also when its process is stopped or dead */
};

static TAILQ_HEAD(events, sim_event) due = TAILQ_HEAD_INITIALIZER(due);
static struct sim_process *running;
static int64_t now_us, wall_base_us;
static uint64_t state;

/* --- chance ------------------------------------------------------------------------------------ */

/* SplitMix64: libsodium asks here, so that keys, names and jitter come from the seed. */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static const char *random_name(void)
{
	return "scenario";
}

static uint32_t random_word(void)
{
	return (uint32_t)(next() >> 32);
}

static void random_bytes(void *p, size_t n)
{
	uint8_t *out = p;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(next() >> 56);
}

static struct randombytes_implementation chance = { .implementation_name = random_name,
						    .random = random_word,
						    .buf = random_bytes };

uint32_t sim_random(uint32_t n)
{
	return (uint32_t)(next() % n);
}

/* --- events ------------------------------------------------------------------------------------ */

static void insert(struct sim_event *e)
{
	struct sim_event *after = TAILQ_LAST(&due, events);
	while (after != NULL && after->at_us > e->at_us)
		after = TAILQ_PREV(after, events, link);
	if (after == NULL)
		TAILQ_INSERT_HEAD(&due, e, link);
	else
		TAILQ_INSERT_AFTER(&due, after, e, link);
}

struct sim_event *sim_in(int64_t us, struct sim_process *p, sim_fn fn, sim_fn drop, void *arg)
{
	struct sim_event *e = calloc(1, sizeof(*e));
	BUG_ON(e == NULL);
	*e = (struct sim_event){ .at_us = now_us + us, .process = p, .fn = fn, .drop = drop, .arg = arg };
	if (p != NULL)
		p->n_events++;
	insert(e);
	return e;
}

static void forget(struct sim_event *e)
{
	TAILQ_REMOVE(&due, e, link);
	if (e->process != NULL)
		e->process->n_events--;
	free(e);
}

void sim_cancel(struct sim_event *e)
{
	if (e == NULL)
		return;
	sim_fn drop = e->drop;
	void *arg = e->arg;
	forget(e);
	if (drop != NULL)
		drop(arg);
}

static void fire(struct sim_event *e)
{
	struct sim_process *before = running;
	sim_fn fn = e->fn;
	void *arg = e->arg;
	running = e->process;
	forget(e);
	fn(arg);
	running = before;
}

static bool waits(const struct sim_event *e)
{
	return e->process != NULL && e->process->stopped && !e->closing;
}

bool sim_step(int64_t limit_us)
{
	struct sim_event *e = TAILQ_FIRST(&due);
	while (e != NULL && waits(e))
		e = TAILQ_NEXT(e, link);
	if (e == NULL || e->at_us > limit_us) {
		now_us = limit_us > now_us ? limit_us : now_us;
		return false;
	}
	now_us = e->at_us > now_us ? e->at_us : now_us;
	fire(e);
	return true;
}

int64_t sim_next_us(void)
{
	struct sim_event *e;
	TAILQ_FOREACH(e, &due, link)
	{
		if (!waits(e) && !e->timer)
			return e->at_us;
	}
	return INT64_MAX;
}

void sim_jump(int64_t us)
{
	now_us += us;
}

struct sim_process *sim_enter(struct sim_process *p)
{
	struct sim_process *before = running;
	running = p;
	return before;
}

struct sim_process *sim_running(void)
{
	return running;
}

void sim_stop(struct sim_process *p, bool stop)
{
	p->stopped = stop;
}

void sim_bury(struct sim_process *p)
{
	struct sim_event *e = TAILQ_FIRST(&due);
	while (e != NULL) {
		struct sim_event *after = TAILQ_NEXT(e, link);
		if (e->process != p) {
			e = after;
			continue;
		}
		if (e->closing)
			fire(e);
		else
			sim_cancel(e);
		e = TAILQ_FIRST(&due); /* what ran may have changed anything */
	}
	BUG_ON(p->n_events != 0);
}

void sim_reset(uint64_t seed, int64_t wall_us)
{
	struct sim_event *e;
	while ((e = TAILQ_FIRST(&due)) != NULL)
		sim_cancel(e);
	now_us = 0;
	wall_base_us = wall_us;
	state = seed;
	BUG_ON(randombytes_set_implementation(&chance) != 0);
}

int64_t sim_now_us(void)
{
	return now_us;
}

int64_t sim_wall_us(void)
{
	return wall_base_us + now_us;
}

/* --- worker/base/clock.h ----------------------------------------------------------------------- */

int64_t clock_wall_us(void)
{
	return sim_wall_us() + (running == NULL ? 0 : running->clock_us);
}

int64_t clock_boot_us(void)
{
	return BOOT_US + now_us;
}

/* --- libuv: what the worker uses of it ---------------------------------------------------------- */

uint64_t uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return (uint64_t)(clock_boot_us() / SIM_MS_US);
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *t)
{
	void *data = t->data;
	memset(t, 0, sizeof(*t));
	t->loop = loop;
	t->type = UV_TIMER;
	t->data = data;
	return 0;
}

static void on_timer(void *arg)
{
	uv_timer_t *t = arg;
	t->heap_node[0] = NULL;
	if (t->repeat > 0)
		uv_timer_start(t, t->timer_cb, t->repeat, t->repeat);
	t->timer_cb(t);
}

int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	struct sim_event *e;
	uv_timer_stop(t);
	e = sim_in((int64_t)timeout * SIM_MS_US, t->loop->data, on_timer, NULL, t);
	e->timer = true;
	t->heap_node[0] = e;
	t->timer_cb = cb;
	t->repeat = repeat;
	return 0;
}

int uv_timer_stop(uv_timer_t *t)
{
	sim_cancel(t->heap_node[0]);
	t->heap_node[0] = NULL;
	return 0;
}

int uv_idle_init(uv_loop_t *loop, uv_idle_t *h)
{
	void *data = h->data;
	memset(h, 0, sizeof(*h));
	h->loop = loop;
	h->type = UV_IDLE;
	h->data = data;
	return 0;
}

static void on_idle(void *arg)
{
	uv_idle_t *h = arg;
	h->queue[0] = NULL;
	uv_idle_start(h, h->idle_cb);
	h->idle_cb(h);
}

/* Once a turn of the loop: here each microsecond. Who uses it stops it when there is nothing to do. */
int uv_idle_start(uv_idle_t *h, uv_idle_cb cb)
{
	if (h->queue[0] != NULL)
		return 0;
	h->idle_cb = cb;
	h->queue[0] = sim_in(1, h->loop->data, on_idle, NULL, h);
	return 0;
}

int uv_idle_stop(uv_idle_t *h)
{
	sim_cancel(h->queue[0]);
	h->queue[0] = NULL;
	return 0;
}

int uv_is_active(const uv_handle_t *h)
{
	BUG_ON(h->type != UV_TIMER && h->type != UV_IDLE);
	return h->type == UV_TIMER ? ((const uv_timer_t *)h)->heap_node[0] != NULL
				   : ((const uv_idle_t *)h)->queue[0] != NULL;
}

static void on_close(void *arg)
{
	uv_handle_t *h = arg;
	if (h->close_cb != NULL)
		h->close_cb(h);
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
	struct sim_event *e;
	BUG_ON(h->type != UV_TIMER && h->type != UV_IDLE);
	if (h->type == UV_TIMER)
		uv_timer_stop((uv_timer_t *)h);
	else
		uv_idle_stop((uv_idle_t *)h);
	h->close_cb = cb;
	e = sim_in(0, h->loop->data, on_close, NULL, h);
	e->closing = true;
}
