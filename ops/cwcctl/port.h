/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's status port, asked over HTTP.
 *
 * Whoever answers may be anybody: the port is the parent's, or a forwarder's. So an answer has a ceiling and a time-out
 * for all of it, no redirect is followed, no proxy of the environment is asked, and what must be true comes with a
 * document that proves it (fresh.h).
 */
#ifndef OPS_CWCCTL_PORT_H
#define OPS_CWCCTL_PORT_H

#include "ops/cwcctl/ctl.h"
#include "worker/base/addr.h"

#define PORT_ANSWER_MAX ((size_t)1 << 20) /* what the status server sends at most */

struct port {
	struct addr address;
	unsigned timeout_ms; /* of one exchange, all of it */
};

struct port_request {
	const char *path;
	bool post;
	struct span body; /* of a POST; empty: none */
	const char *accept;
	size_t max; /* bytes of the answer */
};

struct port_answer {
	long status;   /* HTTP */
	char type[64]; /* of the content, lower case, without parameters; "" */
	struct buf body;
};

/* By --status and --timeout. 0, or the exit status after a report. */
int port_open(const struct ctl *c, unsigned timeout_ms, struct port *ret_port);
/* One exchange. 0 with *ret_answer, which port_answer_clear() ends; or CTL_UNAVAILABLE after a report. */
int port_ask(const struct port *p, const struct port_request *q, struct port_answer *ret_answer);
void port_answer_clear(struct port_answer *a);

/* The members `reason` and `why` of an answer in JSON, "" without one: words of a-z, 0-9 and _. */
#define PORT_WORD_SIZE 48
void port_reason(const struct port_answer *a, char ret_reason[PORT_WORD_SIZE], char ret_why[PORT_WORD_SIZE]);
/* Reports what is not the answer that was asked for: that the worker cannot do it now, or that no worker answers so;
 * CTL_UNAVAILABLE. */
int port_no_answer(const struct port *p, const struct port_answer *a);

#endif
