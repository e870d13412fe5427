/* SPDX-License-Identifier: Apache-2.0 */
/* A letter in the clear to the XML that a chamber would get. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/encode.h"
#include "ops/cwcctl/letter.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/sample.h"

#define INPUT_MAX ((size_t)1 << 20)
#define XML_MAX   ((size_t)1 << 20)

/* Everything in `letter` points into `root`, `cbor` or the options. */
struct render {
	struct ctl *c;
	struct buf input, cbor, xml;
	json_t *root;
	struct cwc_letter letter;
	enum cwc_chamber chamber;
};

static int read_input(struct render *r, const char *file)
{
	int fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	if (fd < 0)
		return ctl_fail(CTL_NO, "%s: %s", file, strerror(errno));
	do {
		buf_grew(&r->input, (size_t)n);
		uint8_t *room = buf_room(&r->input, 4096);
		n = room != NULL ? read(fd, room, 4096) : 0;
	} while (n > 0 || (n < 0 && errno == EINTR && (n = 0) == 0));
	if (fd > STDIN_FILENO)
		close(fd);
	if (n < 0)
		return ctl_fail(CTL_NO, "%s: it cannot be read", file);
	return buf_ok(&r->input) == ERR_OK ? 0 : ctl_fail(CTL_NO, "%s: larger than 1 MiB", file);
}

static int parse_input(struct render *r)
{
	json_error_t error;
	r->root = json_loadb((const char *)r->input.p, r->input.n, JSON_REJECT_DUPLICATES, &error);
	if (r->root == NULL)
		return ctl_fail(CTL_NO, "not JSON (line %d, column %d), or a member twice", error.line, error.column);
	return json_is_object(r->root) ? 0 : ctl_fail(CTL_NO, "not a JSON object");
}

/* --- the elements that only a worker sets ------------------------------------------------------ */

/* From the input, else a sample, which is said. They are taken out of what cwc_letter_read() gets. */
static int set_worker_field(struct render *r, enum cwc_field f, json_t *rest)
{
	const char *name = cwc_field_name(f);
	const json_t *v = json_object_get(r->root, name);
	if (v == NULL) {
		const char *sample = sample_value(f);
		if (sample == NULL)
			return 0;
		r->letter.v[f] = span_str(sample);
		fprintf(stderr, "cwcctl: %s is not given: %s\n", name, sample);
		return 0;
	}
	if (!json_is_string(v))
		return ctl_fail(CTL_NO, "%s: %s", name, err_text(ERR_LETTER_FIELD_TYPE));
	r->letter.v[f] = span_of(json_string_value(v), json_string_length(v));
	json_object_del(rest, name);
	return 0;
}

static int set_office(struct render *r)
{
	struct span *office = &r->letter.v[CWC_MEMBER_OFFICE];
	const char *chamber = r->c->opt[OPT_CHAMBER];
	if (ctl_has(r->c, OPT_OFFICE))
		*office = span_str(r->c->opt[OPT_OFFICE]);
	if (chamber != NULL) {
		r->chamber = strcmp(chamber, "senate") == 0 ? CWC_SENATE : CWC_HOUSE;
		if (strcmp(chamber, cwc_chamber_name(r->chamber)) != 0)
			return ctl_fail(CTL_USAGE, "--chamber must be house or senate");
	} else if (cwc_office_parse(*office, &r->chamber) != ERR_OK) {
		return ctl_fail(CTL_USAGE,
				"--office is needed, or MemberOffice in the letter: a code such as HNE03 or SNE02");
	}
	return 0;
}

static int read_letter(struct render *r)
{
	json_t *rest = json_copy(r->root);
	enum cwc_field field = CWC_FIELD_COUNT;
	int code = 0;
	cwc_letter_init(&r->letter);
	for (unsigned i = 0; i < CWC_FIELD_COUNT && code == 0; i++)
		if (cwc_field_source((enum cwc_field)i) == CWC_FROM_WORKER)
			code = set_worker_field(r, (enum cwc_field)i, rest);
	if (code == 0)
		code = set_office(r);
	struct buf why;
	buf_init(&why, 16384);
	if (code == 0 && !letter_check_names(rest, "letter", &why))
		code = ctl_fail(CTL_NO, "%.*s", (int)(why.n - 1), (const char *)why.p);
	buf_clear(&why);
	if (code == 0) {
		enum err e = encode_cbor(rest, &r->cbor);
		if (e == ERR_OK)
			e = cwc_letter_read(span_buf(&r->cbor), false, &r->letter, &field);
		if (e != ERR_OK)
			code = ctl_fail(CTL_NO, "%s%s%s", field < CWC_FIELD_COUNT ? cwc_field_name(field) : "",
					field < CWC_FIELD_COUNT ? ": " : "",
					err_text(e == ERR_RANGE ? ERR_LETTER_FIELD_TYPE : e));
	}
	json_decref(rest);
	return code;
}

/* --- the answer ------------------------------------------------------------------------------- */

static json_t *problems_json(const struct cwc_problems *p)
{
	json_t *all = json_array();
	for (size_t i = 0; i < p->n; i++) {
		json_t *o = json_object();
		json_object_set_new(o, "element", json_string(cwc_field_name(p->at[i].field)));
		json_object_set_new(o, "entry", p->at[i].index > 0 ? json_integer(p->at[i].index) : json_null());
		json_object_set_new(o, "rule", json_string(cwc_rule_name(p->at[i].rule)));
		json_object_set_new(o, "text", json_string(cwc_rule_text(p->at[i].rule)));
		json_array_append_new(all, o);
	}
	return all;
}

static int print_problems(const struct render *r, const struct cwc_problems *p)
{
	struct buf text;
	if (r->c->json) {
		out_document(json_pack("{s:b, s:s, s:o}", "valid", 0, "chamber", cwc_chamber_name(r->chamber),
				       "problems", problems_json(p)));
		return CTL_NO;
	}
	buf_init(&text, 16384);
	cwc_problems_text(p, r->chamber, &text);
	fwrite(text.p, 1, text.n, stderr);
	buf_clear(&text);
	return CTL_NO;
}

static int print_xml(struct render *r)
{
	cwc_render(&r->letter, r->chamber, &r->xml);
	if (buf_ok(&r->xml) != ERR_OK)
		return ctl_fail(CTL_NO, "the XML is larger than 1 MiB");
	if (!r->c->json)
		return out_raw(span_buf(&r->xml));
	json_t *o = json_pack("{s:b, s:s}", "valid", 1, "chamber", cwc_chamber_name(r->chamber));
	json_object_set_new(o, "xml", out_string(span_buf(&r->xml)));
	buf_reset(&r->xml);
	int code = encode_json(o, &r->xml) == ERR_OK ? out_raw(span_buf(&r->xml)) : CTL_INTERNAL;
	json_decref(o);
	return code == 0 ? out_raw(span_lit("\n")) : code;
}

int cmd_render(struct ctl *c)
{
	struct render r = { .c = c };
	struct cwc_problems problems;
	buf_init(&r.input, INPUT_MAX);
	buf_init(&r.cbor, INPUT_MAX);
	buf_init(&r.xml, 2 * XML_MAX);
	int code = read_input(&r, c->arg[0]);
	if (code == 0)
		code = parse_input(&r);
	if (code == 0)
		code = read_letter(&r);
	if (code == 0 && cwc_validate(&r.letter, r.chamber, &problems) != ERR_OK)
		code = print_problems(&r, &problems);
	else if (code == 0)
		code = print_xml(&r);
	json_decref(r.root);
	buf_clear(&r.input);
	buf_clear(&r.cbor);
	buf_clear(&r.xml);
	sodium_memzero(&r.letter, sizeof(r.letter));
	return code;
}
