/* plan.c: see plan.h. */
#include "imaged/job/plan.h"

#include "imaged/base/error.h"

#define TRIES 100

/* The claims of a plan whose facts were read when the catalog had seen planned_at commits. */
static gboolean take_claims(World *world, guint64 planned_at, const json_t *claims,
                            const char *holder, gboolean *ret_is_old, GError **error)
{
    if (!claims_take(world->claims, claims, holder, error))
        return FALSE;
    /* who changes such things holds claims on them until its commit is counted */
    if (catalog_n_commits(world->catalog) == planned_at)
        return TRUE;
    claims_release(world->claims, claims);
    *ret_is_old = TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "too much is changing just now");
    imaged_error_hint(error, "ask for it again");
    return FALSE;
}

/* What the maker gives is looked over where a store may hang and no reader of the catalog, of which
 * there are few, waits for it. */
static json_t *make_checked(World *world, PlanMaker make, gpointer data, json_t *claims,
                            GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    json_t *plan = make(world, db, claims, data, error);

    catalog_read_end(world->catalog, db);
    const char *store_id = json_string_value(json_object_get(plan, "store_id"));
    if (!store_id)
        return plan;
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);
    if (!store || !world_check_space(world, store, 0, error))
        g_clear_pointer(&plan, json_decref);
    return plan;
}

static gboolean make_once(World *world, const JobType *type, PlanMaker make, gpointer data,
                          JobRequest *ret, gboolean *ret_is_old, GError **error)
{
    json_t *claims = json_array();
    guint64 planned_at = catalog_n_commits(world->catalog);
    json_t *plan = make_checked(world, make, data, claims, error);

    *ret_is_old = FALSE;
    if (!plan || !take_claims(world, planned_at, claims, type->kind, ret_is_old, error)) {
        json_decref(plan);
        json_decref(claims);
        return FALSE;
    }
    *ret = (JobRequest){ .type = type, .plan = plan, .claims = claims };
    return TRUE;
}

gboolean plan_make(World *world, const JobType *type, PlanMaker make, gpointer data,
                   JobRequest *ret, GError **error)
{
    gboolean ok, is_old;
    guint tries = TRIES;

    do {
        g_clear_error(error);
        ok = make_once(world, type, make, data, ret, &is_old, error);
    } while (!ok && is_old && --tries);
    return ok;
}

gboolean plan_look(World *world, const JobType *type, PlanMaker make, gpointer data,
                   JobRequest *ret, GError **error)
{
    json_t *claims = json_array();

    *ret = (JobRequest){ .type = type, .plan = make_checked(world, make, data, claims, error) };
    json_decref(claims);
    return ret->plan != NULL;
}
