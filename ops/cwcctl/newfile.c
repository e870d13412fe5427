/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4096

static int failed(const char *file)
{
	return ctl_fail(CTL_NO, "%s: %s", file,
			errno == EEXIST ? "it is there already, and is not written over" : strerror(errno));
}

/* "." for a name without a folder. */
static void folder_of(const char *file, char ret_folder[PATH_ROOM])
{
	const char *slash = strrchr(file, '/');
	size_t n = slash == NULL ? 0 : slash == file ? 1 : (size_t)(slash - file);

	if (n == 0 || n >= PATH_ROOM) {
		memcpy(ret_folder, ".", 2);
		return;
	}
	memcpy(ret_folder, file, n);
	ret_folder[n] = '\0';
}

int newfile_check(const struct ctl *c)
{
	const char *file = c->opt[OPT_OUTPUT];
	char folder[PATH_ROOM];
	struct stat st;

	if (file == NULL || file[0] == '\0')
		return ctl_fail(CTL_USAGE, "--output is needed: the file to write");
	if (lstat(file, &st) == 0) {
		errno = EEXIST;
		return failed(file);
	}
	folder_of(file, folder);
	return errno == ENOENT && access(folder, W_OK | X_OK) == 0 ? 0 : failed(file);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool write_all(int fd, struct span s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		s = span_of(s.p + n, s.n - (size_t)n);
	}
	return true;
}

/* mode 0644 whatever the umask says: the store's server reads it, too. */
static bool write_temporary(const char *name, struct span bytes)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	bool good;
	int why;

	if (fd < 0)
		return false;
	good = write_all(fd, bytes) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
	why = errno;
	if (close(fd) != 0 && good)
		return false;
	errno = why;
	return good;
}

/* The name is there after a crash, too. */
static bool sync_folder(const char *file)
{
	char folder[PATH_ROOM];
	int fd;
	bool good;

	folder_of(file, folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	good = fsync(fd) == 0;
	close(fd);
	return good;
}

/* Not every file system can rename without replacing; those that cannot can link. */
static bool name_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return true;
	if (errno != EINVAL && errno != ENOSYS)
		return false;
	return link(from, to) == 0 && unlink(from) == 0;
}

static int write_file(const char *file, struct span bytes, bool replace)
{
	char temporary[PATH_ROOM];
	/* No number of a process: in a container they come again, and one that was killed left its file. */
	int n = snprintf(temporary, sizeof(temporary), "%s.%08x.new", file, randombytes_random()), why;
	bool good;

	if (n < 0 || (size_t)n >= sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return failed(file);
	}
	good = write_temporary(temporary, bytes);
	if (!good && errno == EEXIST)
		return failed(temporary);
	good = good && (replace ? rename(temporary, file) == 0 : name_new(temporary, file));
	if (good)
		return sync_folder(file) ? 0 : failed(file);
	why = errno;
	(void)unlink(temporary);
	errno = why;
	return failed(file);
}

int newfile_write(const char *file, struct span bytes)
{
	return write_file(file, bytes, false);
}

int newfile_replace(const char *file, struct span bytes)
{
	return write_file(file, bytes, true);
}
