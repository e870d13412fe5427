/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/anchor_sim.h"
#include "tests/sim/pki_internal.h"
#include "worker/base/text.h"

#define DAY 86400

static const uint8_t es384[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03 };

/* --- names and extensions --------------------------------------------------------------------- */

/* As many bytes as the hypervisor's names have; the zonal one has another order. */
static void set_subject(struct pki_certificate *c, size_t which, const char *cn)
{
	struct buf *b = &c->part[PKI_SUBJECT];

	buf_reset(b);
	if (which == PKI_ZONAL) {
		pki_add_attribute(b, NAME_CN, cn);
		pki_add_attribute(b, NAME_OU, "SIM");
		pki_add_attribute(b, NAME_O, "Nobody");
		pki_add_attribute(b, NAME_C, "US");
		pki_add_attribute(b, NAME_ST, "WA");
		pki_add_attribute(b, NAME_L, "Seattle");
	} else {
		pki_add_attribute(b, NAME_C, "US");
		if (which >= PKI_INSTANCE) {
			pki_add_attribute(b, NAME_ST, "Washington");
			pki_add_attribute(b, NAME_L, "Seattle");
		}
		pki_add_attribute(b, NAME_O, "Nobody");
		pki_add_attribute(b, NAME_OU, "SIM");
		pki_add_attribute(b, NAME_CN, cn);
	}
	der_wrap(b, 0x30);
}

/* SHA-1 of the point (RFC 5280 section 4.2.1.2 (1)). */
static void key_id(const struct pki_certificate *c, uint8_t ret_id[20])
{
	const struct buf *spki = &c->part[PKI_KEY];
	const size_t point = 97;

	BUG_ON(spki->n < point);
	BUG_ON(EVP_Digest(spki->p + spki->n - point, point, ret_id, NULL, EVP_sha1(), NULL) != 1);
}

static void set_subject_id(struct pki_certificate *c)
{
	uint8_t value[22] = { 0x04, 0x14 };

	key_id(c, value + 2);
	pki_set_extension(c, PKI_SUBJECT_ID, false, span_of(value, sizeof(value)));
}

static void set_authority_id(struct pki_certificate *c, const struct pki_certificate *issuer)
{
	uint8_t value[24] = { 0x30, 0x16, 0x80, 0x14 };

	key_id(issuer, value + 4);
	pki_set_extension(c, PKI_AUTHORITY_ID, false, span_of(value, sizeof(value)));
}

/* CRLDistributionPoints { { [0] { [0] { [6] url } } } }: nobody looks there. */
static void set_crl(struct pki_certificate *c, const char *url)
{
	struct buf b;

	buf_init(&b, PKI_PART_MAX);
	der_add(&b, 0x86, span_str(url));
	der_wrap(&b, 0xa0);
	der_wrap(&b, 0xa0);
	der_wrap(&b, 0x30);
	der_wrap(&b, 0x30);
	pki_set_extension(c, PKI_CRL, false, span_buf(&b));
	buf_clear(&b);
}

/* --- the certificates of the hypervisor ------------------------------------------------------- */

static void random_hex(char *out, size_t n)
{
	uint8_t bytes[16];

	BUG_ON(n > sizeof(bytes));
	randombytes_buf(bytes, n);
	text_hex(span_of(bytes, n), out);
}

static void random_uuid(char ret_uuid[37])
{
	static const size_t group[] = { 4, 2, 2, 2, 6 };
	size_t at = 0;

	for (size_t i = 0; i < sizeof(group) / sizeof(group[0]); i++) {
		random_hex(ret_uuid + at, group[i]);
		at += 2 * group[i];
		ret_uuid[at++] = '-';
	}
	ret_uuid[36] = '\0';
}

/* A positive serial number of n bytes. */
static void random_serial(struct pki_certificate *c, size_t n)
{
	uint8_t bytes[20];

	BUG_ON(n > sizeof(bytes));
	randombytes_buf(bytes, n);
	bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40);
	buf_reset(&c->part[PKI_SERIAL]);
	der_add(&c->part[PKI_SERIAL], 0x02, span_of(bytes, n));
}

static void start_certificate(struct pki_certificate *c)
{
	for (size_t i = 0; i < PKI_PARTS; i++)
		buf_init(&c->part[i], PKI_PART_MAX);
	for (size_t i = 0; i < PKI_EXTENSIONS_MAX; i++)
		buf_init(&c->extension[i].der, PKI_PART_MAX);
	buf_init(&c->der, PKI_CERTIFICATE_MAX);
	c->digest = "SHA384";
	pki_set(&c->part[PKI_VERSION], span_lit("\xa0\x03\x02\x01\x02"));
	pki_set(&c->part[PKI_INNER], span_of(es384, sizeof(es384)));
	pki_set(&c->part[PKI_OUTER], span_of(es384, sizeof(es384)));
}

/* Like the anchor, which was made so once; signed again it is another root with the same name and key. */
static void make_root(struct pki_certificate *c)
{
	start_certificate(c);
	pki_set(&c->part[PKI_SERIAL], span_of(anchor_sim_serial, sizeof(anchor_sim_serial)));
	set_subject(c, PKI_ROOT, "sim.nitro-enclaves");
	pki_set_validity(c, ANCHOR_SIM_FROM, ANCHOR_SIM_UNTIL);
	pki_set_key(c, pki_root_key());
	pki_set_extension(c, PKI_CONSTRAINTS, true, span_lit("\x30\x03\x01\x01\xff"));
	set_subject_id(c);
	pki_set_extension(c, PKI_USAGE, true, span_lit("\x03\x02\x01\x86"));
	pki_set(&c->der, span_of(attest_anchor_sim.der, attest_anchor_sim.size));
}

static void make_regional(struct pki_chain *chain)
{
	struct pki_certificate *c = &chain->cert[PKI_REGIONAL];
	char id[17], uuid[37], text[160];

	start_certificate(c);
	random_serial(c, 16);
	random_hex(id, 8);
	snprintf(text, sizeof(text), "%s.%s.sim.nitro-enclaves", id, chain->region);
	set_subject(c, PKI_REGIONAL, text);
	pki_set_validity(c, chain->renewed_s - 4 * DAY, chain->renewed_s - 4 * DAY + 20 * DAY + 3600);
	pki_set_key(c, pki_key_new());
	pki_set_extension(c, PKI_CONSTRAINTS, true, span_lit("\x30\x06\x01\x01\xff\x02\x01\x02"));
	set_authority_id(c, &chain->cert[PKI_ROOT]);
	set_subject_id(c);
	pki_set_extension(c, PKI_USAGE, true, span_lit("\x03\x02\x01\x86"));
	random_uuid(uuid);
	snprintf(text, sizeof(text), "http://sim-nitro-enclaves-crl.s3.simulate.test/crl/%s.crl", uuid);
	set_crl(c, text);
}

static void make_zonal(struct pki_chain *chain)
{
	struct pki_certificate *c = &chain->cert[PKI_ZONAL];
	char id[17], uuid[37], text[192];

	start_certificate(c);
	random_serial(c, 16);
	random_hex(id, 8);
	snprintf(text, sizeof(text), "%s.zonal.%s.sim.nitro-enclaves", id, chain->region);
	set_subject(c, PKI_ZONAL, text);
	pki_set_validity(c, chain->renewed_s - DAY, chain->renewed_s + 5 * DAY);
	pki_set_key(c, pki_key_new());
	pki_set_extension(c, PKI_CONSTRAINTS, true, span_lit("\x30\x06\x01\x01\xff\x02\x01\x01"));
	set_authority_id(c, &chain->cert[PKI_REGIONAL]);
	set_subject_id(c);
	pki_set_extension(c, PKI_USAGE, true, span_lit("\x03\x02\x01\x86"));
	random_uuid(uuid);
	snprintf(text, sizeof(text), "http://crl-%s-sim-nitro-enclaves.s3.%s.simulate.test/crl/%s.crl", chain->region,
		 chain->region, uuid);
	set_crl(c, text);
}

static void make_instance(struct pki_chain *chain)
{
	struct pki_certificate *c = &chain->cert[PKI_INSTANCE];
	char text[128];

	start_certificate(c);
	random_serial(c, 20);
	snprintf(text, sizeof(text), "%.*s.%s.sim.nitro-enclaves", ATTEST_INSTANCE_SIZE, chain->module_id,
		 chain->region);
	set_subject(c, PKI_INSTANCE, text);
	pki_set_validity(c, chain->renewed_s - 3600, chain->renewed_s - 3600 + DAY);
	pki_set_key(c, pki_key_new());
	pki_set_extension(c, PKI_CONSTRAINTS, true, span_lit("\x30\x06\x01\x01\xff\x02\x01\x00"));
	pki_set_extension(c, PKI_USAGE, true, span_lit("\x03\x02\x02\x04"));
	set_subject_id(c);
	set_authority_id(c, &chain->cert[PKI_ZONAL]);
}

/* Its serial number: 8 bytes of the enclave, 4 zero bytes, 4 bytes of time. */
static void issue_leaf(struct pki_chain *chain, int64_t issued_s)
{
	struct pki_certificate *c = &chain->cert[PKI_LEAF];
	uint8_t serial[17] = { 0 }, *p = serial + 1;

	BUG_ON(text_unhex(span_of(chain->module_id + ATTEST_MODULE_SIZE - 16, 16), p, 8) != ERR_OK);
	for (int i = 0; i < 4; i++)
		p[15 - i] = (uint8_t)(issued_s >> 8 * i);
	buf_reset(&c->part[PKI_SERIAL]);
	if (p[0] >= 0x80)
		p--;
	else
		while (p[0] == 0 && p[1] < 0x80)
			p++;
	der_add(&c->part[PKI_SERIAL], 0x02, span_of(p, (size_t)(serial + sizeof(serial) - p)));
	pki_set_validity(c, issued_s - PKI_LEAF_EARLY, issued_s + PKI_LEAF_LIFE);
	pki_set_key(c, pki_key_new());
	chain->issued_s = issued_s;
}

static void make_leaf(struct pki_chain *chain, int64_t issued_s)
{
	struct pki_certificate *c = &chain->cert[PKI_LEAF];
	char text[128];

	start_certificate(c);
	snprintf(text, sizeof(text), "%s.%s.aws", chain->module_id, chain->region);
	set_subject(c, PKI_LEAF, text);
	pki_set_extension(c, PKI_CONSTRAINTS, true, span_lit("\x30\x00"));
	pki_set_extension(c, PKI_USAGE, false, span_lit("\x03\x02\x06\xc0"));
	issue_leaf(chain, issued_s);
}

/* --- chains ----------------------------------------------------------------------------------- */

struct pki_chain *pki_chain_new(const struct pki_options *o)
{
	const char *module_id = o->module_id != NULL ? o->module_id : PKI_MODULE_ID;
	struct pki_chain *chain = xcalloc(1, sizeof(*chain));

	BUG_ON(strlen(module_id) != ATTEST_MODULE_SIZE);
	snprintf(chain->module_id, sizeof(chain->module_id), "%s", module_id);
	snprintf(chain->region, sizeof(chain->region), "%s", o->region != NULL ? o->region : "us-east-1");
	chain->renewed_s = o->issued_s;
	make_root(&chain->cert[PKI_ROOT]);
	make_regional(chain);
	make_zonal(chain);
	make_instance(chain);
	make_leaf(chain, o->issued_s);
	pki_chain_sign(chain, PKI_REGIONAL);
	return chain;
}

void pki_chain_free(struct pki_chain *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < PKI_CERTIFICATES; i++) {
		struct pki_certificate *x = &c->cert[i];

		for (size_t k = 0; k < PKI_PARTS; k++)
			buf_clear(&x->part[k]);
		for (size_t k = 0; k < PKI_EXTENSIONS_MAX; k++)
			buf_clear(&x->extension[k].der);
		buf_clear(&x->der);
		EVP_PKEY_free(x->key);
	}
	xfree_wipe(c, sizeof(*c));
}

/* The issuer's name is that of the certificate in front as long as nobody has set another. */
void pki_chain_sign(struct pki_chain *c, size_t first)
{
	for (size_t i = first; i < PKI_CERTIFICATES; i++) {
		struct pki_certificate *x = &c->cert[i], *issuer = &c->cert[i > 0 ? i - 1 : 0];

		if (!x->issuer_set)
			pki_set(&x->part[PKI_ISSUER], span_buf(&issuer->part[PKI_SUBJECT]));
		pki_certificate_sign(x, x->signer != NULL ? x->signer : issuer->key);
	}
}

void pki_chain_renew(struct pki_chain *c, int64_t issued_s)
{
	issue_leaf(c, issued_s);
	pki_chain_sign(c, PKI_LEAF);
}
