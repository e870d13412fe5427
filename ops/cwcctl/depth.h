/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reading of DEPTH (PROTOCOL.md, 6.9), and its forms: JSON, Prometheus text, CloudWatch embedded metrics.
 *
 * A reading is a JSON object: the names of DEPTH as they come, those in microseconds as seconds under `_s`; `time`, the
 * server's; and what follows from them: c_arrival_rate and c_drain_rate (a second), c_eta_s (null while nothing ends);
 * c_post_p95_s is null while there were no POSTs.
 * There is a reading or there is none: nothing here ever stands in for one with zeros.
 */
#ifndef OPS_CWCCTL_DEPTH_H
#define OPS_CWCCTL_DEPTH_H

#include <jansson.h>

#include "ops/cwcctl/ctl.h"

#define DEPTH_HORIZON_US INT64_C(300000000)

/* NULL when there is none, after a report as session_script() gives it. horizon_us: how far `scalable` looks ahead. */
json_t *depth_read(struct ctl *c, int64_t horizon_us);
/* A number of the reading by chamber ("house", or "" for what is of none) and name; 0 when it has none. */
double depth_number(const json_t *reading, const char *chamber, const char *name);
/* The server's time of it. */
int64_t depth_at_us(const json_t *reading);

extern const char *const depth_chambers[2];

/* How many workers there should be, as published (PROTOCOL.md, 6.12). */
struct depth_scale {
	bool known;
	int64_t at_us;
	unsigned desired;
};
/* What is older than this says nothing any more: nobody reckons. */
#define DEPTH_SCALE_STALE_US INT64_C(300000000)
/* Nor does what is ahead by more than clocks may differ: that of the server has stepped back since. */
#define DEPTH_SCALE_AHEAD_US INT64_C(5000000)
bool depth_scale_fresh(const struct depth_scale *scale, int64_t now_us);

/* Prometheus text format 0.0.4. Without a reading (NULL): cwcq_up 0 and nothing else. Of `scale` only what is fresh at
 * the time of the reading is said. */
void depth_prometheus(const json_t *reading, const struct depth_scale *scale, struct buf *out);

#define DEPTH_NAMESPACE "CWC"
/* Prints a line for each chamber and one for the queue, in CloudWatch's embedded metric format. */
void depth_emf(const json_t *reading, const char *name_space, const char *queue);

/* The parts that such a line is made of, for whoever has other metrics. dimensions: an object of strings, metrics: an
 * object of numbers and their units, { "Waiting": [3, "Count"] }. Takes the references. */
void depth_emf_line(const char *name_space, int64_t at_us, json_t *dimensions, json_t *metrics);

#endif
