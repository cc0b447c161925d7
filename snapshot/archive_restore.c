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
#include "snapshot/replaced.h"

/* A disk that goes. */
typedef struct {
    LayerRow row; /* empty: none */
    Store *store;
    gboolean is_there; /* its file */
    StoreStat stat;
    ImageLock lock;
} Old;

typedef struct {
    DesktopRow desktop; /* as it was; empty for a new one */
    Old old, old_data;
    LayerRow base;
    const char *layer, *data_layer; /* what is made: ids; NULL: that disk is not restored */
    gboolean is_flat, is_done;
    gboolean has_version; /* the version below is made with it, by the same commit */
    LayerSummary version;
} Target;

static void old_clear(Old *o)
{
    image_lock_release(&o->lock);
    layer_row_clear(&o->row);
    g_clear_pointer(&o->store, store_unref);
}

static void target_clear(Target *t)
{
    old_clear(&t->old);
    old_clear(&t->old_data);
    desktop_row_clear(&t->desktop);
    layer_row_clear(&t->base);
}

static gboolean load_rows(RestoreWork *r, Target *t, GError **error)
{
    gboolean in_place = restore_is(r, "in_place");
    GError *local = NULL;
    Db *db = catalog_read_begin(r->world->catalog);
    const char *id = restore_text(r, "desktop_id");
    gboolean is_known = lookup_desktop_by_id(db, id, &t->desktop, &local);
    gboolean ok = is_known || !in_place;

    t->layer = restore_text(r, "layer");
    t->data_layer = restore_text(r, "data_layer");
    t->is_done = is_known && (g_strcmp0(t->desktop.layer_id, t->layer) == 0 ||
                              (t->data_layer &&
                               g_strcmp0(t->desktop.data_layer_id, t->data_layer) == 0));
    if (ok && in_place && t->desktop.is_trashed) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the desktop was deleted");
        ok = FALSE;
    } else if (!ok) {
        g_propagate_error(error, g_steal_pointer(&local));
    }
    g_clear_error(&local);
    if (ok && in_place && t->layer)
        ok = lookup_layer(db, t->desktop.layer_id, &t->old.row, error);
    if (ok && in_place && t->data_layer && t->desktop.data_layer_id)
        ok = lookup_layer(db, t->desktop.data_layer_id, &t->old_data.row, error);
    catalog_read_end(r->world->catalog, db);
    return ok;
}

/* Keep QEMU off a disk that is to be replaced, from the beginning. */
static gboolean take_lock(RestoreWork *r, Old *o, GError **error)
{
    if (!o->row.id)
        return TRUE;
    o->store = store_set_get(r->world->stores, o->row.store_id, error);
    if (!o->store)
        return FALSE;
    return store_hold_layer(o->store, o->row.slot, &o->lock, &o->stat, &o->is_there, error);
}

static ReplacedDisk replaced_disk(Old *o)
{
    return (ReplacedDisk){ o->row.id ? &o->row : NULL, o->is_there ? &o->stat : NULL };
}

static void put_old(RestoreWork *r, Target *t, gint64 now, Changes *changes)
{
    Replaced replaced = { .desktop = &t->desktop,
                          .disk = replaced_disk(&t->old),
                          .data = replaced_disk(&t->old_data),
                          .trash_id = restore_text(r, "trash"),
                          .reason = "archive",
                          .now = now };

    replaced_put(r->world, changes, &replaced);
}

static json_t *desktop_result(RestoreWork *r)
{
    json_t *out = json_pack("{s:s,s:s,s:s,s:s}", "id", restore_text(r, "desktop_id"), "name",
                            restore_text(r, "name"), "kind", "desktop", "point", r->point->id);

    if (restore_is(r, "make_version")) {
        g_autofree char *name =
            g_strdup_printf("%s:%" G_GINT64_FORMAT, restore_text(r, "template_name"),
                            restore_int(r, "number"));
        json_object_set_new(out, "template_made", json_string(name));
    }
    return out;
}

/* The rows of what was made. */
static void put_layers(RestoreWork *r, const Target *t, const DesktopRow *desktop, gint64 now,
                       Changes *changes)
{
    LayerRow layer = { .id = (char *)t->layer,
                       .slot = (char *)t->layer,
                       .store_id = r->store->id,
                       .parent_id = t->is_flat ? NULL : t->base.id,
                       .owner_kind = "desktop",
                       .owner_id = desktop->id,
                       .generation = desktop->generation,
                       .state = "active",
                       .place = "layers",
                       .virtual_size = (gint64)r->point->virtual_size,
                       .created_at = now };

    if (t->layer)
        changes_put(changes, ROW_LAYER, &layer, r->store->id);
    layer.id = layer.slot = (char *)t->data_layer;
    layer.parent_id = NULL;
    layer.owner_kind = "data";
    layer.virtual_size = (gint64)r->point->data_size;
    if (t->data_layer)
        changes_put(changes, ROW_LAYER, &layer, r->store->id);
}

static DesktopRow changed_desktop(RestoreWork *r, const Target *t, gint64 now)
{
    DesktopRow desktop = t->desktop;

    if (t->layer) {
        desktop.generation++;
        desktop.version_id = (char *)restore_text(r, "version_id");
        desktop.layer_id = (char *)t->layer;
        desktop.store_id = r->store->id;
        desktop.state = "ok";
    }
    if (t->data_layer)
        desktop.data_layer_id = (char *)t->data_layer;
    desktop.changed_at = now;
    return desktop;
}

static gboolean commit_desktop(RestoreWork *r, Target *t, GError **error)
{
    char *id = (char *)restore_text(r, "desktop_id");
    g_autofree char *mac = id_to_mac(id);
    g_autofree char *uuid = id_to_uuid(id);
    gint64 now = units_now_ms();
    DesktopRow desktop = changed_desktop(r, t, now);
    Changes *changes = changes_new();

    if (!t->desktop.id) {
        desktop.id = id;
        desktop.name = (char *)restore_text(r, "name");
        desktop.owner = r->point->owner;
        desktop.mac = mac;
        desktop.uuid = uuid;
        desktop.created_at = now;
        if (!t->is_flat && (gint64)r->point->virtual_size > t->base.virtual_size)
            desktop.disk_size = (gint64)r->point->virtual_size;
    }
    if (t->has_version)
        restore_version_put(r, &t->version, changes);
    put_old(r, t, now, changes);
    put_layers(r, t, &desktop, now, changes);
    changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
    changes_event(changes, "archive.restore", "info", desktop.name, job_owner(r->job),
                  "restored from point %s", r->point->id);
    return job_commit_done(r->job, changes, desktop_result(r), error);
}

/* A version that nothing else knows yet. */
static gboolean make_base(RestoreWork *r, Target *t, GPtrArray **ret_below, GError **error)
{
    const char *id = restore_text(r, "version_layer");
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
    guint n_template = (guint)restore_int(r, "n_template");
    g_auto(LookupRows) chain = { 0 };

    t->is_flat = n_template == 0;
    if (t->is_flat)
        return TRUE;
    if (t->has_version)
        return make_base(r, t, ret_below, error);
    if (!replicate(r->job, r->world, restore_text(r, "version_id"), r->store->id, &t->base, error))
        return FALSE;
    Db *db = catalog_read_begin(r->world->catalog);
    gboolean ok = chain_rows(db, t->base.id, &chain, error);
    catalog_read_end(r->world->catalog, db);
    return ok && (*ret_below = chain_open(r->world, &chain, error));
}

/* Build the version, if there is none, and the disk. */
static gboolean make_disk(RestoreWork *r, Target *t, Identity *identity,
                          ArchiveReplicate replicate, GError **error)
{
    g_autoptr(GPtrArray) below = NULL;
    LayerSummary summary = { 0 };
    gboolean is_known = TRUE;

    if (restore_is(r, "make_version")) {
        gboolean ok = restore_version_build(r, &t->version, &is_known, error);
        t->has_version = !is_known;
        if (!ok)
            return FALSE;
    }
    if (!find_base(r, t, replicate, &below, error))
        return FALSE;
    identity->id = (char *)t->layer;
    identity->owner_kind = "desktop";
    identity->parent = t->is_flat ? NULL : t->base.id;
    RestoreLayer b = { .chain = r->point->layers,
                       .virtual_size = r->point->virtual_size,
                       .from = (guint)restore_int(r, "n_template"),
                       .to = r->point->layers->len,
                       .base = t->is_flat ? NULL : &t->base,
                       .below = below,
                       .identity = identity };
    return restore_layer_build(r, &b, &summary, error);
}

static gboolean make_data_disk(RestoreWork *r, Target *t, Identity *identity, GError **error)
{
    LayerSummary summary = { 0 };
    RestoreLayer b = { .chain = r->point->data_layers,
                       .virtual_size = r->point->data_size,
                       .to = r->point->data_layers->len,
                       .identity = identity };

    identity->id = (char *)t->data_layer;
    identity->owner_kind = "data";
    identity->parent = NULL;
    return restore_layer_build(r, &b, &summary, error);
}

/* Build what is wanted, and switch to it.  What fails leaves files only, for restore_desktop() to
 * discard. */
static gboolean make_desktop(RestoreWork *r, Target *t, ArchiveReplicate replicate, GError **error)
{
    Identity identity = { .owner_id = (char *)restore_text(r, "desktop_id"),
                          .owner_name = (char *)restore_text(r, "name"),
                          .generation = t->desktop.generation + (t->layer != NULL),
                          .created_at = units_now_ms() };

    return (!t->layer || make_disk(r, t, &identity, replicate, error)) &&
           (!t->data_layer || make_data_disk(r, t, &identity, error)) &&
           commit_desktop(r, t, error);
}

/* Either folder is right. */
static void move_old(const Old *o)
{
    const char *slot = o->row.slot;

    if (o->is_there)
        o->store->ops->move(o->store, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL, NULL);
}

static gboolean restore_desktop(RestoreWork *r, Target *t, ArchiveReplicate replicate,
                                GError **error)
{
    if (!load_rows(r, t, error))
        return FALSE;
    if (t->is_done) /* in the journal just before a stop */
        return job_commit_done(r->job, changes_new(), desktop_result(r), error);
    if (!take_lock(r, &t->old, error) || !take_lock(r, &t->old_data, error))
        return FALSE;
    if (!make_desktop(r, t, replicate, error)) { /* what is built may be from before a stop */
        if (t->layer)
            restore_discard(r, t->layer);
        if (t->data_layer)
            restore_discard(r, t->data_layer);
        if (t->has_version)
            restore_discard(r, restore_text(r, "version_layer"));
        return FALSE;
    }
    move_old(&t->old);
    move_old(&t->old_data);
    return TRUE;
}

static gboolean run_steps(RestoreWork *r, ArchiveReplicate replicate, GError **error)
{
    Target t = { .old.lock = IMAGE_LOCK_INIT, .old_data.lock = IMAGE_LOCK_INIT };

    if (r->point->is_template)
        return restore_version(r, error);
    gboolean ok = restore_desktop(r, &t, replicate, error);
    target_clear(&t);
    return ok;
}

gboolean archive_restore_run(Job *job, World *world, ArchiveReplicate replicate, GError **error)
{
    RestoreWork r = { .job = job, .world = world };
    const char *text = restore_text(&r, "manifest");
    g_autoptr(ArchivePoint) point =
        archive_point_parse(text, strlen(text), restore_text(&r, "point"), error);
    g_autoptr(ArchiveTarget) target =
        point ? archive_open(world, restore_text(&r, "target"), error) : NULL;
    g_autoptr(Store) store =
        target ? store_set_get(world->stores, restore_text(&r, "store_id"), error) : NULL;

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
