/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "worker/base/secret.h"
#include "worker/http_internal.h"

#define KEY_NAME "apikey="
#define URL_MAX  4096

static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	char *s = NULL, *copy;

	if (curl_url_get(u, part, &s, flags) != CURLUE_OK)
		return NULL;
	copy = xstrdup(s);
	curl_free(s);
	return copy;
}

/* Host and port of an absolute https URL; *ret_query says whether it has a query. False with *ret_rule. */
static bool split_url(const char *url, char **ret_host, char **ret_port, bool *ret_query, const char **ret_rule)
{
	CURLU *u = curl_url();
	char *query, *fragment;
	bool ok = u != NULL;

	*ret_host = *ret_port = NULL;
	*ret_rule = "an absolute https URL without user, password or fragment is expected";
	ok = ok && strnlen(url, URL_MAX) < URL_MAX && strncmp(url, "https://", 8) == 0;
	for (const char *p = url; ok && *p != '\0'; p++)
		ok = *p > ' ' && *p <= '~';
	ok = ok && curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK;
	if (ok) {
		*ret_host = url_part(u, CURLUPART_HOST, 0);
		*ret_port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
		query = url_part(u, CURLUPART_QUERY, 0);
		fragment = url_part(u, CURLUPART_FRAGMENT, 0);
		*ret_query = query != NULL || strchr(url, '?') != NULL;
		ok = *ret_host != NULL && *ret_port != NULL && fragment == NULL;
		free(query);
		free(fragment);
	}
	if (!ok) {
		free(*ret_host);
		free(*ret_port);
		*ret_host = *ret_port = NULL;
	}
	curl_url_cleanup(u);
	return ok;
}

/* "apikey=" and the key with all but unreserved characters encoded (RFC 3986 section 2.3), in guarded memory. */
static char *encode_key(const char *key)
{
	static const char digits[] = "0123456789ABCDEF";
	char *out = secret_alloc(sizeof(KEY_NAME) + 3 * strlen(key));
	char *p = out + sizeof(KEY_NAME) - 1;

	memcpy(out, KEY_NAME, sizeof(KEY_NAME));
	for (const char *k = key; *k != '\0'; k++) {
		unsigned c = (unsigned char)*k;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c == '-' || c == '.' || c == '_' || c == '~')) {
			*p++ = (char)c;
		} else {
			*p++ = '%';
			*p++ = digits[c >> 4];
			*p++ = digits[c & 15];
		}
	}
	*p = '\0';
	return out;
}

static void keep_url(struct http_target *t, const struct http_target_options *o)
{
	size_t n = strlen(o->url);

	if (o->api_key != NULL && o->api_key[0] != '\0')
		t->key = encode_key(o->api_key);
	t->url = secret_alloc(n + 2 + (t->key != NULL ? strlen(t->key) : 0));
	memcpy(t->url, o->url, n + 1);
	if (t->key != NULL) {
		t->url[n] = '?';
		memcpy(t->url + n + 1, t->key, strlen(t->key) + 1);
	}
}

static enum err check_ca(const char *file, const char **ret_rule)
{
	X509_STORE *store = X509_STORE_new();
	int ok = store != NULL && file != NULL && X509_STORE_load_file(store, file) == 1;

	X509_STORE_free(store);
	*ret_rule = "the CA file cannot be read or holds no certificate";
	return ok ? ERR_OK : ERR_CONFIG;
}

static enum err open_bridge(struct http_target *t, const struct addr *address, const char **ret_rule)
{
	struct http *h = t->http;
	struct bridge_options o = {
		.dir = h->bridge_dir,
		.address = address,
		/* libcurl connects in bursts, before the loop can accept; beside those in flight it keeps idle ones. */
		.backlog = h->max_in_flight + 16,
		.pairs_max = 4 * h->max_in_flight + 16,
		.dial_timeout_ms = t->connect_timeout_ms,
	};

	*ret_rule = "a target with an address needs the bridge directory";
	if (o.dir == NULL)
		return ERR_CONFIG;
	return bridge_new(h->loop, &o, &t->bridge, ret_rule);
}

static enum err fill_target(struct http_target *t, const struct http_target_options *o, const char **ret_rule)
{
	bool query;

	t->connect_timeout_ms = o->connect_timeout_ms;
	t->first_byte_timeout_ms = o->first_byte_timeout_ms;
	t->total_timeout_ms = o->total_timeout_ms;
	t->connection_max_age_ms = o->connection_max_age_ms;
	t->answer_max = o->answer_max;
	if (!split_url(o->url, &t->host, &t->port, &query, ret_rule))
		return ERR_CONFIG;
	*ret_rule = "the URL must have no query";
	if (query)
		return ERR_CONFIG;
	TRY(check_ca(o->ca_file, ret_rule));
	t->ca_file = xstrdup(o->ca_file);
	keep_url(t, o);
	return o->address != NULL ? open_bridge(t, o->address, ret_rule) : ERR_OK;
}

enum err http_target_new(struct http *h, const struct http_target_options *o, struct http_target **ret_target,
			 const char **ret_rule)
{
	struct http_target *t = xcalloc(1, sizeof(*t));
	enum err e;

	t->http = h;
	t->next = h->targets;
	if (t->next != NULL)
		t->next->prev = t;
	h->targets = t;
	e = fill_target(t, o, ret_rule);
	if (e != ERR_OK) {
		http_target_free(t);
		return e;
	}
	*ret_target = t;
	return ERR_OK;
}

enum err http_target_get_url(const struct http_target *t, const char *url, struct buf *out)
{
	char *host, *port;
	const char *rule;
	bool query, same;

	if (!split_url(url, &host, &port, &query, &rule))
		return ERR_CONFIG;
	same = strcasecmp(host, t->host) == 0 && strcmp(port, t->port) == 0;
	free(host);
	free(port);
	if (!same)
		return ERR_CONFIG;
	buf_add_str(out, url);
	if (t->key != NULL) {
		buf_add_byte(out, query ? '&' : '?');
		buf_add_str(out, t->key);
	}
	return buf_ok(out);
}

void http_target_free(struct http_target *t)
{
	if (t == NULL)
		return;
	http_drop(t->http, t);
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		t->http->targets = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	bridge_free(t->bridge);
	secret_free(t->url);
	secret_free(t->key);
	free(t->ca_file);
	free(t->host);
	free(t->port);
	free(t);
}
