/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof that no other process of this name lives on this kernel, so that a worker that was killed and started again
 * need not wait for the lease of the one before it.
 *
 * The kernel gives an abstract unix socket's name to one socket at a time within a network namespace, and takes it
 * back when the last process that has the socket is gone, however it ended. Who holds the name that is made of the
 * server's address, the queue and the worker's name is therefore the only one of them here; a process that is merely
 * stopped still holds it.
 *
 * "Here" is the kernel since its boot, and the network namespace. Both together, with the server's address as the
 * worker dials it, are the `machine` that it joins the queue with. Of two workers with one name and one machine the
 * first is gone; with different machines nothing is known of it. So the address must be in both: queues of one name on
 * two servers do not stand in each other's way, and who dials one server by two addresses waits for the lease. Machines
 * that were cloned while they ran would share a boot id: give their workers different names.
 */
#ifndef WORKER_ALONE_H
#define WORKER_ALONE_H

#include "worker/base/buf.h"

#define ALONE_MACHINE_SIZE 33 /* hex and NUL */

/* Claims the name for the rest of the process's life and writes the machine; "" when another process has the name, or
 * when the kernel does not say where we are. server: its address as configured. */
void alone_claim(const char *server, const char *queue, const char *worker, char ret_machine[ALONE_MACHINE_SIZE]);

#endif
