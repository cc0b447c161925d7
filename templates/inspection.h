/* inspection.h: what is inside of a layer's disk: kept in the catalog, found there again.
 *
 * An inspection belongs to a layer: the topmost one of the chain that was read.  Frozen layers
 * never change, so neither does theirs; that of an active layer says which state of the file it
 * read.  It is derived, so it is in no journal: after a rebuild of the catalog it is made again.
 *
 * How disks are read is imaged/ops/inspect.h's affair, and the helper's (imaged/guest/helper/).
 * Any thread. */
#pragma once

#include <jansson.h>

#include "cow/store.h"
#include "imaged/catalog/catalog.h"
#include "imaged/catalog/lookup.h"

/* ---- What the helper found ---- */

/* Check a result of the helper's, which may be of a hostile guest's making: every member that is
 * kept has its type, its length and its number checked, all else is dropped.  On success *result
 * (caller unrefs) is the object without applications and ranges, *applications an array of [name,
 * version, arch] in order, *ranges an array or null.  INVALID. */
gboolean inspection_check(const json_t *from, json_t **result, json_t **applications,
                          json_t **ranges, GError **error);

/* ---- Putting it into the catalog ---- */

typedef struct {
    const char *layer_id;
    StoreStat stat;     /* of the layer's file when it was read */
    const char *method; /* "fast", "appliance", "template" (compared with the template's) */
} InspectionOf;

/* The result as the helper gave it (borrowed).  INVALID. */
gboolean inspection_put(Changes *changes, const InspectionOf *of, const json_t *found,
                        GError **error);

/* The same as that of another layer. */
void inspection_put_same(Changes *changes, const InspectionOf *of, const char *same_as);

/* It failed for a reason that lies in the disk. */
void inspection_put_failure(Changes *changes, const InspectionOf *of, const GError *why);

/* ---- Looking it up ---- */

/* The inspection of exactly this layer as the API shows it: {state, as_of, method, error, ...the
 * result's members, n_applications}; NULL if there is none.  ret_stat (may be NULL): of the file
 * that was read. */
json_t *inspection_of_layer(Db *db, const char *layer_id, StoreStat *ret_stat);

gboolean inspection_is_same_file(const StoreStat *a, const StoreStat *b);

/* The applications of this layer's inspection, [{name, version, arch}], by name; those that fit
 * glob (may be NULL).  NULL if there is no successful one. */
json_t *inspection_applications(Db *db, const char *layer_id, const char *glob);

/* Why the applications of this layer's disk are not known: nobody has looked, it failed, or there
 * is no system that we know (its list is empty then, and says nothing).  Caller frees; NULL: they
 * are. */
char *inspection_why_not_known(Db *db, const char *layer_id);

/* {added, removed, upgraded: [...]} from one layer's applications to another's; NULL if they are
 * not known of both. */
json_t *inspection_diff(Db *db, const char *from_layer, const char *to_layer);

/* SQL: does the inspection of the layer with this id have an application whose name fits the glob
 * in parameter p (case of ASCII letters does not matter)?  For conditions in statements of others,
 * as "desktop list --app" has them and the search language will. */
#define INSPECTION_HAS_APP(layer, p)                                                               \
    "EXISTS (SELECT 1 FROM inspection i_ JOIN application_in m_ ON m_.set_id = i_.set_id JOIN"     \
    " application a_ ON a_.id = m_.application_id WHERE i_.layer_id = " layer                      \
    " AND lower(a_.name) GLOB lower(" p "))"

/* The same of a row of desktop (its alias): what it was found to have itself, and as long as nobody
 * looked into it, what its template has. */
#define INSPECTION_DESKTOP_HAS_APP(desktop, p)                                                     \
    "CASE WHEN EXISTS (SELECT 1 FROM inspection WHERE layer_id = " desktop                         \
    ".layer_id) THEN " INSPECTION_HAS_APP(                                                         \
        desktop ".layer_id", p) " ELSE EXISTS (SELECT 1 FROM version v_ WHERE v_.id"               \
                                " = " desktop                                                      \
                                ".version_id AND " INSPECTION_HAS_APP("v_.layer_id", p) ") END"
