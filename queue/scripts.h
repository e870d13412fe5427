/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripts of queue/lua as text. embed.sh writes the table: each script with lib.lua in front
 * of it (and enqueue.lua in front of take.lua), named as its file. Redis computes the SHA1 when
 * it loads them.
 */
#ifndef QUEUE_SCRIPTS_H
#define QUEUE_SCRIPTS_H

#include <stddef.h>

struct queue_script {
	const char *name;
	const char *text;
	size_t length;
};

extern const struct queue_script queue_scripts[];
extern const size_t queue_scripts_count;

#endif
