/* SPDX-License-Identifier: Apache-2.0 */
/* cwcctl(1) in roff, from the same tables as --help. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/help.h"
#include "ops/cwcctl/letter.h"
#include "worker/version.h"

/* A hyphen and a backslash mean themselves; `code` becomes bold; a dot or quote that begins a line is
 * no request. Paragraphs end at an empty line. */
static void text(const char *s)
{
	bool start = true, bold = false;
	for (; *s != '\0'; s++) {
		if (start && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		start = false;
		switch (*s) {
		case '-':
			fputs("\\-", stdout);
			break;
		case '\\':
			fputs("\\e", stdout);
			break;
		case '`':
			fputs(bold ? "\\fR" : "\\fB", stdout);
			bold = !bold;
			break;
		case '\n':
			s += strspn(s, "\n") - 1;
			fputs("\n.PP\n", stdout);
			start = true;
			break;
		default:
			fputc(*s, stdout);
		}
	}
	fputc('\n', stdout);
}

static void bold(const char *before, const char *s)
{
	fputs("\\fB", stdout);
	for (const char *p = before; *p != '\0'; p++)
		fputs(*p == '-' ? "\\-" : (const char[]){ *p, '\0' }, stdout);
	for (; *s != '\0'; s++)
		fputs(*s == '-' ? "\\-" : (const char[]){ *s, '\0' }, stdout);
	fputs("\\fR", stdout);
}

static void options(ctl_set set)
{
	for (int o = 0; o < CTL_N_OPTIONS; o++) {
		if (!(set & CTL_BIT(o)))
			continue;
		puts(".TP");
		bold("--", ctl_options[o].name);
		if (ctl_options[o].arg != NULL)
			printf(" \\fI%s\\fR", ctl_options[o].arg);
		fputc('\n', stdout);
		text(ctl_options[o].text);
	}
}

static void example(const struct ctl_example *e)
{
	puts(".PP");
	text(e->text);
	puts(".PP\n.RS 4\n.nf");
	text(e->line);
	puts(".fi\n.RE");
}

static void command(const struct command *k)
{
	fputs(".SS \"", stdout);
	fputs(k->name, stdout);
	if (k->args[0] != '\0')
		printf(" \\fI%s\\fP", k->args);
	puts("\"");
	text(k->text);
	options(k->options);
}

static void members(void)
{
	puts(".SH LETTERS\nThe input of \\fBseal\\fR and \\fBenqueue\\fR is one JSON object, or one on each line. Its "
	     "members "
	     "are these; others are refused.");
	for (size_t i = 0; i < letter_n_members; i++) {
		puts(".TP");
		bold("", letter_members[i].name);
		fputc('\n', stdout);
		text(letter_members[i].text);
	}
}

static void head(void)
{
	puts(".\\\" SPDX-License-Identifier: Apache-2.0\n.\\\" Made by `cwcctl help --man`.\n.TH CWCCTL 1 \"\" "
	     "\"cwc-worker " CWC_VERSION
	     "\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\ncwcctl \\- the queue of sealed letters to the US Congress "
	     "and what is in it\n.SH SYNOPSIS\n\\fBcwcctl\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]... "
	     "[\\fIARGUMENT\\fR]...\n.br\n"
	     "\\fBcwcctl help\\fR [\\fICOMMAND\\fR]\n.SH DESCRIPTION");
	text("`cwcctl` does what a person or a script has to do with the queue of cwc-worker(8): it seals letters and "
	     "adds "
	     "them, shows where they stand, reads results and checks their receipts, replays or drops dead letters, "
	     "pauses "
	     "offices, and checks letters and configurations without a queue.\n\nWhat it changes is done by the "
	     "queue's own "
	     "scripts, so it may run at any time and as often as wanted, beside workers and beside itself. Every act "
	     "of a "
	     "person is written to the stream `audit` with `user@host`, or `login(user)@host` for who became another "
	     "user, by sudo say.\n\nIt prints tables for people; with `--json` "
	     "the "
	     "same as JSON for scripts. Errors are one line each on standard error.\n\nSecrets come from files that "
	     "nobody "
	     "else may read (mode 0600), never from the command line or the environment. Letters are held in memory "
	     "that is "
	     "wiped.");
}

static void files(void)
{
	puts(".SH FILES\n.TP\n\\fI/run/redis/redis.sock\\fR\nThe default of "
	     "\\fB\\-\\-redis\\fR.\n.TP\n\\fIPEMFILE\\fR\n"
	     "A signer's key, made by \\fBopenssl genpkey \\-algorithm ed25519 \\-out\\fR \\fIPEMFILE\\fR. Its public "
	     "half goes "
	     "into the measured configuration of the workers; see \\fBsigner show\\fR.\n.SH SEE "
	     "ALSO\n\\fBcwc\\-worker\\fR(8), "
	     "\\fBcwc\\-worker.conf\\fR(5); PROTOCOL.md and FORMATS.md of the package.");
}

void help_man(void)
{
	head();
	puts(".SH COMMANDS");
	for (size_t i = 0; i < ctl_n_commands(); i++)
		command(ctl_command(i));
	puts(".SH OPTIONS\nOf every command:");
	options(CTL_COMMON);
	members();
	puts(".SH \"EXIT STATUS\"");
	for (size_t i = 0; i < help_n_codes; i++) {
		printf(".TP\n\\fB%d\\fR\n", help_codes[i].code);
		text(help_codes[i].text);
	}
	puts(".SH EXAMPLES");
	for (size_t i = 0; i < ctl_n_commands(); i++)
		for (size_t k = 0; k < 3 && ctl_command(i)->example[k].line != NULL; k++)
			example(&ctl_command(i)->example[k]);
	files();
}
