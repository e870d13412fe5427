/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: words, options, and the checks that several commands need. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cwc/cwc.h"
#include "ops/cwcctl/ctl.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/units.h"
#include "queue/job.h"
#include "worker/base/text.h"

const struct ctl_option_row ctl_options[CTL_N_OPTIONS] = {
#define CTL_OPTION_ROW(e, name_, arg_, text_) { name_, arg_, text_ },
	CTL_OPTIONS(CTL_OPTION_ROW)
#undef CTL_OPTION_ROW
};

void ctl_complain(const char *format, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fputs("cwcctl: ", stderr);
	out_clean(stderr, span_str(line));
	fputc('\n', stderr);
}

/* --- options --------------------------------------------------------------------------------- */

static int option_find(struct span name)
{
	for (int o = 0; o < CTL_N_OPTIONS; o++)
		if (span_eq_str(name, ctl_options[o].name))
			return o;
	return -1;
}

/* argv[*at] is "--name", "--name=value", or "--name" with the value in the next word. */
static int option_take(struct ctl *c, int argc, char **argv, int *at)
{
	const char *word = argv[*at] + 2;
	const char *equals = strchr(word, '=');
	struct span name = equals != NULL ? span_of(word, (size_t)(equals - word)) : span_str(word);
	int o = option_find(name);
	if (o < 0)
		return ctl_fail(CTL_USAGE, "there is no option --%.*s; see `cwcctl help`", (int)name.n,
				(const char *)name.p);
	const struct ctl_option_row *row = &ctl_options[o];
	if (c->opt[o] != NULL)
		return ctl_fail(CTL_USAGE, "--%s is given twice", row->name);
	if (row->arg == NULL && equals != NULL)
		return ctl_fail(CTL_USAGE, "--%s takes no value", row->name);
	if (row->arg == NULL) {
		c->opt[o] = "";
	} else if (equals != NULL) {
		c->opt[o] = equals + 1;
	} else {
		if (*at + 1 >= argc)
			return ctl_fail(CTL_USAGE, "--%s needs a value: %s", row->name, row->arg);
		c->opt[o] = argv[++*at];
	}
	return 0;
}

static int word_take(struct ctl *c, const char *word)
{
	if (c->n_args == CTL_ARGS_MAX)
		return ctl_fail(CTL_USAGE, "more than %d arguments", CTL_ARGS_MAX);
	c->arg[c->n_args++] = word;
	return 0;
}

static int split(int argc, char **argv, struct ctl *c)
{
	bool words_only = false;
	for (int i = 1; i < argc; i++) {
		const char *w = argv[i];
		int code = 0;
		if (words_only || w[0] != '-' || w[1] == '\0')
			code = word_take(c, w);
		else if (strcmp(w, "--") == 0)
			words_only = true;
		else if (strcmp(w, "-h") == 0)
			c->opt[OPT_HELP] = "";
		else if (strcmp(w, "-V") == 0 || strcmp(w, "--version") == 0)
			code = word_take(c, "version");
		else if (w[1] == '-')
			code = option_take(c, argc, argv, &i);
		else
			code = ctl_fail(CTL_USAGE, "there is no option %s; see `cwcctl help`", w);
		if (code != 0)
			return code;
	}
	return 0;
}

/* --- the command ----------------------------------------------------------------------------- */

size_t ctl_n_commands(void)
{
	return ctl_n_commands_first + ctl_n_commands_people + ctl_n_commands_depth + ctl_n_commands_more;
}

const struct command *ctl_command(size_t i)
{
	if (i < ctl_n_commands_first)
		return &ctl_commands[i];
	i -= ctl_n_commands_first;
	if (i < ctl_n_commands_people)
		return &ctl_commands_people[i];
	i -= ctl_n_commands_people;
	return i < ctl_n_commands_depth ? &ctl_commands_depth[i] : &ctl_commands_more[i - ctl_n_commands_depth];
}

/* How many words of the arguments the command's name takes; 0: another command. */
static size_t name_words(const struct command *k, const struct ctl *c)
{
	const char *space = strchr(k->name, ' ');
	if (space == NULL)
		return c->n_args >= 1 && strcmp(c->arg[0], k->name) == 0 ? 1 : 0;
	bool first = c->n_args >= 2 && span_eq_str(span_of(k->name, (size_t)(space - k->name)), c->arg[0]);
	return first && strcmp(c->arg[1], space + 1) == 0 ? 2 : 0;
}

static void name_drop(struct ctl *c, size_t n)
{
	c->n_args -= n;
	memmove(c->arg, c->arg + n, c->n_args * sizeof(c->arg[0]));
}

/* "keys status" rather than "keys" with an argument. */
static const struct command *command_find(struct ctl *c)
{
	const struct command *found = NULL;
	size_t words = 0;
	for (size_t i = 0; i < ctl_n_commands(); i++) {
		size_t n = name_words(ctl_command(i), c);
		if (n > words) {
			words = n;
			found = ctl_command(i);
		}
	}
	name_drop(c, words);
	return found;
}

/* "dead" alone, or with a wrong second word: says what there is. */
static int command_unknown(const struct ctl *c)
{
	char known[256] = "";
	size_t n = strlen(c->arg[0]);
	for (size_t i = 0; i < ctl_n_commands(); i++) {
		const char *name = ctl_command(i)->name;
		size_t have = strlen(known);
		if (strncmp(name, c->arg[0], n) == 0 && name[n] == ' ')
			snprintf(known + have, sizeof(known) - have, "%s%s", have > 0 ? ", " : "", name + n + 1);
	}
	if (known[0] != '\0')
		return ctl_fail(CTL_USAGE, "%s needs one of these words: %s", c->arg[0], known);
	return ctl_fail(CTL_USAGE, "there is no command %s; see `cwcctl help`", c->arg[0]);
}

static int command_check(const struct ctl *c)
{
	const struct command *k = c->command;
	for (int o = 0; o < CTL_N_OPTIONS; o++)
		if (c->opt[o] != NULL && !((k->options | CTL_COMMON) & CTL_BIT(o)))
			return ctl_fail(CTL_USAGE, "--%s is no option of `%s`", ctl_options[o].name, k->name);
	if (c->n_args < k->min || c->n_args > k->max)
		return ctl_fail(CTL_USAGE, "usage: cwcctl %s%s%s; see `cwcctl help %s`", k->name, k->args[0] ? " " : "",
				k->args, k->name);
	return 0;
}

static const struct command *command_named(const char *name)
{
	for (size_t i = 0; i < ctl_n_commands(); i++)
		if (strcmp(ctl_command(i)->name, name) == 0)
			return ctl_command(i);
	return NULL;
}

int args_parse(int argc, char **argv, struct ctl *c)
{
	int code = split(argc, argv, c);
	if (code != 0)
		return code;
	c->json = c->opt[OPT_JSON] != NULL;
	if (c->n_args == 0 && !ctl_has(c, OPT_HELP)) {
		fputs("usage: cwcctl COMMAND [OPTION]... [ARGUMENT]...; see `cwcctl help`\n", stderr);
		return CTL_USAGE;
	}
	if (ctl_has(c, OPT_HELP)) {
		c->command = command_named("help");
		return 0;
	}
	c->command = command_find(c);
	return c->command != NULL ? command_check(c) : command_unknown(c);
}

/* --- checks ---------------------------------------------------------------------------------- */

int args_sid(const char *s)
{
	if (job_sid_valid(span_str(s)))
		return 0;
	return ctl_fail(CTL_USAGE, "SID must be 1 to 64 characters of A-Z a-z 0-9 _ -: %s", s);
}

int args_office(const char *s)
{
	enum cwc_chamber chamber;
	if (cwc_office_parse(span_str(s), &chamber) == ERR_OK)
		return 0;
	return ctl_fail(CTL_USAGE, "not an office code (such as HNE03 or SNE02): %s", s);
}

int args_what(const char *s)
{
	enum cwc_chamber chamber;
	if (strcmp(s, "house") == 0 || strcmp(s, "senate") == 0 || cwc_office_parse(span_str(s), &chamber) == ERR_OK)
		return 0;
	return ctl_fail(CTL_USAGE, "neither house nor senate nor an office code: %s", s);
}

int args_count(const struct ctl *c, enum ctl_option o, uint64_t def, uint64_t *ret_n)
{
	*ret_n = def;
	if (c->opt[o] == NULL)
		return 0;
	if (text_uint(span_str(c->opt[o]), CTL_COUNT_MAX, ret_n) == ERR_OK && *ret_n > 0)
		return 0;
	return ctl_fail(CTL_USAGE, "--%s must be a whole number from 1 to %u", ctl_options[o].name, CTL_COUNT_MAX);
}

int args_timeout(const struct ctl *c, unsigned def_ms, unsigned *ret_ms)
{
	uint64_t ms = def_ms;
	if (ctl_has(c, OPT_TIMEOUT) && (units_duration(c->opt[OPT_TIMEOUT], &ms) != ERR_OK || ms < 1 || ms > 600000))
		return ctl_fail(CTL_USAGE, "--timeout must be a duration from 1ms to 10min, such as 5s");
	*ret_ms = (unsigned)ms;
	return 0;
}

int args_environment(const struct ctl *c, const char **ret_environment)
{
	*ret_environment = ctl_value(c, OPT_ENVIRONMENT, "sandbox");
	if (strcmp(*ret_environment, "sandbox") == 0 || strcmp(*ret_environment, "production") == 0)
		return 0;
	return ctl_fail(CTL_USAGE, "--environment must be sandbox or production");
}
