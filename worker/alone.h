/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that no other process of this name lives on this kernel, so that a worker that was killed and started again
 * need not wait for the lease of the one before it.
 *
 * The kernel gives an abstract unix socket's name to one socket at a time within a network namespace, and takes it
 * back when the last process that has the socket is gone, however it ended. Who holds the name that is made of queue
 * and worker name is therefore the only one of them here; a process that is merely stopped still holds it.
 *
 * "Here" is the kernel since its boot, and the network namespace. Both together are the `machine` that a worker joins
 * the queue with. Of two workers with one name and one machine the first is gone; with different machines nothing is
 * known of it. Machines that were cloned while they ran would share a boot id: give their workers different names.
 */
#ifndef WORKER_ALONE_H
#define WORKER_ALONE_H

#include "worker/base/buf.h"

#define ALONE_MACHINE_SIZE 33 /* hex and NUL */

/* Claims the name for the rest of the process's life and writes the machine; "" when another process has the name, or
 * when the kernel does not say where we are. */
void alone_claim(const char *queue, const char *worker, char ret_machine[ALONE_MACHINE_SIZE]);

#endif
