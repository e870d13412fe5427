/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Pure code takes it as an argument; only main loops ask here.
 */
#ifndef WORKER_BASE_CLOCK_H
#define WORKER_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds since 1970 by the system's wall clock. */
int64_t clock_wall_us(void);
/* Microseconds of the boot-time clock: never steps, and goes on while the machine is suspended. */
int64_t clock_boot_us(void);

#endif
