/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops/cwcctl/encode.h"
#include "ops/cwcctl/session.h"
#include "queue/envelope.h"
#include "worker/base/secret.h"

#define RING_FILE_MAX 65536

/* --- ring keys -------------------------------------------------------------------------------- */

static int ring_use(struct sealer *s, struct span text, const char *from)
{
	unsigned line;
	const char *rule;
	if (ring_parse(text, &s->ring, &line, &rule) != ERR_OK)
		return ctl_fail(CTL_CONFIG, "%s: line %u: %s", from, line, rule);
	return s->ring.n > 0 ? 0 : ctl_fail(CTL_CONFIG, "%s: no ring key", from);
}

static int ring_from_file(struct sealer *s, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ctl_fail(CTL_CONFIG, "%s: %s", file, strerror(errno));
	struct buf b;
	buf_init(&b, RING_FILE_MAX + 1);
	ssize_t n = 0;
	do {
		buf_grew(&b, (size_t)n);
		uint8_t *room = buf_room(&b, 4096);
		n = room != NULL ? read(fd, room, 4096) : 0;
	} while (n > 0);
	close(fd);
	int code;
	if (n < 0 || buf_ok(&b) != ERR_OK)
		code = ctl_fail(CTL_CONFIG, "%s: it %s", file, n < 0 ? "cannot be read" : "is too large");
	else
		code = ring_use(s, span_buf(&b), file);
	buf_clear(&b);
	return code;
}

/* The newest entry of `attestations`. A worker of another environment would refuse the job. */
static int ring_from_queue(struct ctl *c, struct sealer *s)
{
	int code = session_open(c);
	if (code != 0)
		return code;
	struct resp_reply *r =
		session_call(c, SESSION_ARGV(span_lit("XREVRANGE"), session_key(c, "attestations"), span_lit("+"),
					     span_lit("-"), span_lit("COUNT"), span_lit("1")));
	if (r == NULL)
		return c->session->code;
	const struct resp_reply *flat = resp_at(resp_at(r, 0), 1);
	struct span environment = reply_field(flat, "environment");
	if (r->n == 0)
		code = ctl_fail(CTL_NO, "no worker has published ring keys in this queue yet; see --ring");
	else if (!span_eq_str(environment, s->environment))
		code = ctl_fail(CTL_NO, "the newest worker is of the environment %.*s, not %s; see --environment",
				(int)environment.n, (const char *)environment.p, s->environment);
	else
		code = ring_use(s, reply_field(flat, "keys"), "attestations");
	reply_free(r);
	return code;
}

/* --- the sealer ------------------------------------------------------------------------------- */

int sealer_open(struct ctl *c, struct sealer *s)
{
	memset(s, 0, sizeof(*s));
	buf_init(&s->plain, ENVELOPE_PLAIN_MAX);
	buf_init(&s->envelope, ENVELOPE_MAX);
	s->queue = session_queue_name(c);
	if (s->queue == NULL)
		return CTL_USAGE;
	if (!ctl_has(c, OPT_SIGNER))
		return ctl_fail(CTL_USAGE, "--signer is needed: the private key that signs the jobs");
	int code = signer_kid(c, &s->kid);
	if (code == 0)
		code = args_environment(c, &s->environment);
	if (code == 0)
		code = signer_load(c->opt[OPT_SIGNER], &s->secret);
	if (code != 0)
		return code;
	return ctl_has(c, OPT_RING) ? ring_from_file(s, c->opt[OPT_RING]) : ring_from_queue(c, s);
}

void sealer_close(struct sealer *s)
{
	secret_free(s->secret);
	s->secret = NULL;
	buf_clear(&s->plain);
	buf_clear(&s->envelope);
}

static void job_of(const struct sealer *s, const struct letter *l, struct job *j)
{
	*j = (struct job){
		.environment = span_str(s->environment),
		.queue = span_str(s->queue),
		.sid = span_str(l->sid),
		.n_offices = l->n_offices,
		.generation = l->generation,
		.expires_s = l->expires_s,
		.not_before_s = l->not_before_s,
		.priority = l->priority,
		.profile = l->profile,
	};
	for (size_t i = 0; i < l->n_offices; i++)
		j->office[i] = span_str(l->office[i]);
	if (l->profile == JOB_WITNESS) {
		j->nullifier = span_str(l->nullifier);
		j->action_domain = span_str(l->action_domain);
	}
}

static enum err seal_envelope(struct sealer *s, const struct letter *l, const struct job *j)
{
	bool witness = l->profile == JOB_WITNESS;
	const struct keyring_key *k = ring_find(&s->ring, witness ? KEYRING_WITNESS : KEYRING_LETTER);
	if (k == NULL)
		return ERR_ENVELOPE_KEY;
	buf_reset(&s->plain);
	buf_reset(&s->envelope);
	enum err e = witness ? encode_json(l->content, &s->plain) : encode_cbor(l->content, &s->plain);
	if (e == ERR_OK && witness)
		e = envelope_seal_witness(span_buf(&s->plain), k->public_key, k->id, k->context[0], NULL, NULL,
					  &s->envelope);
	else if (e == ERR_OK)
		e = envelope_seal_letter(span_buf(&s->plain), k->public_key, k->id, j, NULL, &s->envelope);
	buf_reset(&s->plain);
	return e;
}

bool sealer_seal(struct sealer *s, const struct letter *l, struct buf *job, struct buf *why)
{
	struct job j;
	struct buf fields;
	job_of(s, l, &j);
	buf_init(&fields, JOB_MAX);
	enum err e = ERR_OK;
	if (l->fields != NULL)
		e = encode_cbor(l->fields, &fields);
	else
		buf_add_byte(&fields, 0xa0); /* an empty map */
	if (e == ERR_OK)
		e = seal_envelope(s, l, &j);
	if (e == ERR_OK) {
		j.fields = span_buf(&fields);
		j.envelope = span_buf(&s->envelope);
		e = job_sign(&j, span_str(s->kid), s->secret, job);
	}
	buf_clear(&fields);
	if (e == ERR_ENVELOPE_KEY) {
		buf_add_str(why, "no ring key of this profile is published\n");
	} else if (e != ERR_OK) {
		buf_add_str(why, e == ERR_RANGE ? "a number with a fraction, or too deep" : err_text(e));
		buf_add_byte(why, '\n');
	}
	return e == ERR_OK;
}
