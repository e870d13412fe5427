/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/http_global.h"

#include <curl/curl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "worker/base/buf.h"

/*
 * libcurl copies the URL with its key, and the letter, into buffers of its own; that cannot be
 * avoided. What it frees is wiped, and a handle lives as long as its request, so that no copy outlives
 * its request. (OpenSSL encrypts in place: its buffers hold ciphertext.)
 */
static void wipe_free(void *p)
{
	if (p != NULL)
		xfree_wipe(p, malloc_usable_size(p));
}

static void *wipe_realloc(void *p, size_t n)
{
	size_t old = p != NULL ? malloc_usable_size(p) : 0;
	void *q = malloc(n);

	if (q == NULL || p == NULL)
		return q;
	memcpy(q, p, old < n ? old : n);
	wipe_free(p);
	return q;
}

enum err http_global_init(void)
{
	unsetenv("SSLKEYLOGFILE"); /* libcurl would write the session keys there */
	signal(SIGPIPE, SIG_IGN);  /* libuv writes to bridged connections that may be gone */
	return curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_free, wipe_realloc, strdup, calloc) == CURLE_OK
		       ? ERR_OK
		       : ERR_BUG;
}

void http_global_free(void)
{
	curl_global_cleanup();
}
