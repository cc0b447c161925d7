/* quota_gate.c: see quota_gate.h.  Those of the same batch are reckoned with; two batches at the
 * same moment may together go beyond a quota, which the next one then finds reached. */
#include "imaged/ops/quota_gate.h"

#include "broker/access/quota.h"

void quota_gate_clear(QuotaGate *gate)
{
    if (gate->names)
        g_ptr_array_unref(gate->names);
    if (gate->errors)
        g_ptr_array_unref(gate->errors);
    *gate = (QuotaGate){ 0 };
}

static gboolean is_on(Db *db, const char *desktop_id)
{
    return lookup_int(db, "SELECT count(*) FROM run WHERE desktop_id = ?1", "t", desktop_id) > 0;
}

static gboolean check_one(Db *db, Permission permission, const char *id, GHashTable *planned,
                          GError **error)
{
    QuotaKind kind = permission == PERMISSION_SNAPSHOT_CREATE ? QUOTA_SNAPSHOTS : QUOTA_RUNNING;

    if (kind == QUOTA_RUNNING && is_on(db, id))
        return TRUE;
    return (kind != QUOTA_SNAPSHOTS ||
            quota_check_desktop(db, id, QUOTA_DISK_BYTES, 0, NULL, error)) &&
           quota_check_desktop(db, id, kind, 1, planned, error);
}

void quota_gate(OpsCall *call, LookupRows *desktops, QuotaGate *ret)
{
    g_autoptr(GHashTable) planned =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    *ret = (QuotaGate){ g_ptr_array_new_with_free_func(g_free),
                        g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free) };
    if (call->permission != PERMISSION_SNAPSHOT_CREATE &&
        call->permission != PERMISSION_DESKTOP_START)
        return;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean has_any = lookup_int(db, "SELECT EXISTS (SELECT 1 FROM quota)", "") != 0;
    for (guint i = 0; has_any && i < desktops->rows->len;) {
        DesktopRow *row = desktops->rows->pdata[i];
        GError *why = NULL;
        if (check_one(db, call->permission, row->id, planned, &why)) {
            i++;
            continue;
        }
        g_ptr_array_add(ret->names, g_strdup(row->name));
        g_ptr_array_add(ret->errors, why);
        row_free(ROW_DESKTOP, row);
        g_ptr_array_remove_index(desktops->rows, i);
    }
    catalog_read_end(call->world->catalog, db);
}

void quota_gate_reject(const QuotaGate *gate, BatchPlan *plan)
{
    for (guint i = 0; i < gate->names->len; i++)
        batch_plan_reject(plan, gate->names->pdata[i], gate->errors->pdata[i]);
}
