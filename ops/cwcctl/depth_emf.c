/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CloudWatch's embedded metric format: a log line that the CloudWatch agent hands on becomes metrics. `_aws` names the
 * time in milliseconds and, by namespace, the sets of dimensions and the metrics, whose values are members of the line
 * itself
 * ("Specification: Embedded metric format", Amazon CloudWatch User Guide).
 */
#include "ops/cwcctl/depth.h"
#include "ops/cwcctl/out.h"

static const struct metric {
	const char *metric, *unit, *name;
} of_chamber[] = {
	{ "Waiting", "Count", "waiting" },
	{ "Taken", "Count", "taken" },
	{ "InFlight", "Count", "begun" },
	{ "Delayed", "Count", "later" },
	{ "ToBeEnded", "Count", "close" },
	{ "HeldPause", "Count", "held_pause" },
	{ "HeldMaintenance", "Count", "held_maintenance" },
	{ "HeldReceiver", "Count", "held_receiver" },
	{ "HeldBreaker", "Count", "held_breaker" },
	{ "HeldRate", "Count", "held_rate" },
	{ "ScalableBacklog", "Count", "scalable" },
	{ "OldestWaitingAge", "Seconds", "oldest_s" },
	{ "OldestFreeAge", "Seconds", "oldest_free_s" },
	{ "OldestDelayedAge", "Seconds", "later_oldest_s" },
	{ "ArrivalRate", "Count/Second", "arrival_rate" },
	{ "DrainRate", "Count/Second", "drain_rate" },
	{ "TimeToEmpty", "Seconds", "eta_s" },
	{ "PostP95", "Seconds", "post_p95_s" },
	{ "BreakerOpen", "Count", "down" },
	{ "OfficesPaused", "Count", "offices_pause" },
	{ "OfficesBroken", "Count", "offices_breaker" },
	{ "Dead", "Count", "dead" },
	{ "Unknown", "Count", "unknown" },
};
static const struct metric of_queue[] = {
	{ "In", "Count", "in" },
	{ "OldestInAge", "Seconds", "in_oldest_s" },
	{ "Stuck", "Count", "stuck" },
	{ "Refused", "Count", "refused" },
	{ "Results", "Count", "results" },
	{ "Dead", "Count", "dead" },
	{ "Unknown", "Count", "unknown" },
	{ "Workers", "Count", "alive" },
	{ "IdleWorkers", "Count", "idle" },
};

/* CloudWatch's own shape: the sets of dimensions by name, the metrics by name and unit. */
static json_t *directive(const char *name_space, json_t *dimensions, json_t *metrics)
{
	json_t *names = json_array(), *list = json_array();
	for (void *at = json_object_iter(dimensions); at != NULL; at = json_object_iter_next(dimensions, at)) {
		json_array_append_new(names, json_string(json_object_iter_key(at)));
	}
	for (void *at = json_object_iter(metrics); at != NULL; at = json_object_iter_next(metrics, at)) {
		json_t *unit = json_array_get(json_object_iter_value(at), 1);
		json_array_append_new(list, json_pack("{s:s, s:O}", "Name", json_object_iter_key(at), "Unit", unit));
	}
	return json_pack("{s:s, s:[o], s:o}", "Namespace", name_space, "Dimensions", names, "Metrics", list);
}

void depth_emf_line(const char *name_space, int64_t at_us, json_t *dimensions, json_t *metrics)
{
	json_t *line = json_object();
	json_object_set_new(line, "_aws",
			    json_pack("{s:I, s:[o]}", "Timestamp", (json_int_t)(at_us / 1000), "CloudWatchMetrics",
				      directive(name_space, dimensions, metrics)));
	json_object_update(line, dimensions);
	for (void *at = json_object_iter(metrics); at != NULL; at = json_object_iter_next(metrics, at)) {
		json_t *value = json_array_get(json_object_iter_value(at), 0);
		json_object_set(line, json_object_iter_key(at), value);
	}
	out_line(line);
	json_decref(dimensions);
	json_decref(metrics);
}

static json_t *metrics_of(const json_t *reading, const char *chamber, const struct metric *m, size_t n)
{
	json_t *o = json_object();
	for (size_t i = 0; i < n; i++) {
		char key[64];
		snprintf(key, sizeof(key), "%s%s%s", chamber, chamber[0] != '\0' ? "_" : "", m[i].name);
		json_t *v = json_object_get(reading, key);
		/* A time to empty that does not exist is no metric. */
		if (json_is_number(v))
			json_object_set_new(o, m[i].metric, json_pack("[O, s]", v, m[i].unit));
	}
	return o;
}

void depth_emf(const json_t *reading, const char *name_space, const char *queue)
{
	int64_t at_us = depth_at_us(reading);
	for (size_t i = 0; i < 2; i++)
		depth_emf_line(
			name_space, at_us, json_pack("{s:s, s:s}", "queue", queue, "chamber", depth_chambers[i]),
			metrics_of(reading, depth_chambers[i], of_chamber, sizeof(of_chamber) / sizeof(of_chamber[0])));
	depth_emf_line(name_space, at_us, json_pack("{s:s}", "queue", queue),
		       metrics_of(reading, "", of_queue, sizeof(of_queue) / sizeof(of_queue[0])));
}
