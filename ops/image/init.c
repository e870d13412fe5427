/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwc-init: the measured program that an enclave starts, and that starts the worker.
 *
 * It brings up the loopback interface, reads the host configuration from the parent instance, starts the worker under
 * a user of its own, carries the worker's log lines to the parent (relay.h), and ends with the worker, upon which the
 * enclave ends: a worker that is restarted gets fresh memory, a fresh boot and fresh attestation documents.
 *
 * What comes from the parent is bounded bytes in a file; the worker's own parser says what a host may set.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ops/image/child.h"
#include "ops/image/relay.h"
#include "worker/base/clock.h"
#include "worker/base/log.h"
#include "worker/base/text.h"
#include "worker/version.h"

#define EXIT_USAGE  64
#define EXIT_OSERR  71
#define EXIT_CONFIG 78

#define ARGS_MAX      32
#define HOST_CONF_MAX 65536
#define HOST_WAIT_MS  60000 /* for the parent to serve the host configuration */
#define HOST_RETRY_MS 1000
#define FLUSH_MS      3000 /* for the last lines, when the worker has ended */
#define PIPE_BYTES    262144
#define USER_MAX      65534

struct init {
	struct addr log, host; /* text empty: none */
	const char *dir;
	uid_t user;
	char *worker[ARGS_MAX];
	int n_worker;
	char host_path[256];
	int pipe[2];
	int signals;
	pid_t pid;
	int status; /* of wait() */
	bool ended;
	struct relay relay;
};

static const char usage_text[] =
	"usage: cwc-init [--log ADDRESS] [--host-config ADDRESS] [--run DIR] [--user UID] -- WORKER ARGUMENT...\n"
	"\n"
	"Starts WORKER in an enclave: ARGUMENT..., and --host-config DIR/host.conf when there is one to be read.\n"
	"ADDRESS is vsock:3:PORT, or unix:/PATH. See ops/image/README.md.\n";

static int64_t now_ms(void)
{
	return clock_boot_us() / 1000;
}

static int failed(const char *reason, int error)
{
	log_event(LOG_INIT_FAILED, LOG_STR(F_REASON, reason), LOG_INT(F_ERRNO, error));
	return EXIT_OSERR;
}

/* --- the host configuration ------------------------------------------------------------------- */

static bool read_all(int fd, struct buf *b)
{
	const struct timeval wait = { .tv_sec = 5 };

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	for (;;) {
		uint8_t part[4096];
		ssize_t n = read(fd, part, sizeof(part));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			/* Cut off in the middle of a line is not all of it. */
			return n == 0 && buf_ok(b) == ERR_OK && b->n > 0 && b->p[b->n - 1] == '\n';
		buf_add(b, part, (size_t)n);
	}
}

static bool fetch_once(const struct addr *from, struct buf *b)
{
	int fd = relay_dial(from);
	bool good;

	if (fd < 0)
		return false;
	buf_reset(b);
	good = read_all(fd, b);
	(void)close(fd);
	return good;
}

static bool fetch(const struct addr *from, struct buf *b)
{
	const struct timespec pause = { .tv_sec = HOST_RETRY_MS / 1000 };
	int64_t until_ms = now_ms() + HOST_WAIT_MS;

	while (!fetch_once(from, b)) {
		if (now_ms() >= until_ms)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static bool save(const char *path, struct span s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	bool good = fd >= 0 && write(fd, s.p, s.n) == (ssize_t)s.n;

	if (fd >= 0)
		(void)close(fd);
	return good;
}

static int host_config(struct init *in)
{
	struct buf b;
	int n = snprintf(in->host_path, sizeof(in->host_path), "%s/host.conf", in->dir);
	int code = 0;

	if (in->host.text[0] == '\0')
		return 0;
	if (n < 0 || (size_t)n >= sizeof(in->host_path))
		return failed("run", ENAMETOOLONG);
	buf_init(&b, HOST_CONF_MAX);
	if (!fetch(&in->host, &b))
		code = failed("host_config", errno);
	else if (!save(in->host_path, span_buf(&b)))
		code = failed("run", errno);
	buf_clear(&b);
	if (code == 0) {
		static char option[] = "--host-config";

		in->worker[in->n_worker++] = option;
		in->worker[in->n_worker++] = in->host_path;
	}
	return code;
}

/* --- the worker's life ------------------------------------------------------------------------ */

static void carry(struct init *in)
{
	uint8_t bytes[16384];
	ssize_t n;

	while ((n = read(in->pipe[0], bytes, sizeof(bytes))) > 0)
		relay_add(&in->relay, span_of(bytes, (size_t)n));
	if (in->log.text[0] == '\0')
		buf_reset(&in->relay.lines);
	else
		relay_step(&in->relay, now_ms());
}

static void on_signals(struct init *in)
{
	struct signalfd_siginfo s;

	while (read(in->signals, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		if (s.ssi_signo == SIGCHLD)
			in->ended = in->ended || waitpid(in->pid, &in->status, WNOHANG) == in->pid;
		else if (!in->ended)
			(void)kill(in->pid, (int)s.ssi_signo);
	}
}

static void wait_for(struct init *in, int limit_ms)
{
	bool more = in->relay.fd >= 0 && !relay_idle(&in->relay);
	struct pollfd p[] = {
		{ .fd = in->signals, .events = POLLIN },
		{ .fd = in->pipe[0], .events = POLLIN },
		{ .fd = in->relay.fd, .events = (short)(POLLIN | (more ? POLLOUT : 0)) },
	};
	int wait_ms = in->log.text[0] == '\0' ? -1 : relay_wait_ms(&in->relay, now_ms());

	if (limit_ms >= 0 && (wait_ms < 0 || wait_ms > limit_ms))
		wait_ms = limit_ms;
	(void)poll(p, sizeof(p) / sizeof(p[0]), wait_ms);
}

static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void say_ended(int status)
{
	char how[32];

	(void)snprintf(how, sizeof(how), "%s:%d", WIFEXITED(status) ? "status" : "signal",
		       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	log_event(LOG_WORKER_ENDED, LOG_STR(F_CODE, how));
}

static void flush(struct init *in)
{
	int64_t until_ms = now_ms() + FLUSH_MS;

	if (in->log.text[0] == '\0')
		return;
	carry(in);
	while (!relay_idle(&in->relay) && now_ms() < until_ms) {
		wait_for(in, (int)(until_ms - now_ms()));
		carry(in);
	}
}

static int live(struct init *in)
{
	while (!in->ended) {
		wait_for(in, -1);
		on_signals(in);
		carry(in);
	}
	say_ended(in->status);
	flush(in);
	return exit_code(in->status);
}

static int start(struct init *in)
{
	const struct child_options o = {
		.argv = in->worker, .user = in->user, .output = in->pipe[1], .nsm = "/dev/nsm"
	};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return failed("signals", errno);
	in->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (in->signals < 0 || child_start(&o, &in->pid) != ERR_OK)
		return failed("process", errno);
	return 0;
}

/* Nobody who writes a line waits for whoever reads it. */
static bool open_pipe(struct init *in)
{
	if (pipe2(in->pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	(void)fcntl(in->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
	log_open(in->pipe[1], LOG_INFO, true);
	return true;
}

static int run(struct init *in)
{
	int code;

	relay_init(&in->relay, &in->log);
	if (!open_pipe(in))
		return EXIT_OSERR;
	log_event(LOG_INIT_STARTED, LOG_STR(F_VERSION, CWC_VERSION));
	if (child_loopback() != ERR_OK)
		log_event(LOG_INIT_FAILED, LOG_STR(F_REASON, "loopback"), LOG_INT(F_ERRNO, errno));
	code = child_directories(in->dir, in->user) == ERR_OK ? host_config(in) : failed("run", errno);
	if (code == 0)
		code = start(in);
	if (code == 0)
		code = live(in);
	else
		flush(in);
	relay_clear(&in->relay);
	return code;
}

/* --- arguments -------------------------------------------------------------------------------- */

static bool address(const char *text, struct addr *ret_addr)
{
	const char *rule;

	if (addr_parse(span_str(text), ret_addr, &rule) == ERR_OK && ret_addr->kind != ADDR_TCP)
		return true;
	fprintf(stderr, "cwc-init: an address must be vsock:CID:PORT or unix:/PATH\n");
	return false;
}

static bool option(struct init *in, int c)
{
	uint64_t n;

	switch (c) {
	case 'l':
		return address(optarg, &in->log);
	case 'H':
		return address(optarg, &in->host);
	case 'r':
		in->dir = optarg;
		return optarg[0] == '/';
	case 'u':
		if (text_uint(span_str(optarg), USER_MAX, &n) != ERR_OK || n == 0)
			return false;
		in->user = (uid_t)n;
		return true;
	default:
		return false;
	}
}

static int parse(int argc, char **argv, struct init *in)
{
	static const struct option longs[] = {
		{ "log", required_argument, NULL, 'l' },
		{ "host-config", required_argument, NULL, 'H' },
		{ "run", required_argument, NULL, 'r' },
		{ "user", required_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", longs, NULL)) != -1)
		if (!option(in, c))
			return EXIT_USAGE;
	/* Room for --host-config, its value and the NULL. */
	if (optind == argc || argc - optind > ARGS_MAX - 3 || argv[optind][0] != '/')
		return EXIT_USAGE;
	for (; optind < argc; optind++)
		in->worker[in->n_worker++] = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	static struct init in = { .dir = "/run", .pipe = { -1, -1 }, .signals = -1 };
	int code = parse(argc, argv, &in);

	if (code != 0) {
		fputs(usage_text, stderr);
		return code;
	}
	return run(&in);
}
