/* archive_restore.c: see archive_restore.h.
 *
 * Layers are built by archive_restore_layer.c; a damaged archive fails there, before anything is
 * switched.  Here is what they are built for: the rows, the locks, the commit. */
#include "snapshot/archive_restore.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "snapshot/archive.h"
#include "snapshot/archive_restore_layer.h"
#include "snapshot/chain.h"

static const char *text_of(const RestoreWork *r, const char *key)
{
    return json_string_value(json_object_get(job_plan(r->job), key));
}

static gint64 int_of(const RestoreWork *r, const char *key)
{
    return json_integer_value(json_object_get(job_plan(r->job), key));
}

static gboolean is_true(const RestoreWork *r, const char *key)
{
    return json_is_true(json_object_get(job_plan(r->job), key));
}

static void discard(RestoreWork *r, const char *slot)
{
    r->store->ops->discard(r->store, STORE_LAYERS, &slot, 1, NULL);
}

/* ---- The version ---- */

static void put_version(RestoreWork *r, const LayerSummary *summary, Changes *changes)
{
    const ArchivePoint *p = r->point;
    gint64 now = units_now_ms(), number = int_of(r, "number");
    char *layer_id = (char *)text_of(r, "version_layer"), *source = (char *)text_of(r, "source");
    TemplateRow template = { .id = (char *)text_of(r, "template_id"),
                             .name = (char *)text_of(r, "template_name"),
                             .last_version = int_of(r, "last_version"),
                             .created_at = int_of(r, "template_created"),
                             .changed_at = now };
    VersionRow version = { .id = (char *)text_of(r, "version_id"),
                           .template_id = template.id,
                           .version = number,
                           .state = (char *)text_of(r, "version_state"),
                           .layer_id = layer_id,
                           .cpus = p->cpus,
                           .memory_bytes = p->memory_bytes,
                           .os = p->os,
                           .description = p->version_description,
                           .source = source ? source : p->source,
                           .notes = p->notes,
                           .created_at = now,
                           .changed_at = now };
    LayerRow layer = { .id = layer_id,
                       .slot = layer_id,
                       .store_id = r->store->id,
                       .owner_kind = "template",
                       .owner_id = version.id,
                       .generation = number,
                       .state = "frozen",
                       .place = "layers",
                       .virtual_size = (gint64)p->virtual_size,
                       .checksum = (char *)(*summary->digest ? summary->digest : NULL),
                       .created_at = now };

    changes_put(changes, ROW_TEMPLATE, &template, r->store->id);
    changes_put(changes, ROW_LAYER, &layer, r->store->id);
    changes_put(changes, ROW_VERSION, &version, r->store->id);
    if (int_of(r, "n_template") ==
        1) { /* the same bytes, so the same object: archiving it again costs nothing */
        const ArchiveLayer *l = &g_array_index(p->layers, ArchiveLayer, 0);
        changes_sql(changes,
                    "INSERT OR IGNORE INTO archive_object (target_id, layer_id, object, bytes)"
                    " VALUES (?1, ?2, ?3, ?4)",
                    "ttti", r->target->id, layer_id, l->object, (gint64)l->bytes);
    }
    g_autofree char *name = g_strdup_printf("%s:%" G_GINT64_FORMAT, template.name, number);
    changes_event(changes, "archive.restore", "info", name, job_owner(r->job),
                  "template version restored from point %s", p->id);
}

/* Its layer, whole in its slot; what is in the catalog already (in the journal just before a stop)
 * is left alone. */
static gboolean build_version(RestoreWork *r, LayerSummary *ret, gboolean *ret_is_known,
                              GError **error)
{
    guint n = (guint)int_of(r, "n_template");
    Identity identity = { .id = (char *)text_of(r, "version_layer"),
                          .owner_kind = "template",
                          .owner_id = (char *)text_of(r, "version_id"),
                          .owner_name = (char *)text_of(r, "template_name"),
                          .generation = int_of(r, "number"),
                          .created_at = units_now_ms() };
    RestoreLayer b = { .to = n, .identity = &identity, .is_frozen = TRUE };
    g_auto(LayerRow) there = { 0 };
    Db *db = catalog_read_begin(r->world->catalog);

    *ret_is_known = lookup_layer(db, identity.id, &there, NULL);
    catalog_read_end(r->world->catalog, db);
    return *ret_is_known || restore_layer_build(r, &b, ret, error);
}

static gboolean restore_version(RestoreWork *r, GError **error)
{
    g_autofree char *name =
        g_strdup_printf("%s:%" G_GINT64_FORMAT, text_of(r, "template_name"), int_of(r, "number"));
    LayerSummary summary = { 0 };
    gboolean is_known;

    gboolean ok = build_version(r, &summary, &is_known, error);
    if (ok) {
        Changes *changes = changes_new();
        if (!is_known)
            put_version(r, &summary, changes);
        ok = job_commit_done(r->job, changes,
                             json_pack("{s:s,s:s,s:s,s:s}", "id", text_of(r, "version_id"), "name",
                                       name, "kind", "template", "point", r->point->id),
                             error);
    }
    if (!ok && !is_known)
        discard(r, text_of(r, "version_layer"));
    return ok;
}

/* ---- The desktop ---- */

typedef struct {
    DesktopRow desktop; /* as it was; empty for a new one */
    LayerRow old, base;
    Store *old_store;
    gboolean has_old, is_flat, is_done;
    gboolean has_version; /* the version below is made with it, by the same commit */
    LayerSummary version;
    StoreStat stat;
    ImageLock lock;
} Target;

static void target_clear(Target *t)
{
    image_lock_release(&t->lock);
    desktop_row_clear(&t->desktop);
    layer_row_clear(&t->old);
    layer_row_clear(&t->base);
    g_clear_pointer(&t->old_store, store_unref);
}

static gboolean load_rows(RestoreWork *r, Target *t, GError **error)
{
    gboolean in_place = is_true(r, "in_place");
    GError *local = NULL;
    Db *db = catalog_read_begin(r->world->catalog);
    gboolean is_known = lookup_desktop_by_id(db, text_of(r, "desktop_id"), &t->desktop, &local);
    gboolean ok = is_known || !in_place;

    t->is_done = is_known && g_str_equal(t->desktop.layer_id, text_of(r, "layer"));
    if (ok && in_place && t->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the desktop was deleted");
        ok = FALSE;
    } else if (!ok) {
        g_propagate_error(error, g_steal_pointer(&local));
    }
    g_clear_error(&local);
    ok = ok && (!in_place || lookup_layer(db, t->desktop.layer_id, &t->old, error));
    catalog_read_end(r->world->catalog, db);
    return ok;
}

/* Keep QEMU off the disk that is to be replaced, from the beginning. */
static gboolean take_lock(RestoreWork *r, Target *t, GError **error)
{
    GError *local = NULL;

    if (!t->old.id)
        return TRUE;
    t->old_store = store_set_get(r->world->stores, t->old.store_id, error);
    if (!t->old_store)
        return FALSE;
    t->has_old = store_stat_layer(t->old_store, t->old.slot, &t->stat, &local);
    if (!t->has_old && !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_clear_error(&local);
    return !t->has_old || store_lock_layer(t->old_store, t->old.slot, &t->lock, error);
}

static void put_old(RestoreWork *r, Target *t, gint64 now, Changes *changes)
{
    LayerRow old = t->old;
    TrashRow trash = { .id = (char *)text_of(r, "trash"),
                       .kind = "disk",
                       .reason = "archive",
                       .name = t->desktop.name,
                       .desktop_id = t->desktop.id,
                       .version_id = t->desktop.version_id,
                       .layer_id = old.id,
                       .store_id = old.store_id,
                       .generation = t->desktop.generation,
                       .disk_bytes = (gint64)t->stat.disk_bytes,
                       .trashed_at = now,
                       .expires_at = now + r->world->settings.trash_keep_ms };

    if (!t->has_old) {
        changes_delete(changes, ROW_LAYER, old.id, old.store_id);
        return;
    }
    old.state = "trashed";
    old.place = "trash";
    changes_put(changes, ROW_LAYER, &old, old.store_id);
    changes_put(changes, ROW_TRASH, &trash, old.store_id);
}

static json_t *desktop_result(RestoreWork *r)
{
    json_t *out = json_pack("{s:s,s:s,s:s,s:s}", "id", text_of(r, "desktop_id"), "name",
                            text_of(r, "name"), "kind", "desktop", "point", r->point->id);

    if (is_true(r, "make_version")) {
        g_autofree char *name = g_strdup_printf("%s:%" G_GINT64_FORMAT, text_of(r, "template_name"),
                                                int_of(r, "number"));
        json_object_set_new(out, "template_made", json_string(name));
    }
    return out;
}

static gboolean commit_desktop(RestoreWork *r, Target *t, GError **error)
{
    gboolean in_place = t->old.id != NULL;
    char *id = (char *)text_of(r, "desktop_id"), *layer_id = (char *)text_of(r, "layer");
    g_autofree char *mac = id_to_mac(id);
    g_autofree char *uuid = id_to_uuid(id);
    gint64 now = units_now_ms();
    DesktopRow desktop = { .id = id,
                           .name = (char *)text_of(r, "name"),
                           .owner = r->point->owner,
                           .mac = mac,
                           .uuid = uuid,
                           .created_at = now };
    Changes *changes = changes_new();

    if (in_place)
        desktop = t->desktop;
    desktop.generation++;
    desktop.version_id = (char *)text_of(r, "version_id");
    desktop.layer_id = layer_id;
    desktop.store_id = r->store->id;
    desktop.state = "ok";
    desktop.changed_at = now;
    LayerRow layer = { .id = layer_id,
                       .slot = layer_id,
                       .store_id = r->store->id,
                       .parent_id = t->is_flat ? NULL : t->base.id,
                       .owner_kind = "desktop",
                       .owner_id = id,
                       .generation = desktop.generation,
                       .state = "active",
                       .place = "layers",
                       .virtual_size = (gint64)r->point->virtual_size,
                       .created_at = now };
    if (t->has_version)
        put_version(r, &t->version, changes);
    changes_put(changes, ROW_LAYER, &layer, r->store->id);
    changes_put(changes, ROW_DESKTOP, &desktop, r->store->id);
    if (in_place)
        put_old(r, t, now, changes);
    changes_event(changes, "archive.restore", "info", desktop.name, job_owner(r->job),
                  "restored from point %s", r->point->id);
    return job_commit_done(r->job, changes, desktop_result(r), error);
}

/* A version that nothing else knows yet. */
static gboolean make_base(RestoreWork *r, Target *t, GPtrArray **ret_below, GError **error)
{
    const char *id = text_of(r, "version_layer");
    Layer *layer = store_open_layer(r->store, id, NULL, error);

    if (!layer)
        return FALSE;
    *ret_below = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
    g_ptr_array_add(*ret_below, layer);
    t->base.id = g_strdup(id);
    t->base.slot = g_strdup(id);
    t->base.virtual_size = (gint64)layer_virtual_size(layer);
    return TRUE;
}

/* The layer that it stands on, brought into the store if it is elsewhere. */
static gboolean find_base(RestoreWork *r, Target *t, ArchiveReplicate replicate,
                          GPtrArray **ret_below, GError **error)
{
    guint n_template = (guint)int_of(r, "n_template");
    g_auto(LookupRows) chain = { 0 };

    t->is_flat = n_template == 0;
    if (t->is_flat)
        return TRUE;
    if (t->has_version)
        return make_base(r, t, ret_below, error);
    if (!replicate(r->job, r->world, text_of(r, "version_id"), r->store->id, &t->base, error))
        return FALSE;
    Db *db = catalog_read_begin(r->world->catalog);
    gboolean ok = chain_rows(db, t->base.id, &chain, error);
    catalog_read_end(r->world->catalog, db);
    return ok && (*ret_below = chain_open(r->world, &chain, error));
}

/* Build the version, if there is none, and the disk; switch to it.  What fails leaves files only,
 * for restore_desktop() to discard. */
static gboolean make_desktop(RestoreWork *r, Target *t, ArchiveReplicate replicate, GError **error)
{
    g_autoptr(GPtrArray) below = NULL;
    LayerSummary summary = { 0 };
    gboolean is_known = TRUE;
    Identity identity = { .id = (char *)text_of(r, "layer"),
                          .owner_kind = "desktop",
                          .owner_id = (char *)text_of(r, "desktop_id"),
                          .owner_name = (char *)text_of(r, "name"),
                          .created_at = units_now_ms() };

    if (is_true(r, "make_version")) {
        gboolean ok = build_version(r, &t->version, &is_known, error);
        t->has_version = !is_known;
        if (!ok)
            return FALSE;
    }
    if (!find_base(r, t, replicate, &below, error))
        return FALSE;
    identity.parent = t->is_flat ? NULL : t->base.id;
    identity.generation = t->desktop.generation + 1;
    RestoreLayer b = { .from = (guint)int_of(r, "n_template"),
                       .to = r->point->layers->len,
                       .base = t->is_flat ? NULL : &t->base,
                       .below = below,
                       .identity = &identity };
    return restore_layer_build(r, &b, &summary, error) && commit_desktop(r, t, error);
}

static gboolean restore_desktop(RestoreWork *r, Target *t, ArchiveReplicate replicate,
                                GError **error)
{
    if (!load_rows(r, t, error))
        return FALSE;
    if (t->is_done) /* in the journal just before a stop */
        return job_commit_done(r->job, changes_new(), desktop_result(r), error);
    if (!take_lock(r, t, error))
        return FALSE;
    if (!make_desktop(r, t, replicate, error)) { /* what is built may be from before a stop */
        discard(r, text_of(r, "layer"));
        if (t->has_version)
            discard(r, text_of(r, "version_layer"));
        return FALSE;
    }
    const char *slot = t->old.slot;
    if (t->has_old) /* either folder is right */
        t->old_store->ops->move(t->old_store, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL,
                                NULL);
    return TRUE;
}

static gboolean run_steps(RestoreWork *r, ArchiveReplicate replicate, GError **error)
{
    Target t = { .lock = IMAGE_LOCK_INIT };

    if (r->point->is_template)
        return restore_version(r, error);
    gboolean ok = restore_desktop(r, &t, replicate, error);
    target_clear(&t);
    return ok;
}

gboolean archive_restore_run(Job *job, World *world, ArchiveReplicate replicate, GError **error)
{
    RestoreWork r = { .job = job, .world = world };
    const char *text = text_of(&r, "manifest");
    g_autoptr(ArchivePoint) point =
        archive_point_parse(text, strlen(text), text_of(&r, "point"), error);
    g_autoptr(ArchiveTarget) target =
        point ? archive_open(world, text_of(&r, "target"), error) : NULL;
    g_autoptr(Store) store =
        target ? store_set_get(world->stores, text_of(&r, "store_id"), error) : NULL;

    if (!store || !target->ops->lock(target, FALSE, error))
        return FALSE;
    r.point = point;
    r.target = target;
    r.store = store;
    r.total = 2 * archive_point_bytes(point);
    gboolean ok = run_steps(&r, replicate, error);
    target->ops->unlock(target);
    return ok;
}
