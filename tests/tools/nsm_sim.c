/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a simulated attestation document to standard output, for tests in other languages. It is signed under the
 * simulator's root, which a release program refuses; `--root` writes that root instead.
 *
 *	nsm_sim [--debug] [--definite] [--nonce HEX] [--user-data HEX] [--public-key HEX] [--time MS] [--region NAME]
 *	        [--instance ID] [--enclave HEX] [--role ARN] [--pcr N=HEX]... [--root]
 *
 * A field that is not given is absent; an empty HEX is an empty one. Fields may be larger than a verifier takes them:
 * so does the device.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/hypervisor_cbor.h"
#include "tests/sim/nsm_sim.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "nsm_sim: %s\n", what);
	exit(2);
}

struct arguments {
	struct nsm_sim_options sim;
	struct buf field[3]; /* user_data, nonce, public_key */
	bool present[3], root;
	bool has_pcr[ATTEST_PCRS];
	uint8_t pcr[ATTEST_PCRS][NSM_PCR_SIZE];
};

static void read_field(struct arguments *a, unsigned i, const char *hex)
{
	const size_t n = strlen(hex) / 2;
	uint8_t *room = buf_room(&a->field[i], n > 0 ? n : 1);

	if (room == NULL || strlen(hex) % 2 != 0 || text_unhex(span_of(hex, 2 * n), room, n) != ERR_OK)
		die("a field is not hex, or too long");
	buf_grew(&a->field[i], n);
	a->present[i] = true;
}

static void read_pcr(struct arguments *a, const char *s)
{
	const char *hex = strchr(s, '=');
	uint64_t i;

	if (hex == NULL || text_uint(span_of(s, (size_t)(hex - s)), ATTEST_PCRS - 1, &i) != ERR_OK ||
	    strlen(hex + 1) != (size_t)2 * NSM_PCR_SIZE ||
	    text_unhex(span_str(hex + 1), a->pcr[i], NSM_PCR_SIZE) != ERR_OK)
		die("--pcr wants N=HEX, of 96 digits");
	a->has_pcr[i] = true;
}

static void read_time(struct arguments *a, const char *s)
{
	uint64_t ms;

	if (text_uint(span_str(s), INT64_MAX, &ms) != ERR_OK || ms < 1000 * UINT64_C(86400) * 30)
		die("--time wants milliseconds since 1970");
	a->sim.now_ms = (int64_t)ms;
}

static void check_hex(const char *s, size_t n)
{
	if (strlen(s) != n || strspn(s, "0123456789abcdef") != n)
		die("an id is not one of lower-case hex digits");
}

static void read_option(struct arguments *a, int option, const char *value)
{
	switch (option) {
	case 'd':
		a->sim.debug = true;
		break;
	case 'a':
		a->sim.definite = true;
		break;
	case 'u':
		read_field(a, 0, value);
		break;
	case 'n':
		read_field(a, 1, value);
		break;
	case 'k':
		read_field(a, 2, value);
		break;
	case 't':
		read_time(a, value);
		break;
	case 'r':
		a->sim.region = value;
		break;
	case 'i':
		if (strncmp(value, "i-", 2) != 0)
			die("--instance wants i-<17 hex>");
		check_hex(value + 2, 17);
		a->sim.instance_id = value;
		break;
	case 'e':
		check_hex(value, 16);
		a->sim.enclave_id = value;
		break;
	case 'o':
		a->sim.role_arn = value;
		break;
	case 'p':
		read_pcr(a, value);
		break;
	case 'R':
		a->root = true;
		break;
	default:
		die("the options are in the head of tests/tools/nsm_sim.c");
	}
}

static void read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = { { "debug", no_argument, NULL, 'd' },
						 { "definite", no_argument, NULL, 'a' },
						 { "user-data", required_argument, NULL, 'u' },
						 { "nonce", required_argument, NULL, 'n' },
						 { "public-key", required_argument, NULL, 'k' },
						 { "time", required_argument, NULL, 't' },
						 { "region", required_argument, NULL, 'r' },
						 { "instance", required_argument, NULL, 'i' },
						 { "enclave", required_argument, NULL, 'e' },
						 { "role", required_argument, NULL, 'o' },
						 { "pcr", required_argument, NULL, 'p' },
						 { "root", no_argument, NULL, 'R' },
						 { NULL, 0, NULL, 0 } };
	int option;

	for (unsigned i = 0; i < 3; i++)
		buf_init(&a->field[i], NSM_REQUEST_MAX);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		read_option(a, option, optarg);
	if (optind != argc)
		die("no arguments but options");
}

/* The request by hand: the client of the worker does not ask for more than a verifier takes. */
static void request(const struct arguments *a, struct buf *out)
{
	static const char *const name[] = { "user_data", "nonce", "public_key" };

	buf_init(out, NSM_REQUEST_MAX);
	cbor_add_map(out, 1);
	cbor_add_str(out, "Attestation");
	cbor_add_map(out, 3);
	for (unsigned i = 0; i < 3; i++) {
		cbor_add_str(out, name[i]);
		if (a->present[i])
			cbor_add_bytes(out, span_buf(&a->field[i]));
		else
			cbor_add_null(out);
	}
	if (buf_ok(out) != ERR_OK)
		die("the fields do not fit a request");
}

/* A document has locked PCRs only, and those above 15 are not at boot. */
static void lock_given(struct nsm_sim *sim, const struct arguments *a)
{
	struct nsm n = { .exchange = nsm_sim_exchange, .arg = sim };

	for (unsigned i = 16; i < ATTEST_PCRS; i++)
		if (a->has_pcr[i] && nsm_lock_pcr(&n, i) != ERR_OK)
			die("a PCR cannot be locked");
}

/* The simulator's answer: { "Attestation": { "document": bytes } }. */
static struct span document_of(struct span answer)
{
	struct span document;
	struct cbor c;

	cbor_start(&c, answer);
	(void)hypervisor_read_map(&c);
	(void)cbor_read_text(&c, SIZE_MAX);
	(void)hypervisor_read_map(&c);
	(void)cbor_read_text(&c, SIZE_MAX);
	document = cbor_read_bytes(&c, SIZE_MAX);
	if (cbor_done(&c) != ERR_OK)
		die("the simulator refused");
	return document;
}

static void put(struct span s)
{
	if (fwrite(s.p, 1, s.n, stdout) != s.n || fflush(stdout) != 0)
		die("cannot write");
}

int main(int argc, char **argv)
{
	static uint8_t answer[NSM_ANSWER_MAX];
	struct arguments a = { 0 };
	struct nsm_sim *sim;
	struct buf b;
	size_t n = 0;

	if (secret_init() != ERR_OK)
		die("no random generator");
	read_arguments(argc, argv, &a);
	if (a.root) {
		put(span_of(attest_anchor_sim.der, attest_anchor_sim.size));
	} else {
		sim = nsm_sim_new(&a.sim);
		for (unsigned i = 0; i < ATTEST_PCRS; i++)
			if (a.has_pcr[i])
				nsm_sim_set_pcr(sim, i, a.pcr[i]);
		lock_given(sim, &a);
		request(&a, &b);
		if (nsm_sim_exchange(sim, span_buf(&b), answer, sizeof(answer), &n) != ERR_OK)
			die("the simulator refused");
		put(document_of(span_of(answer, n)));
		buf_clear(&b);
		nsm_sim_free(sim);
	}
	for (unsigned i = 0; i < 3; i++)
		buf_clear(&a.field[i]);
	return 0;
}
