/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/scenario/redis.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/scripts.h"
#include "tests/scenario/lua51.h"
#include "tests/scenario/sim.h"
#include "worker/base/text.h"

#define SHA_HEX 40

static lua_State *lua;
static int door, checks, snapshot; /* references */
static int64_t clock_ahead_us;
static unsigned long commands;
static unsigned results_seen;
static char (*script_sha)[SHA_HEX + 1];

static void die(const char *what)
{
	fprintf(stderr, "scenario: %s: %s\n", what, lua_tolstring(lua, -1, NULL));
	exit(2);
}

/* --- memory ------------------------------------------------------------------------------------ */

/* Lua asks for small pieces all the time, and the sanitizers make each of them dear: they come from lists of pieces of
 * one size, cut from blocks that go with the process. */
#define PIECE_STEP 16
#define PIECE_MAX  512
#define BLOCK_SIZE (256 * 1024)

struct piece {
	struct piece *next;
};

static struct piece *pieces[PIECE_MAX / PIECE_STEP + 1];
static uint8_t *block;
static size_t block_left;

static void *piece_get(size_t n)
{
	size_t list = (n + PIECE_STEP - 1) / PIECE_STEP, size = list * PIECE_STEP;
	struct piece *p = pieces[list];
	if (p != NULL) {
		pieces[list] = p->next;
		return p;
	}
	if (block_left < size) {
		block = xmalloc(BLOCK_SIZE);
		block_left = BLOCK_SIZE;
	}
	block_left -= size;
	return block + block_left;
}

static void piece_put(void *memory, size_t n)
{
	size_t list = (n + PIECE_STEP - 1) / PIECE_STEP;
	struct piece *p = memory;
	p->next = pieces[list];
	pieces[list] = p;
}

static void *allocate(void *arg, void *p, size_t old_n, size_t n)
{
	(void)arg;
	bool was_piece = old_n > 0 && old_n <= PIECE_MAX, is_piece = n > 0 && n <= PIECE_MAX;
	if (p != NULL && !was_piece && !is_piece && n > 0)
		return realloc(p, n);
	void *new = n == 0 ? NULL : is_piece ? piece_get(n) : malloc(n);
	if (p != NULL && new != NULL)
		memcpy(new, p, old_n < n ? old_n : n);
	if (p != NULL && was_piece)
		piece_put(p, old_n);
	else if (p != NULL)
		free(p);
	return new;
}

/* --- what Lua is given ------------------------------------------------------------------------- */

static void sha1(const void *p, size_t n, char hex[SHA_HEX + 1])
{
	uint8_t digest[SHA_HEX / 2];
	unsigned length = sizeof(digest);
	BUG_ON(EVP_Digest(p, n, digest, &length, EVP_sha1(), NULL) != 1);
	text_hex(span_of(digest, sizeof(digest)), hex);
}

static int lua_sha1(lua_State *l)
{
	char hex[SHA_HEX + 1];
	size_t n;
	const char *text = luaL_checklstring(l, 1, &n);
	sha1(text, n, hex);
	lua_pushstring(l, hex);
	return 1;
}

int64_t redis_now_us(void)
{
	return sim_wall_us() + clock_ahead_us;
}

static int lua_clock(lua_State *l)
{
	lua_pushnumber(l, (lua_Number)redis_now_us());
	return 1;
}

static int lua_random(lua_State *l)
{
	lua_pushnumber(l, sim_random((uint32_t)luaL_checknumber(l, 1)));
	return 1;
}

/* --- opening ----------------------------------------------------------------------------------- */

static void load(const char *dir, const char *name)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
	BUG_ON(n < 0 || (size_t)n >= sizeof(path));
	if (luaL_loadfile(lua, path) != 0)
		die(path);
}

static void name_scripts(void)
{
	script_sha = xcalloc(queue_scripts_count, sizeof(*script_sha));
	for (size_t i = 0; i < queue_scripts_count; i++)
		sha1(queue_scripts[i].text, queue_scripts[i].length, script_sha[i]);
}

void redis_open(const char *dir)
{
	redis_close();
	lua = lua_newstate(allocate, NULL);
	BUG_ON(lua == NULL);
	luaL_openlibs(lua);
	lua_gc(lua, LUA_GCSETPAUSE, 1000);
	load(dir, "redis.lua");
	lua_pushstring(lua, dir);
	lua_pushcclosure(lua, lua_sha1, 0);
	lua_pushcclosure(lua, lua_clock, 0);
	lua_pushcclosure(lua, lua_random, 0);
	if (lua_pcall(lua, 4, 1, 0) != 0)
		die("redis.lua");
	lua_pushvalue(lua, -1);
	door = luaL_ref(lua, LUA_REGISTRYINDEX);
	load(dir, "check.lua");
	lua_insert(lua, -2);
	if (lua_pcall(lua, 1, 1, 0) != 0)
		die("check.lua");
	checks = luaL_ref(lua, LUA_REGISTRYINDEX);
	snapshot = LUA_NOREF;
	clock_ahead_us = 0;
	results_seen = 0;
	commands = 0;
	name_scripts();
}

void redis_close(void)
{
	if (lua != NULL)
		lua_close(lua);
	lua = NULL;
	free(script_sha);
	script_sha = NULL;
}

void redis_clock(int64_t ahead_us)
{
	clock_ahead_us = ahead_us;
}

/* --- commands ---------------------------------------------------------------------------------- */

static void push(int table, const char *function)
{
	lua_rawgeti(lua, LUA_REGISTRYINDEX, table);
	lua_getfield(lua, -1, function);
	lua_remove(lua, -2);
	if (lua_type(lua, -1) != LUA_TFUNCTION) {
		fprintf(stderr, "scenario: check.lua has no %s\n", function);
		exit(2);
	}
}

static void call(const char *what, int argc, int results)
{
	if (lua_pcall(lua, argc, results, 0) != 0)
		die(what);
}

void redis_run(const struct span *argv, size_t n, struct buf *reply)
{
	size_t length;
	push(door, "run");
	lua_createtable(lua, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		lua_pushlstring(lua, (const char *)argv[i].p, argv[i].n);
		lua_rawseti(lua, -2, (int)i + 1);
	}
	call("Redis", 1, 1);
	const char *text = lua_tolstring(lua, -1, &length);
	buf_add(reply, text, length);
	lua_settop(lua, 0);
	commands++;
}

unsigned long redis_commands(void)
{
	return commands;
}

const char *redis_script(const struct span *argv, size_t n)
{
	if (n < 2 || !span_eq_nocase(argv[0], span_lit("EVALSHA")))
		return "";
	for (size_t i = 0; i < queue_scripts_count; i++)
		if (span_eq_str(argv[1], script_sha[i]))
			return queue_scripts[i].name;
	return "";
}

const char *redis_script_text(const char *name)
{
	for (size_t i = 0; i < queue_scripts_count; i++)
		if (strcmp(queue_scripts[i].name, name) == 0)
			return queue_scripts[i].text;
	BUG_ON(true);
}

void redis_full(bool full)
{
	push(door, "full");
	lua_pushboolean(lua, full);
	call("full", 1, 0);
}

void redis_read_only(const char *error)
{
	push(door, "read_only");
	if (error == NULL)
		lua_pushboolean(lua, false);
	else
		lua_pushstring(lua, error);
	call("read_only", 1, 0);
}

void redis_snapshot(void)
{
	push(door, "snapshot");
	call("snapshot", 0, 1);
	luaL_unref(lua, LUA_REGISTRYINDEX, snapshot);
	snapshot = luaL_ref(lua, LUA_REGISTRYINDEX);
}

void redis_restore(void)
{
	push(door, "restore");
	lua_rawgeti(lua, LUA_REGISTRYINDEX, snapshot);
	call("restore", 1, 0);
	unsigned left = (unsigned)strtoul(redis_check("results", NULL, 0), NULL, 10);
	if (results_seen > left)
		results_seen = left;
}

/* --- questions --------------------------------------------------------------------------------- */

const char *redis_check(const char *function, const char *const *argv, size_t n)
{
	static char answer[4096];
	push(checks, function);
	for (size_t i = 0; i < n; i++)
		lua_pushstring(lua, argv[i]);
	call(function, (int)n, 1);
	const char *text = lua_tolstring(lua, -1, NULL);
	snprintf(answer, sizeof(answer), "%s", text == NULL ? "" : text);
	lua_settop(lua, 0);
	return text == NULL ? NULL : answer;
}

static void field(int index, char *out, size_t size)
{
	const char *text = lua_tolstring(lua, index, NULL);
	snprintf(out, size, "%s", text == NULL ? "" : text);
}

bool redis_next_result(struct redis_result *ret)
{
	char seen[16];
	snprintf(seen, sizeof(seen), "%u", results_seen);
	push(checks, "result");
	lua_pushstring(lua, seen);
	call("result", 1, 6);
	bool found = lua_type(lua, 1) != LUA_TNIL;
	if (found) {
		size_t n;
		const char *receipt = lua_tolstring(lua, 5, &n);
		BUG_ON(receipt == NULL || n > sizeof(ret->receipt));
		results_seen++;
		field(1, ret->sid, sizeof(ret->sid));
		field(2, ret->office, sizeof(ret->office));
		field(3, ret->state, sizeof(ret->state));
		field(4, ret->outcome, sizeof(ret->outcome));
		field(6, ret->wrong, sizeof(ret->wrong));
		memcpy(ret->receipt, receipt, n);
		ret->receipt_n = n;
	}
	lua_settop(lua, 0);
	return found;
}
