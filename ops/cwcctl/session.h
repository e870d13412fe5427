/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to the queue, used in straight lines: a call runs the loop until its answer is
 * here. Replies are copies that stay until reply_free().
 *
 * session_call() and session_script() report what went wrong and return NULL; the command then ends
 * with ctl->session->code. session_send() and session_wait() pipeline many commands. The session is
 * opened by the first command that needs it and closed by main().
 */
#ifndef OPS_CWCCTL_SESSION_H
#define OPS_CWCCTL_SESSION_H

#include "ops/cwcctl/ctl.h"
#include "queue/queue.h"

#define SESSION_KEYS     8
#define SESSION_KEY_SIZE 256

struct session {
	uv_loop_t loop;
	struct queue *queue;
	const char *name; /* of the queue */
	int64_t version;  /* of its protocol; 0: no worker ever joined */
	char *password;   /* guarded memory */
	unsigned timeout_ms;
	bool down;          /* the last thing that happened to the connection */
	enum err e;         /* of the first failure since session_wait() */
	char detail[256];   /* for people, without secrets */
	int code;           /* exit status of the last reported failure */
	size_t outstanding; /* of session_send() */
	struct pending *pending, **last_pending;
	bool begun_only; /* session_begin() */
	bool quiet;      /* a connection that is lost or busy is not reported: the command goes on without */
	bool patient; /* session_call() and session_script() ask again: all that the command says may be said twice */
	bool interrupted; /* SIGINT or SIGTERM, once session_watch() was called */
	uv_signal_t sigint, sigterm;
	uv_timer_t timer;
	char key[SESSION_KEYS][SESSION_KEY_SIZE];
	unsigned key_at;
};

/* Connects, unless it is done; 0, or the exit status after a report. A queue of a newer protocol is refused: its
 * scripts and records may be others. session_open_any() is for who only looks. */
int session_open(struct ctl *c);
int session_open_any(struct ctl *c);
/* Begins to connect, and waits for nothing: for who goes on without Redis. The connection comes and goes by itself. */
int session_begin(struct ctl *c);
/* NULL sessions are allowed. */
void session_close(struct ctl *c);
/* The name of the queue by the options, checked; NULL after a report. */
const char *session_queue_name(const struct ctl *c);

/* "{name}:suffix"; stays until the SESSION_KEYS-th call after this. */
struct span session_key(struct ctl *c, const char *suffix);

/* NULL after a report. */
struct resp_reply *session_call(struct ctl *c, const struct span *argv, size_t n);
struct resp_reply *session_script(struct ctl *c, const char *script, const struct span *argv, size_t n);
#define SESSION_ARGV(...) \
	(const struct span[]){ __VA_ARGS__ }, sizeof((const struct span[]){ __VA_ARGS__ }) / sizeof(struct span)

/* Sends without waiting; *slot gets the copy, or NULL. */
void session_send(struct ctl *c, const struct span *argv, size_t n, struct resp_reply **slot);
/* Waits for all; the first failure, which is reported but for ERR_QUEUE_LOST and ERR_QUEUE_BUSY when `quiet`. An
 * interrupt ends the wait as ERR_TIMEOUT, unreported. */
enum err session_wait(struct ctl *c, bool quiet);
/* After a quiet wait that failed as `e`, the tries-th time: true when all is to be sent again, for which it waits.
 * Else it was reported, or interrupted. */
bool session_again(struct ctl *c, enum err e, int tries);
/* Reports the failure in session->e and returns the exit status for it. */
int session_report(struct ctl *c);

/* From now on SIGINT and SIGTERM set `interrupted` and end every wait. */
void session_watch(struct ctl *c);
/* Runs the loop for this long, or until an interrupt. */
void session_sleep(struct ctl *c, uint64_t ms);
/* Runs the loop until there is something to read, which a person may have to type; false after an interrupt. */
bool session_input(struct ctl *c, int fd);
/* After a loss: waits until the queue is up again; false after an interrupt, or patience_ms (0: for ever). */
bool session_up_again(struct ctl *c, uint64_t patience_ms);

/* For session_wait() of who asks again, or says in another way that nobody answers. */
static inline bool session_hushed(const struct ctl *c)
{
	return c->session->patient || c->session->quiet;
}

/* NULL is allowed. */
void reply_free(struct resp_reply *r);
/* The member of a flat array name, value, name, value...; an empty span when it is not there. */
struct span reply_field(const struct resp_reply *flat, const char *name);
/* A count or a time in microseconds: a whole number from 0 to REPLY_NUMBER_MAX, with which one can reckon; 0 for
 * anything else. */
#define REPLY_NUMBER_MAX INT64_C(10000000000000000)
int64_t reply_number(struct span s);

#endif
