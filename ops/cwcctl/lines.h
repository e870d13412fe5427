/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input of letters: JSON lines, or one JSON object that goes over many lines. Which of the two it
 * is, the first line tells: when an object is still open at its end, the whole input is one.
 *
 * The input is read with read(2) into a buffer that is wiped; blank lines are passed over. A line
 * of more than LINES_MAX bytes is reported and passed over.
 */
#ifndef OPS_CWCCTL_LINES_H
#define OPS_CWCCTL_LINES_H

#include "ops/cwcctl/ctl.h"

#define LINES_MAX ((size_t)1 << 20)

struct lines {
	int fd;
	const char *name;    /* for messages */
	uint64_t size, read; /* bytes: of a regular file (else 0); taken so far */
	unsigned number;     /* of the line, from 1 */
	bool regular;
	/* Called before a read that would wait; may set `stop`, and the input ends here. May be NULL. */
	void (*idle)(void *arg);
	void *idle_arg;
	bool stop;

	struct buf data;
	size_t at;
	bool eof, seen, too_long;
};

enum lines_result {
	LINES_LINE,
	LINES_TOO_LONG, /* line `number` was passed over */
	LINES_END,
	LINES_FAILED /* errno */
};

/* FILE, or "-" for standard input; 0, or the exit status after a report. */
int lines_open(struct lines *l, const char *file);
/* *ret_line is valid until the next call. */
enum lines_result lines_next(struct lines *l, struct span *ret_line);
/* Back to the start; only for regular files. */
void lines_rewind(struct lines *l);
void lines_close(struct lines *l);

#endif
