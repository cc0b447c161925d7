/* hardware.c: see hardware.h. */
#include "imaged/ops/hardware.h"

#include "broker/host/networks.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/channels.h"

gboolean hardware_take(const OpsCall *call, const json_t **ret, GError **error)
{
    const json_t *change = json_object_get(call->args, "hardware");
    gboolean ok = TRUE;
    size_t i;
    json_t *name;

    *ret = json_is_null(change) ? NULL : change;
    if (!*ret)
        return TRUE;
    if (!hardware_check(change, error))
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    json_array_foreach (json_object_get(change, "networks"), i, name) {
        g_auto(NetworkRow) network = { 0 };
        ok = ok && network_lookup(db, json_string_value(name), &network, error);
    }
    catalog_read_end(call->world->catalog, db);
    return ok;
}

char *hardware_keys(const json_t *change)
{
    GString *out = g_string_new(NULL);
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)change, key, value)
        g_string_append_printf(out, "%s%s", out->len ? ", " : "", key);
    return g_string_free(out, FALSE);
}

char *hardware_of_pool(Db *db, const char *desktop_id)
{
    Query *q = db_query(db,
                        "SELECT json_extract(p.settings, '$.hardware') AS hardware FROM"
                        " pool_desktop m JOIN pool p ON p.id = m.pool_id WHERE m.desktop_id = ?1",
                        "t", desktop_id);
    char *out = query_next(q) ? g_strdup(query_text(q, "hardware")) : NULL;

    query_end(q, NULL);
    return out;
}

json_t *hardware_shown(Db *db, const char *version_id, const DesktopRow *desktop)
{
    g_auto(VersionRow) version = { 0 };

    if (!lookup_version_by_id(db, version_id, &version, NULL))
        return json_object();
    g_autofree char *more = desktop ? hardware_of_pool(db, desktop->id) : NULL;
    json_t *out = hardware_of(&version, desktop, more);
    g_auto(Hardware) read = { 0 };
    guint n = 0;
    hardware_read(out, NULL, &read);
    if (desktop && channels_narrow(db, desktop->id, &read.channels, &n, NULL) && n)
        channels_put(out, &read.channels);
    return out;
}
