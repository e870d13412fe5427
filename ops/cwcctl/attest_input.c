/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/attest_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "worker/base/text.h"

#define IMAGE_PCRS (1U << 0 | 1U << 1 | 1U << 2 | 1U << 8)

const char *attest_file_name(const char *file)
{
	return strcmp(file, "-") == 0 ? "standard input" : file;
}

/* Appends up to what `b` can hold, which is one byte more than what is allowed; -1: errno. */
static ssize_t read_up(int fd, struct buf *b)
{
	while (b->n < b->max) {
		size_t want = b->max - b->n < 4096 ? b->max - b->n : 4096;
		ssize_t n = read(fd, buf_room(b, want), want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n;
		buf_grew(b, (size_t)n);
	}
	return 0;
}

/* 1 is what a command answers of a file that it has read. */
int attest_read_file(const char *file, struct buf *b)
{
	bool standard = strcmp(file, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	int code = 0;

	if (fd < 0 || read_up(fd, b) < 0)
		code = ctl_fail(CTL_CONFIG, "%s: %s", attest_file_name(file), strerror(errno));
	if (fd >= 0 && !standard)
		close(fd);
	return code;
}

/* --- documents -------------------------------------------------------------------------------- */

static bool white(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool of_base64(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
	       c == '=' || white(c);
}

/* No document in CBOR has only such bytes: it begins with an array of four. */
static bool is_base64(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!of_base64(s.p[i]))
			return false;
	return s.n > 0 && s.n < ATTEST_INPUT_MAX;
}

static bool decode(struct span text, struct buf *out)
{
	struct buf dense;
	size_t before = out->n;

	buf_init(&dense, ATTEST_INPUT_MAX);
	for (size_t i = 0; i < text.n; i++)
		if (!white(text.p[i]))
			buf_add_byte(&dense, text.p[i]);
	bool good = text_unbase64(span_buf(&dense), out) == ERR_OK;
	if (!good)
		out->n = before;
	buf_clear(&dense);
	return good;
}

/* What is broken base64 stays as it is: the verifier has a name for it. */
static void document_add(struct span bytes, struct buf *out)
{
	if (!is_base64(bytes) || !decode(bytes, out))
		buf_add(out, bytes.p, bytes.n < ATTEST_INPUT_MAX ? bytes.n : ATTEST_INPUT_MAX);
}

int attest_read_document(const char *file, struct buf *out)
{
	struct buf b;
	int code;

	buf_init(&b, ATTEST_INPUT_MAX);
	code = attest_read_file(file, &b);
	if (code == 0)
		document_add(span_buf(&b), out);
	buf_clear(&b);
	return code;
}

/* --- manifests -------------------------------------------------------------------------------- */

static int manifest_read(const char *file, struct span text, struct manifest *ret_m)
{
	const char *rule;
	unsigned line;

	if (manifest_parse(text, ret_m, &line, &rule) == ERR_OK)
		return 0;
	if (line == 0)
		return ctl_fail(CTL_CONFIG, "%s: %s", attest_file_name(file), rule);
	return ctl_fail(CTL_CONFIG, "%s:%u: %s", attest_file_name(file), line, rule);
}

int attest_read_manifest(const char *file, struct manifest *ret_m)
{
	struct buf b;
	int code;

	buf_init(&b, MANIFEST_MAX + 1);
	code = attest_read_file(file, &b);
	if (code == 0)
		code = manifest_read(file, span_buf(&b), ret_m);
	buf_clear(&b);
	return code;
}

int attest_read_allowed(const struct ctl *c, struct manifest *ret_m)
{
	const char *rule;

	*ret_m = (struct manifest){ .n = 0 };
	if (ctl_has(c, OPT_MANIFEST) && ctl_has(c, OPT_PCR))
		return ctl_fail(CTL_USAGE, "either --manifest or --pcr");
	if (ctl_has(c, OPT_MANIFEST))
		return attest_read_manifest(c->opt[OPT_MANIFEST], ret_m);
	if (!ctl_has(c, OPT_PCR))
		return 0;
	if (manifest_list(span_str(c->opt[OPT_PCR]), &ret_m->release[0], &rule) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--pcr: %s", rule);
	ret_m->n = 1;
	return 0;
}

/* --- images ----------------------------------------------------------------------------------- */

static int image_measure(const char *file, int fd, struct eif_measurement *ret_m)
{
	const char *rule;
	enum err e = eif_measure(fd, ret_m, &rule);

	if (e == ERR_SYNTAX)
		return ctl_fail(CTL_NO, "%s: no enclave image: %s", file, rule);
	return e == ERR_OK ? 0 : ctl_fail(CTL_CONFIG, "%s: cannot be read, or is being written to", file);
}

int attest_read_image(const char *file, struct eif_measurement *ret_m)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), code;

	if (fd < 0)
		return ctl_fail(CTL_CONFIG, "%s: %s", file, strerror(errno));
	code = image_measure(file, fd, ret_m);
	close(fd);
	return code;
}

void attest_image_release(const struct eif_measurement *image, struct attest_measurement *ret_m)
{
	*ret_m = (struct attest_measurement){ .pcrs = IMAGE_PCRS };
	memcpy(ret_m->pcr[0], image->pcr0, EIF_PCR_SIZE);
	memcpy(ret_m->pcr[1], image->pcr1, EIF_PCR_SIZE);
	memcpy(ret_m->pcr[2], image->pcr2, EIF_PCR_SIZE);
	memcpy(ret_m->pcr[8], image->pcr8, EIF_PCR_SIZE);
}

/* --- sides of a comparison -------------------------------------------------------------------- */

static enum attest_kind kind_of(struct span s)
{
	if (s.n >= 4 && memcmp(s.p, ".eif", 4) == 0)
		return ATTEST_IS_IMAGE;
	if (s.n >= 7 && memcmp(s.p, "release", 7) == 0)
		return ATTEST_IS_MANIFEST;
	return s.n > 0 && (s.p[0] == '#' || s.p[0] == '\n') ? ATTEST_IS_MANIFEST : ATTEST_IS_DOCUMENT;
}

static int document_side(struct span bytes, struct attest_side *side)
{
	enum attest_code parsed;

	document_add(bytes, &side->bytes);
	parsed = attest_document_parse(span_buf(&side->bytes), &side->doc);
	if (parsed != ATTEST_OK)
		return ctl_fail(CTL_NO, "%s: refused: %s: %s", attest_file_name(side->file), attest_code_name(parsed),
				attest_code_text(parsed));
	side->sets.n = 1;
	side->sets.release[0].pcrs = side->doc.pcrs;
	for (unsigned i = 0; i < ATTEST_PCRS; i++)
		if ((side->doc.pcrs & UINT32_C(1) << i) != 0)
			memcpy(side->sets.release[0].pcr[i], side->doc.pcr[i].p, ATTEST_PCR_SIZE);
	return 0;
}

static int image_side(struct attest_side *side)
{
	int code = attest_read_image(side->file, &side->image);

	if (code == 0) {
		attest_image_release(&side->image, &side->sets.release[0]);
		side->sets.n = 1;
	}
	return code;
}

int attest_read_side(const char *file, struct attest_side *ret_side)
{
	struct buf b;
	int code;

	*ret_side = (struct attest_side){ .file = file };
	buf_init(&ret_side->bytes, ATTEST_INPUT_MAX);
	buf_init(&b, MANIFEST_MAX + 1);
	code = attest_read_file(file, &b);
	if (code == 0) {
		ret_side->kind = kind_of(span_buf(&b));
		if (ret_side->kind == ATTEST_IS_IMAGE)
			code = image_side(ret_side);
		else if (ret_side->kind == ATTEST_IS_MANIFEST)
			code = manifest_read(file, span_buf(&b), &ret_side->sets);
		else
			code = document_side(span_buf(&b), ret_side);
	}
	buf_clear(&b);
	return code;
}

void attest_side_clear(struct attest_side *side)
{
	buf_clear(&side->bytes);
}
