/* stores.c: stores added, shown, drained, removed, checked. */
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/recover.h"
#include "imaged/ops/submit.h"

static json_t *features(const StoreFeatures *f)
{
    return json_pack("{s:b,s:b,s:b}", "locks", f->has_locks, "reflink", f->has_reflink, "direct_io",
                     f->has_direct_io);
}

static json_t *store_object(World *world, const char *id)
{
    g_auto(StoreEntry) e = { 0 };
    StoreSpace space = { 0 };

    if (!store_set_describe(world->stores, id, &e))
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n_layers = lookup_int(db, "SELECT count(*) FROM layer WHERE store_id = ?1 AND state IN"
                                     " ('active', 'frozen')", "t", id);
    gint64 n_trash = lookup_int(db, "SELECT count(*) FROM trash WHERE store_id = ?1", "t", id);
    catalog_read_end(world->catalog, db);
    g_autoptr(Store) online = store_set_get(world->stores, id, NULL);
    if (online)
        online->ops->space(online, &space, NULL);
    else if (e.store) { /* it went away just now: ask for the reason */
        store_entry_clear(&e);
        store_set_describe(world->stores, id, &e);
    }
    json_t *out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s?,s:b,s:I,s:I,s:I,s:I,s:I,s:b}", "id", id,
                            "name", e.name, "kind", "dir", "location", e.location, "state",
                            !online         ? "offline"
                            : e.is_draining ? "draining"
                                            : "online",
                            "reason", online ? NULL : e.reason, "is_default", e.is_default,
                            "total_bytes", (json_int_t)space.total_bytes, "free_bytes",
                            (json_int_t)space.free_bytes, "free_inodes",
                            (json_int_t)space.free_inodes, "n_layers", (json_int_t)n_layers,
                            "n_trash", (json_int_t)n_trash, "low_space",
                            online && world_is_low(world, online));
    json_object_set_new(out, "layer_format",
                        online ? json_string(store_layer_format_name(online->layer_format))
                               : json_null());
    json_object_set_new(out, "features", online ? features(&online->features) : json_null());
    return out;
}

json_t *ops_store_list(OpsCall *call, GError **error)
{
    g_autoptr(GPtrArray) ids = store_set_ids(call->world->stores);
    json_t *out = json_array();
    ViewPage page = { 0 };

    if (!args_check(call, "search limit after", error) ||
        !view_page_of(call, "stores", &page, error)) {
        json_decref(out);
        return NULL;
    }
    const char *after = page.after;
    g_autoptr(GPtrArray) found = page.found;
    for (guint i = 0; i < ids->len; i++) {
        if (found && !g_ptr_array_find_with_equal_func(found, ids->pdata[i], g_str_equal, NULL))
            continue;
        json_t *store = store_object(call->world, ids->pdata[i]);
        if (store &&
            (!after || g_strcmp0(json_string_value(json_object_get(store, "name")), after) > 0))
            json_array_append(out, store);
        json_decref(store);
    }
    return out;
}

json_t *ops_store_show(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "store", TRUE, error);

    if (!name || !args_check(call, "store", error))
        return NULL;
    g_autofree char *id = store_set_find(call->world->stores, name, error);
    return id ? store_object(call->world, id) : NULL;
}

/* Write the store into the catalog, and what its journal says if it had an owner before. */
static gboolean adopt(OpsCall *call, const char *name, const char *location, Store *store,
                      GError **error)
{
    World *world = call->world;
    Changes *changes = changes_new();

    changes_sql(changes,
                "INSERT INTO store (id, name, kind, location, state, is_default, seq, created_at)"
                " VALUES (?1, ?2, 'dir', ?3, 'active', 0, 0, ?4)",
                "ttti", store->id, name, location, units_now_ms());
    changes_event(changes, "store.add", "info", name, call->who, "%s", location);
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    store_set_add(world->stores, store->id, name, location, FALSE, FALSE, store_ref(store), NULL);
    return recover_store(world, store->id, error);
}

json_t *ops_store_add(OpsCall *call, GError **error)
{
    World *world = call->world;
    StoreOpenOptions options = { .create = TRUE, .owner_id = world->manager_id,
                                 .layer_format = world->settings.layer_format,
                                 .group = world->settings.image_group };
    const char *name = args_text(call, "name", TRUE, error);
    const char *location = name ? args_text(call, "location", TRUE, error) : NULL;
    const char *format = args_text(call, "layer_format", FALSE, NULL);
    const char *kind = args_text(call, "kind", FALSE, NULL);

    if (!location || !args_check(call, "name location kind layer_format force", error) ||
        !args_are_texts(call, "kind layer_format", error) ||
        !name_check("store", name, error) || !args_bool(call, "force", &options.force, error) ||
        (format && !store_layer_format_parse(format, &options.layer_format, error)))
        return NULL;
    if (kind && !g_str_equal(kind, "dir")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "stores of kind '%.40s' are not"
                    " known", kind);
        return NULL;
    }
    g_autofree char *taken = store_set_find(world->stores, name, NULL);
    if (taken) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a store '%s' already",
                    name);
        return NULL;
    }
    g_autoptr(Store) store = store_dir_open(location, &options, error);
    return store && adopt(call, name, location, store, error) ? store_object(world, store->id)
                                                              : NULL;
}

static json_t *dry_run_remove(const char *id, const char *name, gint64 n_layers)
{
    g_autofree char *why =
        g_strdup_printf("%s: refused: it holds %" G_GINT64_FORMAT " layers", name, n_layers);
    json_t *breaks = json_array();

    if (n_layers)
        json_array_append_new(breaks, json_string(why));
    return json_pack("{s:b,s:[{s:s,s:s,s:b,s:i,s:i,s:O}],s:i,s:i,s:o}", "dry_run", 1, "objects",
                     "id", id, "name", name, "ok", n_layers == 0, "freed_now_bytes", 0,
                     "freed_later_bytes", 0, "breaks", breaks, "freed_now_bytes", 0,
                     "freed_later_bytes", 0, "breaks", breaks);
}

json_t *ops_store_remove(OpsCall *call, GError **error)
{
    World *world = call->world;
    g_auto(StoreEntry) e = { 0 };
    const char *name = args_text(call, "store", TRUE, error);
    gboolean dry_run;

    if (!name || !args_check(call, "store dry_run", error) ||
        !args_bool(call, "dry_run", &dry_run, error))
        return NULL;
    g_autofree char *id = store_set_find(world->stores, name, error);
    if (!id || !store_set_describe(world->stores, id, &e))
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    gint64 n = lookup_int(db, "SELECT count(*) FROM layer WHERE store_id = ?1", "t", id);
    catalog_read_end(world->catalog, db);
    if (dry_run)
        return dry_run_remove(id, name, n);
    if (n || e.is_default) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    e.is_default ? "the default store can't be removed"
                                 : "the store '%s' still holds %" G_GINT64_FORMAT " layers",
                    name, n);
        imaged_error_hint(error,
                          "empty it first: imagectl store drain %s --to OTHER; imagectl trash"
                          " empty",
                          name);
        return NULL;
    }
    json_t *keys = json_array(), *out = NULL;
    claims_add(keys, 'x', "store", id);
    if (claims_take(world->claims, keys, "store.remove", error)) {
        Changes *changes = changes_new();
        changes_sql(changes, "DELETE FROM store WHERE id = ?1", "t", id);
        changes_event(changes, "store.remove", "info", name, call->who, "its files stay at %s",
                      e.location);
        out = store_object(world, id);
        if (catalog_commit(world->catalog, changes, error))
            store_set_remove(world->stores, id);
        else
            g_clear_pointer(&out, json_decref);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    return out;
}

json_t *ops_store_drain(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    const char *from = args_text(call, "store", TRUE, error);
    const char *to = from ? args_text(call, "to", TRUE, error) : NULL;

    if (!to || !args_check(call, "store to", error) || submit_is_repeat(call, error) ||
        (error && *error) || !jobs_plan_drain(call->world, from, to, call->who, &request, error))
        return NULL;
    return submit_request(call, &request, error);
}

json_t *ops_store_check(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    gboolean data, repair;

    if (!args_check(call, "store data repair", error) || !args_are_texts(call, "store", error) ||
        !args_bool(call, "data", &data, error) ||
        !args_bool(call, "repair", &repair, error) || submit_is_repeat(call, error) ||
        (error && *error) ||
        !jobs_plan_check(call->world, args_text(call, "store", FALSE, NULL), data, repair, &request,
                         error))
        return NULL;
    return submit_request(call, &request, error);
}
