/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/status.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "worker/base/clock.h"
#include "worker/status_internal.h"

#define MEMORY_MAX 8192
#define BACKLOG    64
#define TIMEOUT_S  5
#define SWEEP_MS   250
/* Of the loop's time: one part in SHARE, and this much at once. */
#define SHARE       5
#define BURST_US    INT64_C(20000)
#define DEBT_MAX_US (10 * BURST_US)

/*
 * MHD has an epoll descriptor of its own, which the loop watches. Everything runs in serve(): after an event there, or
 * when the timer says so, which is set to the next time-out of MHD's, the next look at the ages, or the end of a pause.
 */
struct status {
	uv_loop_t *loop;
	struct status_answers answers;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;  /* to close before the memory goes */
	bool made_room;    /* a connection ended: MHD listens again in its next turn only */
	int64_t credit_us; /* time that may be used; below 0: a pause */
	int64_t credit_boot_us;
};

/* --- connections ------------------------------------------------------------------------------ */

static void opened(struct status *s, struct MHD_Connection *c, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct status_answers *a = &s->answers;
	size_t i = 0;
	while (i < STATUS_CONNECTIONS_MAX && a->client[i].fd >= 0)
		i++;
	BUG_ON(info == NULL || i == STATUS_CONNECTIONS_MAX); /* MHD_OPTION_CONNECTION_LIMIT */
	a->client[i] =
		(struct status_client){ .s = a, .connection = c, .fd = info->connect_fd, .since_us = clock_boot_us() };
	buf_init(&a->client[i].body, STATUS_BODY_MAX);
	*context = &a->client[i];
	a->clients++;
}

static void notified(void *arg, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode what)
{
	struct status *s = arg;
	struct status_client *k = *context;
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		opened(s, c, context);
	} else if (k != NULL) {
		/* MHD closes the descriptor after this. */
		status_answers_over(k);
		k->fd = -1;
		s->answers.clients--;
		s->made_room = true;
	}
}

static void completed(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)c;
	(void)why;
	if (*state != NULL)
		status_answers_over(*state);
	*state = NULL;
}

/* What the client of a suspended connection did, which MHD does not see: POLLRDHUP when it sends no more, which may
 * mean either that it waits for the answer or that it is gone; POLLHUP or POLLERR when it reads no more either. */
static int left(const struct status_client *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLRDHUP };
	return k->suspended && poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static void end(struct status_client *k)
{
	k->ended = true;
	(void)shutdown(k->fd, SHUT_RDWR);
	if (k->suspended)
		status_answers_resume(k);
}

/* MHD's own time-out begins anew with each byte: a client that sends one a second would stay for ever. */
static void sweep(struct status *s, int64_t now_us)
{
	int64_t most = s->answers.clients == STATUS_CONNECTIONS_MAX ? STATUS_AGE_FULL_US : s->answers.age_us;
	for (size_t i = 0; i < STATUS_CONNECTIONS_MAX; i++) {
		struct status_client *k = &s->answers.client[i];
		if (k->fd < 0 || k->ended)
			continue;
		int how = left(k);
		if (k->suspended && how == 0) {
			if (now_us - k->waits_us >= s->answers.wait_us)
				status_answers_late(k);
		} else if ((how & ~POLLRDHUP) != 0 || now_us - k->since_us >= most) {
			end(k);
		}
	}
}

/* --- the loop --------------------------------------------------------------------------------- */

static void serve(struct status *s);

static void on_event(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	serve(p->data);
}

static void on_timer(uv_timer_t *t)
{
	serve(t->data);
}

static void wait_ms(struct status *s, uint64_t ms)
{
	uv_timer_start(&s->timer, on_timer, ms, 0);
}

static void wait_next(struct status *s)
{
	MHD_UNSIGNED_LONG_LONG ms;
	bool has = MHD_get_timeout(s->daemon, &ms) == MHD_YES;
	if (s->made_room)
		ms = 0;
	else if (s->answers.clients > 0 && (!has || ms > SWEEP_MS))
		ms = SWEEP_MS;
	else if (!has) {
		uv_timer_stop(&s->timer);
		return;
	}
	wait_ms(s, ms);
}

static void earn(struct status *s, int64_t now_us)
{
	s->credit_us += (now_us - s->credit_boot_us) / SHARE;
	s->credit_boot_us = now_us;
	if (s->credit_us > BURST_US)
		s->credit_us = BURST_US;
}

static void serve(struct status *s)
{
	int64_t now = clock_boot_us();
	earn(s, now);
	if (s->credit_us >= 0) {
		s->made_room = false;
		sweep(s, now);
		(void)MHD_run(s->daemon);
		s->credit_us -= clock_boot_us() - now;
		/* A process that was stopped meanwhile owes nothing for that. */
		if (s->credit_us < -DEBT_MAX_US)
			s->credit_us = -DEBT_MAX_US;
	}
	if (s->credit_us < 0) {
		uv_poll_stop(&s->poll);
		wait_ms(s, (uint64_t)(-s->credit_us * SHARE / 1000 + 1));
		return;
	}
	BUG_ON(uv_poll_start(&s->poll, UV_READABLE, on_event) != 0);
	wait_next(s);
}

/* --- life ------------------------------------------------------------------------------------- */

/* MHD takes the listening socket, and closes it at its end. Without MHD_USE_ERROR_LOG it writes nothing itself. */
static struct MHD_Daemon *start(struct status *s, int listener)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, status_answers_handle,
				&s->answers, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
				(unsigned)STATUS_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX, MHD_OPTION_NOTIFY_CONNECTION,
				notified, s, MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
				MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static const char *rule(enum err e)
{
	if (e == ERR_EXISTS)
		return "is in use";
	return e == ERR_RESOLVE ? "needs an IP address" : "cannot be listened on";
}

void status_set_times(struct status *s, int64_t wait_us, int64_t age_us)
{
	s->answers.wait_us = wait_us;
	s->answers.age_us = age_us;
}

enum err status_new(uv_loop_t *loop, const struct addr *listen, const struct status_source *source,
		    struct status **ret_status, const char **ret_rule)
{
	int listener;
	enum err e = addr_listen(listen, BACKLOG, &listener);
	*ret_rule = rule(e);
	if (e != ERR_OK)
		return ERR_CONFIG;
	struct status *s = xcalloc(1, sizeof *s);
	s->loop = loop;
	s->answers.source = *source;
	status_set_times(s, STATUS_WAIT_US, STATUS_AGE_US);
	s->credit_us = BURST_US;
	s->credit_boot_us = clock_boot_us();
	for (size_t i = 0; i < STATUS_CONNECTIONS_MAX; i++)
		s->answers.client[i].fd = -1;
	s->daemon = start(s, listener);
	if (s->daemon == NULL) { /* no more descriptors */
		close(listener);
		free(s);
		return ERR_CONFIG;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	BUG_ON(info == NULL || uv_poll_init(loop, &s->poll, info->epoll_fd) != 0);
	uv_timer_init(loop, &s->timer);
	s->poll.data = s->timer.data = s;
	serve(s);
	*ret_status = s;
	return ERR_OK;
}

static void closed(uv_handle_t *h)
{
	struct status *s = h->data;
	if (--s->handles == 0)
		free(s);
}

void status_free(struct status *s)
{
	if (s == NULL)
		return;
	s->handles = 2;
	uv_close((uv_handle_t *)&s->timer, closed);
	uv_close((uv_handle_t *)&s->poll, closed); /* before MHD closes what it watches */
	for (size_t i = 0; i < STATUS_CONNECTIONS_MAX; i++) {
		/* MHD does not stop while a connection is suspended. */
		if (s->answers.client[i].fd >= 0 && s->answers.client[i].suspended)
			status_answers_resume(&s->answers.client[i]);
	}
	MHD_stop_daemon(s->daemon);
}
