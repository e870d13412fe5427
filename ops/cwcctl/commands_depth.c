/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, the part of depth and of the number of workers. Words in backquotes become bold in the manual
 * page. */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)

const struct command ctl_commands_depth[] = {
	{
		"depth",
		"",
		"Show how much is in the queue",
		"Counts by chamber and in all, summed from the places where letters lie, all of one moment of the "
		"server. "
		"Each waiting letter is held by one cause at most: a person's hold, a worker's for the chamber's "
		"maintenance, another one of a worker (the receiver asked for time, or refuses us), a breaker, or a "
		"limit: "
		"what the rates do not let through in the next five minutes. What is left, with the letters at the "
		"door, "
		"is what more workers help with.\n\nWhat came and ended is of the last five minutes; how long it takes "
		"until all is empty, at that rate, is not known while nothing ends.\n\n--prometheus and --emf print "
		"the "
		"same as metrics; see `exporter` for a server.",
		BIT(WATCH) | BIT(PROMETHEUS) | BIT(EMF) | BIT(NAMESPACE),
		0,
		0,
		cmd_depth,
		{ { "cwcctl depth --json", "For scripts:" },
		  { "cwcctl depth --emf", "For the CloudWatch agent, each minute by a timer:" } },
	},
	{
		"exporter",
		"",
		"Serve the depth to Prometheus",
		"Answers GET /metrics with what `depth --prometheus` prints, and with the number of workers that "
		"`scale` "
		"published, if that is fresh. It runs on the host and needs no worker. While Redis is away it says "
		"cwcq_up 0 and nothing else, and goes on by itself.\n\nWhoever can connect may read it; there is "
		"nothing "
		"personal in it. Where it listens is printed once.",
		BIT(LISTEN),
		0,
		0,
		cmd_exporter,
		{ { "cwcctl exporter --listen unix:/run/cwc-exporter.sock",
		    "Behind a server that asks for a password:" } },
	},
	{
		"scale",
		"[FILE [HOST-FILE]]",
		"Say how many workers there should be",
		"For each chamber: the letters a second that are worth sending (the backlog that more workers help "
		"with, "
		"in --target-drain, or as many as come, but no more than the rate), times how long a POST takes, by "
		"the "
		"letters that a worker sends at a time, of which 70 % are planned for. All chambers together, rounded "
		"up, "
		"from --min to --max, and at least one while anything is open. Where a limit of Congress is the "
		"bottleneck more "
		"workers are not asked for.\n\nFILE is the measured configuration of the workers, HOST-FILE that of "
		"the "
		"host: their rates and concurrency count. Without them the rates are those that workers named in the "
		"queue "
		"last, and the concurrency is the default.\n\nMore workers at once; fewer one at a time, when fewer "
		"would "
		"have done for --stable, --cooldown after the last change, and when what is in flight fits into the "
		"others. "
		"When the queue cannot be read, the answer is that of before; never fewer because of an "
		"error.\n\n--watch "
		"and --publish write the answer into the queue: for `exporter`, and for the next call, which goes on "
		"from "
		"there. One of several that publish speaks for all; the others print what it said. --emf prints "
		"DesiredWorkers, RunningWorkers and DesiredPerRunning.",
		BIT(WATCH) | BIT(PUBLISH) | BIT(MIN) | BIT(MAX) | BIT(TARGET_DRAIN) | BIT(SLOTS) | BIT(LATENCY) |
			BIT(STABLE) | BIT(COOLDOWN) | BIT(EMF) | BIT(NAMESPACE),
		0,
		2,
		cmd_scale,
		{ { "cwcctl scale --max 8 --json", "How many, and why?" },
		  { "cwcctl scale --publish --emf --max 8", "For CloudWatch, each minute by a timer:" } },
	},
};
const size_t ctl_n_commands_depth = sizeof(ctl_commands_depth) / sizeof(ctl_commands_depth[0]);
