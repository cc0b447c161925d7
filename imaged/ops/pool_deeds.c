/* pool_deeds.c: the verbs that anybody else would use, called by the daemon itself. */
#include "imaged/ops/pool_deeds.h"

#include "broker/desktop.h"
#include "broker/pool/members.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/ops.h"
#include "imaged/ops/pool_return.h"

#define MAX_WAIT_MS 60000
#define SHUT_DOWN_S 60 /* that a guest has for it */
#define WHO "imaged"

typedef struct {
    Deed deed;
    char *job_id; /* NULL: it has ended */
    guint n_failed;
    gint64 not_before; /* boot time */
} Flight;

struct PoolDeeds {
    World *world;
    Caller *caller;      /* the daemon itself */
    gint64 next_try;     /* boot time; 0: nothing waits to be tried again */
    GHashTable *flights; /* id of a desktop, or of a pool that makes some -> Flight */
};

static void flight_free(gpointer data)
{
    Flight *f = data;

    g_free(f->job_id);
    g_free(f);
}

PoolDeeds *pool_deeds_new(World *world)
{
    PoolDeeds *d = g_new0(PoolDeeds, 1);

    d->world = world;
    d->caller = caller_new_admin(WHO);
    d->flights = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, flight_free);
    return d;
}

void pool_deeds_free(PoolDeeds *d)
{
    g_hash_table_unref(d->flights);
    caller_free(d->caller);
    g_free(d);
}

static gboolean is_active(Db *db, GHashTable *known, const char *job_id)
{
    gpointer found;

    if (!g_hash_table_lookup_extended(known, job_id, NULL, &found)) {
        found = GINT_TO_POINTER(lookup_int(db,
                                           "SELECT EXISTS (SELECT 1 FROM job WHERE id = ?1 AND"
                                           " state IN ('queued', 'running')) AS active",
                                           "t", job_id));
        g_hash_table_insert(known, (gpointer)job_id, found);
    }
    return found != NULL;
}

/* Ended: how it came out is seen by whether it has to be done again. */
static void end(Flight *f)
{
    g_clear_pointer(&f->job_id, g_free);
    f->not_before = units_boottime_ms() + MIN(100ll << MIN(f->n_failed, 10), MAX_WAIT_MS);
    f->n_failed++;
}

gboolean pool_deeds_look(PoolDeeds *d)
{
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) ended = g_ptr_array_new();
    gint64 now = units_boottime_ms();
    GHashTableIter iter;
    gpointer value;
    guint n = 0;

    d->next_try = 0;
    Db *db = catalog_read_begin(d->world->catalog);
    g_hash_table_iter_init(&iter, d->flights);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Flight *f = value;
        if (f->job_id && is_active(db, known, f->job_id))
            n++;
        else if (f->job_id)
            g_ptr_array_add(ended, f);
        else if (now > f->not_before + MAX_WAIT_MS) /* not wanted again: it went well */
            g_hash_table_iter_remove(&iter);
    }
    catalog_read_end(d->world->catalog, db);
    g_hash_table_remove_all(known); /* its keys are the flights' */
    for (guint i = 0; i < ended->len; i++)
        end(ended->pdata[i]);
    return n > 0;
}

gboolean pool_deeds_are_under_way(const PoolDeeds *d)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, d->flights);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (((Flight *)value)->job_id)
            return TRUE;
    }
    return FALSE;
}

gboolean pool_deeds_may(PoolDeeds *d, const char *id, Deed deed)
{
    const Flight *f = g_hash_table_lookup(d->flights, id);

    if (!f)
        return TRUE;
    if (f->job_id)
        return FALSE;
    if (f->deed != deed || units_boottime_ms() >= f->not_before)
        return TRUE;
    d->next_try = d->next_try ? MIN(d->next_try, f->not_before) : f->not_before;
    return FALSE;
}

gint64 pool_deeds_next(const PoolDeeds *d)
{
    return d->next_try;
}

static void note(PoolDeeds *d, const char *id, Deed deed, const char *job_id)
{
    Flight *f = g_hash_table_lookup(d->flights, id);

    if (!f) {
        f = g_new0(Flight, 1);
        g_hash_table_insert(d->flights, g_strdup(id), f);
    }
    if (f->deed != deed)
        f->n_failed = 0;
    f->deed = deed;
    g_free(f->job_id);
    f->job_id = g_strdup(job_id);
    if (!job_id)
        end(f);
}

/* The wanted version's number; 0: there is none. */
static gint64 wanted_number(World *world, const PoolRow *pool)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db,
                          "SELECT v.version FROM pool p JOIN version v ON v.id = " POOL_WANTED_OF_P
                          " WHERE p.id = ?1",
                          "t", pool->id);

    catalog_read_end(world->catalog, db);
    return n;
}

/* Caller frees the job's id; NULL: it could not be begun. */
static char *reimage(PoolDeeds *d, const PoolRow *pool, const json_t *ids, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    g_auto(BatchPlan) plan = { 0 };
    JobRequest request = { .owner = WHO };
    char *text = json_dumps(ids, JSON_COMPACT);
    gint64 version = wanted_number(d->world, pool);
    Db *db = catalog_read_begin(d->world->catalog);
    gboolean ok = lookup_rows(db, ROW_DESKTOP, &desktops, error,
                              "SELECT * FROM desktop WHERE id IN (SELECT value FROM json_each(?1))"
                              " AND is_trashed = 0",
                              "t", text);

    catalog_read_end(d->world->catalog, db);
    free(text);
    if (!ok || !pool_plan_return(d->world, &desktops, version, &plan, error))
        return NULL;
    if (json_array_size(plan.items) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "all of them are in use");
        return NULL;
    }
    batch_plan_take(&plan, &request);
    return job_submit(d->world->jobs, &request, error);
}

static char *call(PoolDeeds *d, OpsFunction function, json_t *args, GError **error)
{
    OpsCall c = { .world = d->world, .caller = d->caller, .who = WHO, .args = args };
    json_t *answer = function(&c, error);

    json_decref(answer);
    json_decref(args);
    return c.job_id;
}

/* What anybody could ask for.  Caller frees the job's id. */
static char *ask_for(PoolDeeds *d, Deed deed, const json_t *names, const char *target,
                     GError **error)
{
    switch (deed) {
    case DEED_STOP:
        return call(d, ops_desktop_stop, json_pack("{s:O,s:b}", "names", names, "force", 1), error);
    case DEED_SHUT_DOWN:
        return call(d, ops_desktop_stop,
                    json_pack("{s:O,s:i}", "names", names, "timeout_s", SHUT_DOWN_S), error);
    case DEED_SUSPEND:
        return call(d, ops_desktop_suspend, json_pack("{s:O}", "names", names), error);
    case DEED_RESET:
        return call(d, ops_desktop_reset, json_pack("{s:O}", "names", names), error);
    case DEED_DELETE:
        return call(d, ops_desktop_delete, json_pack("{s:O}", "names", names), error);
    case DEED_START:
        return call(d, ops_desktop_start, json_pack("{s:O}", "names", names), error);
    default:
        break;
    }
    if (target)
        return call(d, ops_archive_create,
                    json_pack("{s:O,s:s}", "names", names, "target", target), error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no archive target is named");
    return NULL;
}

static void note_all(PoolDeeds *d, const json_t *ids, Deed deed, const char *job_id,
                     const GError *error)
{
    size_t i;
    json_t *id;

    json_array_foreach (ids, i, id)
        note(d, json_string_value(id), deed, job_id);
    if (error)
        g_debug("pools: %s", error->message);
}

void pool_deeds_do_any(PoolDeeds *d, const char *target, Deed deed, const json_t *ids,
                       const json_t *names)
{
    g_autoptr(GError) error = NULL;

    if (json_array_size(ids) == 0)
        return;
    g_autofree char *job_id = ask_for(d, deed, names, target, &error);
    note_all(d, ids, deed, job_id, error);
}

void pool_deeds_do(PoolDeeds *d, const PoolRow *pool, Deed deed, const json_t *ids,
                   const json_t *names)
{
    g_autoptr(GError) error = NULL;

    if (json_array_size(ids) == 0)
        return;
    if (deed == DEED_REIMAGE) {
        g_autofree char *job_id = reimage(d, pool, ids, &error);
        note_all(d, ids, deed, job_id, error);
        return;
    }
    json_auto_t *settings = json_loads(pool->settings, 0, NULL);
    pool_deeds_do_any(d, json_string_value(json_object_get(settings, "archive_target")), deed, ids,
                      names);
}

static gboolean submit_create(PoolDeeds *d, const PoolRow *pool, BatchPlan *plan, GError **error)
{
    Id job = id_new();
    JobRequest request = { .owner = WHO, .id = job.s };
    size_t i;
    json_t *item;

    request.changes = changes_new();
    json_array_foreach (plan->items, i, item)
        members_add(request.changes, pool->id, json_string_value(json_object_get(item, "id")),
                    job.s);
    jobs_choose_create(d->world, plan);
    batch_plan_take(plan, &request);
    g_autofree char *id = job_submit(d->world->jobs, &request, error);
    if (id)
        note(d, pool->id, DEED_CREATE, id);
    return id != NULL;
}

gboolean pool_deeds_create(PoolDeeds *d, const PoolRow *pool, guint n, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_auto_t *settings = json_loads(pool->settings, 0, NULL);
    Db *db = catalog_read_begin(d->world->catalog);
    g_autofree char *version = pool_wanted_version(db, pool, error);
    g_autofree char *ref = version ? lookup_version_name(db, version) : NULL;

    catalog_read_end(d->world->catalog, db);
    DesktopSpec spec = { .prefix = pool->name,
                         .count = MIN(n, DESKTOP_MAX_BATCH),
                         .template = ref,
                         .store = json_string_value(json_object_get(settings, "store")),
                         .has_subclusters = TRUE };
    if (ref && desktop_plan_create(d->world, &spec, &plan, error) &&
        submit_create(d, pool, &plan, error))
        return TRUE;
    note(d, pool->id, DEED_CREATE, NULL);
    return FALSE;
}
