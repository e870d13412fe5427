/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, the part of people's work: letters on which they must decide, workers, pauses, limits. Words
 * in backquotes become bold in the manual page. */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)
#define ANY    CTL_ARGS_MAX
#define FILTER                                                                                                      \
	(BIT(OFFICE) | BIT(CHAMBER) | BIT(OUTCOME) | BIT(CLASS) | BIT(OLDER) | BIT(NEWER) | BIT(SID) | BIT(COUNT) | \
	 BIT(IDS) | BIT(HTTP))
#define BULK (FILTER | BIT(ALL) | BIT(DRY_RUN) | BIT(RATE) | BIT(QUIET) | BIT(YES) | BIT(COUNT_CHECK) | BIT(WHO))
#define NO_TEXT                    \
	{                          \
		{                  \
			NULL, NULL \
		}                  \
	}

const struct command ctl_commands_people[] = {
	{
		"dead list",
		"",
		"List the dead letters",
		"Letters whose attempts are used up, or that workers died of too often. The filters compose: what is "
		"listed "
		"passes all of them. With --count the newest ones, at most 10000. A filter that nothing passes: says "
		"so, and the exit "
		"status is "
		"1.\n\nLeftovers, entries that their letter's record does not confirm, are passed over here as in all "
		"`dead` "
		"commands.",
		FILTER,
		0,
		0,
		cmd_dead_list,
		{ { "cwcctl dead list --chamber house --outcome attempts_exhausted --newer 1h",
		    "What died just now?" } },
	},
	{ "dead show", "SID OFFICE", "Show one dead letter",
	  "Everything that is known of it: which limit it met, its attempts with their times and answers, and whether "
	  "a replay "
	  "makes sense.",
	  0, 2, 2, cmd_dead_show, NO_TEXT },
	{
		"dead stats",
		"",
		"Count the dead letters",
		"By outcome, class, chamber, HTTP status, office and age. Filters as in `dead list`.",
		FILTER | BIT(QUIET),
		0,
		0,
		cmd_dead_stats,
		NO_TEXT,
	},
	{
		"dead matrix",
		"",
		"Show the dead letters by office and age",
		"The same as `shape dead`, with filters as in `dead list`.",
		FILTER | BIT(QUIET),
		0,
		0,
		cmd_dead_matrix,
		{ { "cwcctl dead matrix --chamber house", "Is it one office, or all?" } },
	},
	{
		"dead export",
		"",
		"Print all that is known of the dead letters",
		"One JSON object a line, oldest first: the entry, its history as a list, and the letter's record. It "
		"holds nothing of the letter itself and no key, so it may be kept. With --jobs it has the sealed job, "
		"too, "
		"which only an enclave with its key can open: that is what `dead import` needs to bring a letter back "
		"whole. The lines can be given to --ids of `dead replay` and `dead drop`. An export goes on where "
		"another "
		"stopped by --from with the last id.",
		FILTER | BIT(FROM) | BIT(QUIET) | BIT(JOBS),
		0,
		0,
		cmd_dead_export,
		{ { "cwcctl dead export --jobs >dead.jsonl",
		    "Keep them, before acting or for a Redis that is lost:" } },
	},
	{
		"dead import",
		"FILE|-",
		"Bring exported dead letters back",
		"For a queue that has forgotten them: a Redis that was lost, or began anew. FILE is what `dead export` "
		"printed. Each letter comes back as a dead letter with its record, its revision and its DeliveryId, "
		"for `dead "
		"replay` and `dead drop`; nothing is sent, and no result is written. A letter that the queue knows, in "
		"whatever "
		"state, is left alone and counted, so that the same file may be given again. Without the sealed job "
		"(--jobs) "
		"a letter can be looked at and dropped, but not sent again.\n\nAn export is of its moment: a letter "
		"that "
		"was replayed after it, and accepted, is dead again in a queue that has forgotten both. Drop what a "
		"result "
		"or a log says is over before anything is replayed, or it is sent twice.\n\nThe lines are read once "
		"before anything "
		"is "
		"done: one that is bad, and nothing is, unless --keep-going is given. How many they are is said and "
		"asked as by `dead "
		"replay`. Standard input can be read only once, and needs --yes. Each act is in `audit`.",
		BIT(YES) | BIT(COUNT_CHECK) | BIT(DRY_RUN) | BIT(KEEP_GOING) | BIT(QUIET) | BIT(WHO),
		1,
		1,
		cmd_dead_import,
		{ { "cwcctl dead import dead.jsonl --dry-run", "What would come back?" } },
	},
	{
		"dead replay",
		"SID OFFICE... | [FILTER]... | --all",
		"Put dead letters back into the line",
		"They get a new budget of attempts and wait behind all fresh letters. A letter that has expired "
		"meanwhile ends as expired. Letters of unknown fate are never touched: see `unknown resolve`.\n\nMany "
		"are "
		"worked through in pages of 100, oldest first, each by one atomic act that `audit` records. An "
		"interrupt stops "
		"after the page and prints the command that goes on; the same command again does too, since a letter "
		"that is "
		"not dead any more is passed over and counted. Letters that die again meanwhile are left "
		"alone. An output that cannot be written any more stops it, too; a lost connection is waited "
		"for.\n\nBefore anything is done, what matches is counted, and whoever sits at the terminal is asked. "
		"A script passes "
		"--yes, which counts nothing, or --count-check N, which acts only if exactly N match. What dies after "
		"the count "
		"is not met. At the end a note in `audit` says which letters were meant and what came of "
		"it.\n\nProgress is "
		"a bar on a terminal and a line a second otherwise, on standard error. With --json an object a line "
		"for each "
		"letter and a `summary` as the last (for SID OFFICE... one array). Exit status: 0 when all that was "
		"selected is done, now or before; "
		"1 when "
		"something failed, a named letter does not exist, a filter matches nothing, or it was stopped; 69 when "
		"Redis "
		"was lost or refused.",
		BULK | BIT(FROM),
		0,
		ANY,
		cmd_dead_replay,
		{ { "cwcctl dead replay --all --dry-run", "What would be replayed?" },
		  { "cwcctl dead replay --chamber senate --newer 6h --rate 20/s --yes",
		    "After an outage of the Senate:" },
		  { "cwcctl dead replay --ids chosen.txt --count-check 1", "Chosen ones:" } },
	},
	{
		"dead drop",
		"SID OFFICE... | [FILTER]... | --all",
		"End dead letters for good",
		"A worker writes a last result with the outcome dropped; the entries leave the stream of dead letters. "
		"Selection, "
		"interrupts and exit status as in `dead replay`.",
		BULK | BIT(FROM),
		0,
		ANY,
		cmd_dead_drop,
		{ { "cwcctl dead drop --older 30d --dry-run", "What is too old to matter?" } },
	},
	{
		"unknown list",
		"",
		"List the letters of unknown fate",
		"Letters that a chamber may have taken although no definite answer came. A person must ask the "
		"chamber: the House "
		"confirms single messages by DeliveryId, office and date. DATE is the DeliveryDate that the letter "
		"bears, POSTS "
		"BEGUN when each POST began that got no answer. With --count the newest; with --export an object a "
		"line with all "
		"that is known. A filter that nothing passes: exit status 1.",
		FILTER | BIT(EXPORT) | BIT(QUIET) | BIT(JOBS),
		0,
		0,
		cmd_unknown_list,
		{ { "cwcctl unknown list --chamber house --export >ask-the-house.jsonl", "A list for an inquiry:" } },
	},
	{
		"unknown resolve",
		"SID OFFICE HOW | HOW [FILTER]... | HOW --all",
		"Say what became of letters of unknown fate",
		"HOW is one of three words. `accepted`: the chamber has it. `drop`: it does not, and the letter is "
		"given up. "
		"`resend`: it does not, and the letter is sent again with the same DeliveryId.\n\nThe Senate knows a "
		"DeliveryId "
		"again; the House may not, so a letter that it has after all arrives twice. To send many anew, "
		"--may-send-twice is "
		"needed, unless all are the Senate's. Many are worked through as in `dead replay`; each act is in "
		"`audit`, and is for the doubt that was seen: repeated after a lost answer it never meets another "
		"one.",
		BULK | BIT(MAY_SEND_TWICE),
		1,
		3,
		cmd_unknown_resolve,
		{ { "cwcctl unknown resolve accepted --ids confirmed.txt --yes", "What the House has confirmed:" } },
	},
	{
		"unknown import",
		"FILE|-",
		"Bring exported letters of unknown fate back",
		"As `dead import`, of what `unknown list --export --jobs` printed. It matters more: a letter of "
		"unknown fate that the "
		"queue has forgotten is sent a second time when its producer sends all of its outbox again; one that "
		"is back is "
		"not. Import before producers do.",
		BIT(YES) | BIT(COUNT_CHECK) | BIT(DRY_RUN) | BIT(KEEP_GOING) | BIT(QUIET) | BIT(WHO),
		1,
		1,
		cmd_unknown_import,
		NO_TEXT,
	},
	{ "refused list", "", "List the refused entries",
	  "Entries that were malformed or failed verification, by the digest of their bytes. They never close a "
	  "submission: the "
	  "genuine job can still come.",
	  BIT(COUNT), 0, 0, cmd_refused_list, NO_TEXT },
	{ "stuck list", "", "List the entries that broke a script",
	  "Entries that were set aside whole after three tries, with the error.", BIT(COUNT), 0, 0, cmd_stuck_list,
	  NO_TEXT },
	{
		"audit list",
		"",
		"List what people did",
		"Cancels, pauses, replays, drops, resolutions, imports, orders to workers, trims, mends: who, what, "
		"when. WHO is "
		"`user@host`, or `login(user)@host` of who logged in under another name, with what --who said before "
		"it and a "
		"colon. An act is written before it is tried: one that met nothing is here, too, and one whose answer "
		"was lost "
		"may be here twice. An act on many letters has a line for each, and a `note` at its end: the command, "
		"what came of "
		"it, and which letters were meant. With --count the newest.",
		BIT(COUNT),
		0,
		0,
		cmd_audit_list,
		NO_TEXT,
	},
	{
		"audit summary",
		"",
		"Count what people did",
		"By who and what: how often, the first and the last time. With --count of the newest entries alone.",
		BIT(COUNT),
		0,
		0,
		cmd_audit_summary,
		{ { "cwcctl audit summary", "Who did how much?" } },
	},
	{
		"shape",
		"[waiting|delayed|dead|unknown]",
		"Show letters by office and age",
		"A row for each office, those with the most letters first, and a column for each age: under 5min, "
		"under 10min, "
		"each twice the one before. Of dead letters and those of unknown fate the first is an hour. T is the "
		"total. "
		"Ages of letters that wait, or are delayed, count from when they were first seen, others from their "
		"end. "
		"Without an argument: waiting, delayed and dead.\n\nIt counts letter by letter: on a full queue that "
		"takes a "
		"while, and what moves meanwhile may be met twice or not at all.",
		BIT(QUIET),
		0,
		1,
		cmd_shape,
		{ { "cwcctl shape waiting", "Is one office in trouble, or everything?" } },
	},
	{
		"offices",
		"[house|senate]",
		"List the offices with what waits for them",
		"The offices on the lists that workers fetched from the chambers, and those with letters or holds; the "
		"age of the "
		"lists; for each office how many letters wait and are in flight, its breaker and its hold. A breaker "
		"opens when a chamber "
		"or an office does not answer: nothing is sent there but one letter at a time, to try it.",
		0,
		0,
		1,
		cmd_offices,
		NO_TEXT,
	},
	{
		"pause",
		"WHAT... --until TIME | --for DURATION --reason TEXT",
		"Pause chambers or offices",
		"WHAT is house, senate or an office code, or `all`: both chambers. Letters wait in their line until "
		"the pause is "
		"over; attempts under way go on. It ends by itself, before the end of 2286 at the latest. What is "
		"paused, by "
		"whom and why, `holds`, `offices`, `depth` and `top` show.",
		BIT(UNTIL) | BIT(FOR) | BIT(REASON) | BIT(WHO),
		1,
		ANY,
		cmd_hold,
		{ { "cwcctl pause senate --for 2h --reason 'announced maintenance'", "Pause a chamber:" },
		  { "cwcctl pause all --for 30min --reason 'looking at duplicates' --who alice",
		    "Everything, on behalf of alice:" } },
	},
	{ "hold",
	  "WHAT... --until TIME | --for DURATION --reason TEXT",
	  "The same as `pause`",
	  "Another name of `pause`.",
	  BIT(UNTIL) | BIT(FOR) | BIT(REASON) | BIT(WHO),
	  1,
	  ANY,
	  cmd_hold,
	  { { "cwcctl hold senate --for 2h --reason 'announced maintenance'", "Pause a chamber:" } } },
	{ "holds", "", "List all holds and open breakers", "Of chambers and offices: until when, by whom and why.", 0,
	  0, 0, cmd_holds, NO_TEXT },
	{ "resume", "WHAT...", "End a pause and a breaker",
	  "Also a hold that a worker set. `all` is both chambers; what is held of single offices stays. It ends the "
	  "breaker of WHAT, too: what waits goes on at once, and the "
	  "breaker opens "
	  "again when there is still no answer.",
	  BIT(WHO), 1, ANY, cmd_resume, NO_TEXT },
	{
		"workers",
		"",
		"List the workers",
		"Name and boot of each; its state: serving, to drain (an order that it has not met yet), draining, or "
		"dead "
		"(its lease is over); how many jobs it holds; its last beat; how long its lease lasts; version, bundle "
		"and "
		"the first digits of PCR0, as it says itself. With --json also since when it runs, its rates, and who "
		"ordered it to drain.",
		0,
		0,
		0,
		cmd_workers,
		NO_TEXT,
	},
	{
		"workers drain",
		"NAME|NAME/NONCE",
		"Have a worker finish what it has, and end",
		"An order in the queue, since nobody outside can send a signal to an enclave: with its next beat, a "
		"third of "
		"a lease later at most, the worker takes nothing more, waits for the answers of its POSTs within "
		"worker.drain_timeout, gives the rest back, leaves, and ends with status 0. The order is for the "
		"process: "
		"the next one of the same name is free of it. With NAME/NONCE it is given only if that boot is "
		"there, and nobody has its name since.\n\n"
		"--wait waits until the worker has left, or its lease is over. It may be asked again, also after the "
		"worker "
		"has gone. Exit status: 0 when it was told, with --wait when it is gone; 1 when there is no such "
		"worker, or it "
		"is still there after --wait (the order stands); 69 when Redis does not answer.",
		BIT(WAIT) | BIT(REASON) | BIT(WHO),
		1,
		1,
		cmd_workers_drain,
		{ { "cwcctl workers drain worker-1 --wait 2min --reason 'new image'",
		    "Before its instance is stopped:" } },
	},
	{
		"workers undrain",
		"NAME",
		"Take back an order to drain",
		"For a worker that has not heard of it yet; one that has begun to drain goes on, and ends.",
		BIT(WHO),
		1,
		1,
		cmd_workers_undrain,
		NO_TEXT,
	},
	{
		"limits",
		"",
		"Show the rates in effect, and what limits each chamber",
		"By chamber: the rate and the burst as the last TAKE named them, how many letters went within the last "
		"whole "
		"minute and how many might have, how many may go at this moment, the limits of a single office, and "
		"what limits: "
		"a pause, a breaker, the chamber's rate (the measured ceiling, or the worker whose host file has the "
		"lowest), "
		"its offices, or nothing but the number of workers.",
		0,
		0,
		0,
		cmd_limits,
		{ { "cwcctl limits", "Would more workers help?" } },
	},
	{
		"top",
		"",
		"Watch the queue live",
		"Chambers with what waits, is held, in flight and delayed, the letters of the last minute against the "
		"limit, and "
		"what is wrong; offices in trouble and those with the longest lines; workers; the last acts of people. "
		"On a terminal it is drawn "
		"anew every 2 seconds (--watch), fits its size, and ends with q; elsewhere plain frames follow each "
		"other. "
		"--count ends it after so many frames. With --json an object a line. While Redis is away the last "
		"frame stays, "
		"and says so.",
		BIT(WATCH) | BIT(COUNT),
		0,
		0,
		cmd_top,
		{ { "cwcctl top --count 1", "One look, for a ticket:" } },
	},
};
const size_t ctl_n_commands_people = sizeof(ctl_commands_people) / sizeof(ctl_commands_people[0]);
