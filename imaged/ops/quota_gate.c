/* quota_gate.c: see quota_gate.h.  Those of the same batch are reckoned with, and what unfinished
 * jobs hold; what passes here is decided when the job's intent is committed. */
#include "imaged/ops/quota_gate.h"

void quota_gate_init(QuotaGate *gate, QuotaKind kind)
{
    *gate = (QuotaGate){ kind, g_ptr_array_new_with_free_func(g_free),
                         g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free) };
}

void quota_gate_clear(QuotaGate *gate)
{
    if (gate->names)
        g_ptr_array_unref(gate->names);
    if (gate->errors)
        g_ptr_array_unref(gate->errors);
    *gate = (QuotaGate){ 0 };
}

/* A snapshot lets the disk grow, for what it keeps is not written over. */
static gboolean check_one(World *world, Db *db, QuotaKind kind, const char *id, GHashTable *planned,
                          GHashTable *bytes, GError **error)
{
    return (kind != QUOTA_SNAPSHOTS ||
            quota_check_more(world, db, id, QUOTA_DISK_BYTES, bytes, error)) &&
           quota_check_more(world, db, id, kind, planned, error);
}

void quota_gate(World *world, LookupRows *desktops, QuotaGate *gate)
{
    g_autoptr(GHashTable) planned = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) bytes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    if (gate->kind == QUOTA_N)
        return;
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_any = quota_any(db);
    for (guint i = 0; has_any && i < desktops->rows->len;) {
        DesktopRow *row = desktops->rows->pdata[i];
        GError *why = NULL;
        if (check_one(world, db, gate->kind, row->id, planned, bytes, &why)) {
            i++;
            continue;
        }
        g_ptr_array_add(gate->names, g_strdup(row->name));
        g_ptr_array_add(gate->errors, why);
        row_free(ROW_DESKTOP, row);
        g_ptr_array_remove_index(desktops->rows, i);
    }
    catalog_read_end(world->catalog, db);
}

void quota_gate_reject(const QuotaGate *gate, BatchPlan *plan)
{
    for (guint i = 0; i < gate->names->len; i++)
        batch_plan_reject(plan, gate->names->pdata[i], gate->errors->pdata[i]);
}

Changes *quota_gate_hold(World *world, QuotaKind kind, const json_t *items, const char *job_id)
{
    const char *thing = kind == QUOTA_RUNNING     ? "incarnation"
                        : kind == QUOTA_SNAPSHOTS ? "snapshot_id"
                                                  : NULL;
    size_t i;
    json_t *item;

    if (!thing)
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean has_any = quota_any(db);
    catalog_read_end(world->catalog, db);
    if (!has_any)
        return NULL;
    Changes *changes = changes_new();
    json_array_foreach (items, i, item) {
        const char *id = json_string_value(json_object_get(item, thing));
        if (id) /* one that goes on where it was paused has none, and is counted already */
            quota_hold(changes, kind, json_string_value(json_object_get(item, "id")), id, job_id);
    }
    return changes;
}
