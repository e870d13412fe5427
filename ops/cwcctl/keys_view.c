/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/keys_view.h"

#include <stdio.h>
#include <string.h>

#include "ops/cwcctl/out.h"
#include "worker/base/text.h"

#define DAY_S     86400
#define SOON_DAYS 30
#define N(a)      (sizeof(a) / sizeof((a)[0]))

/* null: not decided. */
static json_t *time_json(int64_t s)
{
	char text[TEXT_TIME_SIZE];

	if (s <= 0)
		return json_null();
	text_time(s, text);
	return json_string(text);
}

static void warn(json_t *view, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *view, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_array_append_new(json_object_get(view, "warnings"), out_string(span_str(text)));
}

/* --- keys ------------------------------------------------------------------------------------- */

static json_t *key_json(const struct keyring_key *k, int64_t now_s)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", k->id, "profile", keyring_profile_name(k->profile), "state",
			      keyring_state_name(keyring_state(k, now_s)));
	json_t *contexts = json_array();

	for (size_t i = 0; i < k->n_contexts; i++)
		json_array_append_new(contexts, out_string(span_str(k->context[i])));
	json_object_set_new(o, "public_key", out_hex(span_of(k->public_key, sizeof(k->public_key))));
	json_object_set_new(o, "created", time_json(k->times.created_s));
	json_object_set_new(o, "activate", time_json(k->times.activate_s));
	json_object_set_new(o, "retire", time_json(k->times.retire_s));
	json_object_set_new(o, "destroy", time_json(k->times.destroy_s));
	json_object_set_new(o, "contexts", contexts);
	return o;
}

static void earliest(int64_t t, int64_t now_s, int64_t *next)
{
	if (t > now_s && (*next == 0 || t < *next))
		*next = t;
}

static int64_t next_change(const struct fresh *f, int64_t now_s)
{
	int64_t next = 0;

	for (size_t i = 0; i < f->n_keys; i++) {
		earliest(f->key[i].times.activate_s, now_s, &next);
		earliest(f->key[i].times.retire_s, now_s, &next);
		earliest(f->key[i].times.destroy_s, now_s, &next);
	}
	return next;
}

/* Whether some other key of the profile is active when this one retires. */
static bool has_successor(const struct fresh *f, const struct keyring_key *k)
{
	for (size_t i = 0; i < f->n_keys; i++) {
		const struct keyring_key *other = &f->key[i];

		if (other != k && other->profile == k->profile &&
		    keyring_state(other, k->times.retire_s) == KEYRING_ACTIVE)
			return true;
	}
	return false;
}

static void warn_of_keys(const struct fresh *f, int64_t now_s, json_t *view)
{
	unsigned active[KEYRING_PROFILES] = { 0 };

	for (size_t i = 0; i < f->n_keys; i++) {
		const struct keyring_key *k = &f->key[i];
		char when[TEXT_TIME_SIZE];

		if (keyring_state(k, now_s) != KEYRING_ACTIVE)
			continue;
		active[k->profile]++;
		text_time(k->times.retire_s, when);
		if (k->times.retire_s > 0 && !has_successor(f, k))
			warn(view, "key %s (%s) retires at %s and has no successor: rotate", k->id,
			     keyring_profile_name(k->profile), when);
	}
	/* A ring that is not sealed has no use for a key of the profile `secret`. */
	for (int p = 0; p < KEYRING_PROFILES; p++)
		if (active[p] == 0 && (p != KEYRING_SECRET || f->s.bundle > 0))
			warn(view, "no active key of the profile %s", keyring_profile_name((enum keyring_profile)p));
}

/* --- signers ---------------------------------------------------------------------------------- */

static json_t *signer_json(const struct grant_signer *s, int64_t now_s, json_t *view)
{
	json_t *o = json_pack("{s:s}", "kid", s->kid);
	char when[TEXT_TIME_SIZE];

	json_object_set_new(o, "not_before", time_json(s->not_before_s));
	json_object_set_new(o, "not_after", time_json(s->not_after_s));
	json_object_set_new(o, "public_key", out_hex(span_of(s->public_key, sizeof(s->public_key))));
	text_time(s->not_after_s, when);
	if (s->not_after_s <= now_s)
		warn(view, "signer %s has ended: %s", s->kid, when);
	else if (s->not_after_s - now_s < (int64_t)SOON_DAYS * DAY_S)
		warn(view, "signer %s ends in less than %d days, at %s: a new grant", s->kid, SOON_DAYS, when);
	return o;
}

static json_t *grant_json(const struct fresh *f, const struct granted *g, int64_t now_s, json_t *view)
{
	json_t *o, *signers = json_array();

	if (!g->there) {
		json_decref(signers);
		return json_null();
	}
	for (size_t i = 0; i < g->g.n_signers; i++)
		json_array_append_new(signers, signer_json(&g->g.signer[i], now_s, view));
	o = json_pack("{s:I, s:o}", "serial", (json_int_t)g->g.serial, "signers", signers);
	json_object_set_new(o, "authority", out_string(g->g.authority));
	json_object_set_new(o, "sha256", out_hex(f->s.grant));
	json_object_set_new(o, "verified", g->verified ? json_true() : json_null());
	return o;
}

/* --- what is not proved ----------------------------------------------------------------------- */

static json_t *text_or_null(const json_t *v)
{
	return json_is_string(v) ? out_string(span_of(json_string_value(v), json_string_length(v))) : json_null();
}

static json_t *unproved(const json_t *keys, json_t *view)
{
	const json_t *missing = json_object_get(keys, "missing");
	json_t *o = json_object();

	json_object_set_new(o, "source", text_or_null(json_object_get(keys, "source")));
	json_object_set_new(o, "missing", text_or_null(missing));
	if (json_is_string(missing))
		warn(view, "letters wait: %.40s is missing", json_string_value(missing));
	return o;
}

/* --- the whole -------------------------------------------------------------------------------- */

static json_t *proof(const struct fresh *f)
{
	json_t *o = json_pack("{s:b, s:b, s:b}", "attested", f->attested, "simulated", f->simulated, "measured",
			      f->measured);

	json_object_set_new(o, "release", f->measured ? json_string(f->release) : json_null());
	json_object_set_new(o, "module_id", f->attested ? json_string(f->module_id) : json_null());
	json_object_set_new(o, "time", f->attested ? out_time_us(f->time_ms * 1000) : json_null());
	json_object_set_new(o, "pcr0", f->attested ? out_hex(span_of(f->pcr0, sizeof(f->pcr0))) : json_null());
	return o;
}

json_t *keys_view(const struct fresh *f, const struct granted *g, const json_t *keys, int64_t now_s)
{
	json_t *view = json_object(), *all = json_array();

	json_object_set_new(view, "proof", proof(f));
	json_object_set_new(view, "environment", out_string(f->s.environment));
	json_object_set_new(view, "queue", out_string(f->s.queue));
	json_object_set_new(view, "version", out_string(f->s.release));
	json_object_set_new(view, "bundle", json_integer((json_int_t)f->s.bundle));
	json_object_set_new(view, "receipt_key_id", out_string(f->s.receipt_key_id));
	json_object_set_new(view, "receipt_key", out_hex(span_of(f->s.receipt_key, sizeof(f->s.receipt_key))));
	for (size_t i = 0; i < f->n_keys; i++)
		json_array_append_new(all, key_json(&f->key[i], now_s));
	json_object_set_new(view, "keys", all);
	json_object_set_new(view, "next_change", time_json(next_change(f, now_s)));
	json_object_set_new(view, "warnings", json_array());
	warn_of_keys(f, now_s, view);
	if (g->known)
		json_object_set_new(view, "grant", grant_json(f, g, now_s, view));
	json_object_set_new(view, "unproved", unproved(keys, view));
	return view;
}

static void print_proof(const json_t *proof)
{
	static const struct out_column col[] = {
		{ "release", "release" }, { "module_id", "module_id" }, { "time", "document of" }, { "pcr0", "PCR0" }
	};

	if (!json_is_true(json_object_get(proof, "attested")))
		puts("UNATTESTED: nothing of this is proved\n");
	else if (json_is_true(json_object_get(proof, "simulated")))
		puts("SIMULATED: proved by the simulator of a development build only\n");
	else if (!json_is_true(json_object_get(proof, "measured")))
		puts("CHAIN ONLY: proved to be some enclave's; which program it is, was NOT ASKED\n");
	else
		puts("PROVED by a document that was made just now\n");
	out_list(proof, col, N(col));
	if (json_is_true(json_object_get(proof, "attested")))
		puts("");
}

/* NULL: nothing is known, and that was said. */
static void print_grant(const json_t *grant)
{
	static const struct out_column head[] = {
		{ "serial", "grant" }, { "authority", "authority" }, { "sha256", "sha-256" }, { "verified", "verified" }
	};
	static const struct out_column signer[] = {
		{ "kid", "SIGNER" }, { "not_before", "FROM" }, { "not_after", "UNTIL" }, { "public_key", "PUBLIC KEY" }
	};

	if (grant == NULL)
		return;
	puts("");
	if (json_is_null(grant)) {
		puts("no signer is granted");
		return;
	}
	out_list(grant, head, N(head));
	puts("");
	out_table(json_object_get(grant, "signers"), signer, N(signer));
}

void keys_view_print(const json_t *view)
{
	static const struct out_column head[] = {
		{ "environment", "environment" }, { "queue", "queue" },
		{ "version", "version" },         { "bundle", "bundle" },
		{ "next_change", "next change" }, { "receipt_key_id", "receipt key id" },
		{ "receipt_key", "receipt key" },
	};
	static const struct out_column key[] = { { "id", "KEY ID" },
						 { "profile", "PROFILE" },
						 { "state", "STATE" },
						 { "activate", "ACTIVE FROM" },
						 { "retire", "RETIRES" },
						 { "destroy", "DESTROYED" },
						 { "public_key", "PUBLIC KEY" } };
	static const struct out_column more[] = { { "source", "source" }, { "missing", "missing" } };
	const json_t *unproved = json_object_get(view, "unproved"), *warnings = json_object_get(view, "warnings");

	print_proof(json_object_get(view, "proof"));
	out_list(view, head, N(head));
	puts("");
	out_table(json_object_get(view, "keys"), key, N(key));
	print_grant(json_object_get(view, "grant"));
	puts("\nThe worker's word, which no document proves:");
	out_list(unproved, more, N(more));
	for (size_t i = 0; i < json_array_size(warnings); i++)
		ctl_complain("warning: %s", json_string_value(json_array_get(warnings, i)));
}

void keys_view_complain(const struct fresh *f)
{
	if (!f->attested)
		ctl_complain(
			"%s: UNATTESTED: no document proves these keys: whoever stands between may have named keys "
			"of their own",
			f->from);
	else if (!f->measured)
		ctl_complain("%s: CHAIN ONLY: the keys are those of some enclave; which program runs in it, was NOT "
			     "ASKED; see --manifest",
			     f->from);
}
