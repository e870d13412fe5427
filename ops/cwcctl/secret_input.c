/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/secret_input.h"

#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "worker/base/secret.h"

/* --- a file ----------------------------------------------------------------------------------- */

static int from_file(const char *file, size_t max, char **ret_secret)
{
	enum err e = secret_file(file, max, ret_secret);

	if (e == ERR_OK)
		return 0;
	return ctl_fail(CTL_CONFIG, "%s: %s", file,
			e == ERR_CONFIG ? "it must be a file of ours with mode 0600, and not empty" : err_text(e));
}

/* --- standard input --------------------------------------------------------------------------- */

/* `open`: the signals that may end a wait; NULL: there is none to wait for. */
static bool readable(const sigset_t *open)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	return open == NULL || ppoll(&p, 1, NULL, open) == 1;
}

/* To the end, or with `open` to the end of a line; false when it cannot be read, has more than max bytes, or a NUL. The
 * room is of max + 1 bytes, and zeroed. */
static bool read_up(char *room, size_t max, const sigset_t *open)
{
	size_t n = 0;

	for (;;) {
		ssize_t got = readable(open) ? read(STDIN_FILENO, room + n, open != NULL ? 1 : max + 1 - n) : -1;

		if (got < 0)
			return false;
		if (got == 0 || (open != NULL && room[n] == '\n'))
			break;
		n += (size_t)got;
		if (n > max)
			return false;
	}
	while (n > 0 && (room[n - 1] == '\n' || room[n - 1] == '\r'))
		n--;
	sodium_memzero(room + n, max + 1 - n);
	/* It would end there. */
	return memchr(room, '\0', n) == NULL;
}

static int from_pipe(const char *name, size_t max, char **ret_secret)
{
	char *room = secret_alloc(max + 1);

	if (read_up(room, max, NULL) && room[0] != '\0') {
		*ret_secret = room;
		return 0;
	}
	secret_free(room);
	return ctl_fail(CTL_NO, "standard input: %s must have 1 to %zu printable bytes", name, max);
}

/* --- a terminal ------------------------------------------------------------------------------- */

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
#define ENDING (sizeof(ending) / sizeof(ending[0]))
static volatile sig_atomic_t got_signal;

static void on_signal(int s)
{
	got_signal = s;
}

struct signals {
	struct sigaction before[ENDING], stop;
	sigset_t open; /* those that were let through before */
};

/* They come in while the program waits for a key, and at no other time: so the wait ends, and the terminal gets its
 * echo back before the program goes. */
static void catch_signals(struct signals *s)
{
	struct sigaction a = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
	sigset_t closed;

	got_signal = 0;
	(void)sigemptyset(&closed);
	for (size_t i = 0; i < ENDING; i++) {
		(void)sigaddset(&closed, ending[i]);
		(void)sigaction(ending[i], &a, &s->before[i]);
	}
	(void)sigaction(SIGTSTP, &ignore, &s->stop);
	(void)sigprocmask(SIG_BLOCK, &closed, &s->open);
}

static void leave_signals(const struct signals *s)
{
	for (size_t i = 0; i < ENDING; i++)
		(void)sigaction(ending[i], &s->before[i], NULL);
	(void)sigaction(SIGTSTP, &s->stop, NULL);
	if (got_signal != 0)
		(void)raise(got_signal);
	(void)sigprocmask(SIG_SETMASK, &s->open, NULL);
}

static bool prompt(const char *text, const char *name, const struct signals *s, char *room, size_t max)
{
	bool good;

	fprintf(stderr, "%s%s: ", name, text);
	good = read_up(room, max, &s->open);
	fputc('\n', stderr);
	return good;
}

static int from_terminal(const char *name, size_t max, char **ret_secret)
{
	char *first = secret_alloc(max + 1), *second = secret_alloc(max + 1);
	struct signals signals;
	struct termios echo, silent;
	bool read = false, same = false;

	catch_signals(&signals);
	if (tcgetattr(STDIN_FILENO, &echo) == 0) {
		silent = echo;
		silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
		if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0)
			read = prompt("", name, &signals, first, max) && prompt(", again", name, &signals, second, max);
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &echo);
	}
	leave_signals(&signals);
	same = read && sodium_memcmp(first, second, max + 1) == 0;
	secret_free(second);
	if (same && first[0] != '\0') {
		*ret_secret = first;
		return 0;
	}
	secret_free(first);
	return ctl_fail(CTL_NO, "%s %s", name,
			!read  ? "cannot be read, or is too long"
			: same ? "is empty"
			       : "was not the same twice");
}

int secret_input(const char *file, const char *name, size_t max, char **ret_secret)
{
	if (strcmp(file, "-") != 0)
		return from_file(file, max, ret_secret);
	return isatty(STDIN_FILENO) ? from_terminal(name, max, ret_secret) : from_pipe(name, max, ret_secret);
}
