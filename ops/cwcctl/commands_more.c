/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, second part: keys, secrets, signers, configurations, and what is printed of the program. */
#include "ops/cwcctl/ctl.h"

#define BIT(o) CTL_BIT(OPT_##o)
#define NO_TEXT                    \
	{                          \
		{                  \
			NULL, NULL \
		}                  \
	}

const struct command ctl_commands_more[] = {
	{
		"keys",
		"",
		"Show the keys that workers published",
		"Of the newest 16 entries, or --count: the receipt key and the ring keys. With --json also the "
		"statement and the attestation document of each, in base64; a boot has an entry for each of its "
		"documents.",
		BIT(COUNT) | BIT(LINES),
		0,
		0,
		cmd_keys,
		{ { "cwcctl keys --lines >ring.keys", "Keep the ring keys, to be checked and passed by --ring:" } },
	},
	{
		"keys status",
		"--status ADDRESS",
		"Show the keys of a running worker, proved",
		"Asks the worker for an attestation document with a fresh nonce. It must lead to the hypervisor's "
		"root, "
		"be of now, and have the hash of the worker's statement as user_data; the keys, their times, the "
		"receipt key and the version of the bundle are read from that statement. With --queue it must be of "
		"that queue. With --manifest the "
		"measurements must be those of a release, too; without, which program it is was not asked, and that is "
		"said. Where the keys come from and what is missing is the worker's word alone.\n\nThe statement has "
		"the hash of the grant of signers, and the worker gives the grant: signers are shown when it is that "
		"one, and with --authority-key when this authority has signed it; else that is said, and the exit "
		"status is 1.\n\nA key is pending, active, decrypt-only (it opens letters that were sealed before) or "
		"destroyed. Warnings on standard error, with --json the member `warnings`: a key that retires without "
		"a "
		"successor, a profile without an active key, a signer that ends within 30 days.\n\nA worker without a "
		"security module proves nothing: UNATTESTED, and the exit status is 1 unless --unattested is given.",
		BIT(STATUS) | BIT(MANIFEST) | BIT(UNATTESTED) | BIT(AUTHORITY_KEY),
		0,
		0,
		cmd_keys_status,
		{ { "cwcctl keys status --status unix:/run/cwc-status.sock --manifest releases.txt",
		    "Which keys does the worker have, and is it one of our releases?" } },
	},
	{
		"keys request",
		"--status ADDRESS --output FILE",
		"Have an enclave make the first key ring of a release",
		"The worker makes the keys, has KMS wrap a data key for enclaves of its own measurements, and answers "
		"with the sealed bundle, which is written to a new file. Nothing changes in the worker: it takes the "
		"bundle, as all others do, when it comes back through the store; see `keys store`. With --grant the "
		"bundle names signers.\n\nWhat is written is said: the bundle's version, KMS key, queue and "
		"environment, and who made it: the maker's document must lead to the hypervisor's root, be over these "
		"bytes, and be of now; with --queue it must be of that queue. With --manifest its measurements must be "
		"those of a release, too; do not put "
		"a bundle into a store without.\n\nA file that is there is never written over. The exit status is 1 "
		"when the worker says no, and 69 when it or KMS cannot do it now.",
		BIT(STATUS) | BIT(GRANT) | BIT(OUTPUT) | BIT(MANIFEST),
		0,
		0,
		cmd_keys_request,
		{ { "cwcctl keys request --status unix:/run/cwc-status.sock --manifest releases.txt --output "
		    "first.bundle",
		    "The first key ring of a release:" } },
	},
	{
		"keys rotate",
		"--status ADDRESS --output FILE",
		"Have an enclave add new keys to its ring",
		"A bundle of the next version with a new key for letters and one for witnesses: they become active "
		"after "
		"a delay, so that all workers have them by then, and those before them retire. The key for secrets "
		"stays. With --grant the signers change, too. All else as in `keys request`.",
		BIT(STATUS) | BIT(GRANT) | BIT(OUTPUT) | BIT(MANIFEST),
		0,
		0,
		cmd_keys_rotate,
		{ { "cwcctl keys rotate --status unix:/run/cwc-status.sock --manifest releases.txt --output "
		    "next.bundle",
		    "Rotate:" } },
	},
	{
		"keys signers",
		"--status ADDRESS --grant FILE --output FILE",
		"Have an enclave take a grant of signers into its bundle",
		"A bundle of the next version with the same keys and these signers in the place of those before; see "
		"`signer grant`. All else as in `keys request`.",
		BIT(STATUS) | BIT(GRANT) | BIT(OUTPUT) | BIT(MANIFEST),
		0,
		0,
		cmd_keys_signers,
		{ { "cwcctl keys signers --status unix:/run/cwc-status.sock --manifest releases.txt --grant "
		    "signers.grant "
		    "--output signers.bundle",
		    "Other app servers may sign:" } },
	},
	{
		"keys store",
		"FILE... --output FILE",
		"Write the store of an enclave",
		"Each FILE is a sealed bundle or a sealed secret (`secrets seal`), all for one environment and queue; "
		"at "
		"most one bundle, and each secret once. They are written to the store one behind the other, under a "
		"temporary name first: workers that read it at that time see the old one or the new one.\n\nA store "
		"that is there is not gone back behind: an older bundle, another one of the same version, one for "
		"another environment or queue, or a secret that would be lost are refused. Another release has a store "
		"of its own.",
		BIT(OUTPUT),
		1,
		17,
		cmd_keys_store,
		{ { "cwcctl keys store next.bundle house.sealed senate.sealed --output store",
		    "Hand the rotated bundle to the workers:" } },
	},
	{
		"secrets seal",
		"NAME [FILE|-] --output FILE",
		"Seal a secret to the key of an enclave",
		"NAME is house.api_key, senate.api_key or queue.password. The secret comes from FILE, whose mode must "
		"be "
		"0600, or from standard input; from a terminal it is asked for twice, without echo. It has 1 to 2048 "
		"bytes of printable ASCII; line ends behind it are cut.\n\nThe key is the active one of the profile "
		"`secret` in the statement of the worker at --status, verified as by `keys status` with a fresh nonce "
		"and the measurements of --manifest; environment and queue are the statement's, too, and with --queue "
		"that one. Only enclaves "
		"that "
		"have this ring can read the item, which is written to a new file for `keys store`.\n\nOf an API key "
		"the line of the measured configuration is printed, too: `api_key_sha256`, by which an image takes "
		"this key and no other. It is public, so the key must have at least 128 bits of chance.\n\nWhere the "
		"worker cannot be reached, --keys has what its /keys answered before: then nothing proves that the "
		"document is fresh; it must not be older than --max-age. --unattested takes the key of a worker "
		"without "
		"a security module, in the sandbox alone.\n\nThe exit status is 1 when there is no key that may be "
		"sealed to, and 69 when the worker cannot be asked or has taken a bundle that its statement does not "
		"have yet: some seconds later it has.",
		BIT(STATUS) | BIT(KEYS) | BIT(MAX_AGE) | BIT(MANIFEST) | BIT(UNATTESTED) | BIT(OUTPUT),
		1,
		2,
		cmd_secrets_seal,
		{ { "cwcctl secrets seal house.api_key house.key --status unix:/run/cwc-status.sock --manifest "
		    "releases.txt --output house.sealed",
		    "The key of the House, for enclaves of our releases alone:" } },
	},
	{
		"secrets show",
		"FILE",
		"Print what a sealed secret is for",
		"Its name, the id of the key that it is sealed to, environment and queue; never the content, which "
		"only "
		"an enclave can open.",
		0,
		1,
		1,
		cmd_secrets_show,
		{ { "cwcctl secrets show house.sealed", "Which one is it?" } },
	},
	{ "signer show", "PEMFILE --kid KID", "Print the configuration line of a signer",
	  "The line `signer = KID HEX` for the section [jobs] of the measured configuration, from the private key.",
	  BIT(KID), 1, 1, cmd_signer_show, NO_TEXT },
	{
		"signer grant",
		"FILE --signer PEMFILE --kid KID --serial N --output FILE",
		"Say which app servers may sign jobs",
		"Signs, with the key of the authority that is measured into the image, the list of those whose jobs "
		"workers take, beside the signers of the measured configuration. Each line of FILE is a "
		"signer: "
		"`KID HEX NOT-BEFORE NOT-AFTER`, its key id, its public key (64 hex digits, see `signer show`) and two "
		"times of RFC 3339; at most 8. Empty lines, and those that begin with #, are passed over.\n\n--kid is "
		"the authority's key id. A grant takes the place of all of the one before, and its serial must be "
		"above; "
		"it is for one environment and queue. It becomes true through a bundle: see `keys signers`.\n\nA new "
		"key has a new key id: under that of a signer that is measured into the image a granted one never "
		"counts while that one may sign, and this command does not know which are measured.",
		BIT(SIGNER) | BIT(KID) | BIT(SERIAL) | BIT(ENVIRONMENT) | BIT(OUTPUT),
		1,
		1,
		cmd_signer_grant,
		{ { "cwcctl signer grant signers.txt --signer authority.pem --kid authority-1 --serial 4 --queue q "
		    "--output signers.grant",
		    "On a machine apart, where the authority's key lies:" } },
	},
	{
		"signer show-grant",
		"FILE|-",
		"Print what a grant of signers says",
		"With --authority-key it must be signed by this authority: the exit status is 1 when it is not, and "
		"nothing of it is printed. Without, anybody may have written it.",
		BIT(AUTHORITY_KEY),
		1,
		1,
		cmd_signer_show_grant,
		{ { "cwcctl signer show-grant signers.grant", "Who may sign until when?" } },
	},
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
const size_t ctl_n_commands_more = sizeof(ctl_commands_more) / sizeof(ctl_commands_more[0]);
