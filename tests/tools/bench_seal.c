/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letters for the benchmark, sealed and signed beforehand:
 *
 *	bench_seal COUNT DIR OFFICE...
 *
 * Writes to DIR: `letters.resp`, an XADD to {q}:in for each letter, for redis-cli --pipe; `ring.keys`, the keys to
 *which they are sealed; `letters.xml`, the documents that must come out, each behind its length in decimal and a line
 *feed (at most XML_KEPT of them). Prints the public key of the signer of the jobs, whose key id is "bench".
 *
 * The letters go round the offices, and half of them is sealed in either profile. Sizes are those of the app: a message
 * of 1.3 KB, and for a witness the whole object of the browser with its 93 field elements.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "attest/keyring.h"
#include "cwc/cwc.h"
#include "queue/envelope.h"
#include "queue/resp.h"
#include "worker/base/text.h"

#define KID        "bench"
#define CONTEXT    "voter-protocol-witness-encryption-v1"
#define XML_KEPT   512
#define TTL_S      86400
#define OUT_MAX    ((size_t)1 << 20)
#define FIELD_SIZE 67 /* "0x", 64 hex digits, NUL */

static const char message[] =
	"Our reading room is the only free internet in town & students rely on it after school. Last winter the line "
	"was down for three weeks, and we saw what that means: homework handed in late, benefits that ran out because "
	"the form is online only, a job interview that did not happen.\n\nThe grant pays for the line, two machines "
	"and "
	"four hours of help a week. It costs less than one mile of road. When it ends in September, the town cannot "
	"carry it alone; we have asked, and the answer was <no>.\n\nI ask you to vote for the renewal, and to keep the "
	"rule that small towns may apply together: none of us could fill in that application by ourselves. I would "
	"like "
	"to know where you stand on this; please write to me.\n\n";
static const char statement[] = "Rural libraries ask Congress to keep the connectivity grants in place.";

struct sealer {
	uint8_t sign_public[crypto_sign_PUBLICKEYBYTES], sign_secret[crypto_sign_SECRETKEYBYTES];
	uint8_t ring_public[2][32];
	char ring_id[2][KEYRING_ID_MAX + 1];
	FILE *resp, *xml;
	struct buf fields, plain, envelope, job, command;
	char body[1600], nullifier[FIELD_SIZE], action_domain[FIELD_SIZE], sid[32], name[32];
	uint64_t expires_s;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench_seal: %s\n", what);
	exit(1);
}

static void must_err(enum err e, const char *what)
{
	if (e != ERR_OK)
		fprintf(stderr, "bench_seal: %s\n", err_name(e));
	must(e == ERR_OK, what);
}

static FILE *create(const char *dir, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	must(f != NULL, "a file cannot be made");
	return f;
}

static void make_ring(struct sealer *s, const char *dir)
{
	static const char *const profile[] = { "witness", "letter" };
	FILE *f = create(dir, "ring.keys");

	for (int i = 0; i < 2; i++) {
		uint8_t secret[32];
		char hex[65];

		randombytes_buf(secret, sizeof(secret));
		must(crypto_scalarmult_base(s->ring_public[i], secret) == 0, "no ring key");
		keyring_id(s->ring_public[i], s->ring_id[i]);
		text_hex(span_of(secret, sizeof(secret)), hex);
		fprintf(f, "%s %s\n", profile[i], hex);
	}
	fclose(f);
}

/* --- the parts of a letter -------------------------------------------------------------------- */

static void add_pair(struct buf *b, const char *name, const char *text)
{
	cbor_add_str(b, name);
	cbor_add_str(b, text);
}

static void add_topics(struct buf *b)
{
	cbor_add_str(b, "LibraryOfCongressTopics");
	cbor_add_array(b, 2);
	cbor_add_str(b, "Education");
	cbor_add_str(b, "Science, Technology, Communications");
}

/* What is public; with a witness also the prefix and the message. Keys in deterministic order. */
static void clear_fields(struct sealer *s, enum job_profile profile)
{
	struct buf *b = &s->fields;

	buf_reset(b);
	cbor_add_map(b, profile == JOB_WITNESS ? 6 : 4);
	if (profile == JOB_WITNESS)
		add_pair(b, "Prefix", "Ms.");
	add_pair(b, "Subject", "Please protect broadband grants for public libraries");
	add_pair(b, "CampaignId", "5b0c7a9d2f4e618833aa17c0de94b6f1205d7e3c8a9b4f60e1d2c3b4a5968778");
	if (profile == JOB_WITNESS)
		add_pair(b, "ConstituentMessage", s->body);
	add_pair(b, "OrganizationStatement", statement);
	add_topics(b);
}

static void letter_plain(struct sealer *s)
{
	struct buf *b = &s->plain;

	buf_reset(b);
	cbor_add_map(b, 9);
	add_pair(b, "Zip", "69153-0001");
	add_pair(b, "City", "Ogallala");
	add_pair(b, "Email", "rosa.lindqvist@mail.example.org");
	add_pair(b, "Prefix", "Ms.");
	add_pair(b, "Address1", "410 East Depot Street");
	add_pair(b, "LastName", s->name);
	add_pair(b, "FirstName", "Rosa");
	add_pair(b, "StateAbbreviation", "NE");
	add_pair(b, "ConstituentMessage", s->body);
}

static void random_field(char text[FIELD_SIZE])
{
	uint8_t raw[32];

	randombytes_buf(raw, sizeof(raw));
	text[0] = '0';
	text[1] = 'x';
	text_hex(span_of(raw, sizeof(raw)), text + 2);
}

static void add_json(struct buf *b, const char *name, const char *text)
{
	buf_add_byte(b, '"');
	buf_add_str(b, name);
	buf_add_str(b, "\":\"");
	buf_add_str(b, text);
	buf_add_str(b, "\",");
}

static void add_field_elements(struct buf *b, const char *name, unsigned n)
{
	char text[FIELD_SIZE];

	buf_add_byte(b, '"');
	buf_add_str(b, name);
	buf_add_str(b, "\":[");
	for (unsigned i = 0; i < n; i++) {
		random_field(text);
		buf_add_str(b, i > 0 ? ",\"" : "\"");
		buf_add_str(b, text);
		buf_add_byte(b, '"');
	}
	buf_add_str(b, "],");
}

static void witness_plain(struct sealer *s)
{
	static const char *const single[] = { "userRoot", "cellMapRoot",      "engagementRoot",    "userSecret",
					      "cellId",   "registrationSalt", "identityCommitment" };
	struct buf *b = &s->plain;
	char text[FIELD_SIZE];

	buf_reset(b);
	buf_add_byte(b, '{');
	random_field(s->nullifier);
	random_field(s->action_domain);
	add_json(b, "nullifier", s->nullifier);
	add_json(b, "actionDomain", s->action_domain);
	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		random_field(text);
		add_json(b, single[i], text);
	}
	add_field_elements(b, "districts", 24);
	add_field_elements(b, "userPath", 20);
	add_field_elements(b, "cellMapPath", 20);
	add_field_elements(b, "engagementPath", 20);
	buf_add_str(b, "\"authorityLevel\":3,\"engagementTier\":2,\"deliveryAddress\":{\"name\":\"Rosa ");
	buf_add_str(b, s->name);
	buf_add_str(b, "\",\"email\":\"rosa.lindqvist@mail.example.org\",\"street\":\"410 East Depot Street\","
		       "\"city\":\"Ogallala\",\"state\":\"NE\",\"zip\":\"69153-0001\"}}");
}

/* --- the document ----------------------------------------------------------------------------- */

/* Both profiles come to the same document: it is read from the parts of a letter. */
static void keep_xml(struct sealer *s, struct span office)
{
	static struct cwc_letter l;
	char id[CWC_DELIVERY_ID_SIZE];
	enum cwc_chamber chamber;
	enum cwc_field field;
	struct cwc_problems problems;
	struct buf xml;

	buf_init(&xml, OUT_MAX);
	clear_fields(s, JOB_LETTER);
	letter_plain(s);
	cwc_letter_init(&l);
	must_err(cwc_office_parse(office, &chamber), "not an office");
	must_err(cwc_letter_read(span_buf(&s->fields), true, &l, &field), "the clear part");
	must_err(cwc_letter_read(span_buf(&s->plain), false, &l, &field), "the sealed part");
	cwc_delivery_id(span_lit("sandbox"), span_str(s->sid), office, id);
	l.v[CWC_DELIVERY_ID] = span_str(id);
	l.v[CWC_DELIVERY_DATE] = span_lit("20260302");
	l.v[CWC_AGENT] = span_lit("Prairie Civic Relay LLC");
	l.v[CWC_AGENT_ACK_EMAIL] = span_lit("acks@relay.example.org");
	l.v[CWC_AGENT_CONTACT_NAME] = span_lit("Dana Okafor");
	l.v[CWC_AGENT_CONTACT_EMAIL] = span_lit("ops@relay.example.org");
	l.v[CWC_AGENT_CONTACT_PHONE] = span_lit("202-555-0117");
	l.v[CWC_MEMBER_OFFICE] = office;
	must_err(cwc_validate(&l, chamber, &problems), "the letter is not valid");
	cwc_render(&l, chamber, &xml);
	must_err(buf_ok(&xml), "the document is too large");
	fprintf(s->xml, "%zu\n", xml.n);
	must(fwrite(xml.p, 1, xml.n, s->xml) == xml.n, "letters.xml cannot be written");
	buf_clear(&xml);
}

/* --- the job ---------------------------------------------------------------------------------- */

static void sign(struct sealer *s, enum job_profile profile, struct span office)
{
	struct job j = {
		.environment = span_lit("sandbox"),
		.queue = span_lit("q"),
		.sid = span_str(s->sid),
		.office = { office },
		.n_offices = 1,
		.expires_s = s->expires_s,
		.priority = 1,
		.profile = profile,
		.fields = span_buf(&s->fields),
	};
	int k = profile == JOB_WITNESS ? 0 : 1;
	enum err e;

	buf_reset(&s->envelope);
	buf_reset(&s->job);
	if (profile == JOB_WITNESS) {
		j.nullifier = span_str(s->nullifier);
		j.action_domain = span_str(s->action_domain);
		e = envelope_seal_witness(span_buf(&s->plain), s->ring_public[k], s->ring_id[k], CONTEXT, NULL, NULL,
					  &s->envelope);
	} else {
		e = envelope_seal_letter(span_buf(&s->plain), s->ring_public[k], s->ring_id[k], &j, NULL, &s->envelope);
	}
	must_err(e, "cannot be sealed");
	j.envelope = span_buf(&s->envelope);
	must_err(job_sign(&j, span_lit(KID), s->sign_secret, &s->job), "cannot be signed");
}

static void emit(struct sealer *s, struct span office)
{
	char expires_us[24];
	struct span argv[] = { span_lit("XADD"),  span_lit("{q}:in"),  span_lit("*"), span_lit("sid"),
			       span_str(s->sid),  span_lit("offices"), office,        span_lit("job"),
			       span_buf(&s->job), span_lit("exp"),     { NULL, 0 } };

	snprintf(expires_us, sizeof(expires_us), "%" PRIu64 "000000", s->expires_s);
	argv[10] = span_str(expires_us);
	buf_reset(&s->command);
	resp_command(&s->command, argv, 11);
	must_err(buf_ok(&s->command), "the command is too large");
	must(fwrite(s->command.p, 1, s->command.n, s->resp) == s->command.n, "letters.resp cannot be written");
}

/* Turned over in each round, so that every office gets both profiles. */
static void one(struct sealer *s, unsigned long i, unsigned long n_offices, struct span office)
{
	enum job_profile profile = (i + i / n_offices) % 2 == 0 ? JOB_LETTER : JOB_WITNESS;

	snprintf(s->sid, sizeof(s->sid), "bench-%lu", i);
	snprintf(s->name, sizeof(s->name), "Lindqvist %lu", i);
	snprintf(s->body, sizeof(s->body), "Letter %lu. %s%.700s", i, message, message);
	if (i < XML_KEPT)
		keep_xml(s, office);
	clear_fields(s, profile);
	if (profile == JOB_WITNESS)
		witness_plain(s);
	else
		letter_plain(s);
	sign(s, profile, office);
	emit(s, office);
}

int main(int argc, char **argv)
{
	static struct sealer s;
	struct buf *const bufs[] = { &s.fields, &s.plain, &s.envelope, &s.job, &s.command };
	char hex[65];

	if (argc < 4 || sodium_init() < 0) {
		fprintf(stderr, "usage: bench_seal COUNT DIR OFFICE...\n");
		return 64;
	}
	unsigned long count = strtoul(argv[1], NULL, 10);

	crypto_sign_keypair(s.sign_public, s.sign_secret);
	make_ring(&s, argv[2]);
	s.resp = create(argv[2], "letters.resp");
	s.xml = create(argv[2], "letters.xml");
	s.expires_s = (uint64_t)time(NULL) + TTL_S;
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
		buf_init(bufs[i], OUT_MAX);
	unsigned long n_offices = (unsigned long)argc - 3;

	for (unsigned long i = 0; i < count; i++)
		one(&s, i, n_offices, span_str(argv[3 + i % n_offices]));
	for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
		buf_clear(bufs[i]);
	must(fclose(s.resp) == 0 && fclose(s.xml) == 0, "the files cannot be written");
	text_hex(span_of(s.sign_public, sizeof(s.sign_public)), hex);
	puts(hex);
	return 0;
}
