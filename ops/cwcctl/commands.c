/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, first part: the queue, its letters, documents. Words in backquotes become bold in the manual.
 */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)
#define ANY    CTL_ARGS_MAX
#define FILTER                                                                                                      \
	(BIT(OFFICE) | BIT(CHAMBER) | BIT(OUTCOME) | BIT(CLASS) | BIT(OLDER) | BIT(NEWER) | BIT(SID) | BIT(COUNT) | \
	 BIT(IDS))
#define BULK (FILTER | BIT(ALL) | BIT(DRY_RUN) | BIT(RATE) | BIT(QUIET))
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
		"printed. An interrupt, or a Redis that is away, full or refuses, stops it: the line up to which "
		"letters were added is said. With --json there is a line for each letter: line, sid, offices, id, or "
		"line and error; they "
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
		"results trim",
		"",
		"Delete results that were read",
		"Deletes from the front of the stream what every consumer group has read and acknowledged; with "
		"--before or "
		"--older only what is before that. What some group has not done with stays: how much of it is older "
		"than asked "
		"for, is said, and only --unread deletes it. Without any consumer group nobody can tell what was read, "
		"so "
		"--before or --older is needed.\n\nGroups that nobody uses any more keep everything: `XGROUP DESTROY` "
		"ends them. "
		"A group that is created while the trim runs is not seen. It deletes in steps of 10000; an interrupt "
		"stops "
		"after one.",
		BIT(BEFORE) | BIT(OLDER) | BIT(UNREAD) | BIT(DRY_RUN) | BIT(QUIET),
		0,
		0,
		cmd_results_trim,
		{ { "cwcctl results trim --older 30d", "Keep a month, and what was not read:" } },
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
		"receipts verify",
		"FILE|- --documents FILE",
		"Prove receipts, offline",
		"FILE has a line for each: a result as `results --json` prints it, or a receipt in base64. --documents "
		"is what `keys --json` printed of the boots that signed them; keep that as long as the receipts, with "
		"--count for all. Nothing is asked of Redis, and nothing that stands in either file is believed.\n\nOf "
		"each: a key of its boot has signed it; the attestation document that it names leads to the "
		"hypervisor's root, at the document's own time, however long ago, and is of no enclave in debug mode; "
		"its measurements are allowed by --manifest or --pcr, without which any enclave's would do, and this "
		"is "
		"said; its user_data is the hash of the boot's statement; the statement has this receipt key, the "
		"environment and the queue; it did not end before the boot's earliest document was signed, nor in the "
		"future, give or take 5 minutes. With --environment and --queue it must be of that environment and "
		"that queue: a genuine one of another proves nothing of your letter. A result says what its receipt "
		"says: sid, office, outcome, "
		"delivery_id, http_status, and, but beside a late answer, attempt and generation. A late `not_taken` "
		"needs no receipt.\n\nAt the end comes a table: how many are good, and for each reason why others are "
		"not, how many and the first line. With --json an object a line for each that is not good, and a "
		"`summary` as the last. Exit status: 0 when all are good, 1 when one is not or there is none, 78 when "
		"a "
		"file cannot be read, the manifest is wrong, or --documents has no document.",
		BIT(DOCUMENTS) | BIT(MANIFEST) | BIT(PCR) | BIT(ENVIRONMENT) | BIT(QUIET),
		1,
		1,
		cmd_receipts_verify,
		{ { "cwcctl keys --json --count 100000 >boots.json", "Keep what receipts are proved by:" },
		  { "cwcctl receipts verify results.jsonl --documents boots.json --manifest releases.txt "
		    "--environment sandbox --queue q",
		    "Were all of these signed by one of our releases?" } },
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
		"dead export",
		"",
		"Print all that is known of the dead letters",
		"One JSON object a line, oldest first: the entry, its history as a list, and the letter's record. It "
		"holds "
		"nothing of the letter itself and no key, so it may be kept. The lines can be given to --ids of `dead "
		"replay` and "
		"`dead drop`. An export goes on where another stopped by --from with the last id.",
		FILTER | BIT(FROM) | BIT(QUIET),
		0,
		0,
		cmd_dead_export,
		{ { "cwcctl dead export >dead.jsonl", "Keep what is known before acting:" } },
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
		"for.\n\nProgress is "
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
		  { "cwcctl dead replay --chamber senate --newer 6h --rate 20/s", "After an outage of the Senate:" },
		  { "cwcctl dead replay --ids chosen.txt", "Chosen ones:" } },
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
		FILTER | BIT(EXPORT) | BIT(QUIET),
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
		{ { "cwcctl unknown resolve accepted --ids confirmed.txt", "What the House has confirmed:" } },
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
	  "Cancels, holds, replays, drops, resolutions, trims, mends: who, what, when. WHO is `user@host`, or "
	  "`login(user)@host` of who logged in under another name. An act is written before it is tried: one that "
	  "met nothing is here, too, and one whose answer was lost may be here twice. With --count the newest.",
	  BIT(COUNT), 0, 0, cmd_audit_list, NO_TEXT },
	{
		"fsck",
		"",
		"Check the queue, and mend it",
		"Looks at every key of the queue while workers go on: whether each job is where its record says, each "
		"entry of a place is confirmed by a record, lines have turns, summaries and lives are right, and the "
		"rest of section 15 of PROTOCOL.md. A line for each finding: its code, where it is, what it means, and "
		"what mending does. With --json each is an object a line, and the last line is the summary.\n\n--mend "
		"mends at once what it finds. It sends nothing, and calls over only what the queue says is over: a "
		"letter that lost its place gets it back, or a worker ends it with a receipt, as `unknown` where it "
		"may have been sent. What it must leave to people it says. It may be repeated, and stopped at any "
		"time; then the last line says what was done until then. `audit` says before the first mend that there "
		"are any.\n\nThe exit status is 0 when nothing was found, 1 when something was, mended or not: run it "
		"again to see that all is well. A queue of a newer protocol is looked at, but not mended.",
		BIT(MEND) | BIT(DRY_RUN) | BIT(QUIET),
		0,
		0,
		cmd_fsck,
		{ { "cwcctl fsck", "Is all as it should be?" }, { "cwcctl fsck --mend", "Put it right:" } },
	},
	{
		"reconcile",
		"--ids FILE|-",
		"Compare a list of submissions with the queue",
		"The list is the producer's: a line for each submission, either `SID` or `SID OFFICE,OFFICE`, or a "
		"JSON "
		"object with sid, and perhaps offices and digest (the SHA-1 of the job's bytes, in hex) or job (its "
		"base64, "
		"as `seal` prints it); other members are passed over.\n\nFor each submission and office: `delivered`; "
		"`pending`, with the place; `ended`, with how (rejected, expired, cancelled, dropped); `dead`, "
		"`unknown` and "
		"`stuck`, which need people; `refused`, by the digest where the list has one; `missing`: it never "
		"arrived, "
		"or its record has expired and its result was taken away. Delivered ones are only counted, but for "
		"--json. "
		"With --all also `unlisted`: what is in the queue and not on the list.\n\nThe exit status is 1 when "
		"something is missing, refused or needs people, or a line cannot be read.",
		BIT(IDS) | BIT(ALL) | BIT(QUIET),
		0,
		0,
		cmd_reconcile,
		{ { "cwcctl reconcile --ids outbox.txt", "Did all of it arrive?" } },
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
		"hold",
		"WHAT --until TIME | --for DURATION --reason TEXT",
		"Pause a chamber or an office",
		"WHAT is house, senate or an office code. Letters wait in their line until the hold is over; attempts "
		"under way go "
		"on. It ends by itself, before the end of 2286 at the latest.",
		BIT(UNTIL) | BIT(FOR) | BIT(REASON),
		1,
		1,
		cmd_hold,
		{ { "cwcctl hold senate --for 2h --reason 'announced maintenance'", "Pause a chamber:" } },
	},
	{ "holds", "", "List all holds and open breakers", "Of chambers and offices: until when, by whom and why.", 0,
	  0, 0, cmd_holds, NO_TEXT },
	{ "resume", "WHAT", "End a hold and a breaker",
	  "Also a hold that a worker set. It ends the breaker of WHAT, too: what waits goes on at once, and the "
	  "breaker opens "
	  "again when there is still no answer.",
	  0, 1, 1, cmd_resume, NO_TEXT },
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
	{
		"attest verify",
		"FILE|-",
		"Verify an attestation document of an enclave",
		"FILE is a document of the Nitro hypervisor, in CBOR or base64, of at most 12288 bytes. It is "
		"asked in stages: `envelope` and `payload` (its form), `chain` (the certificates, from the "
		"hypervisor's root to the leaf), `signature`, `time` (--max-age), `debug` (never allowed), "
		"`policy` (the measurements), `binding` (--nonce). The first rule that is broken gives the code, "
		"and ends it. Nothing of a refused document is printed; see `attest show`.\n\nWhat is allowed, "
		"--manifest or --pcr says. A manifest is a text file: `release NAME` (letters, digits and . _ + -) "
		"begins a release, and each line `pcrN HEX` below it is a measurement, 96 hex digits in lower "
		"case; all of a release must match together. Empty lines, and those that begin with #, are passed "
		"over. Each release needs pcr0; a PCR, a name or a set of measurements that is there twice is "
		"refused, and zeros for PCR0 to PCR2: they are those of the debug mode. So is a release that asks for "
		"a part of what another one does, which would make the rest of that void. At most 16 releases; "
		"`attest measure` writes one.\n\nWho can send a nonce to the enclave should, and then pass "
		"--nonce: else the document may be one that was overheard, as old as --max-age.\n\nThe exit status "
		"is 0 when it is verified, 1 when it is refused, with the code on standard error, and 78 when a file "
		"cannot be read, or the manifest is wrong.",
		BIT(AT) | BIT(MAX_AGE) | BIT(MANIFEST) | BIT(PCR) | BIT(NONCE) | BIT(CHAIN_ONLY),
		1,
		1,
		cmd_attest_verify,
		{ { "cwcctl attest verify document.cbor --manifest releases.txt --at 2026-02-12T17:56:03Z",
		    "Was it one of our releases that had this document then?" },
		  { "cwcctl attest verify document.cbor --chain-only --json", "Is it genuine at all?" } },
	},
	{
		"attest show",
		"FILE|-",
		"Print what an attestation document says",
		"Unproved: anybody can write such a document. Its form is asked strictly, as in the first two "
		"stages of `attest verify`. With the certificates: subject, serial and validity of each.",
		0,
		1,
		1,
		cmd_attest_show,
		NO_TEXT,
	},
	{
		"attest measure",
		"FILE.eif",
		"Compute the PCRs of an enclave image",
		"PCR0, PCR1, PCR2, and PCR8 when it is signed, of an image for x86_64 or aarch64, as the "
		"hypervisor will have them when it runs outside of the debug mode. The image's form is asked "
		"strictly, its CRC-32 too, and the first rule that is broken is said; whether its signature is "
		"right is not asked.\n\nThe sizes that an image asks for, and its metadata, are measured by nobody.",
		BIT(RELEASE),
		1,
		1,
		cmd_attest_measure,
		{ { "cwcctl attest measure worker.eif --release 1.4.0 >1.4.0.txt", "Write a manifest:" } },
	},
	{
		"attest diff",
		"A B",
		"Compare measurements",
		"Each of A and B is an attestation document, a manifest or an enclave image; one may be - for "
		"standard input, but for an image. Says of each PCR whether it is the same, and what it measures. "
		"Of a manifest the release is taken that differs least. Documents are not proved here.\n\nThe exit "
		"status is 1 when a PCR that both have differs, and always when a document is of an enclave in debug "
		"mode: "
		"its zeros measure nothing, so that two of them are not the same program. It is 78 when a file cannot "
		"be "
		"read, or a manifest is wrong.",
		0,
		2,
		2,
		cmd_attest_diff,
		{ { "cwcctl attest diff document.cbor worker.eif", "Why is it refused?" } },
	},
};
const size_t ctl_n_commands_first = sizeof(ctl_commands) / sizeof(ctl_commands[0]);
