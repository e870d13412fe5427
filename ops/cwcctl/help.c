/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/help.h"

#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/letter.h"
#include "ops/cwcctl/out.h"

#define WIDTH         78
#define EXAMPLE_WIDTH 98

const struct help_code help_codes[] = {
	{ CTL_OK, "Done." },
	{ CTL_NO,
	  "The answer is no: not found, not valid, too late, not verified, some lines or jobs failed, something is off "
	  "or missing, an input file that cannot be read." },
	{ CTL_USAGE, "Wrong usage." },
	{ CTL_UNAVAILABLE,
	  "Redis cannot be reached, refuses the credentials or the command, or is full; or a worker's status port "
	  "cannot be reached, or cannot do it now." },
	{ CTL_INTERNAL, "An internal error, or the output cannot be written." },
	{ CTL_CONFIG,
	  "A bad configuration: one that is checked, a key file, ring keys, a certificate, a newer queue." },
};
const size_t help_n_codes = sizeof(help_codes) / sizeof(help_codes[0]);

/* Text wrapped at WIDTH behind `indent` columns; an empty line between paragraphs. */
static void wrap(const char *text, size_t indent)
{
	size_t column = 0; /* 0: a line begins */
	while (*text != '\0') {
		size_t n = strcspn(text, " \n");
		if (column > 0 && column + 1 + n > WIDTH) {
			fputc('\n', stdout);
			column = 0;
		}
		size_t space = column == 0 ? indent : 1;
		printf("%*s%.*s", (int)space, "", (int)n, text);
		column += space + n;
		text += n;
		if (*text == '\n') {
			fputs("\n\n", stdout);
			column = 0;
		}
		text += strspn(text, " \n");
	}
	fputc('\n', stdout);
}

static void print_option(int o)
{
	const struct ctl_option_row *row = &ctl_options[o];
	printf("  --%s%s%s\n", row->name, row->arg != NULL ? " " : "", row->arg != NULL ? row->arg : "");
	wrap(row->text, 6);
}

static void print_options(ctl_set set)
{
	for (int o = 0; o < CTL_N_OPTIONS; o++)
		if (set & CTL_BIT(o))
			print_option(o);
}

static void print_overview(void)
{
	size_t width = 0;
	puts("usage: cwcctl COMMAND [OPTION]... [ARGUMENT]...\n\nThe queue of sealed letters to the US Congress and "
	     "what is "
	     "in it.\n");
	for (size_t i = 0; i < ctl_n_commands(); i++)
		width = strlen(ctl_command(i)->name) > width ? strlen(ctl_command(i)->name) : width;
	for (size_t i = 0; i < ctl_n_commands(); i++)
		printf("  %-*s  %s\n", (int)width, ctl_command(i)->name, ctl_command(i)->summary);
	puts("\nOptions of every command:");
	print_options(CTL_COMMON);
	puts("\nExit status:");
	for (size_t i = 0; i < help_n_codes; i++) {
		printf("  %d\n", help_codes[i].code);
		wrap(help_codes[i].text, 6);
	}
	puts("\n`cwcctl help COMMAND` says more; `cwcctl help --man` prints the manual page.");
}

/* A line for the shell; one that is too long goes on, before an option, on the next. */
static void print_example(const char *line)
{
	size_t column = 6;
	printf("%*s", (int)column, "");
	while (*line != '\0') {
		const char *next = strstr(line + 1, " --");
		size_t n = next != NULL ? (size_t)(next - line) : strlen(line);
		if (column + n + 2 > EXAMPLE_WIDTH && column > 10) {
			column = 10;
			printf(" \\\n%*s", (int)column - 1, "");
		}
		printf("%.*s", (int)n, line);
		column += n;
		line += n;
	}
	fputc('\n', stdout);
}

static void print_command(const struct command *k)
{
	printf("usage: cwcctl %s [OPTION]...%s%s\n\n", k->name, k->args[0] ? " " : "", k->args);
	wrap(k->text, 0);
	if (k->options & CTL_BIT(OPT_FORCE)) {
		puts("\nMembers of a letter:");
		for (size_t i = 0; i < letter_n_members; i++) {
			printf("  %s\n", letter_members[i].name);
			wrap(letter_members[i].text, 6);
		}
	}
	if (k->options != 0) {
		puts("\nOptions:");
		print_options(k->options);
	}
	if (k->example[0].line != NULL)
		puts("\nExamples:");
	for (size_t i = 0; i < 3 && k->example[i].line != NULL; i++) {
		wrap(k->example[i].text, 2);
		print_example(k->example[i].line);
	}
	puts("\nOptions of every command: see `cwcctl help`.");
}

/* --- the table as JSON ------------------------------------------------------------------------ */

static json_t *options_json(ctl_set set)
{
	json_t *all = json_array();
	for (int o = 0; o < CTL_N_OPTIONS; o++) {
		if (!(set & CTL_BIT(o)))
			continue;
		json_array_append_new(all, json_pack("{s:s, s:s?, s:s}", "name", ctl_options[o].name, "argument",
						     ctl_options[o].arg, "text", ctl_options[o].text));
	}
	return all;
}

static json_t *command_json(const struct command *k)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "command", k->name, "arguments", k->args, "summary", k->summary,
			 "text", k->text, "options", options_json(k->options));
}

static json_t *all_json(void)
{
	json_t *all = json_array();
	for (size_t i = 0; i < ctl_n_commands(); i++)
		json_array_append_new(all, command_json(ctl_command(i)));
	return json_pack("{s:o, s:o}", "options", options_json(CTL_COMMON), "commands", all);
}

/* --- the command ------------------------------------------------------------------------------ */

/* "dead list" for the words dead and list; "dead" alone is the first of its group. */
static const struct command *find(const struct ctl *c)
{
	char name[64];
	snprintf(name, sizeof(name), "%s%s%s", c->arg[0], c->n_args > 1 ? " " : "", c->n_args > 1 ? c->arg[1] : "");
	for (size_t i = 0; i < ctl_n_commands(); i++)
		if (strcmp(name, ctl_command(i)->name) == 0)
			return ctl_command(i);
	for (size_t i = 0; i < ctl_n_commands(); i++)
		if (strcmp(c->arg[0], ctl_command(i)->name) == 0)
			return ctl_command(i);
	return NULL;
}

/* All commands of a group such as "dead". */
static size_t print_group(const char *word)
{
	size_t n = strlen(word), found = 0;
	for (size_t i = 0; i < ctl_n_commands(); i++) {
		const struct command *k = ctl_command(i);
		if (strncmp(k->name, word, n) != 0 || k->name[n] != ' ')
			continue;
		if (found++ > 0)
			puts("");
		print_command(k);
	}
	return found;
}

int cmd_help(struct ctl *c)
{
	/* `cwcctl help COMMAND` comes here without the word help, `cwcctl help COMMAND --help` with it. */
	if (ctl_has(c, OPT_HELP) && c->n_args > 1 && strcmp(c->arg[0], "help") == 0) {
		c->n_args--;
		memmove(c->arg, c->arg + 1, c->n_args * sizeof(c->arg[0]));
	}
	if (ctl_has(c, OPT_MAN)) {
		help_man();
		return CTL_OK;
	}
	const struct command *k = c->n_args > 0 ? find(c) : NULL;
	if (k != NULL && c->json)
		out_document(command_json(k));
	else if (k != NULL)
		print_command(k);
	else if (c->n_args > 0 && print_group(c->arg[0]) == 0)
		return ctl_fail(CTL_USAGE, "there is no command %s; see `cwcctl help`", c->arg[0]);
	else if (c->n_args == 0 && c->json)
		out_document(all_json());
	else if (c->n_args == 0)
		print_overview();
	return CTL_OK;
}
