/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/cms.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <string.h>

#define RID_SIZE     32 /* subjectKeyIdentifier */
#define KEY_SIZE     32
#define BLOCK_SIZE   16
#define CONTENT_MAX  (CMS_PLAIN_MAX + BLOCK_SIZE)
#define PLAIN_SIZE   (CONTENT_MAX + BLOCK_SIZE) /* what EVP_DecryptUpdate() asks for */
#define RSA_SIZE_MAX 512

/* Tags (X.690 section 8.1.2) */
#define OCTET_STRING 0x04
#define SEQUENCE     0x30
#define SET          0x31
#define CONTEXT_0    0x80

/* RFC 5652 section 6.1: from ContentInfo to the version of EnvelopedData, all of indefinite length. */
#define ENVELOPED_DATA             \
	"\x30\x80"                 \
	"\x06\x09"                 \
	"\x2a\x86\x48\x86\xf7\x0d" \
	"\x01\x07\x03"             \
	"\xa0\x80"                 \
	"\x30\x80"                 \
	"\x02\x01\x02"
/* RFC 4055 section 4.1: id-RSAES-OAEP with its parameters spelled out, without a label. */
#define SHA256 "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
#define RSAES_OAEP                                             \
	"\x30\x3c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07" \
	"\x30\x2f\xa0\x0f" SHA256 "\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08" SHA256
/* EncryptedContentInfo, of indefinite length, with id-data */
#define ENCRYPTED_DATA "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
/* RFC 3565 section 4.1: aes256-CBC, whose parameter is the IV */
#define AES_256_CBC "\x30\x1d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a\x04\x10"
/* Content of indefinite length, and what ends each indefinite length (X.690 section 8.1.5) */
#define CONSTRUCTED     "\xa0\x80"
#define END_OF_CONTENTS "\x00\x00"

/* --- BER ------------------------------------------------------------------------------------- */

/* A place in the input. The first thing that is not as expected is the last that is looked at. */
struct walk {
	struct span rest;
	bool bad;
};

static struct span advance(struct walk *w, size_t n)
{
	struct span taken = { NULL, 0 };

	if (w->bad || n > w->rest.n) {
		w->bad = true;
		return taken;
	}
	taken = span_of(w->rest.p, n);
	w->rest = span_of(w->rest.p + n, w->rest.n - n);
	return taken;
}

static bool next_is(const struct walk *w, struct span bytes)
{
	return !w->bad && w->rest.n >= bytes.n && span_eq(span_of(w->rest.p, bytes.n), bytes);
}

static void expect(struct walk *w, struct span bytes)
{
	w->bad = !next_is(w, bytes);
	(void)advance(w, bytes.n);
}

static size_t take_byte(struct walk *w)
{
	struct span s = advance(w, 1);

	return s.n == 1 ? s.p[0] : 0;
}

/* A definite length in its shortest form (X.690 section 10.1), of at most 65535. */
static size_t take_length(struct walk *w)
{
	size_t n = take_byte(w), high;

	if (n < 0x80)
		return n;
	if (n == 0x81) {
		n = take_byte(w);
		w->bad |= n < 0x80;
		return n;
	}
	w->bad |= n != 0x82;
	high = take_byte(w);
	w->bad |= high == 0;
	return high << 8 | take_byte(w);
}

/* The contents of an element of this tag. */
static struct span take(struct walk *w, uint8_t tag)
{
	expect(w, span_of(&tag, 1));
	return advance(w, take_length(w));
}

static struct walk enter(struct walk *w, uint8_t tag)
{
	struct span inside = take(w, tag);

	return (struct walk){ .rest = inside, .bad = w->bad };
}

/* Nothing stands behind what was walked inside of an element. */
static void leave(const struct walk *inner, struct walk *outer)
{
	outer->bad |= inner->bad || inner->rest.n != 0;
}

/* --- EnvelopedData --------------------------------------------------------------------------- */

struct enveloped {
	struct span key, iv;
	uint8_t content[CONTENT_MAX];
	size_t n;
};

/* RecipientInfos with exactly one KeyTransRecipientInfo (RFC 5652 section 6.2.1). */
static void walk_recipients(struct walk *w, size_t key_size, struct enveloped *e)
{
	struct walk set = enter(w, SET);
	struct walk one = enter(&set, SEQUENCE);

	expect(&one, span_lit("\x02\x01\x02"));
	one.bad |= take(&one, CONTEXT_0).n != RID_SIZE;
	expect(&one, span_lit(RSAES_OAEP));
	e->key = take(&one, OCTET_STRING);
	one.bad |= e->key.n != key_size;
	leave(&one, &set);
	leave(&set, w);
}

static void add_content(struct walk *w, struct span part, struct enveloped *e)
{
	w->bad |= part.n == 0 || part.n > CONTENT_MAX - e->n;
	if (w->bad)
		return;
	memcpy(e->content + e->n, part.p, part.n);
	e->n += part.n;
}

static void walk_content(struct walk *w, struct enveloped *e)
{
	if (!next_is(w, span_lit(CONSTRUCTED))) {
		add_content(w, take(w, CONTEXT_0), e);
		return;
	}
	expect(w, span_lit(CONSTRUCTED));
	while (!w->bad && !next_is(w, span_lit(END_OF_CONTENTS)))
		add_content(w, take(w, OCTET_STRING), e);
	expect(w, span_lit(END_OF_CONTENTS));
}

static enum err walk_enveloped(struct span in, size_t key_size, struct enveloped *e)
{
	struct walk w = { .rest = in, .bad = in.n > CMS_MAX };

	e->n = 0;
	expect(&w, span_lit(ENVELOPED_DATA));
	walk_recipients(&w, key_size, e);
	expect(&w, span_lit(ENCRYPTED_DATA));
	expect(&w, span_lit(AES_256_CBC));
	e->iv = advance(&w, BLOCK_SIZE);
	walk_content(&w, e);
	/* Of EncryptedContentInfo, EnvelopedData, its [0] and ContentInfo. */
	expect(&w, span_lit(END_OF_CONTENTS END_OF_CONTENTS END_OF_CONTENTS END_OF_CONTENTS));
	w.bad |= w.rest.n != 0 || e->n == 0 || e->n % BLOCK_SIZE != 0;
	return w.bad ? ERR_SYNTAX : ERR_OK;
}

/* --- opening --------------------------------------------------------------------------------- */

/* Both hashes are named: OpenSSL's defaults are SHA-1. A key of another length is no key of AES-256. */
static bool unwrap_key(EVP_PKEY *rsa, struct span wrapped, uint8_t ret_key[KEY_SIZE])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, rsa, NULL);
	uint8_t plain[RSA_SIZE_MAX];
	size_t n = sizeof(plain);
	bool ok = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 &&
		  EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		  EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
		  EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
		  EVP_PKEY_decrypt(ctx, plain, &n, wrapped.p, wrapped.n) == 1 && n == KEY_SIZE;

	if (ok)
		memcpy(ret_key, plain, KEY_SIZE);
	sodium_memzero(plain, sizeof(plain));
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

/* What OpenSSL wrote before it found the padding wrong stays in `plain`, which the caller wipes. */
static bool decrypt_content(const struct enveloped *e, const uint8_t key[KEY_SIZE], uint8_t plain[PLAIN_SIZE],
			    size_t *ret_n)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, last = 0;
	bool ok = ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, e->iv.p) == 1 &&
		  EVP_CIPHER_CTX_set_padding(ctx, 1) == 1 &&
		  EVP_DecryptUpdate(ctx, plain, &n, e->content, (int)e->n) == 1 &&
		  EVP_DecryptFinal_ex(ctx, plain + n, &last) == 1 && n + last > 0 && n + last <= CMS_PLAIN_MAX;

	if (ok)
		*ret_n = (size_t)n + (size_t)last;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

static enum err open_enveloped(const struct enveloped *e, EVP_PKEY *rsa, struct buf *out)
{
	uint8_t key[KEY_SIZE], plain[PLAIN_SIZE];
	enum err err = ERR_CRYPTO;
	size_t n = 0;

	if (unwrap_key(rsa, e->key, key) && decrypt_content(e, key, plain, &n))
		err = out->overflow || n > out->max - out->n ? ERR_LIMIT : ERR_OK;
	if (err == ERR_OK)
		buf_add(out, plain, n);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(plain, sizeof(plain));
	return err;
}

enum err cms_open(struct span in, EVP_PKEY *rsa, struct buf *out)
{
	const int key_size = EVP_PKEY_get_size(rsa);
	struct enveloped e;

	if (!EVP_PKEY_is_a(rsa, "RSA") || key_size <= 0 || key_size > RSA_SIZE_MAX)
		return ERR_CRYPTO;
	TRY(walk_enveloped(in, (size_t)key_size, &e));
	/* A key that does not fit is no news for whoever asks OpenSSL next. */
	ERR_set_mark();
	enum err err = open_enveloped(&e, rsa, out);
	ERR_pop_to_mark();
	return err;
}
