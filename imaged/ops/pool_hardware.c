/* pool_hardware.c: what machines a pool's desktops are, where it says something else than their
 * template's version.  Kept among the pool's settings. */
#include "broker/pool/change.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/channels.h"
#include "imaged/ops/hardware.h"
#include "imaged/ops/pool_ops.h"

static json_t *shown(const PoolRow *row)
{
    json_auto_t *settings = json_loads(row->settings, 0, NULL);
    json_t *hardware = json_object_get(settings, "hardware");

    return json_pack("{s:s,s:s,s:o}", "id", row->id, "name", row->name, "hardware",
                     hardware ? json_incref(hardware) : json_object());
}

static gboolean find(OpsCall *call, PoolRow *ret, GError **error)
{
    const char *name = args_text(call, "pool", TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = pool_find(db, name, ret, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

/* With change applied; row->settings is replaced. */
static void apply(PoolRow *row, const json_t *change)
{
    json_auto_t *settings = json_loads(row->settings, 0, NULL);
    json_t *before = json_object_get(settings, "hardware");
    g_autofree char *stored = before ? json_dumps(before, JSON_COMPACT) : NULL;
    g_autofree char *now = hardware_apply(stored, change);

    if (now)
        json_object_set_new(settings, "hardware", json_loads(now, 0, NULL));
    else
        json_object_del(settings, "hardware");
    g_free(row->settings);
    row->settings = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
}

json_t *ops_pool_hardware(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };

    return args_check(call, "pool", error) && find(call, &row, error) ? shown(&row) : NULL;
}

json_t *ops_pool_set_hardware(OpsCall *call, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    const json_t *change;

    if (!args_check(call, "pool hardware", error) || !hardware_take(call, &change, error))
        return NULL;
    if (!change || channels_any(change)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    change ? "what a pool's users may do is no matter of its hardware"
                           : "nothing is to be set");
        if (change)
            imaged_error_hint(error, "set it with: imagectl pool channels POOL");
        return NULL;
    }
    if (!find(call, &row, error))
        return NULL;
    apply(&row, change);
    return pool_update(call->world, &row, FALSE, call->who, error) ? shown(&row) : NULL;
}
