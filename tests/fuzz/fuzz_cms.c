/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CMS over any bytes. Beyond memory errors it checks what the header promises: a refusal leaves the output alone, an
 * accepted content has its limits, and whatever is accepted is what OpenSSL's CMS makes of it, with nothing left over.
 * The other way round does not hold: OpenSSL takes many forms that are not KMS's.
 */
#include <openssl/cms.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attest/cms.h"
#include "tests/fuzz/kms_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_openssl(struct span in, struct span plain)
{
	const unsigned char *at = in.p;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)in.n);
	BIO *out = BIO_new(BIO_s_mem());
	const char *read = NULL;

	check(cms != NULL && out != NULL && at == in.p + in.n);
	check(CMS_decrypt(cms, kms_key(), NULL, NULL, out, CMS_BINARY | CMS_DEBUG_DECRYPT) == 1);
	check(BIO_get_mem_data(out, &read) == (long)plain.n && memcmp(read, plain.p, plain.n) == 0);
	BIO_free(out);
	CMS_ContentInfo_free(cms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span in = span_of(data, size);
	struct buf out;
	enum err e;

	buf_init(&out, CMS_PLAIN_MAX + 1);
	buf_add_byte(&out, 0x55);
	e = cms_open(in, kms_key(), &out);
	check(e == ERR_OK || e == ERR_SYNTAX || e == ERR_CRYPTO);
	check(out.n >= 1 && out.p[0] == 0x55 && !out.overflow);
	if (e == ERR_OK) {
		check(size <= CMS_MAX && out.n > 1);
		check_openssl(in, span_of(out.p + 1, out.n - 1));
	} else {
		check(out.n == 1);
	}
	buf_clear(&out);
	return 0;
}
