/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what the parent keeps for an enclave between boots (worker/store.h), put together from its items. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "attest/sealed.h"
#include "ops/cwcctl/attest_input.h"
#include "ops/cwcctl/bundle_view.h"
#include "ops/cwcctl/newfile.h"
#include "ops/cwcctl/out.h"
#include "worker/store.h"

/* Items, and what they say; views into `bytes`. */
struct store {
	struct buf bytes;
	struct store_items items;
	struct bundle b; /* where items.bundle is not empty */
	struct sealed secret[STORE_ITEMS_MAX];
};

/* --- reading ---------------------------------------------------------------------------------- */

/* What the items say. The broken rule, or NULL. */
static const char *read_items(struct store *s)
{
	if (store_parse(span_buf(&s->bytes), &s->items) != ERR_OK)
		return "no sequence of one sealed bundle and sealed secrets";
	if (s->items.bundle.n > 0 && bundle_parse(s->items.bundle, &s->b) != ERR_OK)
		return "its bundle is none";
	for (size_t i = 0; i < s->items.n_secrets; i++)
		if (sealed_parse(s->items.secret[i], &s->secret[i]) != ERR_OK)
			return "a sealed secret is none";
	return NULL;
}

static bool same_place(struct span environment, struct span queue, struct span environment2, struct span queue2)
{
	return span_eq(environment, environment2) && span_eq(queue, queue2);
}

/* All for one environment and queue, each secret once. The broken rule, or NULL. */
static const char *check_items(const struct store *s)
{
	struct span environment = s->b.environment, queue = s->b.queue;

	for (size_t i = 0; i < s->items.n_secrets; i++) {
		const struct sealed *k = &s->secret[i];

		if (i == 0 && s->items.bundle.n == 0) {
			environment = k->environment;
			queue = k->queue;
		}
		if (!same_place(environment, queue, k->environment, k->queue))
			return "the items are for different environments or queues";
		for (size_t j = 0; j < i; j++)
			if (s->secret[j].name == k->name)
				return "a secret is given twice";
	}
	return NULL;
}

/* One FILE, which is a bundle or a sealed secret. */
static int read_one(const char *file, struct store *s)
{
	struct buf one;
	struct bundle b;
	struct sealed k;
	int code;

	buf_init(&one, BUNDLE_MAX + 1);
	code = attest_read_file(file, &one);
	if (code == 0 && bundle_parse(span_buf(&one), &b) != ERR_OK && sealed_parse(span_buf(&one), &k) != ERR_OK)
		code = ctl_fail(CTL_CONFIG, "%s: neither a sealed bundle nor a sealed secret", attest_file_name(file));
	buf_add_span(&s->bytes, span_buf(&one));
	buf_clear(&one);
	return code;
}

static int read_all(const struct ctl *c, struct store *s)
{
	const char *rule;
	int code = 0;

	for (size_t i = 0; code == 0 && i < c->n_args; i++)
		code = read_one(c->arg[i], s);
	if (code != 0)
		return code;
	if (buf_ok(&s->bytes) != ERR_OK)
		return ctl_fail(CTL_CONFIG, "the store would have more than %d bytes", STORE_MAX);
	rule = read_items(s);
	if (rule == NULL)
		rule = check_items(s);
	return rule == NULL ? 0 : ctl_fail(CTL_CONFIG, "not a store: %s", rule);
}

/* --- what is there already -------------------------------------------------------------------- */

static bool has_secret(const struct store *s, enum sealed_name name)
{
	for (size_t i = 0; i < s->items.n_secrets; i++)
		if (s->secret[i].name == name)
			return true;
	return false;
}

static int check_bundle(const char *file, const struct store *there, const struct store *now)
{
	if (there->items.bundle.n == 0)
		return 0;
	if (now->items.bundle.n == 0)
		return ctl_fail(CTL_NO, "%s: it has a bundle, and no FILE is one", file);
	if (!same_place(there->b.environment, there->b.queue, now->b.environment, now->b.queue))
		return ctl_fail(CTL_NO, "%s: it is the store of another environment or queue", file);
	if (now->b.version < there->b.version)
		return ctl_fail(CTL_NO,
				"%s: it has bundle version %llu, and this one is version %llu: workers never go back; "
				"another release has a store of its own",
				file, (unsigned long long)there->b.version, (unsigned long long)now->b.version);
	if (now->b.version == there->b.version && !span_eq(now->items.bundle, there->items.bundle))
		return ctl_fail(CTL_NO, "%s: it has another bundle of the same version %llu", file,
				(unsigned long long)now->b.version);
	return 0;
}

static int check_against(const char *file, const struct store *there, const struct store *now)
{
	int code = check_bundle(file, there, now);

	for (size_t i = 0; code == 0 && i < there->items.n_secrets; i++)
		if (!has_secret(now, there->secret[i].name))
			code = ctl_fail(CTL_NO, "%s: it has the secret %s, and no FILE is one", file,
					sealed_name_text(there->secret[i].name));
	return code;
}

/* The store that would be replaced; none is fine. */
static int check_output(const char *file, const struct store *now)
{
	struct store there = { .items = { .n_secrets = 0 } };
	const char *rule;
	int code = 0;

	if (access(file, F_OK) != 0)
		return 0;
	buf_init(&there.bytes, STORE_MAX);
	code = attest_read_file(file, &there.bytes);
	rule = code == 0 ? read_items(&there) : NULL;
	if (rule != NULL)
		code = ctl_fail(CTL_CONFIG, "%s: it is there, and is no store: %s", file, rule);
	if (code == 0)
		code = check_against(file, &there, now);
	buf_clear(&there.bytes);
	return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Of the folder: two that write at the same time must not go back behind each other. -1: it cannot be had. */
static int lock_folder(const char *file)
{
	char folder[4096] = ".";
	const char *slash = strrchr(file, '/');
	int fd;

	if (slash != NULL &&
	    snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - file), file) >= (int)sizeof(folder))
		return -1;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void print(const struct ctl *c, const struct store *s)
{
	static const struct out_column col[] = { { "file", "written to" },
						 { "version", "bundle version" },
						 { "environment", "environment" },
						 { "queue", "queue" },
						 { "secrets", "secrets" } };
	bool bundle = s->items.bundle.n > 0;
	json_t *names = json_array(), *o = json_pack("{s:s}", "file", c->opt[OPT_OUTPUT]);

	for (size_t i = 0; i < s->items.n_secrets; i++)
		json_array_append_new(names, json_string(sealed_name_text(s->secret[i].name)));
	json_object_set_new(o, "version", bundle ? json_integer((json_int_t)s->b.version) : json_null());
	json_object_set_new(o, "environment", out_string(bundle ? s->b.environment : s->secret[0].environment));
	json_object_set_new(o, "queue", out_string(bundle ? s->b.queue : s->secret[0].queue));
	json_object_set_new(o, "secrets", names);
	if (c->json) {
		out_document(o);
		return;
	}
	out_list(o, col, sizeof(col) / sizeof(col[0]));
	json_decref(o);
}

static int store(const struct ctl *c, const struct store *s)
{
	const char *file = c->opt[OPT_OUTPUT];
	int lock = lock_folder(file), code;

	if (lock < 0)
		return ctl_fail(CTL_NO, "%s: its folder cannot be used", file);
	code = check_output(file, s);
	if (code == 0)
		code = newfile_replace(file, span_buf(&s->bytes));
	close(lock);
	if (code == 0)
		print(c, s);
	return code;
}

int cmd_keys_store(struct ctl *c)
{
	struct store s = { .items = { .n_secrets = 0 } };
	int code;

	if (!ctl_has(c, OPT_OUTPUT) || c->opt[OPT_OUTPUT][0] == '\0')
		return ctl_fail(CTL_USAGE, "--output is needed: the store to write");
	buf_init(&s.bytes, STORE_MAX);
	code = read_all(c, &s);
	if (code == 0)
		code = store(c, &s);
	buf_clear(&s.bytes);
	return code;
}
