/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/eif.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/base/cbor.h"

#define VERSION_MIN       2 /* version 1 has no CRC */
#define VERSION_SIGNATURE 3 /* the first with a signature section */
#define VERSION_METADATA  4 /* the first with metadata, and the last one */
#define FLAG_AARCH64      1
#define TABLE_AT          28  /* in the header: 32 offsets, then 32 sizes */
#define CRC_AT            544 /* the header's last field */
#define SECTION_HEADER    12
#define CHUNK             65536

enum section_type {
	SECTION_KERNEL = 1,
	SECTION_CMDLINE = 2,
	SECTION_RAMDISK = 3,
	SECTION_SIGNATURE = 4,
	SECTION_METADATA = 5,
	SECTION_TYPES
};

struct eif {
	int fd;
	uint64_t at; /* how far the file was read */
	uint32_t crc, crc_table[256], crc_wanted;
	unsigned sections, count[SECTION_TYPES];
	uint64_t size[EIF_SECTIONS_MAX];
	EVP_MD_CTX *image, *boot, *app; /* contents of PCR0, PCR1, PCR2 */
	struct buf signature;
	const char *rule;
	struct eif_measurement m;
};

static enum err broken(struct eif *f, const char *rule)
{
	f->rule = rule;
	return ERR_SYNTAX;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static uint64_t number(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* CRC-32 of IEEE 802.3, bits reflected. */
static void crc_start(struct eif *f)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned bit = 0; bit < 8; bit++)
			c = (c & 1) != 0 ? c >> 1 ^ UINT32_C(0xedb88320) : c >> 1;
		f->crc_table[i] = c;
	}
	f->crc = UINT32_MAX;
}

static void crc_add(struct eif *f, const uint8_t *p, size_t n)
{
	uint32_t c = f->crc;

	for (size_t i = 0; i < n; i++)
		c = f->crc_table[(c ^ p[i]) & 0xff] ^ c >> 8;
	f->crc = c;
}

/* The next n bytes. The file's size was looked at before: if they are not there, somebody writes to it. */
static enum err take(struct eif *f, uint8_t *p, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(f->fd, p + have, n - have, (off_t)(f->at + have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return ERR_IO;
		have += (size_t)got;
	}
	f->at += n;
	return ERR_OK;
}

/* --- header ----------------------------------------------------------------------------------- */

static enum err read_fields(struct eif *f, const uint8_t *h)
{
	uint64_t flags = number(h + 6, 2);

	f->m.version = (unsigned)number(h + 4, 2);
	f->m.default_memory = number(h + 8, 8);
	f->m.default_cpus = number(h + 16, 8);
	f->sections = (unsigned)number(h + 26, 2);
	f->crc_wanted = (uint32_t)number(h + CRC_AT, 4);
	f->m.aarch64 = (flags & FLAG_AARCH64) != 0;
	if (memcmp(h, ".eif", 4) != 0)
		return broken(f, "magic: the file does not begin with .eif");
	if (f->m.version < VERSION_MIN || f->m.version > VERSION_METADATA)
		return broken(f, "version: must be 2, 3 or 4");
	if ((flags & ~(uint64_t)FLAG_AARCH64) != 0)
		return broken(f, "flags: only bit 0, the architecture, is known");
	if (number(h + 24, 2) != 0 || number(h + 540, 4) != 0)
		return broken(f, "reserved: must be zero");
	if (f->sections < 2 || f->sections > EIF_SECTIONS_MAX)
		return broken(f, "sections: there must be 2 to 32");
	return ERR_OK;
}

/* The table must lead from the header's end to the file's end without a gap: so no two sections overlap, and none is
 * outside of the file. Nothing is added before it is known to fit. */
static enum err read_table(struct eif *f, const uint8_t *h)
{
	const uint8_t *offset = h + TABLE_AT, *size = h + TABLE_AT + (size_t)8 * EIF_SECTIONS_MAX;
	uint64_t end = EIF_HEADER_SIZE;

	for (unsigned i = 0; i < f->sections; i++) {
		f->size[i] = number(size + (size_t)8 * i, 8);
		if (number(offset + (size_t)8 * i, 8) != end)
			return broken(f, "offsets: a section does not begin where the one before it ends");
		if (f->m.size - end < SECTION_HEADER || f->size[i] > f->m.size - end - SECTION_HEADER)
			return broken(f, "sizes: a section ends behind the file");
		if (f->size[i] == 0)
			return broken(f, "sizes: a section is empty");
		end += SECTION_HEADER + f->size[i];
	}
	for (size_t i = f->sections; i < EIF_SECTIONS_MAX; i++)
		if (number(offset + 8 * i, 8) != 0 || number(size + 8 * i, 8) != 0)
			return broken(f, "offsets, sizes: must be zero behind the last section");
	return end == f->m.size ? ERR_OK : broken(f, "sizes: something stands behind the last section");
}

static enum err read_header(struct eif *f)
{
	uint8_t h[EIF_HEADER_SIZE];
	struct stat st;

	if (fstat(f->fd, &st) != 0)
		return ERR_IO;
	if (!S_ISREG(st.st_mode))
		return broken(f, "file: must be a regular one");
	f->m.size = (uint64_t)st.st_size;
	if (f->m.size < EIF_HEADER_SIZE)
		return broken(f, "header: the file is shorter than 548 bytes");
	TRY(take(f, h, sizeof(h)));
	crc_add(f, h, CRC_AT);
	TRY(read_fields(f, h));
	return read_table(f, h);
}

/* --- sections --------------------------------------------------------------------------------- */

/* Whether a section of this type may stand at place i. */
static enum err check_place(struct eif *f, unsigned i, uint64_t type)
{
	if (type < SECTION_KERNEL || type >= SECTION_TYPES)
		return broken(f, "section type: not known");
	if ((i == 0) != (type == SECTION_KERNEL))
		return broken(f, "kernel: must be the first section, and no other");
	if ((i == 1) != (type == SECTION_CMDLINE))
		return broken(f, "cmdline: must be the second section, and no other");
	if (type == SECTION_SIGNATURE && f->m.version < VERSION_SIGNATURE)
		return broken(f, "signature: there is none before version 3");
	if (type == SECTION_METADATA && f->m.version < VERSION_METADATA)
		return broken(f, "metadata: there is none before version 4");
	if (type == SECTION_METADATA && f->count[SECTION_METADATA] > 0)
		return broken(f, "metadata: there is a second section");
	/* This leaves room for one. */
	if (type == SECTION_SIGNATURE && i + 1 != f->sections)
		return broken(f, "signature: must be the last section");
	if (type == SECTION_SIGNATURE && f->size[i] > EIF_SIGNATURE_MAX)
		return broken(f, "signature: larger than 32768 bytes");
	return ERR_OK;
}

static void hash_add(EVP_MD_CTX *ctx, const uint8_t *p, size_t n)
{
	BUG_ON(EVP_DigestUpdate(ctx, p, n) != 1);
}

static void add_data(struct eif *f, enum section_type type, const uint8_t *p, size_t n)
{
	switch (type) {
	case SECTION_KERNEL:
	case SECTION_CMDLINE:
		hash_add(f->image, p, n);
		hash_add(f->boot, p, n);
		break;
	case SECTION_RAMDISK:
		hash_add(f->image, p, n);
		hash_add(f->count[SECTION_RAMDISK] == 1 ? f->boot : f->app, p, n);
		break;
	case SECTION_SIGNATURE:
		buf_add(&f->signature, p, n);
		break;
	case SECTION_METADATA:
	case SECTION_TYPES:
		break;
	}
}

static enum err read_section(struct eif *f, unsigned i)
{
	uint8_t chunk[CHUNK], *head = chunk;
	enum section_type type;

	TRY(take(f, head, SECTION_HEADER));
	crc_add(f, head, SECTION_HEADER);
	TRY(check_place(f, i, number(head, 2)));
	if (number(head + 2, 2) != 0)
		return broken(f, "section flags: must be zero");
	if (number(head + 4, 8) != f->size[i])
		return broken(f, "section size: not that of the header's table");
	type = (enum section_type)number(head, 2);
	f->count[type]++;
	for (uint64_t left = f->size[i]; left > 0;) {
		size_t n = left < CHUNK ? (size_t)left : CHUNK;

		TRY(take(f, chunk, n));
		crc_add(f, chunk, n);
		add_data(f, type, chunk, n);
		left -= n;
	}
	return ERR_OK;
}

static enum err read_sections(struct eif *f)
{
	for (unsigned i = 0; i < f->sections; i++)
		TRY(read_section(f, i));
	if (f->m.version >= VERSION_METADATA && f->count[SECTION_METADATA] == 0)
		return broken(f, "metadata: missing in version 4");
	if (~f->crc != f->crc_wanted)
		return broken(f, "CRC-32: wrong");
	f->m.ramdisks = f->count[SECTION_RAMDISK];
	return ERR_OK;
}

/* --- signature -------------------------------------------------------------------------------- */

/* An array with an integer for each byte: so the builder writes byte strings. */
static void read_byte_array(struct cbor *c, struct buf *out)
{
	size_t n = cbor_read_array(c, EIF_SIGNATURE_MAX);

	for (size_t i = 0; i < n && !c->bad; i++) {
		uint64_t v = cbor_read_uint(c);

		if (v > UINT8_MAX)
			cbor_fail(c);
		buf_add_byte(out, (uint8_t)v);
	}
}

/* { "signing_certificate": PEM, "signature": COSE_Sign1 }, in any order. */
static void read_signature(struct cbor *c, struct buf *pem)
{
	struct buf signature;
	size_t pairs = cbor_read_map(c, 2).left;

	buf_init(&signature, EIF_SIGNATURE_MAX);
	buf_reset(pem);
	for (size_t i = 0; i < pairs && !c->bad; i++) {
		struct span key = cbor_read_text(c, 32);

		if (span_eq(key, span_lit("signing_certificate")) && pem->n == 0)
			read_byte_array(c, pem);
		else if (span_eq(key, span_lit("signature")) && signature.n == 0)
			read_byte_array(c, &signature);
		else
			cbor_fail(c);
	}
	if (pem->n == 0 || signature.n == 0)
		cbor_fail(c);
	buf_clear(&signature);
}

/* The certificate of the first signature, which is that of PCR0. */
static enum err read_signer(struct eif *f, struct buf *ret_pem)
{
	struct buf other;
	struct cbor c;
	size_t n;

	cbor_start(&c, span_buf(&f->signature));
	buf_init(&other, EIF_SIGNATURE_MAX);
	n = cbor_read_array(&c, EIF_SECTIONS_MAX);
	for (size_t i = 0; i < n && !c.bad; i++)
		read_signature(&c, i == 0 ? ret_pem : &other);
	buf_clear(&other);
	if (cbor_done(&c) != ERR_OK || n == 0)
		return broken(f, "signature: not a CBOR array of maps of a certificate and a signature");
	return ERR_OK;
}

/* A PEM that is encrypted is not one of a certificate: without this OpenSSL would ask at the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
static int no_password(char *out, int size, int rwflag, void *arg)
{
	(void)out;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static void measure(EVP_MD_CTX *content, uint8_t ret_pcr[EIF_PCR_SIZE])
{
	uint8_t extended[2 * EIF_PCR_SIZE] = { 0 };
	unsigned n = 0;

	BUG_ON(EVP_DigestFinal_ex(content, extended + EIF_PCR_SIZE, &n) != 1 || n != EIF_PCR_SIZE);
	BUG_ON(EVP_Digest(extended, sizeof(extended), ret_pcr, &n, EVP_sha384(), NULL) != 1);
}

static EVP_MD_CTX *hash_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	BUG_ON(ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) != 1);
	return ctx;
}

static void measure_certificate(X509 *x, uint8_t ret_pcr[EIF_PCR_SIZE])
{
	EVP_MD_CTX *ctx = hash_new();
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);

	BUG_ON(n <= 0);
	hash_add(ctx, der, (size_t)n);
	measure(ctx, ret_pcr);
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
}

/* Exactly one: of several, PCR8 would be that of the first, which not everybody who reads the file expects. */
static enum err measure_signer(struct eif *f, struct span pem)
{
	BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *x, *second = NULL;

	BUG_ON(in == NULL);
	x = PEM_read_bio_X509(in, NULL, no_password, NULL);
	if (x != NULL) {
		second = PEM_read_bio_X509(in, NULL, no_password, NULL);
		measure_certificate(x, f->m.pcr8);
	}
	f->m.signed_ = x != NULL && second == NULL;
	X509_free(x);
	X509_free(second);
	BIO_free(in);
	ERR_clear_error();
	return f->m.signed_ ? ERR_OK : broken(f, "signature: not one certificate in PEM");
}

static enum err read_pcr8(struct eif *f)
{
	struct buf pem;
	enum err e;

	if (f->count[SECTION_SIGNATURE] == 0)
		return ERR_OK;
	buf_init(&pem, EIF_SIGNATURE_MAX);
	e = read_signer(f, &pem);
	if (e == ERR_OK)
		e = measure_signer(f, span_buf(&pem));
	buf_clear(&pem);
	return e;
}

/* --- all -------------------------------------------------------------------------------------- */

static enum err measure_file(struct eif *f)
{
	TRY(read_header(f));
	TRY(read_sections(f));
	TRY(read_pcr8(f));
	measure(f->image, f->m.pcr0);
	measure(f->boot, f->m.pcr1);
	measure(f->app, f->m.pcr2);
	return ERR_OK;
}

enum err eif_measure(int fd, struct eif_measurement *ret_m, const char **ret_rule)
{
	struct eif f = { .fd = fd, .image = hash_new(), .boot = hash_new(), .app = hash_new() };
	enum err e;

	crc_start(&f);
	buf_init(&f.signature, EIF_SIGNATURE_MAX);
	e = measure_file(&f);
	EVP_MD_CTX_free(f.image);
	EVP_MD_CTX_free(f.boot);
	EVP_MD_CTX_free(f.app);
	buf_clear(&f.signature);
	if (e == ERR_OK)
		*ret_m = f.m;
	else if (e == ERR_SYNTAX)
		*ret_rule = f.rule;
	return e;
}
