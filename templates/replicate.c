/* replicate.c: a copy of a template version's layer in another store: chains never cross stores, so
 * a base that is needed elsewhere is copied, once. */
#include "templates/template.h"

#include "cow/identity.h"
#include "cow/layer_copy.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

static void show_progress(guint64 bytes, gpointer job)
{
    job_message(job, "copying the template: %" G_GUINT64_FORMAT " MiB", (guint64)(bytes / MIB));
}

static void fill_row(LayerRow *ret, const Id *id, const Store *to, const VersionRow *version,
                     const LayerRow *from, const LayerRow *parent, const char *checksum)
{
    *ret = (LayerRow){ .id = g_strdup(id->s), .slot = g_strdup(id->s),
                       .store_id = g_strdup(to->id), .parent_id = g_strdup(parent->id),
                       .owner_kind = g_strdup("template"),
                       .owner_id = g_strdup(version->id), .generation = version->version,
                       .state = g_strdup("frozen"), .place = g_strdup("layers"),
                       .virtual_size = from->virtual_size, .checksum = g_strdup(checksum),
                       .created_at = units_now_ms() };
}

/* A copy that was whole before a stop, but not yet known. */
static gboolean find_copy(Store *to, const char *slot, char ret_checksum[33])
{
    g_autoptr(Layer) layer = store_open_layer(to, slot, NULL, NULL);
    Digest digest;

    if (!layer || !digest_file(layer_fd(layer), NULL, NULL, NULL, &digest, NULL))
        return FALSE;
    g_autofree char *text = digest_to_text(&digest);
    g_strlcpy(ret_checksum, text, 33);
    return TRUE;
}

static gboolean copy(Job *job, World *world, const LayerRow *from, const LayerRow *parent,
                     const VersionRow *version, const char *name, Store *to, LayerRow *ret,
                     GError **error)
{
    g_autoptr(Store) source = store_set_get(world->stores, from->store_id, error);
    g_autoptr(Layer) layer = source ? store_open_layer(source, from->slot, NULL, error) : NULL;
    Id id = id_derive(job_id(job), version->id, to->id); /* the same one if it is done again */
    const char *slot = id.s;
    char checksum[33];

    if (layer && find_copy(to, slot, checksum))
        return fill_row(ret, &id, to, version, from, parent, checksum), TRUE;
    if (!layer || !world_check_space(world, to, layer_file_size(layer), error))
        return FALSE;
    g_autofree char *backing =
        parent->slot ? g_strdup_printf("../layers/%s", parent->slot) : NULL;
    Identity identity = { .id = id.s, .parent = parent->id, .owner_kind = "template",
                          .owner_id = version->id,
                          .owner_name = (char *)name, .generation = version->version,
                          .created_at = units_now_ms() };
    g_autofree char *text = identity_to_json(&identity);
    auto_fd fd = to->ops->create_tmp(to, slot, error);
    if (fd < 0)
        return FALSE;
    LayerCopy work = { .from = layer_fd(layer),
                       .to = fd,
                       .identity = text,
                       .backing_name = backing,
                       .checksum = from->checksum,
                       .cancel = job_cancel_flag(job),
                       .progress = show_progress,
                       .data = job };
    if (!layer_copy(&work, checksum, error) || !to->ops->publish_tmp(to, slot, TRUE, error)) {
        to->ops->discard(to, STORE_TMP, &slot, 1, NULL);
        return FALSE;
    }
    fill_row(ret, &id, to, version, from, parent, checksum);
    return TRUE;
}

/* The copy, in the same store, of what from stands on; an empty row for a base. */
static gboolean replicate_parent(Job *job, World *world, const LayerRow *from, const char *store_id,
                                 LayerRow *ret, GError **error)
{
    g_auto(LayerRow) parent = { 0 };

    if (!from->parent_id)
        return TRUE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_layer(db, from->parent_id, &parent, error);
    catalog_read_end(world->catalog, db);
    return ok && template_replicate(job, world, parent.owner_id, store_id, ret, error);
}

gboolean template_replicate(Job *job, World *world, const char *version_id, const char *store_id,
                            LayerRow *ret_layer, GError **error)
{
    g_auto(VersionRow) version = { 0 };
    g_auto(TemplateRow) template = { 0 };
    g_auto(LayerRow) from = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_there = lookup_version_layer(db, version_id, store_id, ret_layer, NULL);
    gboolean ok = is_there || (lookup_version_by_id(db, version_id, &version, error) &&
                               lookup_template_by_id(db, version.template_id, &template, error) &&
                               lookup_layer(db, version.layer_id, &from, error));

    catalog_read_end(world->catalog, db);
    if (is_there || !ok)
        return ok;
    g_auto(LayerRow) parent = { 0 };
    g_autoptr(Store) to = store_set_get(world->stores, store_id, error);
    if (!to || !replicate_parent(job, world, &from, store_id, &parent, error) ||
        !copy(job, world, &from, &parent, &version, template.name, to, ret_layer, error))
        return FALSE;
    Changes *changes = changes_new();
    changes_put(changes, ROW_LAYER, ret_layer, store_id);
    changes_put(changes, ROW_TEMPLATE, &template, store_id);
    changes_put(changes, ROW_VERSION, &version, store_id);
    changes_event(changes, "template.copy", "info", template.name, job_owner(job),
                  "version %" G_GINT64_FORMAT " copied to another store", version.version);
    if (catalog_commit(world->catalog, changes, error))
        return TRUE;
    const char *slot = ret_layer->slot;
    to->ops->discard(to, STORE_LAYERS, &slot, 1, NULL);
    layer_row_clear(ret_layer);
    return FALSE;
}
