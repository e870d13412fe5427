/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters into the queue: XADDs in a window of WINDOW outstanding ones. An XADD whose answer was
 * lost with the connection is sent again with the same bytes, which intake knows as a duplicate; so
 * a letter is never added twice, and none is reported as added that is not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/input.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/clock.h"

#define WINDOW      128
#define TRIES_MAX   5
#define PATIENCE_MS 15000
#define PROGRESS_US 100000
#define BAR         30
#define BUSY_MS     300
#define SECOND_US   INT64_C(1000000)

struct entry {
	struct enqueue *q;
	bool used, again;
	bool generated;
	unsigned line, tries;
	char sid[JOB_SID_MAX + 1], offices[LETTER_OFFICES_SIZE];
	struct buf job;
	unsigned priority;
	int64_t expires_us, not_before_us;
};

struct enqueue {
	struct ctl *c;
	struct input in;
	struct entry entry[WINDOW];
	unsigned in_flight, added, failed, last; /* last: line that was begun */
	bool busy;                               /* some answer said so */
	bool fatal; /* Redis is away, full or refuses: the next letters would fare the same */
	bool progress;
	int64_t started_us, shown_us;
};

/* --- progress --------------------------------------------------------------------------------- */

static void progress_clear(const struct enqueue *q)
{
	if (q->progress)
		fputs("\r\x1b[K", stderr);
}

static void progress_show(struct enqueue *q)
{
	int64_t now = clock_boot_us();
	if (!q->progress || now - q->shown_us < PROGRESS_US)
		return;
	q->shown_us = now;
	double seconds = (double)(now - q->started_us + 1) / (double)SECOND_US;
	char bar[BAR + 1] = "";
	if (q->in.lines.size > 0) {
		uint64_t full = q->in.lines.read * BAR / q->in.lines.size;
		memset(bar, ' ', BAR);
		memset(bar, '#', full > BAR ? BAR : full);
	}
	fprintf(stderr, "\r%s%s%s%u letters, %.0f/s \x1b[K", bar[0] ? "[" : "", bar, bar[0] ? "] " : "", q->added,
		(double)q->added / seconds);
	fflush(stderr);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void print_added(const struct enqueue *q, const struct entry *e, struct span id)
{
	if (q->c->json) {
		json_t *o = json_pack("{s:i, s:s, s:s}", "line", (int)e->line, "sid", e->sid, "offices", e->offices);
		json_object_set_new(o, "id", out_string(id));
		out_line(o);
	} else if (e->generated) {
		/* Nobody knows this sid yet. */
		progress_clear(q);
		printf("%s %s\n", e->sid, e->offices);
	}
}

static void print_bad(void *arg, unsigned line, struct span why)
{
	const struct enqueue *q = arg;
	if (!q->c->json)
		return;
	while (why.n > 0 && why.p[why.n - 1] == '\n')
		why.n--;
	json_t *o = json_pack("{s:i}", "line", (int)line);
	json_object_set_new(o, "error", out_string(why));
	out_line(o);
}

static void entry_end(struct entry *e)
{
	buf_clear(&e->job);
	e->used = e->again = false;
	e->q->in_flight--;
}

static void entry_failed(struct entry *e, enum err err, struct span text)
{
	struct enqueue *q = e->q;
	char why[256];
	snprintf(why, sizeof(why), "sid %s: %s: %s%s%.*s", e->sid, err_name(err), err_text(err), text.n > 0 ? ": " : "",
		 (int)(text.n > 120 ? 120 : text.n), text.n > 0 ? (const char *)text.p : "");
	q->failed++;
	q->fatal = true;
	progress_clear(q);
	ctl_complain("%s:%u: %s%s", q->in.lines.name, e->line, why,
		     err == ERR_QUEUE_LOST ? "; it may have been added: use the same sid again" : "");
	print_bad(q, e->line, span_str(why));
	entry_end(e);
}

static void on_answer(void *arg, enum err err, const struct resp_reply *r)
{
	struct entry *e = arg;
	if (err == ERR_OK) {
		e->q->added++;
		print_added(e->q, e, resp_text(r));
		entry_end(e);
	} else if ((err == ERR_QUEUE_LOST || err == ERR_QUEUE_BUSY) && e->tries < TRIES_MAX) {
		e->again = true;
		e->q->busy = e->q->busy || err == ERR_QUEUE_BUSY;
	} else {
		entry_failed(e, err, r != NULL ? r->text : span_of(NULL, 0));
	}
}

/* --- the window ------------------------------------------------------------------------------- */

static void entry_send(struct entry *e)
{
	struct queue_enqueue x = {
		.sid = span_str(e->sid),
		.offices = span_str(e->offices),
		.job = span_buf(&e->job),
		.priority = e->priority,
		.expires_us = e->expires_us,
		.not_before_us = e->not_before_us,
	};
	e->again = false;
	e->tries++;
	queue_enqueue(e->q->c->session->queue, &x, on_answer, e);
}

/* Sends again what the connection lost, when it is back; else gives those up. */
static void send_again(struct enqueue *q)
{
	bool wanted = false;
	for (unsigned i = 0; i < WINDOW; i++)
		wanted = wanted || (q->entry[i].used && q->entry[i].again);
	if (!wanted)
		return;
	if (q->busy)
		session_sleep(q->c, BUSY_MS);
	q->busy = false;
	bool up = session_up_again(q->c, PATIENCE_MS);
	for (unsigned i = 0; i < WINDOW; i++) {
		struct entry *e = &q->entry[i];
		if (!e->used || !e->again)
			continue;
		if (up)
			entry_send(e);
		else
			entry_failed(e, ERR_QUEUE_LOST, span_of(NULL, 0));
	}
}

/* Runs until at most `left` are outstanding. */
static void pump(struct enqueue *q, unsigned left)
{
	while (q->in_flight > left) {
		uv_run(&q->c->session->loop, UV_RUN_ONCE);
		send_again(q);
		progress_show(q);
	}
}

/* What came is added before more is waited for; whoever types it may interrupt instead. */
static void on_idle(void *arg)
{
	struct enqueue *q = arg;
	pump(q, 0);
	out_flush();
	q->in.lines.stop = q->fatal || !session_input(q->c, q->in.lines.fd);
}

static void entry_start(struct enqueue *q)
{
	const struct letter *l = &q->in.letter;
	pump(q, WINDOW - 1);
	unsigned i = 0;
	while (q->entry[i].used)
		i++;
	struct entry *e = &q->entry[i];
	q->last = q->in.lines.number;
	*e = (struct entry){ .q = q, .used = true, .generated = l->generated, .line = q->in.lines.number };
	memcpy(e->sid, l->sid, sizeof(e->sid));
	letter_offices(l, e->offices);
	buf_init(&e->job, JOB_MAX);
	buf_add_span(&e->job, span_buf(&q->in.job));
	e->priority = l->priority;
	e->expires_us = (int64_t)l->expires_s * SECOND_US;
	e->not_before_us = (int64_t)l->not_before_s * SECOND_US;
	q->in_flight++;
	entry_send(e);
	/* Answers that are there already; does not wait. */
	uv_run(&q->c->session->loop, UV_RUN_NOWAIT);
	progress_show(q);
}

/* --- the command ------------------------------------------------------------------------------ */

static void summary(const struct enqueue *q)
{
	double seconds = (double)(clock_boot_us() - q->started_us) / (double)SECOND_US;
	unsigned bad = q->in.bad + q->failed;
	progress_clear(q);
	if (q->c->json)
		return;
	fprintf(stderr, "%u letter%s added", q->added, q->added == 1 ? "" : "s");
	if (bad > 0)
		fprintf(stderr, ", %u line%s not", bad, bad == 1 ? "" : "s");
	fprintf(stderr, " (%.2f s)\n", seconds);
}

static int run(struct enqueue *q)
{
	int code = input_check(&q->in);
	if (code == 0)
		code = session_open(q->c);
	if (code != 0)
		return code;
	q->started_us = clock_boot_us();
	q->in.lines.idle = on_idle;
	q->in.lines.idle_arg = q;
	session_watch(q->c);
	while (!q->c->session->interrupted && !q->fatal && input_next(&q->in, &code))
		entry_start(q);
	pump(q, 0);
	summary(q);
	/* Not those that a kill would leave in the buffer: nobody else knows these sids. */
	out_flush();
	if (q->c->session->interrupted || (q->fatal && code == 0))
		ctl_complain("stopped: what comes after line %u was not added", q->last);
	if (code != 0)
		return code;
	if (q->c->session->interrupted && q->failed == 0)
		return CTL_NO;
	if (q->failed > 0)
		return CTL_UNAVAILABLE;
	if (q->in.bad > 0)
		return CTL_NO;
	return q->added > 0 ? CTL_OK : ctl_fail(CTL_NO, "%s: no letter", q->in.lines.name);
}

int cmd_enqueue(struct ctl *c)
{
	struct enqueue *q = xcalloc(1, sizeof(*q));
	q->c = c;
	q->progress = isatty(STDERR_FILENO) && !c->json;
	int code = input_open(c, c->arg[0], ctl_has(c, OPT_SIGNER), &q->in);
	q->in.on_bad = print_bad;
	q->in.arg = q;
	if (code == 0)
		code = run(q);
	input_close(&q->in);
	for (unsigned i = 0; i < WINDOW; i++)
		buf_clear(&q->entry[i].job);
	free(q);
	return code;
}
