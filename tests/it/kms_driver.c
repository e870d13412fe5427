/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call to KMS from a test, in the way of the worker:
 *
 *	kms_driver generate|decrypt HOST ADDRESS:PORT CA-FILE KEY-ARN PURPOSE [BLOB-HEX]
 *
 * Prints the public key of the call in hex, as it would go to the security module; reads the attestation document that
 * names it (hex, one line) and the credentials' JSON (to the end) from stdin; then prints one JSON line: what came of
 * it, the SHA-256 of the data key, and the wrapped key in hex.
 */
#include <curl/curl.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/credentials.h"
#include "attest/kms.h"
#include "worker/base/clock.h"
#include "worker/base/secret.h"
#include "worker/base/text.h"

#define LINE_MAX_HEX ((size_t)2 * KMS_DOCUMENT_MAX)
#define TIMEOUT_MS   5000L
#define HEADER_MAX   (KMS_TOKEN_MAX + 64)

struct call {
	struct kms_request request;
	const char *host, *address, *ca;
	struct kms_credentials credentials;
	struct buf body, answer;
};

static void must(enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "kms_driver: %s: %s\n", what, err_name(e));
	exit(2);
}

/* An option that is not taken would be a call that is not protected as it should be. */
static void set(CURLcode code)
{
	if (code != CURLE_OK) {
		fprintf(stderr, "kms_driver: option: %d\n", (int)code);
		exit(2);
	}
}

/* --- what comes from outside ----------------------------------------------------------------- */

static void unhex(struct span hex, struct buf *out)
{
	uint8_t *room = buf_room(out, hex.n / 2);

	if (room == NULL || text_unhex(hex, room, hex.n / 2) != ERR_OK)
		must(ERR_SYNTAX, "hex");
	buf_grew(out, hex.n / 2);
}

static void print_hex(const char *head, struct span s, const char *tail)
{
	char *hex = xmalloc(2 * s.n + 1);

	text_hex(s, hex);
	printf("%s%s%s", head, hex, tail);
	free(hex);
}

static void read_document(struct buf *out)
{
	char *line = xmalloc(LINE_MAX_HEX + 2);

	if (fgets(line, (int)(LINE_MAX_HEX + 2), stdin) == NULL)
		must(ERR_IO, "document");
	unhex(span_of(line, strcspn(line, "\n")), out);
	free(line);
}

static void read_credentials(struct kms_credentials *ret_c)
{
	const size_t size = (size_t)4 * KMS_CREDENTIALS_MAX;
	uint8_t *json = xmalloc(size);
	size_t n = fread(json, 1, size, stdin);

	must(kms_credentials_parse(span_of(json, n), clock_wall_us() / 1000, ret_c), "credentials");
	xfree_wipe(json, size);
}

/* --- the call -------------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_add(b, p, size * n);
	return b->overflow ? 0 : size * n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
	char line[HEADER_MAX];
	struct curl_slist *longer;

	/* A header with an empty value would be left out of the request and yet be signed. */
	BUG_ON(value[0] == '\0');
	snprintf(line, sizeof(line), "%s: %s", name, value);
	longer = curl_slist_append(list, line);
	BUG_ON(longer == NULL);
	sodium_memzero(line, sizeof(line));
	return longer;
}

static void set_tls(CURL *easy, const struct call *c)
{
	set(curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca));
	set(curl_easy_setopt(easy, CURLOPT_CAPATH, NULL));
	set(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L));
	set(curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L));
	set(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	set(curl_easy_setopt(easy, CURLOPT_PROXY, ""));
	set(curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"));
	set(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https"));
	set(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
	set(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
	set(curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L));
	set(curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L));
	set(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS));
	set(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
}

static void set_signature(CURL *easy, const struct call *c)
{
	char region[KMS_REGION_SIZE], scope[64];

	must(kms_arn_region(c->request.key_arn, region), "region");
	snprintf(scope, sizeof(scope), "aws:amz:%s:kms", region);
	set(curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, scope));
	set(curl_easy_setopt(easy, CURLOPT_USERNAME, c->credentials.access_key_id));
	set(curl_easy_setopt(easy, CURLOPT_PASSWORD, c->credentials.secret_access_key));
}

static CURLcode post(struct call *c, long *ret_status)
{
	CURL *easy = curl_easy_init();
	struct curl_slist *headers = NULL;
	struct curl_slist *connect_to;
	char url[300], to[600];
	CURLcode code;

	BUG_ON(easy == NULL);
	snprintf(url, sizeof(url), "https://%s/", c->host);
	/* The address alone is another one: the Host header, the certificate's name and the signature are KMS's. */
	snprintf(to, sizeof(to), "%s:443:%s", c->host, c->address);
	connect_to = curl_slist_append(NULL, to);
	set(curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to));
	set(curl_easy_setopt(easy, CURLOPT_URL, url));
	set_tls(easy, c);
	set_signature(easy, c);
	headers = add_header(headers, "Content-Type", KMS_CONTENT_TYPE);
	headers = add_header(headers, "X-Amz-Target", kms_target(c->request.operation));
	headers = add_header(headers, "X-Amz-Security-Token", c->credentials.token);
	set(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers));
	set(curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n));
	set(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, (const char *)c->body.p));
	set(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
	set(curl_easy_setopt(easy, CURLOPT_WRITEDATA, &c->answer));
	code = curl_easy_perform(easy);
	set(curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, ret_status));
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	curl_slist_free_all(connect_to);
	return code;
}

static void report(struct call *c, EVP_PKEY *rsa)
{
	uint8_t key[KMS_DATA_KEY], hash[crypto_hash_sha256_BYTES] = { 0 };
	enum kms_fault f = KMS_FAULT_UNAVAILABLE;
	struct buf blob;
	long status = 0;
	CURLcode code;

	buf_init(&blob, KMS_BLOB_MAX);
	buf_init(&c->answer, KMS_ANSWER_MAX);
	code = post(c, &status);
	if (code == CURLE_OK)
		f = kms_answer(&c->request, (int)status, span_buf(&c->answer), rsa, key, &blob);
	if (code == CURLE_OK && f == KMS_FAULT_NONE)
		crypto_hash_sha256(hash, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	printf("{\"curl\":%d,\"status\":%ld,\"fault\":\"%s\"", (int)code, status, kms_fault_name(f));
	print_hex(",\"key\":\"", span_of(hash, sizeof(hash)), "\"");
	print_hex(",\"blob\":\"", span_buf(&blob), "\"}\n");
	buf_clear(&blob);
	buf_clear(&c->answer);
}

int main(int argc, char **argv)
{
	struct call c = { .request = { .n_context = 1 } };
	struct buf public_key, document, blob;
	EVP_PKEY *rsa;

	if (argc < 7 || secret_init() != ERR_OK || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return 64;
	c.request.operation = strcmp(argv[1], "decrypt") == 0 ? KMS_DECRYPT : KMS_GENERATE_DATA_KEY;
	c.host = argv[2];
	c.address = argv[3];
	c.ca = argv[4];
	c.request.key_arn = argv[5];
	c.request.context[0] = (struct kms_pair){ "purpose", argv[6] };
	buf_init(&blob, KMS_BLOB_MAX);
	unhex(span_str(argc > 7 ? argv[7] : ""), &blob);
	c.request.blob = span_buf(&blob);

	rsa = kms_rsa_new();
	buf_init(&public_key, KMS_PUBLIC_SIZE);
	must(kms_rsa_public(rsa, &public_key), "public key");
	print_hex("", span_buf(&public_key), "\n");
	fflush(stdout);
	buf_init(&document, KMS_DOCUMENT_MAX);
	read_document(&document);
	c.request.document = span_buf(&document);
	read_credentials(&c.credentials);
	buf_init(&c.body, KMS_REQUEST_MAX);
	must(kms_request_body(&c.request, &c.body), "request");
	report(&c, rsa);

	buf_clear(&c.body);
	buf_clear(&document);
	buf_clear(&public_key);
	buf_clear(&blob);
	kms_credentials_wipe(&c.credentials);
	EVP_PKEY_free(rsa);
	curl_global_cleanup();
	return 0;
}
