/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What surrounds the worker inside an enclave: a network interface that only reaches itself, a directory of its own,
 * and a process with as few rights as it can start with.
 *
 * The kernel gives the enclave's first program to root. The worker needs two things of that: to open the security
 * module, whose device is given to its user; and CAP_SYS_ADMIN, without which the kernel takes no entropy from anybody
 * (RNDADDENTROPY, random(4)). All other capabilities leave the bounding set, no program gives any back
 * (no_new_privs), and what is left the worker gives up by itself when the entropy is in, before it reads the first byte
 * of a peer (worker/sandbox.h).
 */
#ifndef OPS_IMAGE_CHILD_H
#define OPS_IMAGE_CHILD_H

#include <sys/types.h>

#include "worker/base/err.h"

struct child_options {
	char **argv;     /* ends with NULL; [0] is the path */
	uid_t user;      /* 0: stays who we are, with what we may do */
	int output;      /* becomes standard output and error */
	const char *nsm; /* the device that is given to the user, if it is there */
};

/* Up with the loopback interface. Without it nothing is lost that the worker uses today. ERR_IO. */
ERR_MUST_CHECK enum err child_loopback(void);
/* DIR (0755) and in it `cwc-worker` (0700, the user's): http.bridge_dir of the worker. Both may exist. ERR_IO. */
ERR_MUST_CHECK enum err child_directories(const char *dir, uid_t user);
/* ERR_IO: no process; what keeps it from becoming the program ends it with status 71 (EX_OSERR). */
ERR_MUST_CHECK enum err child_start(const struct child_options *o, pid_t *ret_pid);

#endif
