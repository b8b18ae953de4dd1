/* Runs a Lua script; the crate has the library only. */
#include <stdio.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

int main(int count, char **words) {
  lua_State *lua = luaL_newstate();
  luaL_openlibs(lua);
  if (count != 2 || luaL_dofile(lua, words[1]) != LUA_OK) {
    fprintf(stderr, "%s\n", count == 2 ? lua_tostring(lua, -1) : "usage: lua SCRIPT");
    return 1;
  }
  lua_close(lua);
  return 0;
}
