/* SPDX-License-Identifier: Apache-2.0 */
/* What was published of the number of workers, and publishing it (PROTOCOL.md, 6.12). */
#ifndef OPS_CWCCTL_SCALE_STATE_H
#define OPS_CWCCTL_SCALE_STATE_H

#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/scale.h"

#define SCALE_WHO_SIZE 160
#define SCALE_AT_SIZE  24

struct scale_published {
	struct depth_scale scale;
	struct scale_state state;
	char at[SCALE_AT_SIZE]; /* as it stands; "0": nothing was published */
	char who[SCALE_WHO_SIZE];
	char why[32];
};

/* 0 with what stands there, which may be nothing; or the exit status after a report as of session_call(). */
int scale_state_read(struct ctl *c, struct scale_published *ret_p);

/* host:process and a random word: of this run alone. */
void scale_state_name(char ret_who[SCALE_WHO_SIZE]);

enum scale_publish {
	SCALE_PUBLISHED,
	SCALE_OTHER, /* somebody else speaks for all */
	SCALE_FAILED /* Redis did not answer; reported unless the session is quiet */
};
/* Becomes or stays the speaker for ttl_ms. On SCALE_OTHER its name is in ret_other. */
enum scale_publish scale_state_lead(struct ctl *c, const char *who, int64_t ttl_ms, char ret_other[SCALE_WHO_SIZE]);
/* Publishes behind what p->at names, and sets that anew. */
enum scale_publish scale_state_publish(struct ctl *c, const char *who, const struct scale_answer *a,
				       const struct scale_state *s, unsigned running, struct scale_published *p);
void scale_state_resign(struct ctl *c, const char *who);

#endif
