/* SPDX-License-Identifier: Apache-2.0 */
#include "attest/chain.h"

#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

#include "worker/base/text.h"

#define SERIAL_MAX 20 /* RFC 5280 section 4.1.2.2 */

static bool is_leaf(const struct chain_link *l)
{
	return l->index == l->d->n_cabundle;
}

/* --- DER -------------------------------------------------------------------------------------- */

#define DER_DEPTH_MAX 12

/* The identifier and length at *at; moves behind them. X.690 section 10.1: the shortest definite form. Tags above 30 do
 * not occur in certificates. */
static bool der_head(struct span in, size_t *at, uint8_t *ret_tag, size_t *ret_n)
{
	size_t bytes, n = 0;

	if (in.n - *at < 2 || (in.p[*at] & 0x1f) == 0x1f)
		return false;
	*ret_tag = in.p[(*at)++];
	if (in.p[*at] < 0x80) {
		*ret_n = in.p[(*at)++];
		return *ret_n <= in.n - *at;
	}
	bytes = in.p[(*at)++] & 0x7f;
	if (bytes < 1 || bytes > 2 || in.n - *at < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | in.p[(*at)++];
	*ret_n = n;
	return n >= (bytes == 1 ? 0x80 : 0x100) && n <= in.n - *at;
}

/* Nothing but items with their shortest lengths, which fill what holds them exactly, and TRUE in its one form (X.690
 * section 11.1; FALSE is a default, and so never written). */
static bool der_lengths(struct span in, unsigned depth)
{
	size_t at = 0, n;
	uint8_t tag;

	while (at < in.n) {
		if (!der_head(in, &at, &tag, &n))
			return false;
		if (tag == 0x01 && (n != 1 || in.p[at] != 0xff))
			return false;
		if ((tag & 0x20) != 0 && (depth == DER_DEPTH_MAX || !der_lengths(span_of(in.p + at, n), depth + 1)))
			return false;
		at += n;
	}
	return true;
}

/* One certificate and nothing behind it, in the one form that DER allows. Lengths and TRUE are looked at here, because
 * OpenSSL reads BER and keeps names and booleans as they came; all else must be what it makes of what it has read. */
enum attest_code chain_check_der(const struct chain_link *l)
{
	uint8_t again[ATTEST_KEY_MAX], *end = again;

	if (!der_lengths(l->der, 0))
		return ATTEST_CHAIN_SYNTAX;
	/* Lets go of the bytes that were read, so that the next line encodes. */
	if (i2d_re_X509_tbs(l->x, NULL) <= 0)
		return ATTEST_CHAIN_SYNTAX;
	if (i2d_X509(l->x, NULL) != (int)l->der.n || i2d_X509(l->x, &end) != (int)l->der.n)
		return ATTEST_CHAIN_SYNTAX;
	return memcmp(again, l->der.p, l->der.n) == 0 ? ATTEST_OK : ATTEST_CHAIN_SYNTAX;
}

enum attest_code chain_check_version(const struct chain_link *l)
{
	return X509_get_version(l->x) == X509_VERSION_3 ? ATTEST_OK : ATTEST_CHAIN_VERSION;
}

enum attest_code chain_check_serial(const struct chain_link *l)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(l->x);
	const uint8_t *p = ASN1_STRING_get0_data(serial);
	int n = ASN1_STRING_length(serial);

	if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || n < 1 || n > SERIAL_MAX || (n == 1 && p[0] == 0))
		return ATTEST_CHAIN_SERIAL;
	return ATTEST_OK;
}

/* ecdsa-with-SHA384, without parameters (RFC 5758 section 3.2). */
static bool is_es384(const X509_ALGOR *a)
{
	const ASN1_OBJECT *oid;
	int type;

	X509_ALGOR_get0(&oid, &type, NULL, a);
	return OBJ_obj2nid(oid) == NID_ecdsa_with_SHA384 && type == V_ASN1_UNDEF;
}

/* Twice: inside of what is signed, and beside the signature. */
enum attest_code chain_check_algorithm(const struct chain_link *l)
{
	const X509_ALGOR *outer;

	X509_get0_signature(NULL, &outer, l->x);
	return is_es384(X509_get0_tbs_sigalg(l->x)) && is_es384(outer) ? ATTEST_OK : ATTEST_CHAIN_ALGORITHM;
}

/* --- validity --------------------------------------------------------------------------------- */

static unsigned two_digits(const uint8_t *p)
{
	return (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
}

/* RFC 5280 section 4.1.2.5: YYMMDDHHMMSSZ until 2049, YYYYMMDDHHMMSSZ from 2050 on. Days that a month does not have
 * fall into the next one, which can only be written by the issuer. */
static bool read_time(const ASN1_TIME *t, int64_t *ret_ms)
{
	const uint8_t *p = ASN1_STRING_get0_data(t);
	const bool utc = ASN1_STRING_type(t) == V_ASN1_UTCTIME;
	const int n = utc ? 12 : 14;
	unsigned year, v[5];
	int64_t s;

	if (ASN1_STRING_length(t) != n + 1 || p[n] != 'Z')
		return false;
	for (int i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	year = utc ? two_digits(p) : two_digits(p) * 100 + two_digits(p + 2);
	if (utc)
		year += year < 50 ? 2000 : 1900;
	else if (year < 2050)
		return false;
	for (int i = 0; i < 5; i++)
		v[i] = two_digits(p + n - 10 + 2 * i);
	if (v[0] < 1 || v[0] > 12 || v[1] < 1 || v[1] > 31 || v[2] > 23 || v[3] > 59 || v[4] > 59)
		return false;
	s = text_days((int)year, v[0], v[1]) * 86400 + (int64_t)v[2] * 3600 + (int64_t)v[3] * 60 + v[4];
	*ret_ms = s * 1000;
	return true;
}

/* At the document's signed time, to the millisecond: notAfter is the last instant at which it holds. */
enum attest_code chain_check_validity(const struct chain_link *l)
{
	const int64_t at = (int64_t)l->d->timestamp_ms;
	int64_t from, until;

	if (!read_time(X509_get0_notBefore(l->x), &from) || !read_time(X509_get0_notAfter(l->x), &until))
		return ATTEST_CHAIN_VALIDITY;
	if (at < from)
		return ATTEST_CHAIN_EARLY;
	return at <= until ? ATTEST_OK : ATTEST_CHAIN_EXPIRED;
}

/* --- extensions ------------------------------------------------------------------------------- */

/* The only extension of this kind, or NULL. */
static X509_EXTENSION *extension(const struct chain_link *l, int nid)
{
	int i = X509_get_ext_by_NID(l->x, nid, -1);

	return i < 0 ? NULL : X509_get_ext(l->x, i);
}

static struct span extension_value(X509_EXTENSION *e)
{
	const ASN1_OCTET_STRING *s = X509_EXTENSION_get_data(e);

	return span_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

enum attest_code chain_check_extensions(const struct chain_link *l)
{
	const int n = X509_get_ext_count(l->x);

	for (int i = 0; i < n; i++) {
		X509_EXTENSION *e = X509_get_ext(l->x, i);
		const ASN1_OBJECT *oid = X509_EXTENSION_get_object(e);
		const int nid = OBJ_obj2nid(oid);

		if (X509_get_ext_by_OBJ(l->x, oid, i) >= 0)
			return ATTEST_CHAIN_EXTENSION;
		if (X509_EXTENSION_get_critical(e) && nid != NID_basic_constraints && nid != NID_key_usage)
			return ATTEST_CHAIN_EXTENSION;
		if (nid == NID_ext_key_usage)
			return ATTEST_CHAIN_EXTENSION;
	}
	return ATTEST_OK;
}

/* BasicConstraints (RFC 5280 section 4.2.1.9) has few values, and each one form in DER: { }, { TRUE } and
 * { TRUE, 0..127 }. So it is compared, and not parsed. */
static const uint8_t bc_end[] = { 0x30, 0x00 };
static const uint8_t bc_ca[] = { 0x30, 0x03, 0x01, 0x01, 0xff };
static const uint8_t bc_ca_pathlen[] = { 0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01 };

/* The path length of a CA's value; -1: it has none. False: no CA. */
static bool ca_pathlen(struct span v, int *ret_pathlen)
{
	*ret_pathlen = -1;
	if (span_eq(v, span_of(bc_ca, sizeof(bc_ca))))
		return true;
	if (v.n != sizeof(bc_ca_pathlen) + 1 || memcmp(v.p, bc_ca_pathlen, sizeof(bc_ca_pathlen)) != 0)
		return false;
	*ret_pathlen = v.p[v.n - 1];
	return *ret_pathlen < 0x80;
}

enum attest_code chain_check_constraints(const struct chain_link *l)
{
	X509_EXTENSION *e = extension(l, NID_basic_constraints);
	int unused;
	bool good;

	if (e == NULL || !X509_EXTENSION_get_critical(e))
		return ATTEST_CHAIN_CONSTRAINTS;
	good = is_leaf(l) ? span_eq(extension_value(e), span_of(bc_end, sizeof(bc_end)))
			  : ca_pathlen(extension_value(e), &unused);
	return good ? ATTEST_OK : ATTEST_CHAIN_CONSTRAINTS;
}

/* At least the number of CAs behind it. Only the root may leave it out. */
enum attest_code chain_check_pathlen(const struct chain_link *l)
{
	int pathlen;

	if (is_leaf(l))
		return ATTEST_OK;
	if (!ca_pathlen(extension_value(extension(l, NID_basic_constraints)), &pathlen))
		return ATTEST_CHAIN_PATHLEN;
	if (pathlen < 0)
		return l->index == 0 ? ATTEST_OK : ATTEST_CHAIN_PATHLEN;
	return (size_t)pathlen >= l->d->n_cabundle - 1 - l->index ? ATTEST_OK : ATTEST_CHAIN_PATHLEN;
}

/* KeyUsage (RFC 5280 section 4.2.1.3), the bits of its first byte. The leaf's is not critical. */
enum { USAGE_DIGITAL_SIGNATURE = 0x80, USAGE_CERT_SIGN = 0x04 };

/* A named bit list of one byte (X.690 section 11.2.2): the last bit that is in use is set, those behind it are not. */
static bool read_usage(struct span v, unsigned *ret_bits)
{
	if (v.n != 4 || v.p[0] != 0x03 || v.p[1] != 0x02 || v.p[2] > 7)
		return false;
	*ret_bits = v.p[3];
	return (*ret_bits & ((2U << v.p[2]) - 1)) == 1U << v.p[2];
}

enum attest_code chain_check_usage(const struct chain_link *l)
{
	X509_EXTENSION *e = extension(l, NID_key_usage);
	unsigned bits;

	if (e == NULL || !read_usage(extension_value(e), &bits))
		return ATTEST_CHAIN_USAGE;
	if (!is_leaf(l))
		return (bits & USAGE_CERT_SIGN) != 0 ? ATTEST_OK : ATTEST_CHAIN_USAGE;
	if ((bits & USAGE_DIGITAL_SIGNATURE) == 0 || (bits & USAGE_CERT_SIGN) != 0)
		return ATTEST_CHAIN_USAGE;
	return ATTEST_OK;
}

/* --- the leaf's name -------------------------------------------------------------------------- */

/* "us-east-2", "us-gov-west-1" */
static bool region_valid(struct span s)
{
	if (s.n < 1 || s.n > 32)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-'))
			return false;
	return true;
}

/* MODULE_ID.REGION.aws: binds the payload's module_id, and with it PCR4, to what the issuer has named. */
enum attest_code chain_check_name(const struct chain_link *l)
{
	static const char suffix[] = ".aws";
	const struct span id = l->d->module_id;
	const size_t around = id.n + 1 + sizeof(suffix) - 1;
	const X509_NAME *subject = X509_get_subject_name(l->x);
	const ASN1_STRING *value;
	struct span cn;
	int i;

	if (!is_leaf(l))
		return ATTEST_OK;
	i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (i < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, i) >= 0)
		return ATTEST_CHAIN_NAME;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
	cn = span_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	if (cn.n <= around || memcmp(cn.p, id.p, id.n) != 0 || cn.p[id.n] != '.' ||
	    memcmp(cn.p + cn.n - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) != 0)
		return ATTEST_CHAIN_NAME;
	return region_valid(span_of(cn.p + id.n + 1, cn.n - around)) ? ATTEST_OK : ATTEST_CHAIN_NAME;
}
