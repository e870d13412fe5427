/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/alone.h"

#include <fcntl.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/base/text.h"

#define HASH_SIZE    ((ALONE_MACHINE_SIZE - 1) / 2)
#define BOOT_ID_SIZE 36

_Static_assert(HASH_SIZE >= crypto_generichash_BYTES_MIN, "the shortest BLAKE2b hash");

/* Names may have any length, and an abstract name has 107 bytes at most. With their NULs no two of them read the
 * same. */
static void hash_names(const char *server, const char *queue, const char *worker, char ret_hex[2 * HASH_SIZE + 1])
{
	crypto_generichash_state st;
	uint8_t hash[HASH_SIZE];
	crypto_generichash_init(&st, NULL, 0, sizeof hash);
	crypto_generichash_update(&st, (const uint8_t *)server, strlen(server) + 1);
	crypto_generichash_update(&st, (const uint8_t *)queue, strlen(queue) + 1);
	crypto_generichash_update(&st, (const uint8_t *)worker, strlen(worker) + 1);
	crypto_generichash_final(&st, hash, sizeof hash);
	text_hex(span_of(hash, sizeof hash), ret_hex);
}

/* The socket is never closed, and no child that executes another program keeps it. */
static bool claim(const char *server, const char *queue, const char *worker)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char hex[2 * HASH_SIZE + 1];
	hash_names(server, queue, worker, hex);
	int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "cwc-worker/%s", hex);
	BUG_ON(n < 0 || (size_t)n >= sizeof a.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	/* The first byte of the path is NUL: the name is abstract, and its length says where it ends. */
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	if (bind(fd, (const struct sockaddr *)&a, size) == 0)
		return true;
	(void)close(fd);
	return false;
}

static bool read_boot_id(char ret_id[BOOT_ID_SIZE])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, ret_id, BOOT_ID_SIZE);
	(void)close(fd);
	return n == BOOT_ID_SIZE;
}

static bool where(const char *server, char ret_machine[ALONE_MACHINE_SIZE])
{
	crypto_generichash_state st;
	char text[BOOT_ID_SIZE + 48];
	uint8_t hash[HASH_SIZE];
	struct stat ns;
	if (!read_boot_id(text) || stat("/proc/self/ns/net", &ns) != 0)
		return false;
	int n = snprintf(text + BOOT_ID_SIZE, sizeof text - BOOT_ID_SIZE, " %ju %ju", (uintmax_t)ns.st_dev,
			 (uintmax_t)ns.st_ino);
	BUG_ON(n < 0 || (size_t)n >= sizeof text - BOOT_ID_SIZE);
	crypto_generichash_init(&st, NULL, 0, sizeof hash);
	crypto_generichash_update(&st, (const uint8_t *)text, BOOT_ID_SIZE + (size_t)n + 1);
	crypto_generichash_update(&st, (const uint8_t *)server, strlen(server) + 1);
	crypto_generichash_final(&st, hash, sizeof hash);
	text_hex(span_of(hash, sizeof hash), ret_machine);
	return true;
}

void alone_claim(const char *server, const char *queue, const char *worker, char ret_machine[ALONE_MACHINE_SIZE])
{
	if (!claim(server, queue, worker) || !where(server, ret_machine))
		ret_machine[0] = '\0';
}
