/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded in front of redis-server (LD_PRELOAD): says how much of each file a loss of power would leave. Each fsync()
 * and fdatasync() that succeeds adds a line `inode size` to the file that SYNCED_LOG names: the size from before the
 * call, since what is written meanwhile need not be on the disk. Tests cut the files down to that after a kill -9.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int sync_and_tell(int fd, const char *name)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	struct stat before;
	if (fstat(fd, &before) != 0 || real(fd) != 0)
		return -1;
	const char *path = getenv("SYNCED_LOG");
	int log = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log >= 0) {
		dprintf(log, "%llu %llu\n", (unsigned long long)before.st_ino, (unsigned long long)before.st_size);
		close(log);
	}
	return 0;
}

int fdatasync(int fd)
{
	return sync_and_tell(fd, "fdatasync");
}

int fsync(int fd)
{
	return sync_and_tell(fd, "fsync");
}
