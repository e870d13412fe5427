/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cwcctl: everything that a person or a script does with the queue and its letters.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "ops/cwcctl/ctl.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/session.h"
#include "worker/base/secret.h"

int main(int argc, char **argv)
{
	static struct ctl c;
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
