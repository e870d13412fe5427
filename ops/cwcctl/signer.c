/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "ops/cwcctl/seal.h"
#include "queue/job.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define PEM_MAX   4096
#define PEM_BEGIN "-----BEGIN PRIVATE KEY-----"
#define PEM_END   "-----END PRIVATE KEY-----"
#define SEED      crypto_sign_SEEDBYTES

/* PrivateKeyInfo of an Ed25519 key without attributes (RFC 8410 section 7), up to the 32 bytes. */
static const uint8_t der_head[] = { 0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
				    0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20 };

/* The base64 between the PEM lines, without white space, into guarded memory, and from there. */
static enum err pem_decode(const char *pem, struct buf *der)
{
	const char *p = strstr(pem, PEM_BEGIN);
	const char *end = p != NULL ? strstr(p, PEM_END) : NULL;
	if (end == NULL)
		return ERR_SYNTAX;
	struct buf base64;
	secret_arena(&base64, PEM_MAX);
	for (p += sizeof(PEM_BEGIN) - 1; p < end; p++)
		if (strchr(" \t\r\n", *p) == NULL)
			buf_add_byte(&base64, (uint8_t)*p);
	enum err e = buf_ok(&base64);
	if (e == ERR_OK)
		e = text_unbase64(span_buf(&base64), der);
	secret_arena_free(&base64);
	return e;
}

static enum err key_from_pem(const char *pem, uint8_t *secret)
{
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
	struct buf der;
	secret_arena(&der, PEM_MAX);
	enum err e = pem_decode(pem, &der);
	if (e == ERR_OK && (der.n != sizeof(der_head) + SEED || memcmp(der.p, der_head, sizeof(der_head)) != 0))
		e = ERR_SYNTAX;
	if (e == ERR_OK)
		crypto_sign_seed_keypair(public_key, secret, der.p + sizeof(der_head));
	secret_arena_free(&der);
	return e;
}

int signer_load(const char *file, uint8_t **ret_secret)
{
	char *pem;
	enum err e = secret_file(file, PEM_MAX, &pem);
	if (e == ERR_CONFIG)
		return ctl_fail(CTL_CONFIG, "%s: it must be a file of ours with mode 0600, and not empty", file);
	if (e != ERR_OK)
		return ctl_fail(CTL_CONFIG, "%s: %s", file, err_text(e));
	uint8_t *secret = secret_alloc(crypto_sign_SECRETKEYBYTES);
	e = key_from_pem(pem, secret);
	bool encrypted = strstr(pem, "ENCRYPTED PRIVATE KEY") != NULL;
	secret_free(pem);
	if (e == ERR_OK) {
		*ret_secret = secret;
		return 0;
	}
	secret_free(secret);
	return ctl_fail(CTL_CONFIG, "%s: not an Ed25519 private key in PKCS#8 PEM%s", file,
			encrypted ? " without a passphrase" : "");
}

int signer_kid(const struct ctl *c, const char **ret_kid)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *kid = c->opt[OPT_KID];
	if (kid == NULL)
		return ctl_fail(CTL_USAGE, "--kid is needed: the signer's key id");
	size_t n = strlen(kid);
	if (n < 1 || n > CTL_KID_MAX || strspn(kid, set) != n)
		return ctl_fail(CTL_USAGE, "--kid must be 1 to %d characters of A-Z a-z 0-9 . _ -", CTL_KID_MAX);
	*ret_kid = kid;
	return 0;
}

int cmd_signer_show(struct ctl *c)
{
	uint8_t *secret;
	const char *kid;
	int code = signer_kid(c, &kid);
	if (code == 0)
		code = signer_load(c->arg[0], &secret);
	if (code != 0)
		return code;
	char hex[2 * crypto_sign_PUBLICKEYBYTES + 1];
	/* libsodium's secret key ends with the public one. */
	text_hex(span_of(secret + SEED, crypto_sign_PUBLICKEYBYTES), hex);
	secret_free(secret);
	if (c->json)
		out_document(json_pack("{s:s, s:s}", "kid", kid, "public_key", hex));
	else
		printf("signer = %s %s\n", kid, hex);
	return CTL_OK;
}
