/* SPDX-License-Identifier: Apache-2.0 */
/* The filter as a program, for this architecture and another that this machine cannot run: its verdict is the kernel's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "worker/sandbox.h"

#define NSM_REQUEST 0xC0200A00UL
#define PAGE        4096

static const struct sandbox_options enclave = { .vsock = true, .nsm = true };
static const struct sandbox_options threads = { .inet = true, .resolve = true, .threads = true };

struct program {
	uint32_t arch;
	size_t n;
	struct sock_filter at[4096];
};

static void load_program(const struct sandbox_options *o, uint32_t arch, struct program *p)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(sandbox_export(o, arch, fileno(f)), ERR_OK);
	rewind(f);
	p->arch = arch;
	p->n = fread(p->at, sizeof(p->at[0]), sizeof(p->at) / sizeof(p->at[0]), f);
	fclose(f);
	assert_in_range(p->n, 10, sizeof(p->at) / sizeof(p->at[0]) - 1);
}

static bool jumps(const struct sock_filter *i, uint32_t a)
{
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return a == i->k;
	case BPF_JGT:
		return a > i->k;
	case BPF_JGE:
		return a >= i->k;
	case BPF_JSET:
		return (a & i->k) != 0;
	default:
		fail();
		return false;
	}
}

/* The instructions that libseccomp writes, as the kernel reads them. */
static uint32_t verdict(const struct program *p, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter *i = &p->at[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_in_range(i->k, 0, sizeof(*d) - sizeof(a));
			memcpy(&a, (const uint8_t *)d + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			assert_int_equal(BPF_CLASS(i->code), BPF_JMP);
			pc += jumps(i, a) ? i->jt : i->jf;
		}
	}
	fail();
	return 0;
}

static uint32_t ask(const struct program *p, const char *name, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct seccomp_data d = { .arch = p->arch, .args = { a0, a1, a2 } };

	d.nr = seccomp_syscall_resolve_name_arch(p->arch, name);
	assert_true(d.nr >= 0);
	return verdict(p, &d);
}

#define ALLOWED(name, ...) assert_int_equal(ask(p, name, __VA_ARGS__), SECCOMP_RET_ALLOW)
#define KILLED(name, ...)  assert_int_equal(ask(p, name, __VA_ARGS__), SECCOMP_RET_KILL_PROCESS)

/* All that the enclave's worker does, and what it may not, on both
 * architectures. */
static void check_enclave(const struct program *p)
{
	static const char *const calls[] = { "read",        "write",    "sendto",     "recvfrom",      "epoll_ctl",
					     "epoll_pwait", "ppoll",    "futex",      "accept4",       "getrandom",
					     "munmap",      "unlinkat", "exit_group", "clock_gettime", "rt_sigreturn",
					     "connect",     "close",    "brk" };
	static const char *const none[] = { "execve",
					    "execveat",
					    "ptrace",
					    "process_vm_readv",
					    "bind",
					    "listen",
					    "unshare",
					    "mount",
					    "setuid",
					    "kill",
					    "bpf",
					    "clone",
					    "clone3",
					    "prctl",
					    "seccomp",
					    "renameat2",
					    "mkdirat",
					    "symlinkat",
					    "io_uring_setup",
					    "openat2",
					    "userfaultfd",
					    "perf_event_open",
					    "init_module",
					    "socketpair",
					    "dup3",
					    "shmat",
					    "personality",
					    "fchmodat",
					    "memfd_create",
					    "pidfd_getfd" };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		ALLOWED(calls[i], 0, 0, 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		KILLED(none[i], 0, 0, 0);
	ALLOWED("openat", 0, 0, O_RDONLY | O_CLOEXEC);
	ALLOWED("openat", 0, 0, 0xffffffff00000000); /* the kernel drops the upper half too */
	KILLED("openat", 0, 0, O_WRONLY);
	KILLED("openat", 0, 0, O_RDWR);
	KILLED("openat", 0, 0, 3);
	KILLED("openat", 0, 0, O_CREAT);
	KILLED("openat", 0, 0, O_TRUNC);
	ALLOWED("socket", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ALLOWED("socket", AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	KILLED("socket", AF_UNIX, SOCK_SEQPACKET, 0);
	KILLED("socket", AF_VSOCK, SOCK_DGRAM, 0);
	KILLED("socket", AF_INET, SOCK_STREAM, 0);
	KILLED("socket", AF_NETLINK, SOCK_RAW, 0);
	KILLED("socket", AF_PACKET, SOCK_RAW, 0);
	ALLOWED("ioctl", 3, FIONBIO, 0);
	ALLOWED("ioctl", 3, NSM_REQUEST, 0);
	KILLED("ioctl", 3, NSM_REQUEST + 1, 0);
	KILLED("ioctl", 3, FIONREAD, 0);
	ALLOWED("mmap", 0, PAGE, PROT_READ | PROT_WRITE);
	KILLED("mmap", 0, PAGE, PROT_READ | PROT_EXEC);
	ALLOWED("mprotect", 0, PAGE, PROT_NONE);
	KILLED("mprotect", 0, PAGE, PROT_EXEC);
	ALLOWED("prlimit64", 0, RLIMIT_CORE, 0);
	KILLED("prlimit64", 0, RLIMIT_CORE, 1ULL << 32);
	ALLOWED("setsockopt", 3, SOL_SOCKET, SO_LINGER);
	KILLED("setsockopt", 3, SOL_SOCKET, SO_ATTACH_FILTER);
	KILLED("setsockopt", 3, IPPROTO_IP, 64); /* IPT_SO_SET_REPLACE */
}

/* Every number: what is allowed without a look at its arguments is on the list,
 * and nothing else is. */
static unsigned count_open_calls(const struct program *p)
{
	unsigned n = 0;

	for (int nr = 0; nr < 1024; nr++) {
		struct seccomp_data d = { .arch = p->arch, .nr = nr };

		memset(d.args, 0xff, sizeof(d.args));
		n += verdict(p, &d) == SECCOMP_RET_ALLOW;
	}
	return n;
}

static void check_foreign(const struct program *p, uint32_t arch, int nr)
{
	const struct seccomp_data d = { .arch = arch, .nr = nr };

	assert_int_equal(verdict(p, &d), SECCOMP_RET_KILL_PROCESS);
}

static void test_program(void **state)
{
	static struct program p;

	(void)state;
	load_program(&enclave, SCMP_ARCH_X86_64, &p);
	check_enclave(&p);
	assert_in_range(count_open_calls(&p), 50, 70);
	check_foreign(&p, AUDIT_ARCH_I386, 3);            /* read() there */
	check_foreign(&p, AUDIT_ARCH_AARCH64, 63);        /* and there */
	check_foreign(&p, AUDIT_ARCH_X86_64, 0x40000000); /* x32 */
	check_foreign(&p, AUDIT_ARCH_X86_64, -1);
	load_program(&enclave, SCMP_ARCH_AARCH64, &p);
	check_enclave(&p);
	assert_in_range(count_open_calls(&p), 40, 60);
	check_foreign(&p, AUDIT_ARCH_ARM, 3);
	check_foreign(&p, AUDIT_ARCH_X86_64, 0);
}

/* Threads of glibc, and nothing that looks almost like one. */
static void test_program_threads(void **state)
{
	static const uint32_t archs[] = { SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64 };
	const uint64_t thread = 0x3d0f00; /* glibc 2.36, pthread_create() */
	static struct program program;
	const struct program *p = &program;

	(void)state;
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
		load_program(&threads, archs[i], &program);
		ALLOWED("clone", thread, 0, 0);
		KILLED("clone", thread | CLONE_NEWNS, 0, 0);
		KILLED("clone", thread | CLONE_NEWUSER, 0, 0);
		KILLED("clone", thread | CLONE_PTRACE, 0, 0);
		KILLED("clone", thread & ~(uint64_t)CLONE_THREAD, 0, 0);
		KILLED("clone", CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0);
		KILLED("clone", SIGCHLD, 0, 0);
		assert_int_equal(ask(p, "clone3", 0, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
		KILLED("execve", 0, 0, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_program_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
