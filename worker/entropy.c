/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <sodium.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SOURCE   "nsm-hwrng"
#define ANSWERS  2
#define SEED_MAX (ANSWERS * NSM_RANDOM_MAX)
/* Half of what the bytes claim to hold, and still eight times what the kernel's generator wants to begin (256 bits). */
#define BITS_PER_BYTE 4

/* What RNDADDENTROPY takes: struct rand_pool_info, whose array has no size of its own. */
struct pool_info {
	int bits, size;
	uint8_t bytes[SEED_MAX];
};

_Static_assert(offsetof(struct pool_info, bytes) == sizeof(struct rand_pool_info), "no gap before the bytes");

static bool constant(const uint8_t *p, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (p[i] != p[0])
			return false;
	return true;
}

/* Two answers; NULL when they are good, else what is wrong with them. */
static const char *ask(struct nsm *n, uint8_t bytes[ANSWERS][NSM_RANDOM_MAX])
{
	if (n == NULL)
		return "there is no NSM to take random bytes from";
	for (size_t i = 0; i < ANSWERS; i++) {
		size_t got = 0;

		if (nsm_random(n, bytes[i], &got) != ERR_OK)
			return "the NSM gives no random bytes";
		if (got != NSM_RANDOM_MAX)
			return "the NSM gives fewer than 256 random bytes at once";
		if (constant(bytes[i], got))
			return "the NSM's random bytes are all the same";
	}
	return memcmp(bytes[0], bytes[1], NSM_RANDOM_MAX) == 0 ? "the NSM gives the same random bytes twice" : NULL;
}

/* The first line of a file of sysfs is all of it. */
static bool names_source(const char *path)
{
	char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	if (n > 0 && text[n - 1] == '\n')
		n--;
	return n > 0 && span_eq_str(span_of(text, (size_t)n), SOURCE);
}

static const char *seed(struct nsm *n, entropy_credit *credit, void *arg)
{
	uint8_t bytes[ANSWERS][NSM_RANDOM_MAX];
	const char *rule = ask(n, bytes);

	if (rule == NULL && credit(arg, span_of(bytes, sizeof(bytes)), (int)sizeof(bytes) * BITS_PER_BYTE) != ERR_OK)
		rule = "the kernel does not take the NSM's random bytes";
	sodium_memzero(bytes, sizeof(bytes));
	return rule;
}

enum err entropy_seed_by(struct nsm *n, entropy_credit *credit, void *arg, const char *rng_current, bool required,
			 const char **ret_rule)
{
	const char *rule = seed(n, credit, arg);

	if (rule == NULL && !names_source(rng_current))
		rule = "the kernel's source of random numbers is not nsm-hwrng";
	*ret_rule = rule != NULL ? rule : "";
	return rule != NULL && required ? ERR_CRYPTO : ERR_OK;
}

/* Crediting and mixing in one call: nobody else can take in between what was not yet there. */
static enum err add_entropy(void *arg, struct span bytes, int bits)
{
	struct pool_info info = { .bits = bits, .size = (int)bytes.n };
	int fd = open(arg, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	if (fd < 0)
		return ERR_IO;
	BUG_ON(bytes.n > sizeof(info.bytes));
	memcpy(info.bytes, bytes.p, bytes.n);
	do
		rc = ioctl(fd, RNDADDENTROPY, &info);
	while (rc != 0 && errno == EINTR);
	sodium_memzero(&info, sizeof(info));
	close(fd);
	return rc == 0 ? ERR_OK : ERR_IO;
}

enum err entropy_seed(struct nsm *n, const char *device, const char *rng_current, bool required, const char **ret_rule)
{
	char path[128];
	size_t size = strlen(device) + 1;

	BUG_ON(size > sizeof(path));
	memcpy(path, device, size);
	return entropy_seed_by(n, add_entropy, path, rng_current, required, ret_rule);
}
