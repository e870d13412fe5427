/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the C interface of Lua 5.1 that redis.c uses. lua.h itself cannot be included behind
 * worker/base/banned.h, since one of its macros names a function that is banned there.
 */
#ifndef SCENARIO_LUA51_H
#define SCENARIO_LUA51_H

#include <stddef.h>

typedef struct lua_State lua_State;
typedef double lua_Number;
typedef int (*lua_CFunction)(lua_State *l);

#define LUA_REGISTRYINDEX (-10000)
#define LUA_NOREF         (-2)
#define LUA_GCSETPAUSE    6
#define LUA_TNIL          0
#define LUA_TFUNCTION     6

typedef void *(*lua_Alloc)(void *arg, void *p, size_t old_n, size_t n);

extern lua_State *lua_newstate(lua_Alloc alloc, void *arg);
extern void luaL_openlibs(lua_State *l);
extern int luaL_loadfile(lua_State *l, const char *path);
extern const char *luaL_checklstring(lua_State *l, int index, size_t *n);
extern lua_Number luaL_checknumber(lua_State *l, int index);
extern int luaL_ref(lua_State *l, int table);
extern void luaL_unref(lua_State *l, int table, int ref);
extern void lua_close(lua_State *l);
extern int lua_pcall(lua_State *l, int n_arguments, int n_results, int handler);
extern void lua_createtable(lua_State *l, int n_array, int n_record);
extern void lua_getfield(lua_State *l, int index, const char *name);
extern void lua_rawgeti(lua_State *l, int index, int n);
extern void lua_rawseti(lua_State *l, int index, int n);
extern void lua_pushnil(lua_State *l);
extern void lua_pushboolean(lua_State *l, int v);
extern void lua_pushnumber(lua_State *l, lua_Number v);
extern void lua_pushstring(lua_State *l, const char *text);
extern void lua_pushlstring(lua_State *l, const char *text, size_t n);
extern void lua_pushcclosure(lua_State *l, lua_CFunction fn, int n_values);
extern void lua_pushvalue(lua_State *l, int index);
extern void lua_insert(lua_State *l, int index);
extern void lua_remove(lua_State *l, int index);
extern void lua_settop(lua_State *l, int index);
extern int lua_gc(lua_State *l, int what, int value);
extern int lua_type(lua_State *l, int index);
extern const char *lua_tolstring(lua_State *l, int index, size_t *n);

#endif
