/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/cwcctl/port.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_MAX 65536

/* --- the address ------------------------------------------------------------------------------ */

int port_open(const struct ctl *c, unsigned timeout_ms, struct port *ret_port)
{
	const char *rule;
	int code = args_timeout(c, timeout_ms, &ret_port->timeout_ms);

	if (code != 0)
		return code;
	if (!ctl_has(c, OPT_STATUS))
		return ctl_fail(CTL_USAGE, "--status is needed: the address of the worker's status port");
	if (addr_parse(span_str(c->opt[OPT_STATUS]), &ret_port->address, &rule) != ERR_OK)
		return ctl_fail(CTL_USAGE, "--status: %s", rule);
	if (ret_port->address.kind == ADDR_VSOCK)
		return ctl_fail(CTL_USAGE,
				"--status: vsock is not dialled from here: let a forwarder on the parent instance "
				"listen, `socat UNIX-LISTEN:/run/cwc-status.sock,fork VSOCK-CONNECT:%u:%u` say, and "
				"name its address, unix:/run/cwc-status.sock",
				ret_port->address.cid, ret_port->address.port);
	if (ret_port->address.kind == ADDR_TCP && ret_port->address.port == 0)
		return ctl_fail(CTL_USAGE, "--status: the port must be 1 to 65535");
	return 0;
}

/* --- an exchange ------------------------------------------------------------------------------ */

static void must(CURLcode rc)
{
	BUG_ON(rc != CURLE_OK);
}

/* All of it or nothing: curl ends the exchange when less was taken. */
static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_add(b, p, size * n);
	return buf_ok(b) == ERR_OK ? n : 0;
}

/* libcurl keeps all lines of an answer, trailers too, and has no ceiling for their sum. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is libcurl's */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	size_t *sum = arg;

	(void)p;
	*sum += size * n;
	return *sum <= HEADERS_MAX ? size * n : 0;
}

static void set_address(CURL *e, const struct port *p, const char *path)
{
	char url[512];
	bool v6 = strchr(p->address.host, ':') != NULL;

	if (p->address.kind == ADDR_UNIX) {
		must(curl_easy_setopt(e, p->address.abstract ? CURLOPT_ABSTRACT_UNIX_SOCKET : CURLOPT_UNIX_SOCKET_PATH,
				      p->address.host));
		snprintf(url, sizeof(url), "http://localhost%s", path);
	} else {
		snprintf(url, sizeof(url), "http://%s%s%s:%u%s", v6 ? "[" : "", p->address.host, v6 ? "]" : "",
			 p->address.port, path);
	}
	must(curl_easy_setopt(e, CURLOPT_URL, url));
}

static void set_rules(CURL *e, const struct port *p)
{
	must(curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http"));
	must(curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
	must(curl_easy_setopt(e, CURLOPT_MAXREDIRS, 0L));
	must(curl_easy_setopt(e, CURLOPT_PROXY, ""));
	must(curl_easy_setopt(e, CURLOPT_NOPROXY, "*"));
	must(curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED));
	must(curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
	must(curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L));
	must(curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L));
	must(curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L));
	must(curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
	must(curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)p->timeout_ms));
	must(curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)p->timeout_ms));
	must(curl_easy_setopt(e, CURLOPT_USERAGENT, "cwcctl"));
}

static struct curl_slist *set_request(CURL *e, const struct port_request *q)
{
	char accept[64];
	struct curl_slist *h;

	snprintf(accept, sizeof(accept), "Accept: %s", q->accept);
	h = curl_slist_append(NULL, accept);
	/* No word of a server between the head and the body. */
	h = curl_slist_append(h, "Expect:");
	if (q->post) {
		h = curl_slist_append(h, q->body.n > 0 ? "Content-Type: application/cbor" : "Content-Type:");
		must(curl_easy_setopt(e, CURLOPT_POST, 1L));
		must(curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n));
		must(curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->body.n > 0 ? (const char *)q->body.p : ""));
	}
	BUG_ON(h == NULL);
	must(curl_easy_setopt(e, CURLOPT_HTTPHEADER, h));
	return h;
}

static void read_head(CURL *e, struct port_answer *a)
{
	const char *type = NULL;
	size_t n;

	must(curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &a->status));
	must(curl_easy_getinfo(e, CURLINFO_CONTENT_TYPE, &type));
	if (type == NULL || (n = strcspn(type, "; \t")) >= sizeof(a->type))
		return;
	for (size_t i = 0; i < n; i++)
		a->type[i] = type[i] >= 'A' && type[i] <= 'Z' ? (char)(type[i] + 32) : type[i];
}

int port_ask(const struct port *p, const struct port_request *q, struct port_answer *ret_answer)
{
	static bool ready;
	struct curl_slist *headers;
	size_t header_n = 0;
	CURLcode rc;
	CURL *e;

	if (!ready)
		must(curl_global_init(CURL_GLOBAL_DEFAULT));
	ready = true;
	e = curl_easy_init();
	BUG_ON(e == NULL);
	*ret_answer = (struct port_answer){ .status = 0 };
	buf_init(&ret_answer->body, q->max);
	set_rules(e, p);
	set_address(e, p, q->path);
	headers = set_request(e, q);
	must(curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body));
	must(curl_easy_setopt(e, CURLOPT_WRITEDATA, &ret_answer->body));
	must(curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header));
	must(curl_easy_setopt(e, CURLOPT_HEADERDATA, &header_n));
	rc = curl_easy_perform(e);
	if (rc == CURLE_OK)
		read_head(e, ret_answer);
	curl_easy_cleanup(e);
	curl_slist_free_all(headers);
	if (rc == CURLE_OK)
		return 0;
	if (buf_ok(&ret_answer->body) != ERR_OK)
		ctl_complain("%s: the answer has more than %zu bytes", p->address.text, q->max);
	else if (header_n > HEADERS_MAX)
		ctl_complain("%s: the answer has more than %d bytes of headers", p->address.text, HEADERS_MAX);
	else
		ctl_complain("%s: %s", p->address.text, curl_easy_strerror(rc));
	port_answer_clear(ret_answer);
	return CTL_UNAVAILABLE;
}

void port_answer_clear(struct port_answer *a)
{
	buf_clear(&a->body);
}

/* --- what it says ----------------------------------------------------------------------------- */

static void word(const json_t *o, const char *member, char *ret_word)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	const char *s = json_string_value(json_object_get(o, member));
	size_t n = s != NULL ? strlen(s) : 0;

	ret_word[0] = '\0';
	if (n > 0 && n < PORT_WORD_SIZE && strspn(s, set) == n)
		memcpy(ret_word, s, n + 1);
}

void port_reason(const struct port_answer *a, char ret_reason[PORT_WORD_SIZE], char ret_why[PORT_WORD_SIZE])
{
	json_t *o = json_loadb((const char *)a->body.p, a->body.n, JSON_REJECT_DUPLICATES, NULL);

	word(o, "reason", ret_reason);
	word(o, "why", ret_why);
	json_decref(o);
}

/* Why a worker cannot do it now. */
static const struct {
	const char *reason, *text;
} later[] = {
	{ "busy", "the worker is busy with other requests: try again" },
	{ "too_many_documents", "the worker was asked for too many documents: try again" },
	{ "too_many_acts", "the worker was asked too often: try again" },
	{ "timeout", "the worker has not done it in time: try again" },
	{ "draining", "the worker is about to end" },
	{ "device", "the worker's security module has not answered: try again" },
	{ "no_attestation", "the worker has no attestation document right now: try again" },
};

int port_no_answer(const struct port *p, const struct port_answer *a)
{
	char reason[PORT_WORD_SIZE], why[PORT_WORD_SIZE];

	port_reason(a, reason, why);
	for (size_t i = 0; (a->status == 429 || a->status == 503) && i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(reason, later[i].reason) == 0)
			return ctl_fail(CTL_UNAVAILABLE, "%s: %s", p->address.text, later[i].text);
	return ctl_fail(CTL_UNAVAILABLE, "%s: no answer of a worker: HTTP status %ld%s%s%s%s", p->address.text,
			a->status, a->type[0] != '\0' ? ", " : "", a->type, reason[0] != '\0' ? ", reason " : "",
			reason);
}
