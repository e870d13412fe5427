/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files of the worker: checked, printed, explained by the worker's own code. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "cwc/windows.h"
#include "ops/cwcctl/out.h"

#define TEXT_MAX ((size_t)1 << 20)

static json_t *problems_json(const struct config_problems *p)
{
	json_t *all = json_array();
	for (size_t i = 0; i < p->n; i++) {
		const struct config_problem *at = &p->at[i];
		json_t *o = json_object();
		json_object_set_new(o, "file", out_string(span_str(at->file)));
		json_object_set_new(o, "line", at->line > 0 ? json_integer(at->line) : json_null());
		json_object_set_new(o, "key", out_string(span_str(at->key)));
		json_object_set_new(o, "rule", out_string(span_str(at->rule)));
		json_array_append_new(all, o);
	}
	return all;
}

static void print_problems(const struct config_problems *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct buf line;
		buf_init(&line, 1024);
		config_problem_text(&p->at[i], &line);
		out_clean(stderr, span_buf(&line));
		fputc('\n', stderr);
		buf_clear(&line);
	}
}

/* 0, or CTL_CONFIG when the problems were printed. */
static int load(const struct ctl *c, struct config *config)
{
	struct config_problems problems;
	if (config_load(c->arg[0], c->n_args > 1 ? c->arg[1] : NULL, cwc_windows_good, config, &problems) == ERR_OK)
		return 0;
	if (c->json)
		out_document(json_pack("{s:b, s:o}", "good", 0, "problems", problems_json(&problems)));
	else
		print_problems(&problems);
	return CTL_CONFIG;
}

int cmd_config_check(struct ctl *c)
{
	static struct config config;
	int code = load(c, &config);
	if (code == 0 && c->json)
		out_document(json_pack("{s:b, s:[]}", "good", 1, "problems"));
	else if (code == 0)
		puts("the configuration is good");
	return code;
}

/* --- print ------------------------------------------------------------------------------------ */

/* A key that stands more than once becomes an array. */
static void add_value(json_t *section, const char *key, struct span value)
{
	json_t *old = json_object_get(section, key), *v = out_string(value);
	if (old == NULL) {
		json_object_set_new(section, key, v);
	} else if (json_is_array(old)) {
		json_array_append_new(old, v);
	} else {
		json_object_set_new(section, key, json_pack("[O, o]", old, v));
	}
}

static void add_line(json_t *all, json_t **section, struct span line)
{
	char name[80];
	struct span equals = span_lit(" = ");
	const uint8_t *at = span_find(line, equals);
	if (line.n > 2 && line.p[0] == '[') {
		snprintf(name, sizeof(name), "%.*s", (int)(line.n - 2), (const char *)line.p + 1);
		*section = json_object();
		json_object_set_new(all, name, *section);
	} else if (line.n > 0 && line.p[0] != '#' && at != NULL && *section != NULL) {
		size_t n = (size_t)(at - line.p);
		snprintf(name, sizeof(name), "%.*s", (int)n, (const char *)line.p);
		add_value(*section, name, span_of(at + equals.n, line.n - n - equals.n));
	}
}

/* The text of config_print() as { section: { key: text } }. */
static json_t *print_json(struct span text)
{
	json_t *all = json_object(), *section = NULL;
	while (text.n > 0) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		size_t n = end != NULL ? (size_t)(end - text.p) : text.n;
		add_line(all, &section, span_of(text.p, n));
		text = n < text.n ? span_of(text.p + n + 1, text.n - n - 1) : span_of(NULL, 0);
	}
	return all;
}

int cmd_config_print(struct ctl *c)
{
	static struct config config;
	struct buf b;
	int code = load(c, &config);
	if (code != 0)
		return code;
	buf_init(&b, TEXT_MAX);
	config_print(&config, &b);
	if (c->json)
		out_document(print_json(span_buf(&b)));
	else
		code = out_raw(span_buf(&b));
	buf_clear(&b);
	return code;
}

/* --- examples --------------------------------------------------------------------------------- */

int cmd_config_example(struct ctl *c)
{
	const char *what = c->arg[0];
	struct buf b;
	buf_init(&b, TEXT_MAX);
	bool known = true;
	if (strcmp(what, "measured") == 0)
		config_example(CONFIG_MEASURED, &b);
	else if (strcmp(what, "host") == 0)
		config_example(CONFIG_HOST, &b);
	else if (strcmp(what, "man") == 0)
		config_man(&b);
	else
		known = false;
	if (known && c->json) {
		buf_reset(&b);
		config_json(&b);
	}
	int code = known ? out_raw(span_buf(&b)) : ctl_fail(CTL_USAGE, "neither measured nor host nor man: %s", what);
	buf_clear(&b);
	return code;
}
