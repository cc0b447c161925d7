/* submit.c: see submit.h. */
#include "imaged/ops/submit.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/args.h"
#include "imaged/ops/dry_run.h"
#include "imaged/ops/quota_gate.h"

gboolean submit_is_repeat(OpsCall *call, GError **error)
{
    if (!call->idem_key)
        return FALSE;
    call->job_id = job_find_idempotent(call->world->jobs, call->idem_key, call->idem_hash, error);
    return call->job_id != NULL;
}

json_t *submit_request(OpsCall *call, JobRequest *request, GError **error)
{
    request->owner = call->who;
    request->idem_key = call->idem_key;
    request->idem_hash = call->idem_hash;
    call->job_id = job_submit(call->world->jobs, request, error);
    return NULL;
}

/* One thing was asked for and it could not even begin: that is the call's own error. */
static gboolean fail_single(BatchPlan *plan, GError **error)
{
    json_t *why = json_object_get(json_array_get(plan->rejected, 0), "error");
    const char *name =
        json_string_value(json_object_get(json_array_get(plan->rejected, 0), "name"));
    const char *hint = json_string_value(json_object_get(why, "hint"));

    if (json_array_size(plan->items) != 0 || json_array_size(plan->rejected) != 1)
        return FALSE;
    g_set_error(error, IMAGED_ERROR,
                imaged_error_from_name(json_string_value(json_object_get(why, "code"))), "'%s': %s",
                name, json_string_value(json_object_get(why, "message")));
    if (hint)
        imaged_error_hint(error, "%s", hint);
    return TRUE;
}

json_t *submit_plan(OpsCall *call, BatchPlan *plan, GError **error)
{
    JobRequest request = { 0 };

    if (fail_single(plan, error))
        return NULL;
    batch_plan_take(plan, &request);
    return submit_request(call, &request, error);
}

static gboolean select_names(Db *db, json_t *names, LookupRows *ret, json_t *missing,
                             GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    size_t i;
    json_t *name;

    *ret = (LookupRows){ ROW_DESKTOP, g_ptr_array_new() };
    json_array_foreach(names, i, name) {
        g_autofree DesktopRow *row = g_new0(DesktopRow, 1);
        const char *text = json_string_value(name);
        if (!g_hash_table_add(seen, (gpointer)text))
            continue; /* named twice */
        if (lookup_desktop(db, text, row, NULL))
            g_ptr_array_add(ret->rows, g_steal_pointer(&row));
        else
            json_array_append(missing, name);
    }
    return TRUE;
}

/* Of what was selected, drop what the caller can't see (if it was named: it is missing); he must be
 * allowed all the rest.  The route's check was made with names, which may mean others by now. */
static gboolean keep_allowed(Db *db, const OpsCall *call, LookupRows *rows, json_t *missing,
                             GError **error)
{
    gboolean is_named = json_object_get(call->args, "names") != NULL;

    for (guint i = 0; !(call->caller && call->caller->is_admin) && i < rows->rows->len;) {
        DesktopRow *row = rows->rows->pdata[i];
        g_autoptr(GError) local = NULL;
        if (access_check_id(db, call->caller, call->permission, "desktop", row->id, row->name,
                            &local)) {
            i++;
            continue;
        }
        if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (is_named)
            json_array_append_new(missing, json_string(row->name));
        row_free(ROW_DESKTOP, row);
        g_ptr_array_remove_index(rows->rows, i);
    }
    return TRUE;
}

gboolean submit_select(OpsCall *call, LookupRows *ret, json_t **ret_missing, GError **error)
{
    json_t *names = NULL;
    const char *prefix = args_text(call, "prefix", FALSE, NULL);
    const char *template = args_text(call, "template", FALSE, NULL);

    if (!args_texts(call, "names", &names, error))
        return FALSE;
    if (!!names + !!prefix + !!template != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "name desktops, or a prefix, or a template: one of the three");
        return FALSE;
    }
    if (prefix && !*prefix) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the prefix is empty");
        imaged_error_hint(error, "all of them are found by: --search 'name = *'");
        return FALSE;
    }
    *ret_missing = json_array();
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok =
        names ? select_names(db, names, ret, *ret_missing, error)
        : prefix
            ? lookup_rows(db, ROW_DESKTOP, ret, error,
                          "SELECT * FROM desktop WHERE is_trashed = 0 AND"
                          " substr(name, 1, length(?1)) = ?1 ORDER BY name",
                          "t", prefix)
            : lookup_rows(db, ROW_DESKTOP, ret, error,
                          "SELECT d.* FROM desktop d JOIN version v ON v.id = d.version_id JOIN"
                          " template t ON t.id = v.template_id WHERE d.is_trashed = 0 AND"
                          " (t.name = ?1 OR t.name || ':' || v.version = ?1) ORDER BY d.name",
                          "t", template);
    ok = ok && keep_allowed(db, call, ret, *ret_missing, error);
    catalog_read_end(call->world->catalog, db);
    if (ok && ret->rows->len == 0 && json_array_size(*ret_missing) == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "no desktop is selected");
        ok = FALSE;
    }
    return ok;
}

void submit_reject_missing(BatchPlan *plan, json_t *missing)
{
    size_t i;
    json_t *name;

    json_array_foreach(missing, i, name) {
        g_autofree char *shown = text_for_message(json_string_value(name), 80);
        g_autoptr(GError) error = g_error_new(IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                                              "there is no such desktop");
        batch_plan_reject(plan, shown, error);
    }
    json_decref(missing);
}

static json_t *tell(OpsCall *call, LookupRows *desktops, const json_t *missing, SubmitDryRun dry,
                    SubmitPlan make, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    json_t *out = dry(call->world, desktops, missing);

    if (make(call, desktops, &plan, error)) { /* as far as the verb itself would plan */
        dry_run_refuse(out, plan.rejected);
        return out;
    }
    json_decref(out);
    return NULL;
}

/* Plan for those whose quotas allow it, and submit. */
static void plan_and_submit(OpsCall *call, LookupRows *desktops, json_t *missing, QuotaGate *gate,
                            SubmitPlan make, GError **error)
{
    g_auto(BatchPlan) plan = { 0 };
    JobRequest request = { 0 };
    Id id = id_new();

    quota_gate(call->world, desktops, gate);
    if (!make(call, desktops, &plan, error))
        return;
    quota_gate_reject(gate, &plan);
    submit_reject_missing(&plan, json_incref(missing));
    if (fail_single(&plan, error))
        return;
    request.changes = quota_gate_hold(call->world, gate->kind, plan.items, id.s);
    request.id = id.s;
    batch_plan_take(&plan, &request);
    submit_request(call, &request, error);
}

#define MAX_TRIES 5 /* with others who take up the same quotas at the same moments */

static json_t *submit(OpsCall *call, const char *allowed, SubmitDryRun dry, QuotaKind kind,
                      SubmitPlan make, GError **error)
{
    g_auto(LookupRows) desktops = { 0 };
    g_auto(QuotaGate) gate = { 0 };
    json_t *missing = NULL, *out = NULL;
    gboolean dry_run;

    if (!args_check(call, allowed, error) || !args_bool(call, "dry_run", &dry_run, error) ||
        (!dry_run && submit_is_repeat(call, error)) || (error && *error))
        return NULL;
    quota_gate_init(&gate, kind);
    if (!submit_select(call, &desktops, &missing, error)) {
        json_decref(missing);
        return NULL;
    }
    if (dry_run)
        out = tell(call, &desktops, missing, dry, make, error);
    for (guint n = 1; !dry_run; n++) {
        g_autoptr(GError) local = NULL;
        plan_and_submit(call, &desktops, missing, &gate, make, &local);
        if (n < MAX_TRIES && gate.kind != QUOTA_N && desktops.rows->len &&
            g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_DENIED))
            continue;
        if (local)
            g_propagate_error(error, g_steal_pointer(&local));
        break;
    }
    json_decref(missing);
    return out;
}

json_t *submit_on_desktops(OpsCall *call, const char *allowed, SubmitDryRun dry, SubmitPlan make,
                           GError **error)
{
    return submit(call, allowed, dry, QUOTA_N, make, error);
}

json_t *submit_counted(OpsCall *call, const char *allowed, QuotaKind kind, SubmitPlan make,
                       GError **error)
{
    return submit(call, allowed, NULL, kind, make, error);
}
