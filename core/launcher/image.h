/* SPDX-License-Identifier: MIT */
#ifndef CSN_IMAGE_H
#define CSN_IMAGE_H

#include <lua.h>
#include <stdbool.h>

lua_State *csn_image_new(void);
lua_State *csn_image_open(void);
int csn_image_write(lua_State *L, const char *path);

#endif
