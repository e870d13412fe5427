/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `cwcctl top`: how the queue stands, on one screen.
 *
 * top_read() makes the state, top_draw() the text of it: state in, text out. The text is lines of at most `width`
 * columns, each ended by '\n', at most `height` of them; what has no room is left out from below, but the chambers
 * stay. Texts of the queue are cleaned: no byte of them reaches the terminal as a command.
 */
#ifndef OPS_CWCCTL_TOP_H
#define OPS_CWCCTL_TOP_H

#include "ops/cwcctl/ctl.h"

#define TOP_CHAMBERS  2
#define TOP_OFFICES   40
#define TOP_WORKERS   64
#define TOP_ACTS      10
#define TOP_NAME_SIZE 101
#define TOP_TEXT_SIZE 256
#define TOP_WIDTH_MIN 20
#define TOP_WIDTH_MAX 500

struct top_chamber {
	const char *name;
	int64_t waiting, held, held_rate, in_flight, later, scalable;
	int64_t used, allowed;     /* letters of the last whole minute, and how many might have gone; 0: not known */
	int64_t oldest_us;         /* 0: nothing waits */
	int64_t arrived, ended;    /* a minute */
	char state[TOP_TEXT_SIZE]; /* "" when all is well */
};

/* Those that are held, broken, or have the most letters. */
struct top_office {
	char code[8];
	int64_t waiting, in_flight, oldest_us;
	char trouble[TOP_TEXT_SIZE]; /* "" when there is none */
};

struct top_worker {
	char name[TOP_NAME_SIZE], state[16], version[32];
	int64_t holds, beat_us; /* how long ago; below 0: not known */
};

struct top_act {
	int64_t ago_us;
	char who[65], what[TOP_TEXT_SIZE];
};

struct top_state {
	char queue[TOP_NAME_SIZE], time[32];
	const char *away; /* why there is nothing newer than this; NULL: it is of now */
	int64_t door, door_oldest_us, dead, unknown, stuck, refused, results;
	int64_t n_alive, n_draining;
	struct top_chamber chamber[TOP_CHAMBERS];
	struct top_office office[TOP_OFFICES];
	size_t n_offices, more_offices; /* more: in trouble, but not among these */
	struct top_worker worker[TOP_WORKERS];
	size_t n_workers, more_workers;
	struct top_act act[TOP_ACTS];
	size_t n_acts;
};

/* Appends a frame. height 0: as long as it takes. colour: trouble is shown by ANSI colours, too. */
void top_draw(const struct top_state *t, unsigned width, unsigned height, bool colour, struct buf *out);

/* Reads all of it anew; false when there is none: reported, unless the connection is away, which is said in t->away. */
bool top_read(struct ctl *c, struct top_state *t);

#endif
