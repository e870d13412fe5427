/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way between the workers and Redis: worker/base/stream.h over nothing, so that the real queue/conn.c and
 * queue/resp.c speak to redis.c. Each direction takes a tenth of a millisecond of virtual time.
 *
 * What a worker has written arrives, also when it is stopped or killed right after. What Redis has not read yet when it
 * goes down is lost.
 */
#ifndef SCENARIO_NET_H
#define SCENARIO_NET_H

#include "tests/scenario/sim.h"

/* Forgets the links, the faults and the replicas. */
void net_reset(void);

/* Whether Redis answers at all. Going down cuts every link. */
void net_redis_up(bool up);
/* It accepts connections and reads nothing. What came meanwhile is carried out when it goes on. */
void net_redis_hangs(bool hangs);
bool net_redis_works(void);
/* How many replicas there are, and whether they keep up: for WAIT. */
void net_replicas(unsigned n);
void net_replicas_stall(bool stall);
/* Cuts all links of a process; NULL: all of all. */
void net_cut(const struct sim_process *p);

enum net_loss { NET_LOSE_REQUEST, NET_LOSE_REPLY };
/* The next call of this script by the process: the link is cut before or after it is carried out. */
void net_lose(const struct sim_process *p, const char *script, enum net_loss loss);
/* Faults of net_lose() that did not come about. */
size_t net_left(void);

#endif
