/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `top` on a terminal: frames in the alternate screen, drawn anew each --watch seconds and when the size changes; q
 * ends it. Elsewhere plain frames, one behind the other. While Redis is away the last frame stays, and says so.
 *
 * However it ends, but by SIGKILL, the terminal is as it was; so it is while ^Z has stopped it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "ops/cwcctl/top.h"
#include "worker/base/clock.h"

#define LOOK_MS     100
#define WATCH_S     2
#define WATCH_MAX_S 3600
#define WIDTH_PLAIN 120 /* where there is no terminal */
#define FRAME_MAX   (1U << 20)

#define SCREEN_OPEN  "\x1b[?1049h\x1b[?25l"
#define SCREEN_CLOSE "\x1b[?25h\x1b[?1049l"
#define SCREEN_HOME  "\x1b[H"
#define LINE_REST    "\x1b[K"
#define SCREEN_REST  "\x1b[J"

struct top {
	struct ctl *c;
	bool terminal, keys; /* output to a terminal; keys can be read */
	struct termios before;
	unsigned width, height;
	struct top_state state;
	uint64_t frames, most; /* most 0: no end */
	int64_t period_us;
};

/* --- the terminal ----------------------------------------------------------------------------- */

/* True when it has changed. */
static bool look_at_size(struct top *x)
{
	struct winsize w;
	unsigned width = WIDTH_PLAIN, height = 0;
	if (x->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0) {
		width = w.ws_col;
		height = w.ws_row;
	}
	bool changed = width != x->width || height != x->height;
	x->width = width;
	x->height = height;
	return changed;
}

/* Whose terminal a signal gives back; and that it was stopped meanwhile, so that the screen is empty. */
static const struct top *shown;
static struct termios raw;
static volatile sig_atomic_t continued;

/* In handlers: what POSIX lets a handler call, and no more. */
static void put(const char *text, size_t n)
{
	if (write(STDOUT_FILENO, text, n) < 0)
		return; /* nobody looks any more */
}

static void give_back(void)
{
	put(SCREEN_CLOSE, sizeof(SCREEN_CLOSE) - 1);
	if (shown->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &shown->before);
}

static void on_end(int number)
{
	give_back();
	signal(number, SIG_DFL);
	raise(number); /* takes effect on return */
}

/* SIGSTOP, which also stops one that no shell looks after. */
static void on_stop(int number)
{
	int e = errno;
	(void)number;
	give_back();
	raise(SIGSTOP);
	if (shown->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	put(SCREEN_OPEN, sizeof(SCREEN_OPEN) - 1);
	continued = 1;
	errno = e;
}

static void handle_signals(const struct top *x)
{
	static const int ends[] = { SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	if (x != NULL)
		shown = x;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		signal(ends[i], x != NULL ? on_end : SIG_DFL);
	signal(SIGTSTP, x != NULL ? on_stop : SIG_DFL);
}

static void open_terminal(struct top *x)
{
	x->terminal = isatty(STDOUT_FILENO) == 1;
	x->keys = x->terminal && isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &x->before) == 0;
	if (x->keys) {
		raw = x->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
	}
	if (x->terminal)
		handle_signals(x);
	if (x->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	if (x->terminal)
		fputs(SCREEN_OPEN, stdout);
}

static void close_terminal(const struct top *x)
{
	if (x->terminal)
		fputs(SCREEN_CLOSE, stdout);
	fflush(stdout);
	if (x->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &x->before);
	if (x->terminal)
		handle_signals(NULL);
}

static bool wants_out(const struct top *x)
{
	char key[16];
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	if (!x->keys || poll(&p, 1, 0) != 1)
		return false;
	ssize_t n = read(STDIN_FILENO, key, sizeof(key));
	return n <= 0 || memchr(key, 'q', (size_t)n) != NULL || memchr(key, 'Q', (size_t)n) != NULL;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* On a terminal each line clears its rest, and the last has no line end: the screen would move. */
static void print(const struct top *x, struct span frame)
{
	if (!x->terminal) {
		fwrite(frame.p, 1, frame.n, stdout);
		fputc('\n', stdout);
		return;
	}
	fputs(SCREEN_HOME, stdout);
	for (size_t at = 0; at < frame.n;) {
		const uint8_t *end = memchr(frame.p + at, '\n', frame.n - at);
		size_t n = end != NULL ? (size_t)(end - frame.p) - at : frame.n - at;
		fwrite(frame.p + at, 1, n, stdout);
		at += n + 1;
		fputs(at < frame.n ? LINE_REST "\n" : LINE_REST, stdout);
	}
	fputs(SCREEN_REST, stdout);
}

static bool draw(struct top *x)
{
	struct buf frame;
	buf_init(&frame, FRAME_MAX);
	top_draw(&x->state, x->width, x->height, x->terminal, &frame);
	print(x, span_buf(&frame));
	buf_clear(&frame);
	return out_good();
}

static json_t *json_of(const struct top_state *t)
{
	json_t *chambers = json_array();
	for (size_t i = 0; i < TOP_CHAMBERS; i++) {
		const struct top_chamber *h = &t->chamber[i];
		json_array_append_new(chambers, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "chamber",
							  h->name, "waiting", (json_int_t)h->waiting, "held",
							  (json_int_t)h->held, "held_rate", (json_int_t)h->held_rate,
							  "in_flight", (json_int_t)h->in_flight, "later",
							  (json_int_t)h->later, "used", (json_int_t)h->used, "allowed",
							  (json_int_t)h->allowed, "state", h->state));
	}
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "queue", t->queue, "time", t->time, "in",
			 (json_int_t)t->door, "dead", (json_int_t)t->dead, "unknown", (json_int_t)t->unknown, "stuck",
			 (json_int_t)t->stuck, "workers", (json_int_t)t->n_alive, "chambers", chambers);
}

/* --- the loop --------------------------------------------------------------------------------- */

/* Until the next frame is due; false when it is over. */
static bool wait_next(struct top *x)
{
	int64_t due_us = clock_boot_us() + x->period_us;
	while (clock_boot_us() < due_us) {
		int64_t left_ms = (due_us - clock_boot_us()) / 1000 + 1;
		session_sleep(x->c, (uint64_t)(left_ms < LOOK_MS ? left_ms : LOOK_MS));
		if (x->c->session->interrupted || wants_out(x))
			return false;
		bool anew = look_at_size(x) || continued;
		continued = 0;
		if (anew && !draw(x))
			return false;
	}
	return true;
}

/* One frame: false when it is over. */
static bool frame(struct top *x, int *ret_code)
{
	struct session *s = x->c->session;
	if (top_read(x->c, &x->state)) {
		x->state.away = NULL;
		s->quiet = true; /* from now on a frame says it */
	} else if (s->interrupted) {
		return false;
	} else if (x->frames == 0 || (s->e != ERR_QUEUE_LOST && s->e != ERR_QUEUE_BUSY)) {
		*ret_code = s->code != 0 ? s->code : CTL_UNAVAILABLE;
		return false;
	} else {
		x->state.away = "Redis does not answer";
	}
	look_at_size(x);
	x->frames++;
	if (x->c->json) {
		out_line(json_of(&x->state));
		return out_good();
	}
	return draw(x);
}

static int run(struct top *x)
{
	int code = CTL_OK;
	if (!x->c->json)
		open_terminal(x);
	while (frame(x, &code) && (x->most == 0 || x->frames < x->most) && wait_next(x))
		;
	if (!x->c->json)
		close_terminal(x);
	return code;
}

int cmd_top(struct ctl *c)
{
	uint64_t seconds;
	struct top *x = xcalloc(1, sizeof(*x));
	int code = args_count(c, OPT_WATCH, WATCH_S, &seconds);
	if (code == 0)
		code = args_count(c, OPT_COUNT, 0, &x->most);
	if (code == 0 && seconds > WATCH_MAX_S)
		code = ctl_fail(CTL_USAGE, "--watch must be a number of seconds, at most an hour");
	if (code == 0)
		code = session_open_any(c);
	if (code == 0) {
		x->c = c;
		x->period_us = (int64_t)seconds * 1000000;
		session_watch(c);
		code = run(x);
	}
	free(x);
	return code;
}
