/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/net.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "queue/resp.h"
#include "tests/scenario/redis.h"
#include "worker/base/stream.h"

#define WAY_US     100
#define CONNECT_US 300
#define BYTES_MAX  ((size_t)64 << 20)
#define LOSSES_MAX 16

/* The client's end. */
struct stream {
	struct link *link;
	struct stream_ops ops;
	void *arg;
	bool up;
};

/* The server's end; it is freed when neither end nor bytes on the way need it. */
struct link {
	TAILQ_ENTRY(link) all;
	struct stream *stream; /* NULL: the client has gone */
	struct sim_process *process;
	struct resp *resp;
	struct sim_event *wait; /* WAIT blocks the link until then */
	unsigned users;
	bool cut;
};

/* Bytes on their way. */
struct parcel {
	struct link *link;
	size_t n;
	uint8_t bytes[];
};

static TAILQ_HEAD(links, link) links = TAILQ_HEAD_INITIALIZER(links);
static bool up = true, hangs, stalled;
static unsigned replicas;
static struct {
	const struct sim_process *process;
	const char *script;
	enum net_loss loss;
} losses[LOSSES_MAX];
static size_t n_losses;

static void work(struct link *l);

/* --- the life of a link ------------------------------------------------------------------------ */

static void unuse(struct link *l)
{
	if (--l->users > 0)
		return;
	TAILQ_REMOVE(&links, l, all);
	sim_cancel(l->wait);
	resp_free(l->resp);
	free(l);
}

static void on_down(void *arg)
{
	struct link *l = arg;
	struct stream *s = l->stream;
	l->stream = NULL;
	if (s != NULL) {
		bool was_up = s->up;
		struct stream_ops ops = s->ops;
		void *to = s->arg;
		free(s);
		ops.down(to, was_up ? ERR_CLOSED : ERR_CONNECT, was_up ? "the peer closed" : "refused");
		unuse(l);
	}
	unuse(l);
}

static void drop_use(void *arg)
{
	unuse(arg);
}

static void cut(struct link *l)
{
	if (l->cut)
		return;
	l->cut = true;
	sim_cancel(l->wait);
	l->wait = NULL;
	l->users++;
	sim_in(WAY_US, l->process, on_down, drop_use, l);
}

/* --- bytes ------------------------------------------------------------------------------------- */

static void drop_parcel(void *arg)
{
	struct parcel *p = arg;
	struct link *l = p->link;
	free(p);
	unuse(l);
}

static void post(struct link *l, struct sim_process *to, struct span bytes, sim_fn arrives)
{
	struct parcel *p = xmalloc(sizeof(*p) + bytes.n);
	p->link = l;
	p->n = bytes.n;
	memcpy(p->bytes, bytes.p, bytes.n);
	l->users++;
	sim_in(WAY_US, to, arrives, drop_parcel, p);
}

static void at_client(void *arg)
{
	struct parcel *p = arg;
	struct stream *s = p->link->stream;
	if (s != NULL)
		s->ops.data(s->arg, span_of(p->bytes, p->n));
	drop_parcel(p);
}

static void at_server(void *arg)
{
	struct parcel *p = arg;
	struct link *l = p->link;
	if (up && !l->cut) {
		BUG_ON(resp_feed(l->resp, span_of(p->bytes, p->n)) != ERR_OK);
		work(l);
	}
	drop_parcel(p);
}

static void answer(struct link *l, struct span reply)
{
	post(l, l->process, reply, at_client);
}

/* --- the server -------------------------------------------------------------------------------- */

static void on_waited(void *arg)
{
	struct link *l = arg;
	l->wait = NULL;
	answer(l, span_lit(":0\r\n"));
	work(l);
}

/* WAIT numreplicas timeout */
static void wait_for_replicas(struct link *l, const struct span *argv, size_t n)
{
	BUG_ON(n != 3);
	struct buf reply;
	char ms[24] = { 0 }, want[24] = { 0 };
	BUG_ON(argv[1].n >= sizeof(want) || argv[2].n >= sizeof(ms));
	memcpy(want, argv[1].p, argv[1].n);
	memcpy(ms, argv[2].p, argv[2].n);
	unsigned have = stalled ? 0 : replicas;
	if (have < strtoul(want, NULL, 10) && have == 0) {
		l->wait = sim_in(strtol(ms, NULL, 10) * SIM_MS_US, NULL, on_waited, NULL, l);
		return;
	}
	buf_init(&reply, 64);
	buf_add_byte(&reply, ':');
	buf_add_uint(&reply, have);
	buf_add_str(&reply, "\r\n");
	answer(l, span_buf(&reply));
	buf_clear(&reply);
}

/* The fault that stands for this command, or -1. */
static int loss_of(const struct link *l, const char *script)
{
	for (size_t i = 0; i < n_losses; i++) {
		if (losses[i].process != l->process || strcmp(losses[i].script, script) != 0)
			continue;
		int loss = (int)losses[i].loss;
		n_losses--;
		memmove(&losses[i], &losses[i + 1], (n_losses - i) * sizeof(losses[0]));
		return loss;
	}
	return -1;
}

static void run(struct link *l, const struct span *argv, size_t n)
{
	struct buf reply;
	if (span_eq_nocase(argv[0], span_lit("WAIT"))) {
		wait_for_replicas(l, argv, n);
		return;
	}
	int loss = loss_of(l, redis_script(argv, n));
	if (loss == NET_LOSE_REQUEST) {
		cut(l);
		return;
	}
	buf_init(&reply, BYTES_MAX);
	redis_run(argv, n, &reply);
	if (loss == NET_LOSE_REPLY)
		cut(l);
	else
		answer(l, span_buf(&reply));
	buf_clear(&reply);
}

/* Carries out the commands that have arrived. The client may have gone: Redis learns that after it has read them. */
static void work(struct link *l)
{
	while (up && !hangs && !l->cut && l->wait == NULL) {
		const struct resp_reply *r = NULL;
		BUG_ON(resp_next(l->resp, &r) != ERR_OK);
		if (r == NULL)
			return;
		BUG_ON(r->type != RESP_ARRAY || r->n == 0);
		struct span *argv = xcalloc(r->n, sizeof(*argv));
		for (size_t i = 0; i < r->n; i++)
			argv[i] = resp_text(r->at[i]);
		run(l, argv, r->n);
		free(argv);
		resp_release(l->resp, r);
	}
}

/* --- worker/base/stream.h ---------------------------------------------------------------------- */

static void on_connected(void *arg)
{
	struct link *l = arg;
	struct stream *s = l->stream;
	if (s != NULL && !up) {
		l->users++;
		on_down(l);
	} else if (s != NULL && !l->cut) {
		s->up = true;
		s->ops.up(s->arg);
	}
	unuse(l);
}

enum err stream_open(uv_loop_t *loop, const struct addr *a, const struct stream_tls *tls, unsigned timeout_ms,
		     size_t write_max, const struct stream_ops *ops, void *arg, struct stream **ret_stream,
		     const char **ret_detail)
{
	(void)a;
	(void)timeout_ms;
	(void)write_max;
	(void)ret_detail;
	BUG_ON(tls != NULL);
	struct link *l = xcalloc(1, sizeof(*l));
	struct stream *s = xcalloc(1, sizeof(*s));
	*s = (struct stream){ .link = l, .ops = *ops, .arg = arg };
	*l = (struct link){ .stream = s, .process = loop->data, .resp = resp_new(BYTES_MAX), .users = 2 };
	TAILQ_INSERT_TAIL(&links, l, all);
	sim_in(CONNECT_US, l->process, on_connected, drop_use, l);
	*ret_stream = s;
	return ERR_OK;
}

enum err stream_write(struct stream *s, struct span bytes)
{
	post(s->link, NULL, bytes, at_server);
	return ERR_OK;
}

void stream_close(struct stream *s)
{
	if (s == NULL)
		return;
	struct link *l = s->link;
	l->stream = NULL;
	free(s);
	unuse(l);
}

enum err stream_tls_load(struct stream_tls *t, const char **ret_detail)
{
	(void)t;
	*ret_detail = "a scenario has no TLS";
	return ERR_CONFIG;
}

void stream_tls_unload(struct stream_tls *t)
{
	(void)t;
}

/* --- what scenarios do ------------------------------------------------------------------------- */

void net_reset(void)
{
	up = true;
	hangs = stalled = false;
	replicas = 0;
	n_losses = 0;
	BUG_ON(!TAILQ_EMPTY(&links));
}

void net_cut(const struct sim_process *p)
{
	struct link *l, *next;
	for (l = TAILQ_FIRST(&links); l != NULL; l = next) {
		next = TAILQ_NEXT(l, all);
		if (p == NULL || l->process == p)
			cut(l);
	}
}

void net_redis_up(bool now_up)
{
	up = now_up;
	if (!up)
		net_cut(NULL);
}

void net_redis_hangs(bool now_hangs)
{
	struct link *l, *next;
	hangs = now_hangs;
	for (l = TAILQ_FIRST(&links); l != NULL; l = next) {
		next = TAILQ_NEXT(l, all);
		work(l);
	}
}

bool net_redis_works(void)
{
	return up && !hangs;
}

void net_replicas(unsigned n)
{
	replicas = n;
}

void net_replicas_stall(bool stall)
{
	stalled = stall;
}

void net_lose(const struct sim_process *p, const char *script, enum net_loss loss)
{
	BUG_ON(n_losses == LOSSES_MAX);
	losses[n_losses].process = p;
	losses[n_losses].script = script;
	losses[n_losses++].loss = loss;
}

size_t net_left(void)
{
	return n_losses;
}
