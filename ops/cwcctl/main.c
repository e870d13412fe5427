/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwcctl: everything that a person or a script does with the queue and its letters.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ops/cwcctl/ctl.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/secret.h"

/* Of standard input, output and error the ones that are closed: else a socket would get such a number, and Redis the
 * text that is for people. Nothing can be read from the one or written to the others. */
static void hold_places(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(CTL_INTERNAL);
}

int main(int argc, char **argv)
{
	static struct ctl c;
	hold_places();
	setenv("TZ", "UTC0", 1);
	tzset();
	/* libuv writes to sockets without MSG_NOSIGNAL; out.c raises the signal for a closed pipe. */
	signal(SIGPIPE, SIG_IGN);
	if (secret_init() != ERR_OK)
		return ctl_fail(CTL_INTERNAL, "the random generator cannot be had");
	int code = args_parse(argc, argv, &c);
	if (code != 0)
		return code;
	code = c.command->run(&c);
	session_close(&c);
	return out_finish(code);
}
