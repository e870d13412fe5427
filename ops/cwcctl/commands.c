/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, first part: the queue, its letters, documents. Words in backquotes become bold in the manual.
 */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)
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
		"delivery",
		"ID",
		"Find every POST of a DeliveryId",
		"For a chamber that says that a letter came twice. A DeliveryId is a hash of environment, submission "
		"and office, so every record and every result of the queue is looked at: a million take some "
		"seconds.\n\nFor each letter that has it: submission, office and state; every POST, with when it began "
		"and ended, the HTTP status, what came of it and the worker with its boot; its results in the stream, "
		"and which boot signed them; what people did with it, by `audit`; and what is not known any more, "
		"because a record is over, an old attempt was pushed out of it, or a result was collected. `open` or "
		"FATE UNKNOWN: nobody knows whether this POST was taken.\n\nWith --ids a list as for `reconcile`, the "
		"ids of its submissions are computed, too: that finds what the queue has forgotten. Nothing of a "
		"letter "
		"is printed or opened. The exit status is 1 when nothing is found.",
		BIT(IDS) | BIT(QUIET),
		1,
		1,
		cmd_delivery,
		{ { "cwcctl delivery dddddddddddddddddddddddddddddddd --ids outbox.txt",
		    "The House says that a letter came twice:" } },
	},
	{
		"cancel",
		"SID [OFFICE]",
		"Cancel a submission, or its letter to one office",
		"The exit status is 0 only when every letter asked for is certain not to be sent any more; one that is "
		"being sent "
		"right now is cancelled only if this attempt is not accepted.",
		BIT(WHO),
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
		BIT(BEFORE) | BIT(OLDER) | BIT(UNREAD) | BIT(DRY_RUN) | BIT(QUIET) | BIT(WHO),
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
		BIT(MEND) | BIT(DRY_RUN) | BIT(QUIET) | BIT(WHO),
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
