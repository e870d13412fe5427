/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/image/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_OSERR 71 /* sysexits.h */
#define FILES      4096

extern char **environ;

enum err child_loopback(void)
{
	struct ifreq lo = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up;

	if (fd < 0)
		return ERR_IO;
	up = ioctl(fd, SIOCGIFFLAGS, &lo) == 0;
	if (up && (lo.ifr_flags & IFF_UP) == 0) {
		lo.ifr_flags = (short)(lo.ifr_flags | IFF_UP);
		up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
	}
	(void)close(fd);
	return up ? ERR_OK : ERR_IO;
}

static bool directory(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return false;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && chmod(path, mode) == 0;
}

enum err child_directories(const char *dir, uid_t user)
{
	char own[256];
	int n = snprintf(own, sizeof(own), "%s/cwc-worker", dir);

	if (n < 0 || (size_t)n >= sizeof(own) || !directory(dir, 0755) || !directory(own, 0700))
		return ERR_IO;
	return user == 0 || chown(own, user, (gid_t)user) == 0 ? ERR_OK : ERR_IO;
}

/* --- in the new process ----------------------------------------------------------------------- */

/* At most what it is now: to raise it takes a capability that an enclave's first program has, and others have not. */
static bool limit(__rlimit_resource_t what, rlim_t value)
{
	const struct rlimit wanted = { .rlim_cur = value, .rlim_max = value };
	struct rlimit l;

	if (setrlimit(what, &wanted) == 0)
		return true;
	if (getrlimit(what, &l) != 0)
		return false;
	l.rlim_cur = l.rlim_max < value ? l.rlim_max : value;
	return setrlimit(what, &l) == 0;
}

/* Guarded memory is locked; nothing of it may ever become a file. */
static bool limits(void)
{
	return limit(RLIMIT_MEMLOCK, RLIM_INFINITY) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, FILES);
}

/* Older kernels have fewer capabilities, and say EINVAL of the others. */
static bool bound(void)
{
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (c != CAP_SYS_ADMIN && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0 && errno != EINVAL)
			return false;
	return true;
}

static bool keep_one(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	const __u32 bit = 1U << CAP_SYS_ADMIN;

	data[0] = (struct __user_cap_data_struct){ .effective = bit, .permitted = bit, .inheritable = bit };
	return syscall(SYS_capset, &head, data) == 0 &&
	       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) == 0;
}

static bool become(uid_t user, const char *nsm)
{
	gid_t group = (gid_t)user;

	if (user == 0)
		return true;
	if (nsm != NULL && chown(nsm, user, group) != 0 && errno != ENOENT)
		return false;
	return bound() && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setgroups(0, NULL) == 0 &&
	       setresgid(group, group, group) == 0 && setresuid(user, user, user) == 0 && keep_one();
}

static bool streams(int output)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return null >= 0 && dup2(null, STDIN_FILENO) == STDIN_FILENO && dup2(output, STDOUT_FILENO) == STDOUT_FILENO &&
	       dup2(output, STDERR_FILENO) == STDERR_FILENO;
}

static _Noreturn void be(const struct child_options *o)
{
	sigset_t none;

	sigemptyset(&none);
	if (!streams(o->output) || !limits() || !become(o->user, o->nsm) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		_exit(EXIT_OSERR);
	execve(o->argv[0], o->argv, environ);
	_exit(EXIT_OSERR);
}

enum err child_start(const struct child_options *o, pid_t *ret_pid)
{
	pid_t pid = fork();

	if (pid < 0)
		return ERR_IO;
	if (pid == 0)
		be(o);
	*ret_pid = pid;
	return ERR_OK;
}
