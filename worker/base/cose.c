/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/cose.h"

#include <sodium.h>

#define TAG_SIGN1 18 /* RFC 9052 section 4.2 */
#define LABEL_ALG 1  /* RFC 9052 section 3.1 */
#define LABEL_KID 4
#define ALG_EDDSA (-8) /* RFC 9053 section 2.2 */

#define PROTECTED_MAX (8 + COSE_KID_MAX)
#define HEADS_MAX     64 /* everything in a message or a Sig_structure but its strings */

_Static_assert(COSE_ED25519_PUBLIC == crypto_sign_PUBLICKEYBYTES, "size of a public key");
_Static_assert(COSE_ED25519_SECRET == crypto_sign_SECRETKEYBYTES, "size of a secret key");

static void add_protected(struct buf *b, struct span kid)
{
	cbor_add_map(b, 2);
	cbor_add_int(b, LABEL_ALG);
	cbor_add_int(b, ALG_EDDSA);
	cbor_add_int(b, LABEL_KID);
	cbor_add_bytes(b, kid);
}

static enum err parse_protected(struct span in, struct span *ret_kid)
{
	struct cbor c;
	struct cbor_map m;
	struct span kid;
	int64_t alg = 0, label;

	if (in.n == 0)
		return ERR_RANGE; /* no headers, in the form of RFC 9052 section 3 */
	/* First whether it is a map at all, then whether it is ours: the errors differ. */
	cbor_start(&c, in);
	if (cbor_peek(&c) != CBOR_MAP)
		return ERR_SYNTAX;
	(void)cbor_skip(&c);
	TRY(cbor_done(&c));

	cbor_start(&c, in);
	m = cbor_read_map(&c, 2);
	if (cbor_read_label(&c, &m, &label) && label == LABEL_ALG)
		alg = cbor_read_int(&c);
	if (alg != ALG_EDDSA || !cbor_read_label(&c, &m, &label) || label != LABEL_KID)
		return ERR_RANGE;
	kid = cbor_read_bytes(&c, COSE_KID_MAX);
	if (cbor_done(&c) != ERR_OK || kid.n == 0)
		return ERR_RANGE;
	*ret_kid = kid;
	return ERR_OK;
}

enum err cose_sign1_parse(struct span in, struct cose_sign1 *ret_msg)
{
	struct cose_sign1 m;
	struct span unprotected;
	struct cbor c;

	cbor_start(&c, in);
	if (cbor_read_tag(&c) != TAG_SIGN1 || cbor_read_array(&c, 4) != 4)
		return ERR_SYNTAX;
	m.protected_header = cbor_read_bytes(&c, in.n);
	if (cbor_peek(&c) != CBOR_MAP)
		return ERR_SYNTAX;
	unprotected = cbor_skip(&c);
	m.payload = cbor_read_bytes(&c, in.n);
	m.signature = cbor_read_bytes(&c, crypto_sign_BYTES);
	TRY(cbor_done(&c));
	if (m.signature.n != crypto_sign_BYTES)
		return ERR_SYNTAX;
	TRY(parse_protected(m.protected_header, &m.kid));
	/* It is not signed: whatever stood there could be changed by anyone. */
	if (unprotected.n != 1)
		return ERR_RANGE;
	*ret_msg = m;
	return ERR_OK;
}

/* RFC 9052 section 4.4. The caller clears the buf. */
static void sig_structure(struct span protected_header, struct span context, struct span payload, struct buf *ret_buf)
{
	size_t max = HEADS_MAX + protected_header.n + context.n + payload.n;

	buf_init(ret_buf, max);
	(void)buf_room(ret_buf, max); /* one allocation */
	cbor_add_array(ret_buf, 4);
	cbor_add_str(ret_buf, "Signature1");
	cbor_add_bytes(ret_buf, protected_header);
	cbor_add_bytes(ret_buf, context);
	cbor_add_bytes(ret_buf, payload);
	BUG_ON(ret_buf->overflow);
}

enum err cose_sign1_verify(const struct cose_sign1 *msg, struct span context, const uint8_t key[COSE_ED25519_PUBLIC])
{
	struct buf tbs;
	int rc;

	if (msg->signature.n != crypto_sign_BYTES)
		return ERR_CRYPTO;
	sig_structure(msg->protected_header, context, msg->payload, &tbs);
	rc = crypto_sign_verify_detached(msg->signature.p, tbs.p, tbs.n, key);
	buf_clear(&tbs);
	return rc == 0 ? ERR_OK : ERR_CRYPTO;
}

void cose_sign1_sign(struct span context, struct span kid, struct span payload,
		     const uint8_t secret[COSE_ED25519_SECRET], struct buf *out)
{
	uint8_t memory[PROTECTED_MAX], signature[crypto_sign_BYTES];
	struct buf header = { .p = memory, .cap = sizeof(memory), .max = sizeof(memory) };
	struct buf tbs;

	BUG_ON(kid.n == 0 || kid.n > COSE_KID_MAX);
	add_protected(&header, kid);
	BUG_ON(header.overflow);
	sig_structure(span_buf(&header), context, payload, &tbs);
	(void)crypto_sign_detached(signature, NULL, tbs.p, tbs.n, secret);
	buf_clear(&tbs);

	cbor_add_tag(out, TAG_SIGN1);
	cbor_add_array(out, 4);
	cbor_add_bytes(out, span_buf(&header));
	cbor_add_map(out, 0);
	cbor_add_bytes(out, payload);
	cbor_add_bytes(out, span_of(signature, sizeof(signature)));
}
