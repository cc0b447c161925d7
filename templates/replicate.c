/* replicate.c: a copy of a template version's layer in another store: chains never cross stores, so
 * a base that is needed elsewhere is copied, once. */
#include "templates/template.h"

#include "cow/identity.h"
#include "cow/layer_copy.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "templates/new_version.h"

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

static gboolean copy(Job *job, World *world, const LayerRow *from, const LayerRow *parent,
                     const VersionRow *version, const char *name, Store *to, LayerRow *ret,
                     GError **error)
{
    g_autoptr(Store) source = store_set_get(world->stores, from->store_id, error);
    g_autoptr(Layer) layer = source ? store_open_layer(source, from->slot, NULL, error) : NULL;
    Id id = id_derive(job_id(job), version->id, to->id); /* the same one if it is done again */
    const char *slot = id.s;
    char checksum[33];

    gboolean found;
    guint64 size;

    if (!layer || !new_version_find_layer(job, to, slot, &found, &size, checksum, error))
        return FALSE;
    if (found)
        return fill_row(ret, &id, to, version, from, parent, checksum), TRUE;
    if (!world_check_space(world, to, layer_file_size(layer), error))
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

/* What is copied, from where to where. */
typedef struct {
    VersionRow version;
    TemplateRow template;
    LayerRow from, parent; /* parent: in the same store as the copy */
    Store *to;
} Replica;

static void replica_clear(Replica *r)
{
    version_row_clear(&r->version);
    template_row_clear(&r->template);
    layer_row_clear(&r->from);
    layer_row_clear(&r->parent);
    g_clear_pointer(&r->to, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Replica, replica_clear)

static gboolean copy_and_commit(Job *job, World *world, const Replica *r, LayerRow *ret,
                                GError **error)
{
    if (!copy(job, world, &r->from, &r->parent, &r->version, r->template.name, r->to, ret, error))
        return FALSE;
    Changes *changes = changes_new();
    changes_put(changes, ROW_LAYER, ret, r->to->id);
    changes_put(changes, ROW_TEMPLATE, &r->template, r->to->id);
    changes_put(changes, ROW_VERSION, &r->version, r->to->id);
    changes_event(changes, "template.copy", "info", r->template.name, job_owner(job),
                  "version %" G_GINT64_FORMAT " copied to another store", r->version.version);
    if (catalog_commit(world->catalog, changes, error))
        return TRUE;
    const char *slot = ret->slot;
    r->to->ops->discard(r->to, STORE_LAYERS, &slot, 1, NULL);
    layer_row_clear(ret);
    return FALSE;
}

gboolean template_replicate(Job *job, World *world, const char *version_id, const char *store_id,
                            LayerRow *ret_layer, GError **error)
{
    g_auto(Replica) r = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_there = lookup_version_layer(db, version_id, store_id, ret_layer, NULL);
    gboolean ok = is_there || (lookup_version_by_id(db, version_id, &r.version, error) &&
                               lookup_template_by_id(db, r.version.template_id, &r.template,
                                                     error) &&
                               lookup_layer(db, r.version.layer_id, &r.from, error));

    catalog_read_end(world->catalog, db);
    if (is_there || !ok)
        return ok;
    r.to = store_set_get(world->stores, store_id, error);
    if (!r.to || !replicate_parent(job, world, &r.from, store_id, &r.parent, error))
        return FALSE;
    json_t *keys = json_array(); /* else a check takes the copy for an orphan until it is known */
    claims_add(keys, 's', "making", store_id);
    ok = claims_take(world->claims, keys, job_type_kind(job), error);
    if (ok) {
        ok = copy_and_commit(job, world, &r, ret_layer, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    return ok;
}
