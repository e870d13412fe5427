/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's notification protocol (sd_notify): one datagram to $NOTIFY_SOCKET.
 */
#ifndef WORKER_NOTIFY_H
#define WORKER_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=...". Does nothing without a manager; never blocks, never fails. */
void notify_send(const char *state);

#endif
