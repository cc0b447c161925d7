/* recipe.h: what a template is built from, as a person writes it: YAML, `version: 1`.
 *
 * A recipe becomes a JSON object with every default filled in, which the build job keeps in its
 * plan and hands to the helper; see imaged-recipe(5) for the keys.  Nothing that a
 * recipe names is opened here: its files are the client's to read.  This machine's lists of time
 * zones and keyboards are (recipe_known.h).  No state; any thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

#define RECIPE_VERSION 1
#define RECIPE_MAX_FILES 1000
#define RECIPE_MAX_CONTENT (5u << 20) /* bytes of all files together */

/* Checks one setting of "identity", which another module knows: FALSE with INVALID. */
typedef gboolean (*RecipeSettingCheck)(const char *key, const json_t *value, GError **error);

/* Read a recipe.  Returns NULL with INVALID: the message has the first problem, and
 * problems (an array, may be NULL) gets all of them as {"line":N, "message":"..."}.  check may be
 * NULL.  Returns a new object:
 *
 *   name, os, description         texts, or null
 *   base                          {suite, mirror, components} or {template} or {image, format}
 *   size_bytes                    0: as the base
 *   packages, commands            arrays of texts
 *   recommends                    whether apt installs what packages recommend
 *   desktop                       {environment, browser, url} or null
 *   files                         [{path, content | source, owner, group, mode, line}]
 *   users                         [{name, full_name, groups, password, sudo, autologin, ssh_keys,
 *                                   shell}]
 *   root_password                 a hash, or null: locked
 *   locale, keyboard, timezone, hostname
 *   hardware                      {cpus, memory_bytes, firmware, video}
 *   guest                         {agent, spice_agent, webdav, display_driver} booleans
 *   identity                      an object: what desktops are told at their first boot, or null
 *   seal                          boolean
 */
json_t *recipe_parse(const char *text, gsize len, RecipeSettingCheck check, json_t *problems,
                     GError **error);
