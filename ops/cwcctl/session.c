/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/session.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/reply.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define REDIS_DEFAULT  "unix:/run/redis/redis.sock"
#define TIMEOUT_MS     5000
#define WRITE_MAX      ((size_t)32 << 20)
#define REPLY_MAX      ((size_t)64 << 20)
#define PASSWORD_MAX   512
#define QUEUE_NAME_MAX 63
#define ERROR_TEXT_MAX 160
#define TRIES_MAX      5
#define PATIENCE_MS    30000
#define BUSY_MS        300
#define IDLE_MS        100

/* --- what happens to the connection ----------------------------------------------------------- */

static void on_up(void *arg)
{
	struct session *s = arg;
	s->down = false;
}

static void on_down(void *arg, enum err why, const char *detail)
{
	struct session *s = arg;
	s->down = true;
	/* The command that was lost is what happened; this is only why. */
	if (s->e != ERR_QUEUE_LOST)
		s->e = why;
	snprintf(s->detail, sizeof(s->detail), "%s", detail);
}

static void on_signal(uv_signal_t *h, int number)
{
	struct session *s = h->data;
	(void)number;
	s->interrupted = true;
}

static void on_timer(uv_timer_t *t)
{
	(void)t;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* An interrupt leaves some of them unanswered: the session frees those when it closes. */
struct pending {
	struct pending *next;
	struct session *s;
	struct resp_reply **slot; /* NULL: nobody wants it any more */
};

/* Answers come in order, so it is nearly always the first. */
static void pending_free(struct pending *p)
{
	struct pending **at = &p->s->pending;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (p->next == NULL)
		p->s->last_pending = at;
	free(p);
}

static void on_answer(void *arg, enum err e, const struct resp_reply *r)
{
	struct pending *p = arg;
	struct session *s = p->s;
	s->outstanding--;
	if (e == ERR_OK && p->slot != NULL) {
		*p->slot = reply_copy(r);
	} else if (e == ERR_OK) {
		/* nobody waits for it */
	} else if (s->e == ERR_OK || s->e == ERR_QUEUE_LOST) {
		s->e = e;
		size_t n = r != NULL && r->text.n < ERROR_TEXT_MAX ? r->text.n : r != NULL ? ERROR_TEXT_MAX : 0;
		snprintf(s->detail, sizeof(s->detail), "%.*s", (int)n, n > 0 ? (const char *)r->text.p : "");
	}
	pending_free(p);
}

static struct pending *pending_new(struct session *s, struct resp_reply **slot)
{
	struct pending *p = xmalloc(sizeof(*p));
	*p = (struct pending){ .s = s, .slot = slot };
	*s->last_pending = p;
	s->last_pending = &p->next;
	*slot = NULL;
	if (s->outstanding++ == 0) {
		s->e = ERR_OK;
		s->detail[0] = '\0';
	}
	return p;
}

void session_send(struct ctl *c, const struct span *argv, size_t n, struct resp_reply **slot)
{
	queue_command(c->session->queue, argv, n, on_answer, pending_new(c->session, slot));
}

int session_report(struct ctl *c)
{
	struct session *s = c->session;
	const char *address = ctl_value(c, OPT_REDIS, REDIS_DEFAULT);
	s->code = CTL_UNAVAILABLE;
	if (s->e == ERR_QUEUE_SCRIPT || s->e == ERR_LIMIT || s->e == ERR_BUG)
		s->code = CTL_INTERNAL;
	return ctl_fail(s->code, "%s: %s: %s%s%s%s", address, err_name(s->e), err_text(s->e), s->detail[0] ? " (" : "",
			s->detail, s->detail[0] ? ")" : "");
}

enum err session_wait(struct ctl *c, bool quiet)
{
	struct session *s = c->session;
	while (s->outstanding > 0 && !s->interrupted)
		uv_run(&s->loop, UV_RUN_ONCE);
	if (s->outstanding > 0)
		return ERR_TIMEOUT;
	if (s->e != ERR_OK && !(quiet && (s->e == ERR_QUEUE_LOST || s->e == ERR_QUEUE_BUSY)))
		session_report(c);
	return s->e;
}

bool session_again(struct ctl *c, enum err e, int tries)
{
	struct session *s = c->session;
	if (s->interrupted || (e != ERR_QUEUE_LOST && e != ERR_QUEUE_BUSY))
		return false;
	if (tries < TRIES_MAX && e == ERR_QUEUE_BUSY)
		session_sleep(c, BUSY_MS);
	if (tries < TRIES_MAX && session_up_again(c, PATIENCE_MS))
		return true;
	if (!s->interrupted)
		session_report(c);
	return false;
}

/* A command, or with a name a script. */
static struct resp_reply *ask(struct ctl *c, const char *script, const struct span *argv, size_t n)
{
	struct session *s = c->session;
	for (int tries = 1;; tries++) {
		struct resp_reply *r;
		struct pending *p = pending_new(s, &r);
		if (script != NULL)
			queue_script(s->queue, script, argv, n, on_answer, p);
		else
			queue_command(s->queue, argv, n, on_answer, p);
		enum err e = session_wait(c, s->patient || s->quiet);
		if (e == ERR_OK)
			return r;
		reply_free(r);
		/* An interrupt: the answer may still come, when `r` is no more. */
		for (p = s->pending; p != NULL; p = p->next)
			p->slot = NULL;
		if (!s->patient || !session_again(c, e, tries))
			return NULL;
	}
}

struct resp_reply *session_call(struct ctl *c, const struct span *argv, size_t n)
{
	return ask(c, NULL, argv, n);
}

struct resp_reply *session_script(struct ctl *c, const char *script, const struct span *argv, size_t n)
{
	return ask(c, script, argv, n);
}

/* --- opening ---------------------------------------------------------------------------------- */

const char *session_queue_name(const struct ctl *c)
{
	const char *name = ctl_value(c, OPT_QUEUE, "q");
	size_t n = strlen(name);
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	if (n >= 1 && n <= QUEUE_NAME_MAX && strspn(name, set) == n)
		return name;
	ctl_complain("--queue must be 1 to %d characters of A-Z a-z 0-9 . _ -", QUEUE_NAME_MAX);
	return NULL;
}

static int read_address(const struct ctl *c, struct addr *ret_addr)
{
	const char *rule;
	if (addr_parse(span_str(ctl_value(c, OPT_REDIS, REDIS_DEFAULT)), ret_addr, &rule) == ERR_OK)
		return 0;
	return ctl_fail(CTL_USAGE, "--redis: %s", rule);
}

static int read_password(const struct ctl *c, char **ret_password)
{
	if (!ctl_has(c, OPT_PASSWORD_FILE))
		return ctl_has(c, OPT_USER) ? ctl_fail(CTL_USAGE, "--user needs --password-file") : 0;
	enum err e = secret_file(c->opt[OPT_PASSWORD_FILE], PASSWORD_MAX, ret_password);
	if (e == ERR_OK)
		return 0;
	return ctl_fail(CTL_CONFIG, "%s: %s", c->opt[OPT_PASSWORD_FILE],
			e == ERR_CONFIG ? "it must be a file of ours with mode 0600, and not empty" : err_text(e));
}

static int read_tls(const struct ctl *c, const struct addr *a, struct stream_tls *ret_tls)
{
	static const enum ctl_option only_tls[] = { OPT_TLS_HOST, OPT_CA, OPT_CERT, OPT_KEY };
	if (!ctl_has(c, OPT_TLS)) {
		for (size_t i = 0; i < sizeof(only_tls) / sizeof(only_tls[0]); i++)
			if (ctl_has(c, only_tls[i]))
				return ctl_fail(CTL_USAGE, "--%s needs --tls", ctl_options[only_tls[i]].name);
		return 0;
	}
	if (!ctl_has(c, OPT_CA))
		return ctl_fail(CTL_USAGE, "--tls needs --ca");
	if (ctl_has(c, OPT_CERT) != ctl_has(c, OPT_KEY))
		return ctl_fail(CTL_USAGE, "--cert and --key go together");
	if (a->kind != ADDR_TCP && !ctl_has(c, OPT_TLS_HOST))
		return ctl_fail(CTL_USAGE, "--tls needs --tls-host with this --redis");
	*ret_tls = (struct stream_tls){
		.host = ctl_value(c, OPT_TLS_HOST, a->host),
		.ca_file = c->opt[OPT_CA],
		.cert_file = c->opt[OPT_CERT],
		.key_file = c->opt[OPT_KEY],
		.verify = true,
	};
	return 0;
}

static int read_version(struct ctl *c)
{
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("HGET"), session_key(c, "meta"), span_lit("version")));
	if (r == NULL)
		return c->session->code;
	c->session->version = resp_number(r);
	reply_free(r);
	return 0;
}

static int connect_queue(struct ctl *c, const struct conn_options *o)
{
	static const struct queue_ops ops = { .up = on_up, .down = on_down };
	struct session *s = c->session;
	/* Looking at a queue must be possible whatever its maxmemory-policy is. */
	struct queue_options q = { .conn = *o, .name = s->name, .allow_eviction = true };
	const char *detail = "";
	enum err e = queue_open(&s->loop, &q, &ops, s, &s->queue, &detail);
	if (e != ERR_OK)
		return ctl_fail(CTL_CONFIG, "TLS: %s", detail);
	if (s->begun_only)
		return 0;
	while (!queue_is_up(s->queue) && !s->down)
		uv_run(&s->loop, UV_RUN_ONCE);
	return s->down ? session_report(c) : read_version(c);
}

static int open_with(struct ctl *c)
{
	static struct addr address;
	static struct stream_tls tls;
	struct session *s = c->session;
	struct conn_options o = { .write_max = WRITE_MAX, .reply_max = REPLY_MAX };
	int code;
	if ((s->name = session_queue_name(c)) == NULL)
		return CTL_USAGE;
	if ((code = read_address(c, &address)) != 0 || (code = args_timeout(c, TIMEOUT_MS, &s->timeout_ms)) != 0 ||
	    (code = read_tls(c, &address, &tls)) != 0 || (code = read_password(c, &s->password)) != 0)
		return code;
	o.address = address;
	o.tls = ctl_has(c, OPT_TLS) ? &tls : NULL;
	o.user = c->opt[OPT_USER];
	o.password = s->password;
	o.timeout_ms = s->timeout_ms;
	return connect_queue(c, &o);
}

static int open_new(struct ctl *c, bool begun_only)
{
	if (c->session != NULL)
		return 0;
	struct session *s = xcalloc(1, sizeof(*s));
	s->last_pending = &s->pending;
	BUG_ON(uv_loop_init(&s->loop) != 0);
	uv_timer_init(&s->loop, &s->timer);
	uv_signal_init(&s->loop, &s->sigint);
	uv_signal_init(&s->loop, &s->sigterm);
	s->sigint.data = s->sigterm.data = s;
	s->begun_only = begun_only;
	c->session = s;
	return open_with(c);
}

int session_open_any(struct ctl *c)
{
	return open_new(c, false);
}

int session_begin(struct ctl *c)
{
	return open_new(c, true);
}

int session_open(struct ctl *c)
{
	int code = session_open_any(c);
	if (code == 0 && c->session->version > QUEUE_PROTOCOL_VERSION)
		code = ctl_fail(CTL_CONFIG, "the queue has protocol version %lld, this program knows %d",
				(long long)c->session->version, QUEUE_PROTOCOL_VERSION);
	return code;
}

void session_close(struct ctl *c)
{
	struct session *s = c->session;
	if (s == NULL)
		return;
	queue_close(s->queue);
	for (struct pending *p = s->pending, *next; p != NULL; p = next) {
		next = p->next;
		free(p);
	}
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->sigint, NULL);
	uv_close((uv_handle_t *)&s->sigterm, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	secret_free(s->password);
	free(s);
	c->session = NULL;
}

/* --- waiting ---------------------------------------------------------------------------------- */

void session_watch(struct ctl *c)
{
	uv_signal_start(&c->session->sigint, on_signal, SIGINT);
	uv_signal_start(&c->session->sigterm, on_signal, SIGTERM);
}

void session_sleep(struct ctl *c, uint64_t ms)
{
	struct session *s = c->session;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_timer, ms, 0);
	while (uv_is_active((uv_handle_t *)&s->timer) && !s->interrupted)
		uv_run(&s->loop, UV_RUN_ONCE);
	uv_timer_stop(&s->timer);
}

bool session_input(struct ctl *c, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	while (!c->session->interrupted && poll(&p, 1, IDLE_MS) <= 0)
		uv_run(&c->session->loop, UV_RUN_NOWAIT);
	/* Also a signal that came with the last input. */
	uv_run(&c->session->loop, UV_RUN_NOWAIT);
	return !c->session->interrupted;
}

bool session_up_again(struct ctl *c, uint64_t patience_ms)
{
	struct session *s = c->session;
	uv_update_time(&s->loop);
	if (patience_ms > 0)
		uv_timer_start(&s->timer, on_timer, patience_ms, 0);
	while (!queue_is_up(s->queue) && !s->interrupted &&
	       (patience_ms == 0 || uv_is_active((uv_handle_t *)&s->timer)))
		uv_run(&s->loop, UV_RUN_ONCE);
	uv_timer_stop(&s->timer);
	return queue_is_up(s->queue) && !s->interrupted;
}

struct span session_key(struct ctl *c, const char *suffix)
{
	struct session *s = c->session;
	char *key = s->key[s->key_at++ % SESSION_KEYS];
	int n = snprintf(key, SESSION_KEY_SIZE, "{%s}:%s", s->name, suffix);
	BUG_ON(n < 0 || n >= SESSION_KEY_SIZE);
	return span_str(key);
}
