/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After start-up the worker gives up what it does not need: no new privileges,
 * and a seccomp filter that allows the system calls of serving and kills the
 * process on any other.
 *
 * Always allowed: to read, write, wait, take connections of sockets that listen
 * already, get memory that cannot be executed, open files for reading, remove a
 * file (the bridge's socket, at the end), end. socket() makes only streams of
 * the configured families, and AF_UNIX; ioctl() is FIONBIO and, with the
 * device, the NSM's. There is no execve, no new process, no bind, no ptrace, no
 * other process's memory, no change of user, limits or file system.
 *
 * Names (`resolve`) cost more: UDP, a few calls of the resolver. Modules of
 * nsswitch.conf cannot be loaded any more, so that names are found in
 * /etc/hosts and DNS alone; mmap for execution and the resolver's netlink
 * socket are refused with an error instead of a death. `threads` adds clone()
 * of threads; without it there is none, because libuv's pool is started before
 * the filter is.
 *
 * The engine is made when its keys and secrets are there, and those come over
 * sockets: through the store, KMS and a status server that anybody may ask. So
 * there are two filters. The first (`opening`) is there before the first byte
 * of a peer is read, and leaves what it takes to make the engine: to listen on
 * a socket, a directory of mode 0700, mode 0600, a pair of sockets, and the
 * second filter. That one takes these away; filters only add up, so that
 * nothing which the first forbids is ever allowed again.
 *
 * Calls are named, not numbered: what an architecture does not have is left out
 * there.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include "worker/base/addr.h"
#include "worker/base/err.h"

struct sandbox_options {
	bool inet;    /* an address of TCP is configured */
	bool vsock;   /* an address of vsock is configured */
	bool nsm;     /* the device is open */
	bool resolve; /* a name is looked up while serving */
	bool threads; /* libcurl looks it up, in a thread of its own */
	bool opening; /* sandbox_narrow() comes later */
};

/* Adds what dialling `a` needs. NULL, or an address without text: libcurl dials
 * the host of a URL by itself. */
void sandbox_need(struct sandbox_options *o, const struct addr *a);

/* Whatever a program was started with, such as the capability to credit entropy
 * (ops/image/child.h): what serves needs none. Only of the calling thread, and
 * of those that it makes from then on: each has sets of its own.
 * sandbox_enter() does it, too; a thread that is there before it does it
 * itself. ERR_CONFIG. */
enum err sandbox_give_up_capabilities(void);

/* Call last before the loop runs; also binds the threads that there are.
 * ERR_CONFIG: the kernel does not have seccomp filters; a worker in production
 * must not go on. Sanitizers and gcov make other calls at the end of the
 * process: a build with them lives under the filter, but dies when it exits. */
ERR_MUST_CHECK enum err sandbox_enter(const struct sandbox_options *o);

/* After sandbox_enter() with `opening`, which is not read here: the filter of
 * serving, on top of it. ERR_CONFIG. */
ERR_MUST_CHECK enum err sandbox_narrow(const struct sandbox_options *o);

/* The filter's program for an architecture (SCMP_ARCH_... of seccomp.h), as
 * struct sock_filter. For tests. */
ERR_MUST_CHECK enum err sandbox_export(const struct sandbox_options *o, uint32_t arch, int fd);

#endif
