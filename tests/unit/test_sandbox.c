/* SPDX-License-Identifier: Apache-2.0 */
/* Children enter the sandbox and make one call each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/sandbox.h"

/* An enclave's; a host's with numbers and with names; with libcurl's threads. */
static const struct sandbox_options enclave = { .vsock = true, .nsm = true };
static const struct sandbox_options numbers = { .inet = true };
static const struct sandbox_options names = { .inet = true, .resolve = true };
static const struct sandbox_options threads = { .inet = true, .resolve = true, .threads = true };

/* --- one call -------------------------------------------------------------------------------- */

#define LIVES   0 /* whatever the call said: it was made */
#define DIES    (-SIGSYS)
#define OUTSIDE 200 /* the filter could not be entered */

struct row {
	const char *what;
	int enclave, numbers, names, threads; /* LIVES, DIES, or the errno with which the filter refuses */
	long number, arg[5];
};

#define NONE(what) what, DIES, DIES, DIES, DIES
#define ALL(what)  what, LIVES, LIVES, LIVES, LIVES
#define CALL(name, ...)     \
	SYS_##name,         \
	{                   \
		__VA_ARGS__ \
	}
#define SOCKET(f, type, ...) CALL(socket, f, (type) | SOCK_CLOEXEC | SOCK_NONBLOCK, __VA_ARGS__)
#define OPEN(flags)          CALL(openat, AT_FDCWD, (long)null, flags, 0600)
#define ANON                 (MAP_PRIVATE | MAP_ANONYMOUS)

static const char null[] = "/dev/null", nowhere[] = "/dev/null/nowhere";
static char byte[8], *const argv[] = { byte, NULL };
static struct iovec vec = { byte, sizeof(byte) };
static const struct rlimit limit = { 1, 1 };
/* A page of our own, to ask for other rights of. */
static _Alignas(65536) char page[65536];

static const struct row rows[] = {
	{ NONE("execve"), CALL(execve, (long)nowhere, (long)argv, (long)(argv + 1)) },
	{ NONE("execveat"), CALL(execveat, AT_FDCWD, (long)nowhere, (long)argv, (long)(argv + 1), 0) },
	{ NONE("fork"), CALL(clone, SIGCHLD) },
	{ NONE("vfork, as the C library makes it"), CALL(clone, CLONE_VFORK | SIGCHLD) },
	{ NONE("clone with a name space"), CALL(clone, CLONE_NEWUSER | SIGCHLD) },
	{ NONE("unshare"), CALL(unshare, CLONE_NEWUSER) },
	{ "clone3", DIES, DIES, DIES, ENOSYS, CALL(clone3, 0, 0) },
	{ NONE("ptrace"), CALL(ptrace, PTRACE_TRACEME) },
	{ NONE("process_vm_readv"), CALL(process_vm_readv, 1, (long)&vec, 1, (long)&vec, 1) },
	{ NONE("process_vm_writev"), CALL(process_vm_writev, 1, (long)&vec, 1, (long)&vec, 1) },
	{ NONE("kill"), CALL(kill, 0, 0) },
	{ NONE("tgkill of another"), CALL(tgkill, 1, 1, SIGABRT) },
	{ NONE("bpf"), CALL(bpf, 0, 0, 0) },
	{ NONE("prctl: dumpable again"), CALL(prctl, PR_SET_DUMPABLE, 1) },
	{ NONE("seccomp"), CALL(seccomp, 0, 0, 0) },
	{ NONE("setuid"), CALL(setuid, 0) },
	{ NONE("a limit is set"), CALL(prlimit64, 0, RLIMIT_CORE, (long)&limit, 0) },
	{ ALL("a limit is read"), CALL(prlimit64, 0, RLIMIT_CORE, 0, 0) },
#ifdef __x86_64__
	{ NONE("a number of x32"), 0x40000000L | SYS_getpid, { 0 } },
	{ NONE("vfork"), CALL(vfork, 0) },
	{ NONE("the old open, for writing"), CALL(open, (long)null, O_WRONLY) },
	{ ALL("the old open, for reading"), CALL(open, (long)null, O_RDONLY) },
	{ NONE("creat"), CALL(creat, (long)nowhere, 0600) },
#endif
	{ ALL("open for reading"), OPEN(O_RDONLY | O_CLOEXEC | O_NONBLOCK) },
	{ NONE("open for writing"), OPEN(O_WRONLY) },
	{ NONE("open for both"), OPEN(O_RDWR | O_CLOEXEC) },
	{ NONE("open O_CREAT"), OPEN(O_RDONLY | O_CREAT) },
	{ NONE("open O_TRUNC"), OPEN(O_RDONLY | O_TRUNC) },
	{ NONE("open O_APPEND"), OPEN(O_RDONLY | O_APPEND) },
	{ NONE("open O_PATH"), OPEN(O_PATH) },
	{ NONE("open O_TMPFILE"), OPEN(O_TMPFILE | O_RDWR) },
	{ NONE("rename"), CALL(renameat2, AT_FDCWD, (long)nowhere, AT_FDCWD, (long)nowhere, 0) },
	{ NONE("mkdir"), CALL(mkdirat, AT_FDCWD, (long)nowhere, 0700) },
	{ NONE("chmod"), CALL(fchmodat, AT_FDCWD, (long)nowhere, 0600) },
	{ NONE("ftruncate"), CALL(ftruncate, -1, 0) },
	{ NONE("mount"), CALL(mount, 0, (long)nowhere, 0, 0, 0) },
	{ ALL("unlink"), CALL(unlinkat, AT_FDCWD, (long)nowhere, 0) },
	{ NONE("a copy of a descriptor"), CALL(fcntl, 0, F_DUPFD_CLOEXEC, 10) },
	{ NONE("an unexpected family"), SOCKET(AF_ALG, SOCK_SEQPACKET, 0) },
	{ NONE("AF_PACKET"), SOCKET(AF_PACKET, SOCK_RAW, 0) },
	{ "AF_NETLINK", DIES, DIES, EAFNOSUPPORT, EAFNOSUPPORT, SOCKET(AF_NETLINK, SOCK_RAW, 0) },
	{ NONE("AF_NETLINK, audit"), SOCKET(AF_NETLINK, SOCK_RAW, 9) },
	{ NONE("a raw socket"), SOCKET(AF_INET, SOCK_RAW, IPPROTO_ICMP) },
	{ NONE("a raw socket, IPv6"), SOCKET(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6) },
	{ NONE("SCTP"), SOCKET(AF_INET, SOCK_STREAM, IPPROTO_SCTP) },
	{ ALL("AF_UNIX"), SOCKET(AF_UNIX, SOCK_STREAM, 0) },
	{ ALL("AF_UNIX, a datagram"), SOCKET(AF_UNIX, SOCK_DGRAM, 0) },
	{ "AF_VSOCK", LIVES, DIES, DIES, DIES, SOCKET(AF_VSOCK, SOCK_STREAM, 0) },
	{ "TCP", DIES, LIVES, LIVES, LIVES, SOCKET(AF_INET, SOCK_STREAM, 0) },
	{ "TCP by its number", DIES, LIVES, LIVES, LIVES, SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP) },
	{ "TCP, IPv6", DIES, LIVES, LIVES, LIVES, SOCKET(AF_INET6, SOCK_STREAM, 0) },
	{ "UDP", DIES, DIES, LIVES, LIVES, SOCKET(AF_INET, SOCK_DGRAM, 0) },
	{ "socketpair", DIES, DIES, DIES, LIVES, CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, (long)byte) },
	{ NONE("bind"), CALL(bind, -1, (long)byte, 2) },
	{ NONE("listen"), CALL(listen, -1, 1) },
	{ ALL("SO_LINGER"), CALL(setsockopt, -1, SOL_SOCKET, SO_LINGER, (long)byte, 8) },
	{ NONE("SO_ATTACH_FILTER"), CALL(setsockopt, -1, SOL_SOCKET, SO_ATTACH_FILTER, (long)byte, 8) },
	{ NONE("the packet filter"), CALL(setsockopt, -1, IPPROTO_IP, 64, (long)byte, 8) },
	{ ALL("FIONBIO"), CALL(ioctl, -1, FIONBIO, (long)byte) },
	{ "the NSM", LIVES, DIES, DIES, DIES, CALL(ioctl, -1, 0xC0200A00L, 0) },
	{ NONE("almost the NSM"), CALL(ioctl, -1, 0xC0200A01L, 0) },
	{ NONE("the NSM's number, another direction"), CALL(ioctl, -1, 0x0A00L, 0) },
	{ NONE("a foreign ioctl"), CALL(ioctl, -1, TIOCGWINSZ, (long)byte) },
	{ "FIONREAD", DIES, DIES, LIVES, LIVES, CALL(ioctl, -1, FIONREAD, (long)byte) },
	{ ALL("memory"), CALL(mmap, 0, sizeof(page), PROT_READ | PROT_WRITE, ANON, -1) },
	{ ALL("memory out of reach"), CALL(mprotect, (long)page, sizeof(page), PROT_NONE) },
	{ "mmap PROT_EXEC", DIES, DIES, EPERM, EPERM, CALL(mmap, 0, sizeof(page), PROT_READ | PROT_EXEC, ANON, -1) },
	{ NONE("mprotect PROT_EXEC"), CALL(mprotect, (long)page, sizeof(page), PROT_READ | PROT_EXEC) },
	{ NONE("memory with a name"), CALL(memfd_create, (long)byte, 0) },
	{ "a thread begins", LIVES, DIES, DIES, LIVES, CALL(set_robust_list, 0, 0) },
	{ NONE("a number that is none"), 999, { 0 } },
};

/* The end of a child. The sanitizers' _exit() looks for leaks first, with calls of its own. */
static void leave(int status)
{
	syscall(SYS_exit_group, status);
}

/* In the child: LIVES, or the errno that is asked for. */
static int make(const struct row *r, int wanted)
{
	const long *a = r->arg;
	long rc = syscall(r->number, a[0], a[1], a[2], a[3], a[4], 0L);

	if (wanted <= 0)
		return LIVES;
	return rc == -1 ? errno : OUTSIDE + 1;
}

/* The child's exit status, or minus the signal that ended it. */
static int fate(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void each(const struct sandbox_options *o, const int *first)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int want = *(const int *)((const char *)&rows[i] + ((const char *)first - (const char *)&rows[0])), got;
		pid_t pid = fork();

		if (pid == 0)
			leave(sandbox_enter(o) == ERR_OK ? make(&rows[i], want) : OUTSIDE);
		got = fate(pid);
		if (got != want)
			print_error("%s: %d, not %d\n", rows[i].what, got, want);
		wrong += got != want;
	}
	assert_int_equal(wrong, 0);
}

static void test_enclave(void **state)
{
	(void)state;
	each(&enclave, &rows[0].enclave);
}

static void test_numbers(void **state)
{
	(void)state;
	each(&numbers, &rows[0].numbers);
}

static void test_names(void **state)
{
	(void)state;
	each(&names, &rows[0].names);
}

static void test_threads(void **state)
{
	(void)state;
	each(&threads, &rows[0].threads);
}

/* The sanitizers' threads and abort() make calls of their own. The same test runs without them too. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* What making the engine takes, and nothing else; and that it is over when the second filter is there. */
static const struct row opening_rows[] = {
	{ "bind", LIVES, DIES, 0, 0, CALL(bind, -1, (long)byte, 2) },
	{ "listen", LIVES, DIES, 0, 0, CALL(listen, -1, 1) },
	{ "mkdir 0700", LIVES, DIES, 0, 0, CALL(mkdirat, AT_FDCWD, (long)nowhere, 0700) },
	{ "mkdir 0755", DIES, DIES, 0, 0, CALL(mkdirat, AT_FDCWD, (long)nowhere, 0755) },
	{ "fchmod 0600", LIVES, DIES, 0, 0, CALL(fchmod, -1, 0600) },
	{ "fchmod 0644", DIES, DIES, 0, 0, CALL(fchmod, -1, 0644) },
	{ "chmod 0600", LIVES, DIES, 0, 0, CALL(fchmodat, AT_FDCWD, (long)nowhere, 0600) },
	{ "chmod 0666", DIES, DIES, 0, 0, CALL(fchmodat, AT_FDCWD, (long)nowhere, 0666) },
	{ "socketpair", LIVES, DIES, 0, 0, CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, (long)byte) },
	{ "socketpair of another family", DIES, DIES, 0, 0, CALL(socketpair, AF_TIPC, SOCK_STREAM, 0, (long)byte) },
	{ "a filter", LIVES, DIES, 0, 0, CALL(seccomp, SECCOMP_SET_MODE_FILTER, 0, 0) },
	{ "the strict mode", DIES, DIES, 0, 0, CALL(seccomp, 0, 0, 0) },
	{ "prctl", DIES, DIES, 0, 0, CALL(prctl, PR_SET_DUMPABLE, 1) },
	{ "execve", DIES, DIES, 0, 0, CALL(execve, (long)nowhere, (long)argv, (long)(argv + 1)) },
	{ "open for writing", DIES, DIES, 0, 0, OPEN(O_WRONLY) },
	{ "open for reading", LIVES, LIVES, 0, 0, OPEN(O_RDONLY) },
	{ "TCP", DIES, DIES, 0, 0, SOCKET(AF_INET, SOCK_STREAM, 0) },
};

/* `enclave` is the column of the first filter, `numbers` that of both. */
static void test_opening(void **state)
{
	const struct sandbox_options o = { .vsock = true, .nsm = true, .opening = true };
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(opening_rows) / sizeof(opening_rows[0]); i++) {
		const struct row *r = &opening_rows[i / 2];
		bool narrow = i % 2 != 0;
		int want = narrow ? r->numbers : r->enclave, got;
		pid_t pid = fork();

		if (pid == 0) {
			bool in = sandbox_enter(&o) == ERR_OK && (!narrow || sandbox_narrow(&o) == ERR_OK);

			leave(in ? make(r, want) : OUTSIDE);
		}
		got = fate(pid);
		if (got != want)
			print_error("%s%s: %d, not %d\n", r->what, narrow ? ", narrowed" : "", got, want);
		wrong += got != want;
	}
	assert_int_equal(wrong, 0);
}

/* --- more than one call ---------------------------------------------------------------------- */

typedef int act(void);

static int outcome(const struct sandbox_options *o, act *try)
{
	pid_t pid = fork();

	if (pid == 0)
		leave(sandbox_enter(o) == ERR_OK ? try() : OUTSIDE);
	return fate(pid);
}

static int try_status(void)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return EIO;
	text[n] = '\0';
	return strstr(text, "\nSeccomp:\t2\n") != NULL && strstr(text, "\nNoNewPrivs:\t1\n") != NULL ? 0 : EPERM;
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(outcome(&enclave, try_status), 0);
}

/* A filter does not see where connect() leads to. The family of the socket does not let it go elsewhere. */
static int try_connect(void)
{
	const struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	return connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno == EINVAL ? 0 : EISCONN;
}

static void test_connect(void **state)
{
	(void)state;
	assert_int_equal(outcome(&enclave, try_connect), 0);
}

static int try_abort(void)
{
	abort();
}

/* The end of a worker whose own invariant is broken must look like one. */
static void test_abort(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	assert_int_equal(outcome(&enclave, try_abort), -SIGABRT);
}

static void *run(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static int try_thread(void)
{
	int ran = 0;
	pthread_t t;
	int rc = pthread_create(&t, NULL, run, &ran);

	if (rc == 0)
		rc = pthread_join(t, NULL);
	return rc != 0 ? rc : ran == 1 ? 0 : EINVAL;
}

static void test_new_thread(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	assert_int_equal(outcome(&threads, try_thread), 0);
	assert_int_equal(outcome(&names, try_thread), DIES);
	assert_int_equal(outcome(&enclave, try_thread), DIES);
}

static int go[2];

static void *disobey(void *arg)
{
	char c;

	(void)arg;
	if (read(go[0], &c, 1) == 1)
		(void)!open(null, O_WRONLY);
	return NULL;
}

static int with_older_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, disobey, NULL) != 0 || sandbox_enter(&enclave) != ERR_OK)
		return OUTSIDE;
	if (write(go[1], "x", 1) == 1)
		poll(NULL, 0, 10000); /* the thread's death ends this */
	return LIVES;
}

/* Threads that were there before are bound too, and take the process with them. */
static void test_older_threads(void **state)
{
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0)
		leave(with_older_thread());
	assert_int_equal(fate(pid), DIES);
	close(go[0]);
	close(go[1]);
}

/* A kernel without filters, as far as the library can see. */
static bool take_seccomp_away(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	const struct scmp_arg_cmp set = SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP);
	bool ok = ctx != NULL && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0) == 0 &&
		  seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &set) == 0;

	ok = ok && seccomp_load(ctx) == 0;
	seccomp_release(ctx);
	return ok;
}

static void test_no_filters(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		leave(take_seccomp_away() ? (int)sandbox_enter(&enclave) : OUTSIDE);
	assert_int_equal(fate(pid), ERR_CONFIG);
}

/* --- what is asked for ----------------------------------------------------------------------- */

static struct sandbox_options need(const char *text)
{
	struct sandbox_options o = { 0 };
	struct addr a;
	const char *rule;

	assert_int_equal(addr_parse(span_str(text), &a, &rule), ERR_OK);
	sandbox_need(&o, &a);
	return o;
}

static void test_needs(void **state)
{
	struct sandbox_options o = need("unix:/run/x");
	const struct addr empty = { 0 };

	(void)state;
	assert_false(o.inet || o.vsock || o.resolve || o.threads || o.nsm);
	o = need("vsock:3:8443");
	assert_true(o.vsock);
	assert_false(o.inet || o.resolve || o.threads);
	o = need("tcp:127.0.0.1:6379");
	assert_true(o.inet);
	assert_false(o.resolve || o.threads || o.vsock);
	o = need("tcp:[::1]:6379");
	assert_false(o.resolve);
	o = need("tcp:redis.example.org:6379");
	assert_true(o.inet && o.resolve);
	assert_false(o.threads);
	sandbox_need(&o, &empty);
	assert_true(o.inet && o.resolve && o.threads);
	o = (struct sandbox_options){ 0 };
	sandbox_need(&o, NULL);
	assert_true(o.inet && o.resolve && o.threads);
}

static int no_dumps(void **state)
{
	const struct rlimit none = { 0, 0 };

	(void)state;
	return setrlimit(RLIMIT_CORE, &none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enclave),    cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_names),      cmocka_unit_test(test_threads),
		cmocka_unit_test(test_opening),    cmocka_unit_test(test_status),
		cmocka_unit_test(test_connect),    cmocka_unit_test(test_abort),
		cmocka_unit_test(test_new_thread), cmocka_unit_test(test_older_threads),
		cmocka_unit_test(test_no_filters), cmocka_unit_test(test_needs),
	};

	return cmocka_run_group_tests(tests, no_dumps, NULL);
}
