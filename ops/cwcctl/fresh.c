/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/fresh.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/anchor.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/units.h"
#include "worker/base/clock.h"
#include "worker/base/text.h"

#define NONCE_SIZE    32
#define MAX_AGE_MS    300000
#define MAX_FUTURE_MS 60000

/* --- a document ------------------------------------------------------------------------------- */

/* Its own measurements: a policy that any program fulfils, for when none is given. Whether they are those of an enclave
 * in debug mode is asked all the same. */
static void own_measurements(struct span document, struct attest_measurement *ret_m)
{
	struct attest_document d;

	*ret_m = (struct attest_measurement){ .pcrs = 1 };
	if (attest_document_parse(document, &d) == ATTEST_OK)
		memcpy(ret_m->pcr[0], d.pcr[0].p, ATTEST_PCR_SIZE);
}

static void keep_document(const struct attest_document *d, const struct attest_report *r, bool measured,
			  struct fresh *f)
{
	f->attested = true;
	f->measured = measured;
	if (measured && r->release != NULL)
		snprintf(f->release, sizeof(f->release), "%s", r->release->name);
	memcpy(f->module_id, d->module_id.p, ATTEST_MODULE_SIZE);
	f->time_ms = (int64_t)d->timestamp_ms;
	memcpy(f->pcr0, d->pcr[0].p, ATTEST_PCR_SIZE);
}

/* `asked` has the times and the nonce; m is NULL without a manifest. */
static enum attest_code verify(struct span document, struct span hash, const struct manifest *m,
			       const struct attest_policy *asked, struct fresh *f)
{
	struct attest_policy p = *asked;
	struct attest_measurement own;
	struct attest_document d;
	struct attest_report r;
	enum attest_code code;

	own_measurements(document, &own);
	p.allowed = m != NULL ? m->release : &own;
	p.n_allowed = m != NULL ? m->n : 1;
	p.user_data = &hash;
	p.max_future_ms = MAX_FUTURE_MS;
	code = anchor_verify(document, &p, &d, &r);
	f->simulated = anchor_simulated(&r);
	if (code == ATTEST_OK)
		keep_document(&d, &r, m != NULL, f);
	return code;
}

enum attest_code fresh_verify_ageless(struct span document, struct span hash, const struct manifest *m,
				      struct fresh *ret_f)
{
	const struct span none = { NULL, 0 };
	struct attest_policy p = { .now_ms = clock_wall_us() / 1000, .max_age_ms = INT64_MAX };

	p.nonce = &none;
	p.public_key = &none;
	return verify(document, hash, m, &p, ret_f);
}

/* By the options; `nonce` is empty for a published document. */
static int prove(struct ctl *c, struct span document, struct span nonce, int64_t max_age_ms, struct fresh *f)
{
	static struct manifest m;
	bool measured = ctl_has(c, OPT_MANIFEST);
	struct attest_policy p = { .now_ms = clock_wall_us() / 1000, .max_age_ms = max_age_ms };
	uint8_t hash[STATEMENT_HASH_SIZE];
	enum attest_code code;
	int bad = measured ? attest_read_manifest(c->opt[OPT_MANIFEST], &m) : 0;

	if (bad != 0)
		return bad;
	p.nonce = nonce.n > 0 ? &nonce : NULL;
	statement_hash(span_buf(&f->bytes), hash);
	code = verify(document, span_of(hash, sizeof(hash)), measured ? &m : NULL, &p, f);
	if (code == ATTEST_OK)
		return 0;
	return ctl_fail(CTL_NO, "%s: the worker's document is refused: %s: %s", f->from, attest_code_name(code),
			attest_code_text(code));
}

/* --- a statement ------------------------------------------------------------------------------ */

/* With --queue: what is sealed to the keys of another queue's worker would be lost, and its keys are not the ones that
 * were asked for. */
static int check_queue(const struct ctl *c, const struct fresh *f)
{
	if (!ctl_has(c, OPT_QUEUE) || span_eq_str(f->s.queue, c->opt[OPT_QUEUE]))
		return 0;
	return ctl_fail(CTL_NO, "%s: this worker is of the queue %.*s", f->from, (int)f->s.queue.n,
			(const char *)f->s.queue.p);
}

static int read_statement(struct fresh *f)
{
	enum err e = statement_read(span_buf(&f->bytes), &f->s);

	if (e == ERR_OK)
		e = keyring_read_public(f->s.keys, f->key, &f->n_keys);
	return e == ERR_OK ? 0 : ctl_fail(CTL_NO, "%s: the worker's statement is refused: %s", f->from, err_text(e));
}

/* A member in base64, appended; false when it is something else. */
static bool take_base64(const json_t *o, const char *member, struct buf *out)
{
	const json_t *v = json_object_get(o, member);

	return json_is_string(v) && json_string_length(v) > 0 &&
	       text_unbase64(span_of(json_string_value(v), json_string_length(v)), out) == ERR_OK;
}

static int not_keys(const struct fresh *f, const char *member)
{
	return ctl_fail(f->file ? CTL_CONFIG : CTL_UNAVAILABLE,
			"%s: no answer of a worker: \"%s\" is missing, too long, or not base64", f->from, member);
}

/* o has "statement", and "document" in base64 or null. */
static int take(struct ctl *c, const json_t *o, struct span nonce, int64_t max_age_ms, struct fresh *f)
{
	struct buf document;
	int code = 0;

	if (json_is_null(json_object_get(o, "statement")))
		return ctl_fail(CTL_UNAVAILABLE, "%s: the worker has no statement yet: try again", f->from);
	if (!take_base64(o, "statement", &f->bytes))
		return not_keys(f, "statement");
	buf_init(&document, ATTEST_DOCUMENT_MAX + 1);
	if (json_is_null(json_object_get(o, "document"))) {
		if (nonce.n > 0)
			code = not_keys(f, "document");
	} else if (!take_base64(o, "document", &document)) {
		code = not_keys(f, "document");
	} else {
		code = prove(c, span_buf(&document), nonce, max_age_ms, f);
	}
	if (code == 0)
		code = read_statement(f);
	if (code == 0)
		code = check_queue(c, f);
	buf_clear(&document);
	return code;
}

static json_t *json_of(const struct port_answer *a)
{
	json_t *o = NULL;

	if (strcmp(a->type, "application/json") == 0)
		o = json_loadb((const char *)a->body.p, a->body.n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		o = NULL;
	}
	return o;
}

static void start(const char *from, bool file, struct fresh *f)
{
	*f = (struct fresh){ .from = from, .file = file };
	buf_init(&f->bytes, STATEMENT_MAX);
}

void fresh_clear(struct fresh *f)
{
	buf_clear(&f->bytes);
}

/* --- a running worker ------------------------------------------------------------------------- */

int fresh_keys(const struct port *p, json_t **ret_keys)
{
	struct port_request q = { .path = "/keys", .accept = "application/json", .max = PORT_ANSWER_MAX };
	struct port_answer a;
	int code = port_ask(p, &q, &a);

	if (code != 0)
		return code;
	*ret_keys = a.status == 200 ? json_of(&a) : NULL;
	if (*ret_keys == NULL)
		code = port_no_answer(p, &a);
	port_answer_clear(&a);
	return code;
}

static int unattested(struct ctl *c, const struct port *p, struct fresh *f)
{
	json_t *keys;
	int code;

	if (ctl_has(c, OPT_MANIFEST))
		return ctl_fail(CTL_NO, "%s: UNATTESTED: this worker has no document, so --manifest has nothing to ask",
				f->from);
	code = fresh_keys(p, &keys);
	if (code != 0)
		return code;
	if (!json_is_null(json_object_get(keys, "document")))
		code = ctl_fail(CTL_UNAVAILABLE, "%s: the worker has no fresh document right now: try again", f->from);
	else
		code = take(c, keys, span_of(NULL, 0), MAX_AGE_MS, f);
	json_decref(keys);
	return code;
}

static int attested(struct ctl *c, const struct port *p, const struct port_answer *a, struct span nonce,
		    struct fresh *f)
{
	json_t *o = json_of(a);
	int code;

	if (o == NULL)
		return port_no_answer(p, a);
	code = take(c, o, nonce, MAX_AGE_MS, f);
	json_decref(o);
	return code;
}

int fresh_from_worker(struct ctl *c, const struct port *p, struct fresh *ret_f)
{
	char path[sizeof("/attestation?nonce=") + 2 * NONCE_SIZE], reason[PORT_WORD_SIZE], why[PORT_WORD_SIZE];
	struct port_request q = { .path = path, .accept = "application/json", .max = PORT_ANSWER_MAX };
	struct port_answer a;
	uint8_t nonce[NONCE_SIZE];
	int code;

	start(p->address.text, false, ret_f);
	randombytes_buf(nonce, sizeof(nonce));
	memcpy(path, "/attestation?nonce=", sizeof("/attestation?nonce="));
	text_hex(span_of(nonce, sizeof(nonce)), path + strlen(path));
	code = port_ask(p, &q, &a);
	if (code != 0)
		return code;
	port_reason(&a, reason, why);
	if (a.status == 200)
		code = attested(c, p, &a, span_of(nonce, sizeof(nonce)), ret_f);
	else if (a.status == 503 && strcmp(reason, "no_attestation") == 0)
		code = unattested(c, p, ret_f);
	else
		code = port_no_answer(p, &a);
	port_answer_clear(&a);
	return code;
}

/* --- a file ----------------------------------------------------------------------------------- */

static int read_age(const struct ctl *c, int64_t *ret_ms)
{
	uint64_t ms = MAX_AGE_MS, s;

	if (ctl_has(c, OPT_MAX_AGE) && text_uint(span_str(c->opt[OPT_MAX_AGE]), 365U * 86400, &s) == ERR_OK)
		ms = s * 1000;
	else if (ctl_has(c, OPT_MAX_AGE) && units_duration(c->opt[OPT_MAX_AGE], &ms) != ERR_OK)
		ms = 0;
	*ret_ms = (int64_t)ms;
	if (ms > 0)
		return 0;
	return ctl_fail(CTL_USAGE, "--max-age must be seconds or a duration, such as 300 or 5min, and not zero");
}

int fresh_from_file(struct ctl *c, const char *file, struct fresh *ret_f)
{
	struct buf text;
	json_t *o;
	int64_t max_age_ms;
	int code = read_age(c, &max_age_ms);

	start(file, true, ret_f);
	buf_init(&text, PORT_ANSWER_MAX);
	if (code == 0)
		code = attest_read_file(file, &text);
	if (code == 0) {
		o = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(o) || json_object_get(o, "statement") == NULL)
			code = ctl_fail(CTL_CONFIG, "%s: not what a worker's /keys answers", file);
		else
			code = take(c, o, span_of(NULL, 0), max_age_ms, ret_f);
		json_decref(o);
	}
	buf_clear(&text);
	return code;
}
