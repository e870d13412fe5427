/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts of people. Each is written to the stream `audit` by the script, with who did it: "user@host" of this process,
 * or "login(user)@host" for who logged in under another name and became this user, with sudo say. Nothing of it is
 * taken from the environment. With --who a name stands before it, which is this process's word alone: "name:user@host".
 * What is no plain character becomes '_': a '/' would make it a worker's name.
 */
#ifndef OPS_CWCCTL_ADMIN_H
#define OPS_CWCCTL_ADMIN_H

#include "ops/cwcctl/session.h"

/* The script ADMIN; the reply's first word says how it went. NULL after a report. */
struct resp_reply *admin_call(struct ctl *c, const char *verb, const char *a, const char *b, const char *arg_c);

/* For `audit`. */
#define ADMIN_WHO_SIZE 64
void admin_who(const struct ctl *c, char ret_who[ADMIN_WHO_SIZE]);

#endif
