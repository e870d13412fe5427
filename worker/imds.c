/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "worker/base/clock.h"
#include "worker/kms_client_internal.h"

/* Amazon EC2 User Guide, "Instance Metadata Service Version 2". */
#define HOST         "http://169.254.169.254"
#define TOKEN_URL    HOST "/latest/api/token"
#define ROLES_URL    HOST "/latest/meta-data/iam/security-credentials/"
#define TTL_HEADER   "X-aws-ec2-metadata-token-ttl-seconds"
#define TOKEN_HEADER "X-aws-ec2-metadata-token"
#define TTL          "60" /* for the two requests that follow */
#define TOKEN_MAX    1024
#define ROLE_MAX     64 /* IAM: letters, digits and +=,.@_- */

#define STATUS_OK 200

static bool letter_or_digit(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* A word of letters, digits and `others`: it goes into a header, or into a URL. */
static enum err check_word(struct span s, const char *others)
{
	for (size_t i = 0; i < s.n; i++)
		if (!letter_or_digit(s.p[i]) && (s.p[i] == '\0' || strchr(others, s.p[i]) == NULL))
			return ERR_SYNTAX;
	return s.n > 0 ? ERR_OK : ERR_SYNTAX;
}

static enum err ask(struct kms_wire *w, struct kms_exchange *x)
{
	x->path = w->imds_path;
	TRY(kms_exchange_run(w, x));
	return x->status == STATUS_OK ? ERR_OK : ERR_NOT_FOUND;
}

/* Appends to `out`, which has room for TOKEN_MAX. */
static enum err get_token(struct kms_wire *w, struct buf *out)
{
	struct kms_exchange x = { .url = TOKEN_URL, .method = "PUT" };
	enum err e;

	buf_init(&x.answer, TOKEN_MAX);
	kms_exchange_header(&x, TTL_HEADER, TTL);
	e = ask(w, &x);
	if (e == ERR_OK)
		e = check_word(span_buf(&x.answer), "+/=_-");
	if (e == ERR_OK)
		buf_add_span(out, span_buf(&x.answer));
	kms_exchange_clear(&x);
	return e;
}

/* One role's name: a list of two is refused, for its line break. */
static enum err get_role(struct kms_wire *w, const char *token, struct buf *out)
{
	struct kms_exchange x = { .url = ROLES_URL };
	enum err e;

	buf_init(&x.answer, ROLE_MAX);
	kms_exchange_header(&x, TOKEN_HEADER, token);
	e = ask(w, &x);
	if (e == ERR_OK)
		e = check_word(span_buf(&x.answer), "+=,.@_-");
	if (e == ERR_OK)
		buf_add_span(out, span_buf(&x.answer));
	kms_exchange_clear(&x);
	return e;
}

static enum err get_credentials(struct kms_wire *w, const char *token, const char *url, struct kms_credentials *ret_c)
{
	struct kms_exchange x = { .url = url };
	enum err e;

	buf_init(&x.answer, KMS_CREDENTIALS_MAX);
	kms_exchange_header(&x, TOKEN_HEADER, token);
	e = ask(w, &x);
	if (e == ERR_OK)
		e = kms_credentials_parse(span_buf(&x.answer), clock_wall_us() / 1000, ret_c);
	kms_exchange_clear(&x);
	return e;
}

enum err imds_credentials(struct kms_wire *w, struct kms_credentials *ret_c)
{
	struct buf token, url;
	enum err e;

	buf_init(&token, TOKEN_MAX + 1);
	buf_init(&url, sizeof(ROLES_URL) + ROLE_MAX);
	buf_add_str(&url, ROLES_URL);
	e = get_token(w, &token);
	if (e == ERR_OK)
		e = get_role(w, buf_cstr(&token), &url);
	if (e == ERR_OK)
		e = get_credentials(w, buf_cstr(&token), buf_cstr(&url), ret_c);
	buf_clear(&token);
	buf_clear(&url);
	return e;
}
