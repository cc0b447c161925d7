/* archive_restore_version.c: the template version that an archive point is, or that its desktop
 * stands on, made from the point's layers. */
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "snapshot/archive_restore_layer.h"

const char *restore_text(const RestoreWork *r, const char *key)
{
    return json_string_value(json_object_get(job_plan(r->job), key));
}

gint64 restore_int(const RestoreWork *r, const char *key)
{
    return json_integer_value(json_object_get(job_plan(r->job), key));
}

gboolean restore_is(const RestoreWork *r, const char *key)
{
    return json_is_true(json_object_get(job_plan(r->job), key));
}

void restore_discard(RestoreWork *r, const char *slot)
{
    r->store->ops->discard(r->store, STORE_LAYERS, &slot, 1, NULL);
}

void restore_version_put(RestoreWork *r, const LayerSummary *summary, Changes *changes)
{
    const ArchivePoint *p = r->point;
    gint64 now = units_now_ms(), number = restore_int(r, "number");
    char *layer_id = (char *)restore_text(r, "version_layer"),
         *source = (char *)restore_text(r, "source");
    TemplateRow template = { .id = (char *)restore_text(r, "template_id"),
                             .name = (char *)restore_text(r, "template_name"),
                             .last_version = restore_int(r, "last_version"),
                             .created_at = restore_int(r, "template_created"),
                             .changed_at = now };
    VersionRow version = { .id = (char *)restore_text(r, "version_id"),
                           .template_id = template.id,
                           .version = number,
                           .state = (char *)restore_text(r, "version_state"),
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
    if (restore_int(r, "n_template") ==
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

gboolean restore_version_build(RestoreWork *r, LayerSummary *ret, gboolean *ret_is_known,
                               GError **error)
{
    guint n = (guint)restore_int(r, "n_template");
    Identity identity = { .id = (char *)restore_text(r, "version_layer"),
                          .owner_kind = "template",
                          .owner_id = (char *)restore_text(r, "version_id"),
                          .owner_name = (char *)restore_text(r, "template_name"),
                          .generation = restore_int(r, "number"),
                          .created_at = units_now_ms() };
    RestoreLayer b = { .chain = r->point->layers,
                       .virtual_size = r->point->virtual_size,
                       .to = n,
                       .identity = &identity,
                       .is_frozen = TRUE };
    g_auto(LayerRow) there = { 0 };
    Db *db = catalog_read_begin(r->world->catalog);

    *ret_is_known = lookup_layer(db, identity.id, &there, NULL);
    catalog_read_end(r->world->catalog, db);
    return *ret_is_known || restore_layer_build(r, &b, ret, error);
}

gboolean restore_version(RestoreWork *r, GError **error)
{
    g_autofree char *name = g_strdup_printf(
        "%s:%" G_GINT64_FORMAT, restore_text(r, "template_name"), restore_int(r, "number"));
    LayerSummary summary = { 0 };
    gboolean is_known;

    gboolean ok = restore_version_build(r, &summary, &is_known, error);
    if (ok) {
        Changes *changes = changes_new();
        if (!is_known)
            restore_version_put(r, &summary, changes);
        ok = job_commit_done(r->job, changes,
                             json_pack("{s:s,s:s,s:s,s:s}", "id", restore_text(r, "version_id"),
                                       "name", name, "kind", "template", "point", r->point->id),
                             error);
    }
    if (!ok && !is_known)
        restore_discard(r, restore_text(r, "version_layer"));
    return ok;
}
