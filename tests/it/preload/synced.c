/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded in front of redis-server (LD_PRELOAD): a disk that says how much of each file a loss of power would leave.
 * Each fsync() and fdatasync() adds a line `inode size` to the file that SYNCED_LOG names. Tests cut the files down to
 * that after a kill -9.
 *
 * Nothing else is done: no power is lost here, and while a sync of the real disk is slow, Redis puts writes off, so
 * that a mere kill takes some with it.
 *
 * While there is a file of the name in SYNCED_HOLD, no line is added: a disk that says that it has what it has not. So
 * the stretch that a loss of power takes is as long as the test wants, on a slow machine too. Not by making Redis wait:
 * after two seconds without an end of a sync it stops all writes, which is another trouble than the one to be tested.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int fdatasync(int fd)
{
	struct stat now;
	if (fstat(fd, &now) != 0)
		return -1;
	const char *path = getenv("SYNCED_LOG"), *hold = getenv("SYNCED_HOLD");
	/* One that is found just too late to be held tells a size from before the hold. */
	if (hold != NULL && access(hold, F_OK) == 0)
		return 0;
	int log = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log >= 0) {
		dprintf(log, "%llu %llu\n", (unsigned long long)now.st_ino, (unsigned long long)now.st_size);
		close(log);
	}
	return 0;
}

int fsync(int fd)
{
	return fdatasync(fd);
}
