/* SPDX-License-Identifier: Apache-2.0 */
/* Enclave images: what they will measure, and how measurements differ. */
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/attest_report.h"
#include "worker/base/text.h"

/* --- measure ---------------------------------------------------------------------------------- */

/* What an enclave's document must say; PCR8 only when the image is signed. */
static void image_set(const struct eif_measurement *m, const char *name, struct attest_measurement *ret_set)
{
	attest_image_release(m, ret_set);
	if (!m->signed_)
		ret_set->pcrs &= ~(UINT32_C(1) << 8);
	snprintf(ret_set->name, sizeof(ret_set->name), "%s", name);
}

static json_t *image_json(const struct eif_measurement *m)
{
	return json_pack("{s:I, s:i, s:s, s:i, s:b, s:I, s:I}", "bytes", (json_int_t)m->size, "version",
			 (int)m->version, "architecture", m->aarch64 ? "aarch64" : "x86_64", "ramdisks",
			 (int)m->ramdisks, "signed", m->signed_, "default_memory", (json_int_t)m->default_memory,
			 "default_cpus", (json_int_t)m->default_cpus);
}

static json_t *measure_json(const char *file, const struct eif_measurement *m, const struct attest_measurement *set)
{
	json_t *o = json_object(), *image = image_json(m);

	json_object_set_new(o, "file", out_string(span_str(file)));
	json_object_update(o, image);
	json_decref(image);
	json_object_set_new(o, "release", set->name[0] != '\0' ? json_string(set->name) : json_null());
	json_object_set_new(o, "pcrs", attest_report_pcrs(set));
	return o;
}

static void measure_print(const json_t *o, const struct eif_measurement *m)
{
	static const struct out_column col[] = { { "file", "file" },
						 { "bytes", "bytes" },
						 { "version", "version" },
						 { "architecture", "architecture" },
						 { "ramdisks", "ramdisks" },
						 { "signed", "signed" },
						 { "default_memory", "default memory, not measured" },
						 { "default_cpus", "default CPUs, not measured" } };

	out_list(o, col, sizeof(col) / sizeof(col[0]));
	attest_report_lines(o);
	if (m->ramdisks < 2)
		puts("\nThe image has less than two ramdisks: PCR2 is that of nothing, PCR1 is PCR0.");
}

static int print_release(const struct attest_measurement *set)
{
	struct buf b;
	int code;

	buf_init(&b, MANIFEST_MAX);
	manifest_write(set, &b);
	code = out_raw(span_buf(&b));
	buf_clear(&b);
	return code;
}

static int measured(const struct ctl *c, const struct eif_measurement *m)
{
	const char *name = ctl_value(c, OPT_RELEASE, "");
	struct attest_measurement set;
	json_t *o;

	image_set(m, name, &set);
	if (!c->json && name[0] != '\0')
		return print_release(&set);
	o = measure_json(c->arg[0], m, &set);
	if (c->json) {
		out_document(o);
		return CTL_OK;
	}
	measure_print(o, m);
	json_decref(o);
	return CTL_OK;
}

int cmd_attest_measure(struct ctl *c)
{
	struct eif_measurement m;
	int code;

	if (ctl_has(c, OPT_RELEASE) && !manifest_name_valid(span_str(c->opt[OPT_RELEASE])))
		return ctl_fail(CTL_USAGE, "--release must be 1 to 63 characters of A-Z a-z 0-9 . _ + -");
	code = attest_read_image(c->arg[0], &m);
	return code == 0 ? measured(c, &m) : code;
}

/* --- diff ------------------------------------------------------------------------------------- */

static const char *const kind_name[] = {
	[ATTEST_IS_DOCUMENT] = "document",
	[ATTEST_IS_MANIFEST] = "manifest",
	[ATTEST_IS_IMAGE] = "image",
};

static bool has(const struct attest_measurement *m, unsigned pcr)
{
	return (m->pcrs & UINT32_C(1) << pcr) != 0;
}

static bool differs(const struct attest_measurement *a, const struct attest_measurement *b, unsigned pcr)
{
	return has(a, pcr) && has(b, pcr) && memcmp(a->pcr[pcr], b->pcr[pcr], ATTEST_PCR_SIZE) != 0;
}

static unsigned distance(const struct attest_measurement *a, const struct attest_measurement *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ATTEST_PCRS; i++)
		n += differs(a, b, i) ? 1 : 0;
	return n;
}

/* The two releases that differ least: a manifest has many, and the question is about the nearest. */
static unsigned nearest(const struct attest_side side[2], const struct attest_measurement *ret_set[2])
{
	unsigned least = ATTEST_PCRS + 1;

	for (size_t i = 0; i < side[0].sets.n; i++) {
		for (size_t j = 0; j < side[1].sets.n; j++) {
			unsigned n = distance(&side[0].sets.release[i], &side[1].sets.release[j]);

			if (n >= least)
				continue;
			least = n;
			ret_set[0] = &side[0].sets.release[i];
			ret_set[1] = &side[1].sets.release[j];
		}
	}
	return least;
}

static json_t *pcr_json(const struct attest_measurement *m, unsigned pcr)
{
	return has(m, pcr) ? out_hex(span_of(m->pcr[pcr], ATTEST_PCR_SIZE)) : json_null();
}

static const char *compared(const struct attest_measurement *a, const struct attest_measurement *b, unsigned pcr)
{
	if (has(a, pcr) != has(b, pcr))
		return has(a, pcr) ? "only in A" : "only in B";
	return differs(a, b, pcr) ? "differs" : "same";
}

static json_t *rows_json(const struct attest_measurement *a, const struct attest_measurement *b)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < ATTEST_PCRS; i++) {
		if (!has(a, i) && !has(b, i))
			continue;
		json_array_append_new(rows, json_pack("{s:i, s:s, s:s, s:o, s:o}", "pcr", (int)i, "verdict",
						      compared(a, b, i), "means", attest_report_meaning(i), "a",
						      pcr_json(a, i), "b", pcr_json(b, i)));
	}
	return rows;
}

static bool debug(const struct attest_side *s)
{
	return s->kind == ATTEST_IS_DOCUMENT && attest_document_debug(&s->doc);
}

static json_t *side_json(const struct attest_side *s, const struct attest_measurement *set)
{
	json_t *o = json_object();

	json_object_set_new(o, "file", out_string(span_str(attest_file_name(s->file))));
	json_object_set_new(o, "kind", json_string(kind_name[s->kind]));
	json_object_set_new(o, "release", set->name[0] != '\0' ? json_string(set->name) : json_null());
	if (s->kind == ATTEST_IS_DOCUMENT) {
		json_object_set_new(o, "proved", json_false());
		json_object_set_new(o, "debug", json_boolean(debug(s)));
		json_object_set_new(o, "module_id", out_string(s->doc.module_id));
		json_object_set_new(o, "time", out_time_us((int64_t)s->doc.timestamp_ms * 1000));
	}
	return o;
}

static void print_side(const char *name, const json_t *o)
{
	static const char *const members[] = { "kind", "release", "module_id", "time" };

	printf("%s  ", name);
	out_clean(stdout, span_str(json_string_value(json_object_get(o, "file"))));
	fputc(':', stdout);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const char *text = json_string_value(json_object_get(o, members[i]));

		if (text != NULL)
			printf(" %s", text);
	}
	fputs(json_object_get(o, "proved") != NULL ? ", NOT PROVED" : "", stdout);
	puts(json_is_true(json_object_get(o, "debug")) ? ", DEBUG MODE" : "");
}

static bool zero(const char *hex)
{
	return strspn(hex, "0") == strlen(hex);
}

static void print_row(const json_t *row)
{
	int pcr = (int)json_integer_value(json_object_get(row, "pcr"));
	const char *verdict = json_string_value(json_object_get(row, "verdict"));
	const char *hex[] = { json_string_value(json_object_get(row, "a")),
			      json_string_value(json_object_get(row, "b")) };

	if (strcmp(verdict, "same") == 0 && !attest_report_matters((unsigned)pcr, hex[0]))
		return;
	printf("PCR%-2d  %-9s  %s\n", pcr, verdict, json_string_value(json_object_get(row, "means")));
	for (unsigned i = 0; strcmp(verdict, "differs") == 0 && i < 2; i++)
		printf("       %c %s%s\n", "AB"[i], hex[i], pcr <= 2 && zero(hex[i]) ? " (debug mode)" : "");
}

static void diff_print(const json_t *o, unsigned n)
{
	const json_t *rows = json_object_get(o, "pcrs");

	print_side("A", json_object_get(o, "a"));
	print_side("B", json_object_get(o, "b"));
	fputc('\n', stdout);
	for (size_t i = 0; i < json_array_size(rows); i++)
		print_row(json_array_get(rows, i));
	printf("\n%u PCR%s differ%s\n", n, n == 1 ? "" : "s", n == 1 ? "s" : "");
}

static int diff(const struct ctl *c, const struct attest_side side[2])
{
	const struct attest_measurement *set[2] = { side[0].sets.release, side[1].sets.release };
	unsigned n = nearest(side, set);
	json_t *o = json_pack("{s:b, s:o, s:o, s:o}", "same", n == 0, "a", side_json(&side[0], set[0]), "b",
			      side_json(&side[1], set[1]), "pcrs", rows_json(set[0], set[1]));

	if (c->json) {
		out_document(o);
	} else {
		diff_print(o, n);
		json_decref(o);
	}
	return n == 0 ? CTL_OK : CTL_NO;
}

/* Zeros that are the same are no measurements that are: whoever runs two programs in debug mode gets them of both. */
static int conclude(const struct attest_side side[2], int code)
{
	for (unsigned i = 0; i < 2; i++)
		if (debug(&side[i]))
			code = ctl_fail(CTL_NO,
					"%s: DEBUG MODE: PCR0, PCR1 and PCR2 say nothing of the program, and the "
					"host can read the enclave's memory",
					attest_file_name(side[i].file));
	return code;
}

int cmd_attest_diff(struct ctl *c)
{
	static struct attest_side side[2];
	int code;

	if (strcmp(c->arg[0], "-") == 0 && strcmp(c->arg[1], "-") == 0)
		return ctl_fail(CTL_USAGE, "only one of the two can be standard input");
	code = attest_read_side(c->arg[0], &side[0]);
	if (code == 0)
		code = attest_read_side(c->arg[1], &side[1]);
	if (code == 0)
		code = conclude(side, diff(c, side));
	attest_side_clear(&side[0]);
	attest_side_clear(&side[1]);
	return code;
}
