/* adopt_rows.c: see adopt_rows.h. */
#include "imaged/ops/adopt_rows.h"

#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

void adopt_put_layer(World *world, Store *store, Changes *changes, const Found *f,
                     const LayerRow *below, const char *state)
{
    LayerRow row = { .id = f->identity.id,
                     .slot = f->slot,
                     .store_id = store->id,
                     .parent_id = below->id,
                     .owner_kind = f->identity.owner_kind,
                     .owner_id = f->identity.owner_id,
                     .generation = f->identity.generation,
                     .state = (char *)state,
                     .place = f->in_trash ? "trash" : "layers",
                     .virtual_size = (gint64)f->virtual_size,
                     .checksum = f->checksum,
                     .created_at = f->identity.created_at };

    changes_put(changes, ROW_LAYER, &row, store->id);
}

void adopt_put_desktop(World *world, Store *store, Changes *changes, const Found *f,
                       const LayerRow *below, const char *version_id, gboolean is_trashed)
{
    gint64 now = units_now_ms();
    g_autofree char *mac = id_to_mac(f->identity.owner_id);
    g_autofree char *uuid = id_to_uuid(f->identity.owner_id);
    DesktopRow row = { .id = f->identity.owner_id,
                       .name = f->identity.owner_name,
                       .version_id = (char *)version_id,
                       .owner = "",
                       .generation = f->identity.generation,
                       .layer_id = f->identity.id,
                       .store_id = store->id,
                       .mac = mac,
                       .uuid = uuid,
                       .state = "ok",
                       .is_trashed = is_trashed,
                       .created_at = f->identity.created_at,
                       .changed_at = now };

    /* Larger than what it stands on: it was wished so, and a reset must not shrink it. */
    if (below->id && (gint64)f->virtual_size > below->virtual_size)
        row.disk_size = (gint64)f->virtual_size;
    changes_put(changes, ROW_DESKTOP, &row, store->id);
}

void adopt_put_trash(World *world, Store *store, Changes *changes, const Found *f,
                     const char *version_id, const char *kind)
{
    Id id = id_derive("trash", f->identity.id, store->id);
    gint64 now = units_now_ms();
    StoreStat stat = { 0 };

    store_stat_layer(store, f->slot, &stat, NULL);
    TrashRow row = { .id = id.s,
                     .kind = (char *)kind,
                     .reason = g_str_equal(kind, "disk")   ? "reset"
                               : g_str_equal(kind, "data") ? "detached"
                                                           : "deleted",
                     .name = f->identity.owner_name,
                     .desktop_id =
                         g_str_equal(kind, "template_version") || g_str_equal(kind, "stand_in")
                             ? NULL
                             : f->identity.owner_id,
                     .version_id = (char *)version_id,
                     .layer_id = f->identity.id,
                     .store_id = store->id,
                     .generation = f->identity.generation,
                     .disk_bytes = (gint64)stat.disk_bytes,
                     .trashed_at = now,
                     .expires_at = now + world->settings.trash_keep_ms };

    changes_put(changes, ROW_TRASH, &row, store->id);
}

void adopt_put_snapshot(World *world, Store *store, Changes *changes, const Found *f,
                        const char *version_id)
{
    Id id = id_derive("snapshot", f->identity.id, store->id);
    gint64 now = units_now_ms();
    g_autofree char *name = g_strdup_printf("recovered-%.12s", f->identity.id);
    SnapshotRow row = { .id = id.s,
                        .desktop_id = f->identity.owner_id,
                        .name = name,
                        .description = "found in the store without a journal",
                        .layer_id = f->identity.id,
                        .store_id = store->id,
                        .version_id = (char *)version_id,
                        .generation = f->identity.generation,
                        .created_at = f->identity.created_at,
                        .changed_at = now };

    changes_put(changes, ROW_SNAPSHOT, &row, store->id);
}

char *adopt_put_no_version(World *world, Store *store, Changes *changes, const Found *f)
{
    Id template_id = id_derive("template", "none", store->id);
    Id id = id_derive("version", "none", store->id);
    TemplateRow template = { .id = template_id.s,
                             .name = "none",
                             .last_version = 1,
                             .is_trashed = TRUE,
                             .created_at = f->identity.created_at };
    VersionRow version = { .id = id.s,
                           .template_id = template_id.s,
                           .version = 1,
                           .state = "retired",
                           .is_trashed = TRUE,
                           .layer_id = f->identity.id,
                           .cpus = 2,
                           .memory_bytes = 2 * (gint64)GIB,
                           .os = "",
                           .description = "of flattened disks, found without a journal",
                           .source = "",
                           .notes = "",
                           .created_at = f->identity.created_at };

    changes_put(changes, ROW_TEMPLATE, &template, store->id);
    changes_put(changes, ROW_VERSION, &version, store->id);
    return g_strdup(id.s);
}

/* The template that f is a version of.  A deleted one that would stand in the way of another with
 * its name and number gets a template of its own. */
static void find_template(World *world, Store *store, const Found *f, TemplateRow *ret)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_there = lookup_template(db, f->identity.owner_name, ret, NULL);
    gboolean is_taken =
        is_there &&
        lookup_int(db,
                   "SELECT EXISTS (SELECT 1 FROM version WHERE template_id = ?1 AND version = ?2)",
                   "ti", ret->id, f->identity.generation);

    catalog_read_end(world->catalog, db);
    if (is_there && !(f->in_trash && is_taken))
        return;
    Id id = is_taken ? id_derive("template", f->identity.id, store->id)
                     : id_derive("template", f->identity.owner_name, store->id);
    row_clear(ROW_TEMPLATE, ret);
    *ret = (TemplateRow){ .id = g_strdup(id.s),
                          .name = g_strdup(f->identity.owner_name),
                          .is_trashed = f->in_trash,
                          .created_at = units_now_ms() };
}

void adopt_put_version(World *world, Store *store, Changes *changes, const Found *f)
{
    g_auto(TemplateRow) template = { 0 };
    gint64 now = units_now_ms();

    find_template(world, store, f, &template);
    template.last_version = MAX(template.last_version, f->identity.generation);
    template.changed_at = now;
    VersionRow version = { .id = f->identity.owner_id,
                           .template_id = template.id,
                           .version = f->identity.generation,
                           .state = "published",
                           .is_trashed = f->in_trash,
                           .layer_id = f->identity.id,
                           .cpus = 2,
                           .memory_bytes = 2 * (gint64)GIB,
                           .os = "",
                           .description = "",
                           .source = "",
                           .notes = "found in the store without a journal",
                           .created_at = f->identity.created_at,
                           .changed_at = now };
    changes_put(changes, ROW_TEMPLATE, &template, store->id);
    changes_put(changes, ROW_VERSION, &version, store->id);
}
