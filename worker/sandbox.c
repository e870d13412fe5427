/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

/* The kernel reads these arguments as 32 bits; what stands above is not its
 * business, nor ours. */
#define INT_BITS UINT32_MAX
/* socket(2): flags in the type. */
#define TYPE_BITS (INT_BITS & ~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))
/* _IOWR(0x0A, 0, struct nsm_raw) of linux/nsm.h, which is younger than the
 * kernel that serves it. */
#define NSM_REQUEST 0xC0200A00U
/* What open() may have beside O_RDONLY. O_LARGEFILE is 0 in the headers of
 * 64-bit architectures, not in their kernels. */
#define LARGEFILE 0100000
#define OPEN_FREE (O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | LARGEFILE)
/* pthread_create() of glibc: all of these, and nothing that makes a process or
 * a name space. */
#define THREAD_NEEDS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define THREAD_MAY   (CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

/* A list ends with NULL. */
static const char *const serving[] = {
	/* bytes */
	"read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "close", "shutdown", "lseek",
	/* connections */
	"connect", "accept", "accept4", "getsockopt", "getsockname", "getpeername",
	/* waiting */
	"epoll_ctl", "epoll_wait", "epoll_pwait", "poll", "ppoll", "futex", "nanosleep", "clock_nanosleep",
	"restart_syscall", "sched_yield",
	/* memory; mlock: guarded memory that is freed at the end */
	"brk", "munmap", "mremap", "madvise", "mlock", "munlock",
	/* time and chance; most of it is in the vDSO */
	"clock_gettime", "clock_getres", "gettimeofday", "time", "getrandom",
	/* signals, and what abort() needs beside tgkill() */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "getpid", "gettid",
	/* files that are read (certificates), and what glibc asks: qsort() wants
	 * the size of the memory, malloc() in a thread the number of processors */
	"fstat", "newfstatat", "stat", "statx", "sysinfo", "sched_getaffinity", "getuid", "geteuid", "getgid",
	"getegid",
	/* the end */
	"unlink", "unlinkat", "exit", "exit_group", NULL
};

static const char *const resolving[] = { "sendmmsg", "uname",    "access",     "faccessat",
					 "lstat",    "readlink", "readlinkat", NULL };

static const char *const starting_threads[] = { "set_robust_list", "rseq", NULL };

/* A filter in the making. */
struct filter {
	scmp_filter_ctx ctx;
	int rc; /* the first error */
};

static struct scmp_arg_cmp equal(unsigned arg, uint64_t value)
{
	return (struct scmp_arg_cmp){ .arg = arg, .op = SCMP_CMP_EQ, .datum_a = value };
}

static struct scmp_arg_cmp masked(unsigned arg, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){ .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value };
}

static void add(struct filter *f, uint32_t action, const char *name, const struct scmp_arg_cmp *cmp, unsigned n)
{
	/* The library keeps the numbers of the machine that it runs on, and those of no machine for calls that only
	 * others have; it translates them, and leaves out what the filter's architecture lacks. */
	int number = seccomp_syscall_resolve_name(name);

	/* Younger than the library, which cannot be built against a C library that calls it. */
	if (f->rc != 0 || number == __NR_SCMP_ERROR)
		return;
	f->rc = seccomp_rule_add_array(f->ctx, action, number, n, cmp);
}

static void allow(struct filter *f, const char *name)
{
	add(f, SCMP_ACT_ALLOW, name, NULL, 0);
}

static void allow_all(struct filter *f, const char *const *names)
{
	for (; *names != NULL; names++)
		allow(f, *names);
}

static void allow_if(struct filter *f, const char *name, struct scmp_arg_cmp cmp)
{
	add(f, SCMP_ACT_ALLOW, name, &cmp, 1);
}

/* --- the parts
 * -------------------------------------------------------------------------------
 */

static void allow_memory(struct filter *f, bool resolve)
{
	const struct scmp_arg_cmp executable = masked(2, PROT_EXEC, PROT_EXEC);

	allow_if(f, "mmap", masked(2, PROT_EXEC, 0));
	allow_if(f, "mprotect", masked(2, PROT_EXEC, 0));
	/* The resolver goes on without the module that it wanted. */
	if (resolve)
		add(f, SCMP_ACT_ERRNO(EPERM), "mmap", &executable, 1);
}

static void allow_files(struct filter *f)
{
	const uint64_t refused = INT_BITS & ~(uint32_t)OPEN_FREE;
	static const int commands[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL };

	allow_if(f, "open", masked(1, refused, O_RDONLY));
	allow_if(f, "openat", masked(2, refused, O_RDONLY));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		allow_if(f, "fcntl", masked(1, INT_BITS, (uint64_t)commands[i]));
	/* To ask for a limit, not to set one. */
	allow_if(f, "prlimit64", equal(2, 0));
}

static void allow_socket(struct filter *f, int family, int type, int protocol)
{
	const struct scmp_arg_cmp cmp[] = { masked(0, INT_BITS, (uint64_t)family), masked(1, TYPE_BITS, (uint64_t)type),
					    masked(2, INT_BITS, (uint64_t)protocol) };

	add(f, SCMP_ACT_ALLOW, "socket", cmp, 3);
}

static void allow_inet(struct filter *f, int type, int protocol)
{
	allow_socket(f, AF_INET, type, 0);
	allow_socket(f, AF_INET, type, protocol);
	allow_socket(f, AF_INET6, type, 0);
	allow_socket(f, AF_INET6, type, protocol);
}

/* getaddrinfo() wants to know the machine's own addresses, and does without. */
static void refuse_netlink(struct filter *f)
{
	const struct scmp_arg_cmp cmp[] = { masked(0, INT_BITS, AF_NETLINK), masked(1, TYPE_BITS, SOCK_RAW),
					    masked(2, INT_BITS, NETLINK_ROUTE) };

	add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", cmp, 3);
}

static void allow_sockets(struct filter *f, const struct sandbox_options *o)
{
	allow_socket(f, AF_UNIX, SOCK_STREAM, 0);
	allow_socket(f, AF_UNIX, SOCK_DGRAM, 0); /* the service manager */
	if (o->vsock)
		allow_socket(f, AF_VSOCK, SOCK_STREAM, 0);
	if (o->inet)
		allow_inet(f, SOCK_STREAM, IPPROTO_TCP);
	if (o->resolve) {
		allow_inet(f, SOCK_DGRAM, IPPROTO_UDP);
		refuse_netlink(f);
	}
}

static void allow_option(struct filter *f, int level, int name)
{
	const struct scmp_arg_cmp cmp[] = { masked(1, INT_BITS, (uint64_t)level), masked(2, INT_BITS, (uint64_t)name) };

	add(f, SCMP_ACT_ALLOW, "setsockopt", cmp, 2);
}

/* No SO_ATTACH_FILTER, no options of the packet filter. */
static void allow_options(struct filter *f, bool resolve)
{
	static const int names[] = { SO_LINGER, SO_KEEPALIVE, SO_REUSEADDR, SO_SNDBUF,
				     SO_RCVBUF, SO_SNDTIMEO,  SO_RCVTIMEO };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		allow_option(f, SOL_SOCKET, names[i]);
	allow_if(f, "setsockopt", masked(1, INT_BITS, IPPROTO_TCP));
	if (resolve) {
		allow_option(f, IPPROTO_IP, IP_RECVERR);
		allow_option(f, IPPROTO_IPV6, IPV6_RECVERR);
	}
}

static void allow_ioctl(struct filter *f, unsigned long request)
{
	allow_if(f, "ioctl", masked(1, INT_BITS, request));
}

static void allow_threads(struct filter *f)
{
	const uint64_t refused = INT_BITS & ~(uint32_t)THREAD_MAY;
	const struct scmp_arg_cmp pair[] = { masked(0, INT_BITS, AF_UNIX) };

	allow_if(f, "clone", masked(0, refused, THREAD_NEEDS));
	/* Its flags lie in memory, where no filter sees them. glibc then takes
	 * clone(). */
	add(f, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL, 0);
	/* libcurl's thread reports through one. */
	add(f, SCMP_ACT_ALLOW, "socketpair", pair, 1);
}

/* What making the engine takes: the bridges' sockets and their directory, libcurl's pair, the filter of serving. */
static void allow_opening(struct filter *f)
{
	const struct scmp_arg_cmp pair[] = { masked(0, INT_BITS, AF_UNIX) };

	allow(f, "bind");
	allow(f, "listen");
	allow(f, "lstat");
	allow_if(f, "mkdir", masked(1, INT_BITS, 0700));
	allow_if(f, "mkdirat", masked(2, INT_BITS, 0700));
	allow_if(f, "chmod", masked(1, INT_BITS, 0600));
	allow_if(f, "fchmod", masked(1, INT_BITS, 0600));
	allow_if(f, "fchmodat", masked(2, INT_BITS, 0600));
	add(f, SCMP_ACT_ALLOW, "socketpair", pair, 1);
	allow_if(f, "seccomp", masked(0, INT_BITS, SECCOMP_SET_MODE_FILTER));
}

/* abort(): the end of a worker whose own invariant is broken must look like
 * one. */
static void allow_abort(struct filter *f)
{
	const struct scmp_arg_cmp cmp[] = { masked(0, INT_BITS, (uint64_t)getpid()), masked(2, INT_BITS, SIGABRT) };

	add(f, SCMP_ACT_ALLOW, "tgkill", cmp, 2);
}

static void allow_what_is_needed(struct filter *f, const struct sandbox_options *o)
{
	allow_all(f, serving);
	allow_memory(f, o->resolve);
	allow_files(f);
	allow_sockets(f, o);
	allow_options(f, o->resolve);
	allow_abort(f);
	allow_ioctl(f, FIONBIO);
	if (o->nsm)
		allow_ioctl(f, NSM_REQUEST);
	/* With the device there is a thread for it, which may not have begun when the filter does. */
	if (o->nsm || o->threads)
		allow_all(f, starting_threads);
	if (o->resolve) {
		allow_ioctl(f, FIONREAD);
		allow_all(f, resolving);
	}
	if (o->threads)
		allow_threads(f);
	if (o->opening)
		allow_opening(f);
}

/* --- the whole
 * -------------------------------------------------------------------------------
 */

static void set(struct filter *f, enum scmp_filter_attr attribute, uint32_t value)
{
	if (f->rc == 0)
		f->rc = seccomp_attr_set(f->ctx, attribute, value);
}

static void choose_arch(struct filter *f, uint32_t arch)
{
	uint32_t native = seccomp_arch_native();

	if (arch == native)
		return;
	f->rc = seccomp_arch_remove(f->ctx, native);
	if (f->rc == 0)
		f->rc = seccomp_arch_add(f->ctx, arch);
}

static enum err build(const struct sandbox_options *o, uint32_t arch, scmp_filter_ctx *ret_ctx)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_KILL_PROCESS) };

	if (f.ctx == NULL)
		return ERR_CONFIG; /* or a kernel that only kills threads */
	choose_arch(&f, arch);
	set(&f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	set(&f, SCMP_FLTATR_CTL_NNP, 1);
	set(&f, SCMP_FLTATR_CTL_TSYNC, 1);
	set(&f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: old kernels run the program at each call */
	allow_what_is_needed(&f, o);
	if (f.rc == 0) {
		*ret_ctx = f.ctx;
		return ERR_OK;
	}
	seccomp_release(f.ctx);
	return ERR_CONFIG;
}

enum err sandbox_export(const struct sandbox_options *o, uint32_t arch, int fd)
{
	scmp_filter_ctx ctx;
	int rc;

	TRY(build(o, arch, &ctx));
	rc = seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	return rc == 0 ? ERR_OK : ERR_IO;
}

static void do_nothing(uv_work_t *work)
{
	(void)work;
}

/* The first work starts all threads of the pool. */
static enum err start_pool(void)
{
	uv_loop_t loop;
	uv_work_t work;
	bool started;

	if (uv_loop_init(&loop) != 0)
		return ERR_CONFIG;
	started = uv_queue_work(&loop, &work, do_nothing, NULL) == 0;
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return started ? ERR_OK : ERR_CONFIG;
}

static enum err load(scmp_filter_ctx ctx)
{
	int rc = seccomp_load(ctx);

	seccomp_release(ctx);
	return rc == 0 ? ERR_OK : ERR_CONFIG;
}

enum err sandbox_give_up_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	return syscall(SYS_capset, &head, none) == 0 ? ERR_OK : ERR_CONFIG;
}

enum err sandbox_enter(const struct sandbox_options *o)
{
	scmp_filter_ctx ctx;

	TRY(sandbox_give_up_capabilities());
	if (o->resolve || o->nsm)
		TRY(start_pool());
	TRY(build(o, seccomp_arch_native(), &ctx));
	return load(ctx);
}

enum err sandbox_narrow(const struct sandbox_options *o)
{
	struct sandbox_options serve = *o;
	scmp_filter_ctx ctx;

	serve.opening = false;
	TRY(build(&serve, seccomp_arch_native(), &ctx));
	/* That there are no new privileges was said by the first, and prctl() is not allowed any more. */
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0) != 0) {
		seccomp_release(ctx);
		return ERR_CONFIG;
	}
	return load(ctx);
}

void sandbox_need(struct sandbox_options *o, const struct addr *a)
{
	struct sockaddr_storage sa;
	socklen_t len;

	if (a == NULL || a->text[0] == '\0') {
		o->inet = o->resolve = o->threads = true;
		return;
	}
	o->vsock = o->vsock || a->kind == ADDR_VSOCK;
	o->inet = o->inet || a->kind == ADDR_TCP;
	o->resolve = o->resolve || addr_sockaddr(a, &sa, &len) == ERR_RESOLVE;
}
