/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates of a document, for people: what they say, unproved. */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "ops/cwcctl/attest_report.h"
#include "worker/base/text.h"

static json_t *name_json(const X509_NAME *name)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	json_t *v;
	long n;

	BUG_ON(out == NULL);
	X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
	n = BIO_get_mem_data(out, &text);
	v = out_string(span_of(text, n > 0 ? (size_t)n : 0));
	BIO_free(out);
	return v;
}

static json_t *time_json(const ASN1_TIME *t)
{
	char text[TEXT_TIME_SIZE];
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return json_null();
	text_time(timegm(&tm), text);
	return json_string(text);
}

static json_t *serial_json(const X509 *x)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);

	return out_hex(span_of(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)));
}

/* From the root down; a document of the hypervisor has these five. */
static const char *place(const struct attest_document *d, size_t i)
{
	static const char *const names[] = { "root", "regional", "zonal", "instance" };

	if (i == d->n_cabundle)
		return "leaf";
	if (i == 0)
		return "root";
	return d->n_cabundle == 4 ? names[i] : "intermediate";
}

static json_t *certificate_json(struct span der)
{
	const uint8_t *p = der.p;
	uint8_t hash[crypto_hash_sha256_BYTES];
	X509 *x = d2i_X509(NULL, &p, (long)der.n);
	json_t *o = json_object();

	if (x != NULL) {
		json_object_set_new(o, "subject", name_json(X509_get_subject_name(x)));
		json_object_set_new(o, "issuer", name_json(X509_get_issuer_name(x)));
		json_object_set_new(o, "serial", serial_json(x));
		json_object_set_new(o, "from", time_json(X509_get0_notBefore(x)));
		json_object_set_new(o, "until", time_json(X509_get0_notAfter(x)));
	} else {
		json_object_set_new(o, "error", json_string("this is no certificate"));
	}
	crypto_hash_sha256(hash, der.p, der.n);
	json_object_set_new(o, "sha256", out_hex(span_of(hash, sizeof(hash))));
	X509_free(x);
	ERR_clear_error();
	return o;
}

json_t *attest_report_certificates(const struct attest_document *d)
{
	json_t *all = json_array();

	for (size_t i = 0; i <= d->n_cabundle; i++) {
		json_t *o = json_pack("{s:s}", "place", place(d, i)),
		       *more = certificate_json(i < d->n_cabundle ? d->cabundle[i] : d->certificate);

		json_object_update(o, more);
		json_decref(more);
		json_array_append_new(all, o);
	}
	return all;
}
