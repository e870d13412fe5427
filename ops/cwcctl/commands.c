/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of commands. Words in backquotes become bold in the manual. */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)
#define ANY    CTL_ARGS_MAX
#define NO_TEXT                    \
	{                          \
		{                  \
			NULL, NULL \
		}                  \
	}

const struct command ctl_commands[] = {
	{
		"seal",
		"FILE|-",
		"Seal and sign letters, without a queue",
		"Reads letters (see LETTERS in cwcctl(1)), seals each to a ring key, signs it, and prints one JSON "
		"object a line: "
		"sid, offices, job (base64), expires, priority. `enqueue` takes these lines, and so does any program "
		"that can "
		"XADD them.\n\nEvery letter is checked first by the rules of CWC 2.0 for the chambers it goes to. Bad "
		"lines are "
		"reported with their number and all that is wrong; one bad line and nothing is sealed, unless "
		"--keep-going is "
		"given. Reading standard input, the work stops at the first bad line and the rest is only "
		"checked.\n\nThe ring "
		"keys that workers publish in the queue are as trustworthy as Redis. Where that is not enough, check "
		"the keys "
		"once and pass them by --ring.",
		CTL_SEAL | BIT(FORCE) | BIT(KEEP_GOING),
		1,
		1,
		cmd_seal,
		{ { "cwcctl seal --signer app.pem --kid app-2026 --ring ring.keys letters.jsonl >sealed.jsonl",
		    "Seal on one machine what another one adds:" } },
	},
	{
		"enqueue",
		"FILE|-",
		"Add letters to the queue",
		"Reads letters, in the clear or sealed by `seal`, and adds them to the queue. Clear ones are checked, "
		"sealed and "
		"signed on the way, as by `seal`, and need --signer and --kid.\n\nWhen the connection breaks, what was "
		"not "
		"confirmed is sent again with the same bytes, which the queue knows as the same letter. A generated "
		"sid is "
		"printed. With --json there is a line for each letter: line, sid, offices, id, or line and error; they "
		"come as they are answered.",
		CTL_SEAL | BIT(FORCE) | BIT(KEEP_GOING),
		1,
		1,
		cmd_enqueue,
		{ { "cwcctl enqueue --signer app.pem --kid app-2026 letter.json", "One letter:" },
		  { "cwcctl enqueue sealed.jsonl", "Letters that are sealed:" } },
	},
	{
		"status",
		"SID",
		"Show where a submission stands",
		"Prints the submission's rollup (pending, delivered, partial, failed) and each of its jobs; with "
		"--office "
		"everything that is known of this one job, its attempts included.",
		BIT(OFFICE),
		1,
		1,
		cmd_status,
		{ { "cwcctl status 7f3c --office HNE03", "All about one letter to one office:" } },
	},
	{
		"cancel",
		"SID [OFFICE]",
		"Cancel a submission, or its letter to one office",
		"The exit status is 0 only when every letter asked for is certain not to be sent any more; one that is "
		"being sent "
		"right now is cancelled only if this attempt is not accepted.",
		0,
		1,
		2,
		cmd_cancel,
		NO_TEXT,
	},
	{
		"results",
		"",
		"Read the results",
		"Prints the stream of results from its beginning, or after --from. With --json every result is one "
		"line, with its "
		"receipt decoded and as base64.\n\nResults are written at least once: whoever collects them drops "
		"repetitions by "
		"(sid, office, rev).\n\n--verify checks every receipt with the receipt keys that workers published, "
		"and that it "
		"says what the entry says; the exit status is 1 when one is not good. The keys come from the queue, "
		"too: the "
		"check finds what was changed in the results alone.",
		BIT(FOLLOW) | BIT(FROM) | BIT(COUNT) | BIT(VERIFY),
		0,
		0,
		cmd_results,
		{ { "cwcctl results --verify", "Are all receipts genuine?" },
		  { "cwcctl results --follow --from '$' --json", "Collect what comes from now on:" } },
	},
	{
		"depth",
		"",
		"Show how much is in the queue",
		"Counts by chamber and in all, summed from the places where letters lie.",
		BIT(WATCH),
		0,
		0,
		cmd_depth,
		{ { "cwcctl depth --json", "For an autoscaler:" } },
	},
	{ "dead list", "", "List the dead letters",
	  "Letters whose attempts are used up, or that workers died of too often. With --count the newest ones.",
	  BIT(COUNT), 0, 0, cmd_dead_list, NO_TEXT },
	{ "dead show", "SID OFFICE", "Show one dead letter", "Everything that is known of it, its attempts included.",
	  0, 2, 2, cmd_dead_show, NO_TEXT },
	{
		"dead replay",
		"SID OFFICE... | --all",
		"Put dead letters back into the line",
		"They get a new budget of attempts and wait behind all fresh letters. A letter that has expired "
		"meanwhile ends as "
		"expired.",
		BIT(ALL) | BIT(DRY_RUN),
		0,
		ANY,
		cmd_dead_replay,
		{ { "cwcctl dead replay --all --dry-run", "What would be replayed?" } },
	},
	{ "dead drop", "SID OFFICE... | --all", "End dead letters for good",
	  "A worker writes a last result with the outcome dropped; the entries leave the stream of dead letters.",
	  BIT(ALL) | BIT(DRY_RUN), 0, ANY, cmd_dead_drop, NO_TEXT },
	{ "unknown list", "", "List the letters of unknown fate",
	  "Letters that a chamber may have taken although no definite answer came. A person must ask the chamber, by "
	  "the "
	  "DeliveryId.",
	  0, 0, 0, cmd_unknown_list, NO_TEXT },
	{
		"unknown resolve",
		"SID OFFICE resend|drop|accepted",
		"Say what became of a letter of unknown fate",
		"`accepted`: the chamber has it. `drop`: it does not, and the letter is given up. `resend`: it does "
		"not, and the "
		"letter is sent again with the same DeliveryId.",
		0,
		3,
		3,
		cmd_unknown_resolve,
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
	{ "audit list", "", "List what people did",
	  "Cancels, holds, replays, drops: who, what, when. With --count the newest.", BIT(COUNT), 0, 0, cmd_audit_list,
	  NO_TEXT },
	{
		"offices",
		"[house|senate]",
		"List the offices with what waits for them",
		"The offices on the lists that workers fetched from the chambers, and those with letters or holds; the "
		"age of the "
		"lists; for each office how many letters wait and are in flight, and its hold.",
		0,
		0,
		1,
		cmd_offices,
		NO_TEXT,
	},
	{
		"hold",
		"WHAT --until TIME | --for DURATION --reason TEXT",
		"Pause a chamber or an office",
		"WHAT is house, senate or an office code. Letters wait in their line until the hold is over; attempts "
		"under way go "
		"on.",
		BIT(UNTIL) | BIT(FOR) | BIT(REASON),
		1,
		1,
		cmd_hold,
		{ { "cwcctl hold senate --for 2h --reason 'announced maintenance'", "Pause a chamber:" } },
	},
	{ "resume", "WHAT", "End a hold", "Also when a worker set it. What waits goes on at once.", 0, 1, 1, cmd_resume,
	  NO_TEXT },
	{
		"keys",
		"",
		"Show the keys that workers published",
		"For each of the newest 16 boots, or --count: the receipt key and the ring keys.",
		BIT(COUNT) | BIT(LINES),
		0,
		0,
		cmd_keys,
		{ { "cwcctl keys --lines >ring.keys", "Keep the ring keys, to be checked and passed by --ring:" } },
	},
	{ "workers", "", "List the workers",
	  "Name and boot of each, how long its lease lasts, and how many jobs it holds.", 0, 0, 0, cmd_workers,
	  NO_TEXT },
	{
		"render",
		"FILE|-",
		"Print the XML of a letter in the clear",
		"Reads a JSON object with the names of CWC elements as keys and prints the document that a chamber "
		"would get. What "
		"only the worker sets (DeliveryId, DeliveryDate, DeliveryAgent and so on) may be given and gets sample "
		"values "
		"otherwise. When the letter is not valid, all that is wrong is printed, a line each, and the exit "
		"status is 1.",
		BIT(CHAMBER) | BIT(OFFICE),
		1,
		1,
		cmd_render,
		{ { "cwcctl render --office HNE03 letter.json", "What would the office get?" } },
	},
	{ "signer show", "PEMFILE --kid KID", "Print the configuration line of a signer",
	  "The line `signer = KID HEX` for the section [jobs] of the measured configuration, from the private key.",
	  BIT(KID), 1, 1, cmd_signer_show, NO_TEXT },
	{
		"config check",
		"FILE [HOST-FILE]",
		"Check a configuration of the worker",
		"FILE is the measured file, HOST-FILE that of the host. All that is wrong is printed: file, line, key, "
		"rule. The "
		"exit status is 78 then.",
		0,
		1,
		2,
		cmd_config_check,
		NO_TEXT,
	},
	{ "config print", "FILE [HOST-FILE]", "Print the effective configuration",
	  "Every key with its value, tier, unit and default, in the syntax of the files; with --json by section and "
	  "key.",
	  0, 1, 2, cmd_config_print, NO_TEXT },
	{ "config example", "measured|host|man", "Print an example configuration",
	  "The commented example of a tier, or the table of keys as it stands in cwc-worker.conf(5). With --json the "
	  "table of all "
	  "keys.",
	  0, 1, 1, cmd_config_example, NO_TEXT },
	{ "outcomes", "", "Print the table of outcomes", "What may become of a letter, or of an attempt.",
	  BIT(MARKDOWN), 0, 0, cmd_outcomes, NO_TEXT },
	{ "errors", "", "Print the table of error codes", "The codes that results, refused entries and logs name.",
	  BIT(MARKDOWN), 0, 0, cmd_errors, NO_TEXT },
	{ "model", "", "Print how a worker handles a letter",
	  "States, events, next states and actions. Pairs that are not listed cannot come about.", BIT(MARKDOWN), 0, 0,
	  cmd_model, NO_TEXT },
	{ "version", "", "Print the version", "Also --version.", 0, 0, 0, cmd_version, NO_TEXT },
	{ "help", "[COMMAND]", "Print help",
	  "Of a command, or the list of all. Also `--help`. With --json the table of commands.", BIT(MAN), 0, 2,
	  cmd_help, NO_TEXT },
};
const size_t ctl_n_commands = sizeof(ctl_commands) / sizeof(ctl_commands[0]);
