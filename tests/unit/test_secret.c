/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "worker/base/secret.h"

struct fixture {
	char dir[64];
	char path[96], other[96];
};

static int set_up(void **state)
{
	static struct fixture f;

	snprintf(f.dir, sizeof(f.dir), "/tmp/test_secret.XXXXXX");
	if (mkdtemp(f.dir) == NULL)
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/secret", f.dir);
	snprintf(f.other, sizeof(f.other), "%s/other", f.dir);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	unlink(f->other);
	return rmdir(f->dir);
}

static void put(const char *path, struct span content, mode_t mode)
{
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content.p, content.n), content.n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void test_init_forbids_dumps(void **state)
{
	struct rlimit r;

	(void)state;
	assert_int_equal(secret_init(), ERR_OK);
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &r), 0);
	assert_int_equal(r.rlim_cur, 0);
	assert_int_equal(r.rlim_max, 0);
	assert_int_equal(secret_init(), ERR_OK); /* harmless twice */
}

/* The allocator that jansson was given: aligned, and a freed block keeps nothing. */
static void test_json_memory(void **state)
{
	json_malloc_t alloc;
	json_free_t release;
	char *p;

	(void)state;
	json_get_alloc_funcs(&alloc, &release);
	assert_true(alloc != malloc);
	assert_true(release != free);
	for (size_t n = 0; n < 40; n++) {
		p = alloc(n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		memset(p, 'x', n);
		release(p);
	}
	release(NULL);
}

static void test_json_works_on_it(void **state)
{
	static const char text[] = "{\"a\": [1, 2.5, \"three\"], \"b\": {\"c\": null}}";
	json_error_t error;
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	char *again;

	(void)state;
	assert_non_null(j);
	again = json_dumps(j, JSON_SORT_KEYS);
	assert_string_equal(again, text);
	/* jansson's own free() would take a wrong pointer: what json_dumps() returns goes back here. */
	{
		json_malloc_t alloc;
		json_free_t release;

		json_get_alloc_funcs(&alloc, &release);
		release(again);
	}
	json_decref(j);
}

static void test_guarded_memory(void **state)
{
	static const uint8_t zeros[100];
	uint8_t *p = secret_alloc(100);

	(void)state;
	assert_memory_equal(p, zeros, 100);
	assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
	memset(p, 1, 100);
	secret_free(p);
	secret_free(NULL);
	p = secret_alloc(0);
	assert_non_null(p);
	secret_free(p);
}

/* A write behind the block must end the process: that is what the guard page is for. */
static void test_guard_page(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		volatile uint8_t *p = secret_alloc(64);

		signal(SIGSEGV, SIG_DFL);
		close(STDERR_FILENO);
		p[64] = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void test_arena(void **state)
{
	struct buf b;
	uint8_t *p;

	(void)state;
	secret_arena(&b, 1000);
	p = b.p;
	assert_int_equal(b.cap, 1000);
	assert_int_equal(b.max, 1000);
	for (int i = 0; i < 1000; i++)
		buf_add_byte(&b, 'x');
	assert_int_equal(buf_ok(&b), ERR_OK);
	assert_ptr_equal(b.p, p);
	buf_add_byte(&b, 'x');
	assert_int_equal(buf_ok(&b), ERR_LIMIT);
	assert_ptr_equal(b.p, p);
	buf_reset(&b);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
	buf_add_str(&b, "next");
	buf_clear(&b); /* wipes and keeps what is not the heap's */
	assert_ptr_equal(b.p, p);
	assert_int_equal(p[0], 0);
	secret_arena_free(&b);
	assert_null(b.p);
	secret_arena_free(&b);
	secret_arena_free(NULL);
}

static void expect_secret(const char *path, struct span content, size_t max, const char *expect)
{
	char *got = NULL;

	put(path, content, 0600);
	assert_int_equal(secret_file(path, max, &got), ERR_OK);
	assert_string_equal(got, expect);
	secret_free(got);
}

static void expect_error(const char *path, size_t max, enum err expect)
{
	char *got = NULL;

	assert_int_equal(secret_file(path, max, &got), expect);
	assert_null(got);
}

static void test_file_is_read(void **state)
{
	struct fixture *f = *state;

	expect_secret(f->path, span_lit("s3cret"), 6, "s3cret");
	expect_secret(f->path, span_lit("s3cret\n"), 100, "s3cret");
	expect_secret(f->path, span_lit("s3cret\r\n\n"), 100, "s3cret");
	expect_secret(f->path, span_lit(" two\nlines \n"), 100, " two\nlines ");
}

static void test_file_is_bounded(void **state)
{
	struct fixture *f = *state;

	put(f->path, span_lit("1234567"), 0600);
	expect_error(f->path, 6, ERR_LIMIT);
	put(f->path, span_lit("123456\n"), 0600);
	expect_error(f->path, 6, ERR_LIMIT);
	put(f->path, span_lit(""), 0600);
	expect_error(f->path, 6, ERR_CONFIG);
	put(f->path, span_lit("\n\n"), 0600);
	expect_error(f->path, 6, ERR_CONFIG);
	put(f->path, span_lit("ab\0cd"), 0600);
	expect_error(f->path, 6, ERR_CONFIG);
}

static void test_file_is_private(void **state)
{
	static const mode_t bad[] = { 0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(f->path, span_lit("secret"), bad[i]);
		expect_error(f->path, 100, ERR_CONFIG);
	}
	put(f->path, span_lit("secret"), 0400);
	{
		char *got;

		assert_int_equal(secret_file(f->path, 100, &got), ERR_OK);
		secret_free(got);
	}
}

/* Access list with one named user (acl(5), as the kernel stores it): mode 0440 on the outside. */
static bool give_to_user(const char *path, uint32_t uid, uint16_t group, uint16_t other)
{
	const struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry list[5];
	} acl = { { htole32(POSIX_ACL_XATTR_VERSION) },
		  { { htole16(ACL_USER_OBJ), htole16(4), 0xffffffff },
		    { htole16(ACL_USER), htole16(4), htole32(uid) },
		    { htole16(ACL_GROUP_OBJ), htole16(group), 0xffffffff },
		    { htole16(ACL_MASK), htole16(4), 0xffffffff },
		    { htole16(ACL_OTHER), htole16(other), 0xffffffff } } };

	return setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0) == 0;
}

static void test_access_list(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char *got;

	put(f->path, span_lit("secret"), 0400);
	if (!give_to_user(f->path, geteuid(), 0, 0))
		skip(); /* a file system without access lists */
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0440);
	assert_int_equal(secret_file(f->path, 100, &got), ERR_OK);
	secret_free(got);
	assert_true(give_to_user(f->path, 12345, 0, 0)); /* somebody else */
	expect_error(f->path, 100, ERR_CONFIG);
	assert_true(give_to_user(f->path, geteuid(), 4, 0)); /* the group */
	expect_error(f->path, 100, ERR_CONFIG);
	assert_true(give_to_user(f->path, geteuid(), 0, 4)); /* everybody */
	expect_error(f->path, 100, ERR_CONFIG);
}

static void test_file_of_somebody_else(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip(); /* only root can give files away */
	put(f->path, span_lit("secret"), 0600);
	assert_int_equal(chown(f->path, 12345, 0), 0);
	expect_error(f->path, 100, ERR_CONFIG);
}

static void test_what_is_no_file(void **state)
{
	struct fixture *f = *state;
	char below[128];

	expect_error(f->path, 100, ERR_NOT_FOUND);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	expect_error(f->path, 100, ERR_CONFIG); /* and does not wait for a writer */
	unlink(f->path);
	chmod(f->dir, 0700);
	expect_error(f->dir, 100, ERR_CONFIG);
	put(f->path, span_lit("secret"), 0600);
	snprintf(below, sizeof(below), "%s/below", f->path);
	expect_error(below, 100, ERR_NOT_FOUND);
}

/* Credentials of a service manager may be links: the file they lead to is what counts. */
static void test_links_are_followed(void **state)
{
	struct fixture *f = *state;
	char *got;

	put(f->other, span_lit("secret"), 0600);
	assert_int_equal(symlink(f->other, f->path), 0);
	assert_int_equal(secret_file(f->path, 100, &got), ERR_OK);
	assert_string_equal(got, "secret");
	secret_free(got);
	put(f->other, span_lit("secret"), 0644);
	expect_error(f->path, 100, ERR_CONFIG);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink(f->path, f->path), 0);
	expect_error(f->path, 100, ERR_IO);
}

/* FIPS 180-2, B.1. */
static void test_hash(void **state)
{
	static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char hex[SECRET_HASH_SIZE];

	(void)state;
	secret_hash(span_lit("abc"), hex);
	assert_string_equal(hex, abc);
	assert_true(secret_has_hash(span_lit("abc"), abc));
	assert_false(secret_has_hash(span_lit("abd"), abc));
	assert_false(secret_has_hash(span_lit("ab"), abc));
	assert_true(secret_has_hash(span_lit("anything"), ""));
	for (size_t i = 0; i < sizeof hex - 1; i++) {
		memcpy(hex, abc, sizeof hex);
		hex[i] = hex[i] == '0' ? '1' : '0';
		assert_false(secret_has_hash(span_lit("abc"), hex));
		hex[i] = '\0';
		assert_int_equal(secret_has_hash(span_lit("abc"), hex), i == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_forbids_dumps),
		cmocka_unit_test(test_json_memory),
		cmocka_unit_test(test_json_works_on_it),
		cmocka_unit_test(test_guarded_memory),
		cmocka_unit_test(test_guard_page),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_hash),
		cmocka_unit_test_setup_teardown(test_file_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file_is_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file_is_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_access_list, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file_of_somebody_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_no_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_links_are_followed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
