/* SPDX-License-Identifier: Apache-2.0 */
/* The table for people and tools: effective values, example files, man page, JSON. */
#include <stdio.h>
#include <string.h>

#include "config/table.h"
#include "worker/base/text.h"

#define COMMENT_WIDTH 96

static const struct {
	const char *name, *unit;
} types[CONFIG_TYPE_COUNT] = {
#define CONFIG_TYPE_ROW(e, name_, unit_, form_) { name_, unit_ },
	CONFIG_TYPES(CONFIG_TYPE_ROW)
#undef CONFIG_TYPE_ROW
};

static const char *tier_name(enum config_tier tier)
{
	return tier == CONFIG_MEASURED ? "measured" : "host";
}

static bool starts_section(size_t i)
{
	return i == 0 || strcmp(config_keys[i].section, config_keys[i - 1].section) != 0;
}

/* "a duration in ms, s, min, h or d, 1s to 5min" */
static void add_form(const struct config_key *k, struct buf *out)
{
	char number[CONFIG_NUMBER_SIZE];

	buf_add_str(out, config_type_form(k->type));
	for (size_t i = 0; k->words && k->words[i]; i++) {
		buf_add_str(out, i ? " or " : "");
		buf_add_str(out, k->words[i]);
	}
	if (k->type == CONFIG_TYPE_TEXT) {
		buf_add_str(out, " of ");
		buf_add_uint(out, (uint64_t)k->min);
		buf_add_str(out, " to ");
		buf_add_uint(out, (uint64_t)k->max);
		buf_add_str(out, " characters");
	} else if (k->max > 0) {
		buf_add_str(out, ", ");
		if (k->zero) {
			config_number(k, 0, number);
			buf_add_str(out, number);
			buf_add_str(out, " or ");
		}
		config_number(k, k->min, number);
		buf_add_str(out, number);
		buf_add_str(out, " to ");
		config_number(k, k->max, number);
		buf_add_str(out, number);
	}
}

/* "host; true or false; default true" */
static void add_facts(const struct config_key *k, struct buf *out)
{
	buf_add_str(out, tier_name(k->tier));
	buf_add_str(out, "; ");
	add_form(k, out);
	buf_add_str(out, k->def[0] ? "; default " : "; no default");
	buf_add_str(out, k->def);
	if (k->room) {
		buf_add_str(out, "; may be given ");
		buf_add_uint(out, k->room);
		buf_add_str(out, " times");
	}
}

/* Comment lines of at most COMMENT_WIDTH columns, broken at spaces. */
static void add_comment(struct span text, struct buf *out)
{
	while (text.n) {
		size_t n = text.n;

		if (n > COMMENT_WIDTH - 2)
			for (n = COMMENT_WIDTH - 2; n > 1 && text.p[n] != ' '; n--)
				;
		buf_add_str(out, "# ");
		buf_add(out, text.p, n);
		buf_add_str(out, "\n");
		while (n < text.n && text.p[n] == ' ')
			n++;
		text = span_of(text.p + n, text.n - n);
	}
}

static void add_facts_comment(const struct config_key *k, struct buf *out)
{
	struct buf facts;

	buf_init(&facts, 1024);
	add_facts(k, &facts);
	add_comment(span_buf(&facts), out);
	buf_clear(&facts);
}

/* --- values ---------------------------------------------------------------------------------- */

static double load_number(const struct config_key *k, const uint8_t *field)
{
	unsigned whole;
	double rate;

	if (k->type == CONFIG_TYPE_RATE) {
		memcpy(&rate, field, sizeof(rate));
		return rate;
	}
	memcpy(&whole, field, sizeof(whole));
	return whole;
}

static void add_bound(int64_t unix_s, struct buf *out)
{
	char text[TEXT_TIME_SIZE] = "-";

	if (unix_s != 0)
		text_time(unix_s, text);
	buf_add_str(out, " ");
	buf_add_str(out, text);
}

/* Also the authority: without times, and perhaps none. */
static void add_signer(const uint8_t *field, struct buf *out)
{
	struct config_signer s;
	char hex[2 * sizeof(s.public_key) + 1];

	memcpy(&s, field, sizeof(s));
	if (!s.kid[0])
		return;
	text_hex(span_of(s.public_key, sizeof(s.public_key)), hex);
	buf_add_str(out, s.kid);
	buf_add_str(out, " ");
	buf_add_str(out, hex);
	if (s.not_before_s != 0 || s.not_after_s != 0) {
		add_bound(s.not_before_s, out);
		add_bound(s.not_after_s, out);
	}
}

static void add_value(const struct config_key *k, const uint8_t *field, struct buf *out)
{
	char number[CONFIG_NUMBER_SIZE];
	bool yes;
	unsigned word;

	if (k->type == CONFIG_TYPE_BOOL) {
		memcpy(&yes, field, sizeof(yes));
		buf_add_str(out, yes ? "true" : "false");
	} else if (k->type == CONFIG_TYPE_ENUM) {
		memcpy(&word, field, sizeof(word));
		buf_add_str(out, k->words[word]);
	} else if (k->type == CONFIG_TYPE_SIGNER || k->type == CONFIG_TYPE_AUTHORITY) {
		add_signer(field, out);
	} else if (k->type == CONFIG_TYPE_ADDRESS) {
		buf_add_str(out, (const char *)field + offsetof(struct addr, text));
	} else if (k->max > 0 && k->type != CONFIG_TYPE_TEXT) {
		config_number(k, load_number(k, field), number);
		buf_add_str(out, number);
	} else {
		buf_add_str(out, (const char *)field);
	}
}

static void add_setting(const char *before, const struct config_key *k, const uint8_t *field, struct buf *out)
{
	buf_add_str(out, before);
	buf_add_str(out, k->name);
	buf_add_str(out, " = ");
	if (field)
		add_value(k, field, out);
	buf_add_str(out, "\n");
}

static void print_key(const struct config *c, const struct config_key *k, struct buf *out)
{
	const uint8_t *field = (const uint8_t *)c + k->offset;
	size_t n = 1;

	if (k->room)
		memcpy(&n, (const uint8_t *)c + k->count, sizeof(n));
	add_facts_comment(k, out);
	for (size_t i = 0; i < n; i++)
		add_setting("", k, field + i * k->size, out);
	if (n == 0)
		add_setting("#", k, NULL, out);
}

static void add_section(const char *name, struct buf *out)
{
	buf_add_str(out, out->n ? "\n[" : "[");
	buf_add_str(out, name);
	buf_add_str(out, "]\n");
}

void config_print(const struct config *c, struct buf *out)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		if (starts_section(i))
			add_section(config_keys[i].section, out);
		print_key(c, &config_keys[i], out);
	}
}

/* --- the table ------------------------------------------------------------------------------- */

static void example_key(const struct config_key *k, struct buf *out)
{
	const char *at = k->def[0] ? k->def : k->example;

	buf_add_str(out, "\n");
	add_comment(span_str(k->text), out);
	add_facts_comment(k, out);
	while (*at) {
		size_t n = k->room && k->def[0] ? strcspn(at, " ") : strlen(at);

		buf_add_str(out, "#");
		buf_add_str(out, k->name);
		buf_add_str(out, " = ");
		buf_add(out, at, n);
		buf_add_str(out, "\n");
		at += n + strspn(at + n, " ");
	}
}

void config_example(enum config_tier tier, struct buf *out)
{
	const char *section = "";

	buf_add_str(
		out,
		tier == CONFIG_MEASURED
			? "# cwc-worker: the measured file. It is part of the enclave image and may set the keys of\n"
			  "# both tiers; those of the host tier are shown in host.conf.\n"
			: "# cwc-worker: the host file. It comes from the parent instance; a key of it that the "
			  "measured\n"
			  "# file sets too counts with the value given here.\n");
	buf_add_str(out, "# A line \"#key = value\" shows the default, or an example where there is no default.\n"
			 "# Comments need lines of their own; values are written without quotes.\n");
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].tier != tier)
			continue;
		if (strcmp(config_keys[i].section, section) != 0) {
			section = config_keys[i].section;
			add_section(section, out);
		}
		example_key(&config_keys[i], out);
	}
}

/* Text of a man page: a hyphen and a backslash mean themselves. No text here begins with a dot. */
static void add_roff(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '-')
			buf_add_str(out, "\\-");
		else if (s.p[i] == '\\')
			buf_add_str(out, "\\e");
		else
			buf_add_byte(out, s.p[i]);
	}
}

void config_man(struct buf *out)
{
	struct buf facts;

	buf_init(&facts, 1024);
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];

		if (starts_section(i)) {
			buf_add_str(out, ".SS [");
			buf_add_str(out, k->section);
			buf_add_str(out, "]\n");
		}
		buf_add_str(out, ".TP\n\\fB");
		add_roff(span_str(k->name), out);
		buf_add_str(out, "\\fR (");
		add_facts(k, &facts);
		add_roff(span_buf(&facts), out);
		buf_reset(&facts);
		buf_add_str(out, ")\n");
		add_roff(span_str(k->text), out);
		buf_add_str(out, "\n");
	}
	buf_clear(&facts);
}

static void json_member(const char *name, const char *value, struct buf *out)
{
	buf_add_str(out, ", ");
	text_json(span_str(name), out);
	buf_add_str(out, ": ");
	text_json(span_str(value), out);
}

static void json_key(const struct config_key *k, struct buf *out)
{
	char number[CONFIG_NUMBER_SIZE];

	buf_add_str(out, "{\"section\": ");
	text_json(span_str(k->section), out);
	json_member("key", k->name, out);
	json_member("type", types[k->type].name, out);
	json_member("unit", types[k->type].unit, out);
	json_member("tier", tier_name(k->tier), out);
	json_member("default", k->def, out);
	if (k->max > 0) {
		config_number(k, k->min, number);
		json_member("min", number, out);
		config_number(k, k->max, number);
		json_member("max", number, out);
	}
	if (k->words) {
		buf_add_str(out, ", \"values\": [");
		for (size_t i = 0; k->words[i]; i++) {
			buf_add_str(out, i ? ", " : "");
			text_json(span_str(k->words[i]), out);
		}
		buf_add_str(out, "]");
	}
	buf_add_str(out, k->zero ? ", \"zero\": true" : ", \"zero\": false");
	buf_add_str(out, k->room ? ", \"repeatable\": true" : ", \"repeatable\": false");
	json_member("text", k->text, out);
	buf_add_str(out, "}");
}

void config_json(struct buf *out)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		buf_add_str(out, i ? ",\n" : "[\n");
		json_key(&config_keys[i], out);
	}
	buf_add_str(out, "\n]\n");
}
