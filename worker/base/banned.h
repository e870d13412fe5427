/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included in front of every file: functions that cannot be used safely do not compile here.
 */
#ifndef WORKER_BASE_BANNED_H
#define WORKER_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok strncpy strncat atoi atol atoll

#endif
