/* search.h: one language for everything that can be searched.
 *
 *     Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*
 *     Hosts: cpu_usage > 90 SORTBY memory DESC LIMIT 10
 *
 * A text becomes a tree (parser.h), its names are looked up (resolve.h, objects.h), the tree
 * becomes SQL (compile.h, plan.h), and what is live is asked of memory (functions.h).  Only what
 * the caller may see is found, also on the other side of a link.  See docs/search.md,
 * docs/design/search.md. Any thread. */
#pragma once

#include <jansson.h>

#include "broker/access/caller.h"
#include "imaged/job/world.h"

typedef struct {
    const char *text;
    const char *object; /* what is searched if the text does not say; NULL: desktops */
    gboolean is_fixed;  /* and nothing else can be */
    const Caller *caller;
    gint64 default_limit; /* if the text says none; 0: 100 */
    const char *fields;   /* of the rows: paths with commas between, "table", or NULL: all */
} SearchRequest;

/* {object, columns, rows, page, limit, has_more}; with GROUP BY rows of {value, count}; with COUNT
 * {object, count}.  INVALID (with the column), NOT_FOUND (a saved search), BUSY (it took too long).
 */
json_t *search_run(World *world, const SearchRequest *request, GError **error);

/* The ids that it selects, in its order (caller unrefs; at most SEARCH_MAX_LIMIT). *ret_is_sorted:
 * an order was asked for.  COUNT and GROUP BY are INVALID. */
GPtrArray *search_ids(World *world, const SearchRequest *request, gboolean *ret_is_sorted,
                      GError **error);

/* Is there such an object, by this name? */
gboolean search_has_object(const char *name);

/* What can stand at the cursor (bytes from the text's begin; a negative one: the end):
 * {begin, end, words: [{text, kind}]}: begin and end of what a word replaces, in bytes. object may
 * be NULL.  Values and saved searches are those that the caller may see, 50 at most. */
json_t *search_complete(World *world, const Caller *caller, const char *text, gssize cursor,
                        const char *object);
