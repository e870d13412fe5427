/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's secrets, sealed to a key that an enclave has proved to be its own. */
#include <stdio.h>
#include <string.h>

#include "attest/sealed.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/fresh.h"
#include "ops/cwcctl/newfile.h"
#include "ops/cwcctl/out.h"
#include "ops/cwcctl/secret_input.h"
#include "worker/base/clock.h"
#include "worker/base/secret.h"

#define TIMEOUT_MS 5000

/* --- whom it is sealed to --------------------------------------------------------------------- */

static int check_options(const struct ctl *c, enum sealed_name *ret_name)
{
	bool keys = ctl_has(c, OPT_KEYS), manifest = ctl_has(c, OPT_MANIFEST);

	if (sealed_name_find(span_str(c->arg[0]), ret_name) != ERR_OK)
		return ctl_fail(CTL_USAGE, "NAME must be house.api_key, senate.api_key or queue.password: %s",
				c->arg[0]);
	if (keys == ctl_has(c, OPT_STATUS))
		return ctl_fail(CTL_USAGE, "whose key? either --status, the worker's address, or --keys, its answer");
	if (!keys && ctl_has(c, OPT_MAX_AGE))
		return ctl_fail(CTL_USAGE, "--max-age is for --keys: with --status the document is made now");
	if (manifest == ctl_has(c, OPT_UNATTESTED))
		return ctl_fail(CTL_USAGE,
				"which program may read it? --manifest says it; a worker without a security module "
				"has --unattested");
	return 0;
}

static int check_unattested(const struct ctl *c, const struct fresh *f)
{
	if (!ctl_has(c, OPT_UNATTESTED))
		return f->attested ? 0
				   : ctl_fail(CTL_NO, "%s: UNATTESTED: no document proves whose key this is", f->from);
	if (f->attested)
		return ctl_fail(CTL_NO, "%s: this worker has a document: --manifest asks for it, and not --unattested",
				f->from);
	if (!span_eq_str(f->s.environment, "sandbox"))
		return ctl_fail(CTL_NO, "%s: --unattested is for the sandbox alone", f->from);
	ctl_complain("%s: UNATTESTED: no document proves whose key this is: whoever stands between may read the secret",
		     f->from);
	return 0;
}

/* The newest that is active. */
static const struct keyring_key *secret_key(const struct fresh *f, int64_t now_s)
{
	const struct keyring_key *found = NULL;

	for (size_t i = 0; i < f->n_keys; i++) {
		const struct keyring_key *k = &f->key[i];

		if (k->profile == KEYRING_SECRET && keyring_state(k, now_s) == KEYRING_ACTIVE &&
		    (found == NULL || k->times.activate_s >= found->times.activate_s))
			found = k;
	}
	return found;
}

/* A bundle that the worker took a moment ago stands in no statement before the next document is signed. The version is
 * its word alone, and decides nothing but what is said here. */
static int no_key(const struct port *p, const struct fresh *f)
{
	json_t *keys = NULL;
	json_int_t version = 0;

	if (p != NULL) {
		int code = fresh_keys(p, &keys);

		if (code != 0)
			return code;
		version = json_integer_value(json_object_get(keys, "bundle"));
		json_decref(keys);
	}
	if (version > (json_int_t)f->s.bundle)
		return ctl_fail(CTL_UNAVAILABLE,
				"%s: the worker has taken bundle version %lld and proves version %lld still: try again "
				"in some seconds",
				f->from, (long long)version, (long long)f->s.bundle);
	return ctl_fail(CTL_NO, "%s: no active key of the profile secret", f->from);
}

static int find_key(struct ctl *c, struct fresh *f, const struct keyring_key **ret_key)
{
	bool file = ctl_has(c, OPT_KEYS);
	struct port p;
	int code;

	if (file) {
		code = fresh_from_file(c, c->opt[OPT_KEYS], f);
	} else {
		code = port_open(c, TIMEOUT_MS, &p);
		if (code == 0)
			code = fresh_from_worker(c, &p, f);
	}
	if (code == 0)
		code = check_unattested(c, f);
	if (code != 0)
		return code;
	*ret_key = secret_key(f, clock_wall_us() / 1000000);
	return *ret_key != NULL ? 0 : no_key(file ? NULL : &p, f);
}

/* --- seal ------------------------------------------------------------------------------------- */

/* Where the hash of an API key is measured; NULL: of this secret it is not. */
static const char *measured_section(enum sealed_name name)
{
	if (name == SEALED_HOUSE_API_KEY)
		return "house";
	return name == SEALED_SENATE_API_KEY ? "senate" : NULL;
}

static void add_measured(json_t *o, enum sealed_name name, const char *hash)
{
	const char *section = measured_section(name);

	json_object_set_new(o, "section", section != NULL ? json_string(section) : json_null());
	json_object_set_new(o, "line", section != NULL ? json_sprintf("api_key_sha256 = %s", hash) : json_null());
}

static void print_sealed(const struct ctl *c, const struct fresh *f, enum sealed_name name, const struct keyring_key *k,
			 const char *hash)
{
	static const struct out_column col[] = {
		{ "name", "secret" },      { "file", "written to" },
		{ "kid", "sealed to" },    { "environment", "environment" },
		{ "queue", "queue" },      { "release", "release" },
		{ "time", "document of" }, { "module_id", "of the enclave" },
		{ "section", "section" },  { "line", "measured line" },
	};
	json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:b}", "name", sealed_name_text(name), "file", c->opt[OPT_OUTPUT],
			      "kid", k->id, "attested", f->attested, "simulated", f->simulated);

	json_object_set_new(o, "environment", out_string(f->s.environment));
	json_object_set_new(o, "queue", out_string(f->s.queue));
	json_object_set_new(o, "release", f->measured ? json_string(f->release) : json_null());
	json_object_set_new(o, "time", f->attested ? out_time_us(f->time_ms * 1000) : json_null());
	json_object_set_new(o, "module_id", f->attested ? json_string(f->module_id) : json_null());
	add_measured(o, name, hash);
	if (c->json) {
		out_document(o);
	} else {
		out_list(o, col, sizeof(col) / sizeof(col[0]));
		json_decref(o);
	}
	if (f->file)
		ctl_complain("%s: NOT FRESH: the document was made before, and may be one that was overheard; ask "
			     "--status where you can",
			     f->from);
}

static int seal(struct ctl *c, const struct fresh *f, enum sealed_name name, const struct keyring_key *k)
{
	const char *file = c->n_args > 1 ? c->arg[1] : "-";
	char hash[SECRET_HASH_SIZE];
	struct buf item;
	char *secret;
	enum err e;
	int code = secret_input(file, sealed_name_text(name), SEALED_PLAIN_MAX, &secret);

	if (code != 0)
		return code;
	buf_init(&item, SEALED_MAX);
	e = sealed_make(name, f->s.environment, f->s.queue, k, span_str(secret), &item);
	secret_hash(span_str(secret), hash);
	secret_free(secret);
	if (e == ERR_RANGE)
		code = ctl_fail(CTL_NO, "%s: %s must have 1 to %d bytes of printable ASCII", attest_file_name(file),
				sealed_name_text(name), SEALED_PLAIN_MAX);
	else if (e != ERR_OK)
		code = ctl_fail(CTL_INTERNAL, "sealing: %s", err_text(e));
	if (code == 0)
		code = newfile_write(c->opt[OPT_OUTPUT], span_buf(&item));
	buf_clear(&item);
	if (code == 0)
		print_sealed(c, f, name, k, hash);
	return code;
}

int cmd_secrets_seal(struct ctl *c)
{
	const struct keyring_key *k;
	enum sealed_name name;
	struct fresh f = { .from = NULL };
	int code = check_options(c, &name);

	if (code == 0)
		code = newfile_check(c);
	if (code != 0)
		return code;
	/* The secret is asked for when it is clear who will read it. */
	code = find_key(c, &f, &k);
	if (code == 0)
		code = seal(c, &f, name, k);
	fresh_clear(&f);
	return code;
}

/* --- show ------------------------------------------------------------------------------------- */

static void print_item(const struct ctl *c, const struct sealed *s)
{
	static const struct out_column col[] = {
		{ "name", "secret" }, { "kid", "sealed to" }, { "environment", "environment" }, { "queue", "queue" }
	};
	json_t *o = json_pack("{s:s}", "name", sealed_name_text(s->name));

	json_object_set_new(o, "kid", out_string(s->kid));
	json_object_set_new(o, "environment", out_string(s->environment));
	json_object_set_new(o, "queue", out_string(s->queue));
	if (c->json) {
		out_document(o);
		return;
	}
	out_list(o, col, sizeof(col) / sizeof(col[0]));
	json_decref(o);
}

int cmd_secrets_show(struct ctl *c)
{
	struct sealed s;
	struct buf b;
	int code;

	buf_init(&b, SEALED_MAX + 1);
	code = attest_read_file(c->arg[0], &b);
	if (code == 0 && sealed_parse(span_buf(&b), &s) != ERR_OK)
		code = ctl_fail(CTL_CONFIG, "%s: no sealed secret", attest_file_name(c->arg[0]));
	if (code == 0)
		print_item(c, &s);
	buf_clear(&b);
	return code;
}
