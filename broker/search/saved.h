/* saved.h: searches with a name, to be used as @name. */
#pragma once

#include "broker/search/compile.h"
#include "broker/search/plan.h"
#include "imaged/job/world.h"

/* Parse a search, take the saved ones that it names into it, and find its object. */
gboolean saved_prepare(Db *db, const char *text, const char *object, gboolean is_fixed,
                       const Caller *caller, gint64 now, SearchPlan *ret, GError **error);

typedef struct {
    const char *name, *text;
    gboolean is_shared; /* everybody's, as are those of who is no user of ours (root) */
    gboolean replace;
} SavedSearch;

/* EXISTS; INVALID if it is wrong; DENIED if he may not share.  The row, or NULL. */
json_t *saved_save(World *world, const Caller *caller, const SavedSearch *search, GError **error);
json_t *saved_list(World *world, const Caller *caller, GError **error);
json_t *saved_delete(World *world, const Caller *caller, const char *name, GError **error);
