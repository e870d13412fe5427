/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/base/secret.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "worker/base/text.h"

/* free() is not told a size: it stands in front of the block, without harm to its alignment. */
union json_block {
	size_t n;
	max_align_t align;
};

static void *json_alloc(size_t n)
{
	union json_block *block;

	BUG_ON(n > SIZE_MAX / 2);
	block = xmalloc(sizeof(*block) + n);
	block->n = n;
	return block + 1;
}

static void json_release(void *p)
{
	union json_block *block = p;

	if (p == NULL)
		return;
	block--;
	xfree_wipe(block, sizeof(*block) + block->n);
}

enum err secret_init(void)
{
	const struct rlimit none = { 0, 0 };

	if (sodium_init() < 0)
		return ERR_CRYPTO;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		err_bug(__FILE__, __LINE__, "core dumps cannot be forbidden");
	json_set_alloc_funcs(json_alloc, json_release);
	return ERR_OK;
}

/* sodium_malloc() puts the end of the block at the end of a page, so that a size which is no
 * multiple of the alignment would give a misaligned start. */
void *secret_alloc(size_t n)
{
	const size_t align = _Alignof(max_align_t);
	void *p;

	BUG_ON(n > SIZE_MAX / 2);
	n = (n + align - 1) / align * align;
	p = sodium_malloc(n);
	if (p == NULL) {
		fputs("out of guarded memory\n", stderr);
		abort();
	}
	memset(p, 0, n);
	return p;
}

void secret_free(void *p)
{
	sodium_free(p);
}

void secret_arena(struct buf *ret_buf, size_t size)
{
	*ret_buf = (struct buf){ .p = secret_alloc(size), .cap = size, .max = size };
}

void secret_arena_free(struct buf *b)
{
	if (b == NULL)
		return;
	secret_free(b->p);
	*b = (struct buf){ 0 };
}

static bool trusted_user(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* With an access list the group bits of the mode are its mask, not what the group may do (acl(5)).
 * systemd hands a root-owned credential to a service's user in this way: such a file is private
 * when nobody but that user is named. */
static bool only_named_for_us(int fd)
{
	struct posix_acl_xattr_entry list[16];
	uint8_t raw[sizeof(struct posix_acl_xattr_header) + sizeof(list)];
	ssize_t n = fgetxattr(fd, "system.posix_acl_access", raw, sizeof(raw));
	struct posix_acl_xattr_header header;
	size_t count;

	if (n < (ssize_t)sizeof(header))
		return false;
	memcpy(&header, raw, sizeof(header));
	memcpy(list, raw + sizeof(header), (size_t)n - sizeof(header));
	count = ((size_t)n - sizeof(header)) / sizeof(list[0]);
	if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION)
		return false;
	for (size_t i = 0; i < count; i++) {
		unsigned tag = le16toh(list[i].e_tag);
		bool ours = tag == ACL_USER && trusted_user(le32toh(list[i].e_id));

		if (tag != ACL_USER_OBJ && tag != ACL_MASK && !ours && list[i].e_perm != 0)
			return false;
	}
	return true;
}

/* What is checked is the file that was opened: the path may be a link, and may change. */
static enum err check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return ERR_IO;
	if (!S_ISREG(st.st_mode) || !trusted_user(st.st_uid) || (st.st_mode & 007) != 0)
		return ERR_CONFIG;
	return (st.st_mode & 070) == 0 || only_named_for_us(fd) ? ERR_OK : ERR_CONFIG;
}

/* Reads until the end of the file or until `size` bytes. */
static enum err read_all(int fd, char *p, size_t size, size_t *ret_n)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = read(fd, p + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_IO;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*ret_n = n;
	return ERR_OK;
}

static enum err read_secret(int fd, char *p, size_t max)
{
	size_t n;

	TRY(check_file(fd));
	TRY(read_all(fd, p, max + 1, &n));
	if (n > max)
		return ERR_LIMIT;
	while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r'))
		n--;
	p[n] = '\0';
	/* A secret is used as a C string: one that ends early would be another secret. */
	return n > 0 && strlen(p) == n ? ERR_OK : ERR_CONFIG;
}

enum err secret_file(const char *path, size_t max, char **ret_secret)
{
	/* O_NONBLOCK: opening a FIFO would wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum err e;
	char *p;

	BUG_ON(max > SIZE_MAX / 4);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	p = secret_alloc(max + 1);
	e = read_secret(fd, p, max);
	close(fd);
	if (e != ERR_OK) {
		secret_free(p);
		return e;
	}
	*ret_secret = p;
	return ERR_OK;
}

void secret_hash(struct span secret, char ret_hex[SECRET_HASH_SIZE])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, secret.p, secret.n);
	text_hex(span_of(hash, sizeof(hash)), ret_hex);
}

bool secret_has_hash(struct span secret, const char *hex)
{
	char own[SECRET_HASH_SIZE];

	if (hex[0] == '\0')
		return true;
	secret_hash(secret, own);
	return strlen(hex) == sizeof(own) - 1 && sodium_memcmp(own, hex, sizeof(own)) == 0;
}
