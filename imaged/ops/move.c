/* move.c: a desktop's disk is copied to another store under a new identity, on a copy of its
 * template version there; then the desktop is switched and the former disk goes to the trash, from
 * where it can be brought back.  One desktop is one step: each is durable by itself. */
#include "imaged/ops/move.h"

#include "cow/identity.h"
#include "cow/layer_copy.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "imaged/ops/jobs.h"
#include "templates/template.h"

static const char *plan_text(const json_t *plan, const char *key)
{
    return json_string_value(json_object_get(plan, key));
}

static gboolean check_target(World *world, const char *store_id, GError **error)
{
    g_auto(StoreEntry) entry = { 0 };
    g_autoptr(Store) store = store_set_get(world->stores, store_id, error);

    if (!store || !world_check_space(world, store, 0, error))
        return FALSE;
    if (store_set_describe(world->stores, store_id, &entry) && entry.is_draining) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the store '%s' is being drained",
                    entry.name);
        return FALSE;
    }
    return TRUE;
}

static void plan_desktop(BatchPlan *plan, const DesktopRow *row)
{
    Id trash = id_new();
    json_t *keys = json_array();

    claims_add(keys, 'x', "desktop", row->id);
    claims_add(keys, 's', "version", row->version_id);
    batch_plan_add(plan,
                   json_pack("{s:s,s:s,s:s}", "id", row->id, "name", row->name, "trash", trash.s),
                   keys);
}

gboolean jobs_plan_move(World *world, const LookupRows *desktops, const char *store,
                        BatchPlan *plan, GError **error)
{
    g_autofree char *store_id = store_set_find(world->stores, store, error);

    if (!store_id || !check_target(world, store_id, error))
        return FALSE;
    batch_plan_init(plan, world, &move_job);
    json_object_set_new(plan->plan, "store_id", json_string(store_id));
    json_t *keys = json_array();
    claims_add(keys, 's', "making", store_id);
    if (!batch_plan_claim(plan, keys, error))
        return FALSE;
    for (guint i = 0; i < desktops->rows->len; i++) {
        const DesktopRow *row = desktops->rows->pdata[i];
        if (!g_str_equal(row->store_id, store_id)) {
            plan_desktop(plan, row);
            continue;
        }
        g_autoptr(GError) why = g_error_new(IMAGED_ERROR, IMAGED_ERROR_EXISTS,
                                            "it is in that store already");
        batch_plan_reject(plan, row->name, why);
    }
    return TRUE;
}

typedef struct {
    Job *job;
    World *world;
    Store *from, *to;
    DesktopRow desktop;
    LayerRow old, base;
    Id id; /* of the new layer */
} Move;

static void move_clear(Move *m)
{
    desktop_row_clear(&m->desktop);
    layer_row_clear(&m->old);
    layer_row_clear(&m->base);
    g_clear_pointer(&m->from, store_unref);
    g_clear_pointer(&m->to, store_unref);
}

static gboolean copy_disk(Move *m, GError **error)
{
    g_autoptr(Layer) layer = store_open_layer(m->from, m->old.slot, NULL, error);
    g_autofree char *backing = g_strdup_printf("../layers/%s", m->base.slot);
    Identity identity = { .id = m->id.s, .parent = m->base.id, .owner_kind = "desktop",
                          .owner_id = m->desktop.id, .owner_name = m->desktop.name,
                          .generation = m->desktop.generation + 1, .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    const char *slot = m->id.s;
    char checksum[33];

    if (!layer || !world_check_space(m->world, m->to, layer_file_size(layer), error))
        return FALSE;
    auto_fd fd = m->to->ops->create_tmp(m->to, slot, error);
    if (fd < 0)
        return FALSE;
    LayerCopy work = { .from = layer_fd(layer), .to = fd, .identity = text,
                       .backing_name = backing, .cancel = job_cancel_flag(m->job) };
    if (layer_copy(&work, checksum, error) && m->to->ops->publish_tmp(m->to, slot, FALSE, error))
        return TRUE;
    m->to->ops->discard(m->to, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

static gboolean commit_move(Move *m, const json_t *item, gint64 step, GError **error)
{
    gint64 now = units_now_ms();
    Changes *changes = changes_new();
    StoreStat stat = { 0 };
    LayerRow layer = m->old, old = m->old;
    DesktopRow desktop = m->desktop;

    store_stat_layer(m->from, m->old.slot, &stat, NULL);
    layer.id = layer.slot = m->id.s;
    layer.store_id = desktop.store_id = m->to->id;
    layer.parent_id = m->base.id;
    layer.created_at = desktop.changed_at = now;
    layer.generation = ++desktop.generation;
    desktop.layer_id = m->id.s;
    old.state = "trashed";
    old.place = "trash";
    TrashRow trash = { .id = (char *)plan_text(item, "trash"), .kind = "disk", .reason = "moved",
                       .name = desktop.name, .desktop_id = desktop.id,
                       .version_id = desktop.version_id, .layer_id = old.id,
                       .store_id = old.store_id, .generation = m->desktop.generation,
                       .disk_bytes = (gint64)stat.disk_bytes, .trashed_at = now,
                       .expires_at = now + m->world->settings.trash_keep_ms };
    changes_put(changes, ROW_LAYER, &layer, m->to->id);
    changes_put(changes, ROW_DESKTOP, &desktop, m->to->id);
    changes_put(changes, ROW_LAYER, &old, m->from->id);
    changes_put(changes, ROW_TRASH, &trash, m->from->id);
    changes_event(changes, "desktop.move", "info", desktop.name, job_owner(m->job),
                  "disk moved to another store");
    return job_commit(m->job, changes, step, error);
}

static gboolean move_one(Job *job, World *world, const json_t *item, const char *store_id,
                         gint64 step, GError **error)
{
    Move m = { .job = job,
               .world = world,
               .id = id_derive(job_id(job), plan_text(item, "id"), "") };
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop_by_id(db, plan_text(item, "id"), &m.desktop, error) &&
                  lookup_layer(db, m.desktop.layer_id, &m.old, error);

    catalog_read_end(world->catalog, db);
    if (ok && !g_str_equal(m.desktop.store_id, store_id)) {
        const char *slot = m.id.s, *old_slot = m.old.slot;
        m.from = store_set_get(world->stores, m.desktop.store_id, error);
        m.to = m.from ? store_set_get(world->stores, store_id, error) : NULL;
        ok = m.to && store_lock_layer(m.from, m.old.slot, &lock, error) &&
             template_replicate(job, world, m.desktop.version_id, store_id, &m.base, error) &&
             m.to->ops->discard(m.to, STORE_LAYERS, &slot, 1, error) && /* of a stopped try */
             copy_disk(&m, error);
        if (ok && !(ok = commit_move(&m, item, step, error)))
            m.to->ops->discard(m.to, STORE_LAYERS, &slot, 1, NULL);
        if (ok)
            m.from->ops->move(m.from, &old_slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL, NULL);
    }
    move_clear(&m);
    return ok;
}

gboolean move_desktop(Job *job, World *world, const DesktopRow *desktop, const char *store_id,
                      GError **error)
{
    Id trash = id_derive(job_id(job), desktop->id, "trash");
    json_t *item = json_pack("{s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name, "trash",
                             trash.s);
    json_t *keys = json_array();
    gboolean ok = FALSE;

    claims_add(keys, 'x', "desktop", desktop->id);
    claims_add(keys, 's', "version", desktop->version_id);
    if (claims_take(world->claims, keys, job_type_kind(job), error)) {
        ok = move_one(job, world, item, store_id, job_step(job) + 1, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    json_decref(item);
    return ok;
}

static gboolean move_item(Job *job, World *world, json_t *item, GError **error)
{
    return move_one(job, world, item, plan_text(job_plan(job), "store_id"), job_step(job) + 1,
                    error);
}

static gboolean run_move(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, move_item, error);
}

const JobType move_job = { "desktop.move", JOB_BULK, "desktops", run_move };
