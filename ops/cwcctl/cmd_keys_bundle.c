/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed bundles, as a running worker makes them: the first of a release, the next one, one with other signers. */
#include <string.h>
#include <unistd.h>

#include "attest/grant.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/bundle_view.h"
#include "ops/cwcctl/newfile.h"
#include "worker/base/clock.h"

#define TIMEOUT_MS 60000  /* three exchanges with KMS and the metadata service, at worst */
#define MADE_MS    300000 /* what was made for this request is not older */
#define TRIES_MAX  5

/* What a worker says no with, by its names. */
static const struct {
	const char *reason;
	int code;
	const char *text;
} answers[] = {
	{ "grant", CTL_NO,
	  "the grant is refused: it must be signed by the authority that is measured into the image, for the worker's "
	  "environment and queue, with a serial above that of the last one" },
	{ "source", CTL_NO, "its keys do not come from a sealed bundle: keys.source is another one" },
	{ "no_bundle", CTL_NO, "it has no bundle to go on from: `cwcctl keys request` makes the first one" },
	{ "has_bundle", CTL_NO, "it has a bundle already: `cwcctl keys rotate` makes the next one" },
	{ "store", CTL_UNAVAILABLE,
	  "it cannot read its store, which may have a bundle: give it one, an empty one at least" },
	{ "clock", CTL_UNAVAILABLE,
	  "its clock is not the security module's, so that the times of keys would be wrong: restart the enclave, or "
	  "see "
	  "its log for document_failed" },
	{ "pending", CTL_NO, "a key is pending still: rotate when it is active; `cwcctl keys status` says when" },
	{ "full", CTL_NO, "the ring is full: rotate when a key is destroyed; `cwcctl keys status` says when" },
	{ "no_authority", CTL_NO, "no authority is measured into the image, so that it takes no grant" },
};

static int refused(const struct port *p, const struct port_answer *a)
{
	char reason[PORT_WORD_SIZE], why[PORT_WORD_SIZE];

	port_reason(a, reason, why);
	if (a->status == 404)
		return ctl_fail(CTL_NO, "%s: this worker takes no requests for keys", p->address.text);
	if (a->status == 503 && strcmp(reason, "kms") == 0)
		return ctl_fail(CTL_UNAVAILABLE, "%s: KMS has not done it: %s; see the worker's log", p->address.text,
				why[0] != '\0' ? why : "no reason");
	for (size_t i = 0; a->status >= 400 && i < sizeof(answers) / sizeof(answers[0]); i++)
		if (strcmp(reason, answers[i].reason) == 0)
			return ctl_fail(answers[i].code, "%s: %s", p->address.text, answers[i].text);
	return port_no_answer(p, a);
}

/* An answer of earlier would do for its form and its maker, too. */
static int made_now(const struct port *p, const struct bundle_view *v)
{
	int64_t age_ms = clock_wall_us() / 1000 - v->maker.time_ms;

	if (age_ms <= MADE_MS)
		return 0;
	return ctl_fail(CTL_NO, "%s: the bundle is refused: it was made %lld s ago, and not for this request",
			p->address.text, (long long)(age_ms / 1000));
}

static int check_queue(const struct ctl *c, const struct port *p, const struct bundle *b)
{
	if (!ctl_has(c, OPT_QUEUE) || span_eq_str(b->queue, c->opt[OPT_QUEUE]))
		return 0;
	return ctl_fail(CTL_NO, "%s: the bundle is refused: it is of the queue %.*s", p->address.text, (int)b->queue.n,
			(const char *)b->queue.p);
}

static int take(struct ctl *c, const struct port *p, const struct port_answer *a, const struct manifest *m)
{
	const char *file = c->opt[OPT_OUTPUT];
	struct bundle_view v;
	int code;

	if (a->status != 200)
		return refused(p, a);
	if (strcmp(a->type, "application/cbor") != 0)
		return port_no_answer(p, a);
	code = bundle_look(p->address.text, span_buf(&a->body), m, CTL_NO, &v);
	if (code == 0)
		code = made_now(p, &v);
	if (code == 0)
		code = check_queue(c, p, &v.b);
	if (code == 0)
		code = newfile_write(file, span_buf(&a->body));
	if (code == 0)
		bundle_print(c, file, &v);
	return code;
}

static int read_grant(const struct ctl *c, struct buf *out)
{
	const char *file = c->opt[OPT_GRANT];
	struct cose_sign1 msg;
	int code;

	if (file == NULL)
		return 0;
	code = attest_read_file(file, out);
	if (code == 0 && (out->n > GRANT_MAX || cose_sign1_parse(span_buf(out), &msg) != ERR_OK))
		code = ctl_fail(CTL_CONFIG, "%s: no grant of signers", attest_file_name(file));
	return code;
}

/* A worker takes one such request a second, from whomever; what it turned away for that has not begun. */
static int ask_in_turn(const struct port *p, const struct port_request *q, struct port_answer *ret_answer)
{
	char reason[PORT_WORD_SIZE], why[PORT_WORD_SIZE];

	for (int tries = 1;; tries++) {
		int code = port_ask(p, q, ret_answer);
		if (code != 0 || ret_answer->status != 429 || tries == TRIES_MAX)
			return code;
		port_reason(ret_answer, reason, why);
		if (strcmp(reason, "too_many_acts") != 0)
			return 0;
		port_answer_clear(ret_answer);
		(void)sleep(1);
	}
}

static int ask(struct ctl *c, const char *path)
{
	static struct manifest m;
	struct port_request q = { .path = path, .post = true, .accept = "application/cbor", .max = BUNDLE_MAX };
	struct port_answer a;
	struct buf grant;
	struct port p;
	int code = port_open(c, TIMEOUT_MS, &p);

	buf_init(&grant, GRANT_MAX + 1);
	if (code == 0)
		code = newfile_check(c);
	if (code == 0)
		code = read_grant(c, &grant);
	if (code == 0 && ctl_has(c, OPT_MANIFEST))
		code = attest_read_manifest(c->opt[OPT_MANIFEST], &m);
	q.body = span_buf(&grant);
	if (code == 0)
		code = ask_in_turn(&p, &q, &a);
	if (code == 0) {
		code = take(c, &p, &a, ctl_has(c, OPT_MANIFEST) ? &m : NULL);
		port_answer_clear(&a);
	}
	buf_clear(&grant);
	return code;
}

int cmd_keys_request(struct ctl *c)
{
	return ask(c, "/keys/request");
}

int cmd_keys_rotate(struct ctl *c)
{
	return ask(c, "/keys/rotate");
}

int cmd_keys_signers(struct ctl *c)
{
	if (!ctl_has(c, OPT_GRANT))
		return ctl_fail(CTL_USAGE, "--grant is needed: the signers, as `cwcctl signer grant` writes them");
	return ask(c, "/keys/signers");
}
