/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scripts cost the server when nothing else is in the way: one caller, pipelined, over a unix socket.
 *
 *	bench_scripts SOCKET COUNT RESP_FILE < (nothing)
 *
 * Puts RESP_FILE (that of bench_seal, COUNT commands) on the queue, takes all of it, begins and ends every job as accepted;
 * each step alone, DEPTH calls in flight. Prints a line for each: "NAME calls seconds server_cpu_us". The database is
 * emptied first.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/scripts.h"

#define DEPTH   32
#define TAKE_N  32
#define WORKER  "bench/0011223344556677"
#define RECEIPT 300 /* bytes */
