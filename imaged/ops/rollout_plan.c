/* rollout_plan.c: see rollout_plan.h.  Desktops go by name: the canary is the first ones. */
#include "imaged/ops/rollout_plan.h"

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/ops/args.h"
#include "snapshot/rollout_rules.h"

void rollout_plan_clear(RolloutPlan *plan)
{
    row_clear(ROW_TEMPLATE, &plan->template);
    row_clear(ROW_VERSION, &plan->version);
    lookup_rows_clear(&plan->desktops);
    json_decref(plan->rows);
    plan->rows = NULL;
}

static gboolean find_version(OpsCall *call, Db *db, RolloutPlan *plan, GError **error)
{
    const char *name = args_text(call, "template", TRUE, error);
    gint64 to;

    if (!name || !args_int(call, "to", 0, 1, G_MAXINT32, &to, error))
        return FALSE;
    if (!lookup_template(db, name, &plan->template, error)) {
        const char *colon = strchr(name, ':');
        if (colon)
            imaged_error_hint(error, "name it without a version, and say that with: --to %s",
                              colon[1] ? colon + 1 : "V");
        return FALSE;
    }
    g_autofree char *ref = to ? g_strdup_printf("%s:%" G_GINT64_FORMAT, name, to) : g_strdup(name);
    if (!lookup_version(db, ref, to == 0, &plan->version, error))
        return FALSE;
    if (g_str_equal(plan->version.state, "published"))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "%s:%" G_GINT64_FORMAT " is %s", name,
                plan->version.version,
                g_str_equal(plan->version.state, "draft") ? "a draft" : "retired");
    imaged_error_hint(error,
                      "publish it first, with: imagectl template publish %s:%" G_GINT64_FORMAT,
                      name, plan->version.version);
    return FALSE;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    const DesktopRow *const *first = a, *const *second = b;

    return strcmp((*first)->name, (*second)->name);
}

/* Those follow their pool's version by themselves. */
static gboolean is_of_pool(Db *db, const char *desktop_id)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM pool_desktop WHERE desktop_id = ?1) AS is_so",
                      "t", desktop_id) != 0;
}

static gboolean add_named(Db *db, RolloutPlan *plan, const char *name, GError **error)
{
    g_autofree DesktopRow *row = g_new0(DesktopRow, 1);
    g_auto(VersionRow) version = { 0 };

    if (!lookup_desktop(db, name, row, error))
        return FALSE;
    if (is_of_pool(db, row->id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "desktop '%s' is of a pool, and follows its version", row->name);
        imaged_error_hint(error, "set that: imagectl pool set POOL --template T:N");
        row_clear(ROW_DESKTOP, row);
        return FALSE;
    }
    if (lookup_version_by_id(db, row->version_id, &version, error) &&
        g_str_equal(version.template_id, plan->template.id)) {
        g_ptr_array_add(plan->desktops.rows, g_steal_pointer(&row));
        return TRUE;
    }
    if (!error || !*error)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "desktop '%s' does not stand on template '%s'", name, plan->template.name);
    row_clear(ROW_DESKTOP, row);
    return FALSE;
}

static gboolean select_named(Db *db, RolloutPlan *plan, const json_t *names, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    size_t i;
    json_t *name;

    plan->desktops = (LookupRows){ ROW_DESKTOP, g_ptr_array_new() };
    json_array_foreach ((json_t *)names, i, name) {
        const char *text = json_string_value(name);
        if (g_hash_table_add(seen, (gpointer)text) && !add_named(db, plan, text, error))
            return FALSE;
    }
    g_ptr_array_sort(plan->desktops.rows, compare_names);
    return TRUE;
}

static gboolean select_desktops(OpsCall *call, Db *db, RolloutPlan *plan, GError **error)
{
    const char *prefix = args_text(call, "prefix", FALSE, NULL);
    json_t *names = NULL;
    gboolean all;

    if (!args_texts(call, "names", &names, error) || !args_bool(call, "all", &all, error))
        return FALSE;
    if (!!names + !!prefix + !!all != 1) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "name desktops, or a prefix, or say all: one of the three");
        return FALSE;
    }
    if (prefix && !*prefix) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the prefix is empty");
        imaged_error_hint(error, "for all desktops of the template say: --all");
        return FALSE;
    }
    if (names ? !select_named(db, plan, names, error)
              : !lookup_rows(db, ROW_DESKTOP, &plan->desktops, error,
                             "SELECT d.* FROM desktop d JOIN version v ON v.id = d.version_id WHERE"
                             " d.is_trashed = 0 AND v.template_id = ?1 AND d.id NOT IN (SELECT"
                             " desktop_id FROM pool_desktop) AND"
                             " substr(d.name, 1, length(?2)) = ?2 ORDER BY d.name",
                             "tt", plan->template.id, prefix ? prefix : ""))
        return FALSE;
    if (plan->desktops.rows->len)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "no desktop of template '%s' is selected", plan->template.name);
    return FALSE;
}

static void add_row(RolloutPlan *plan, const DesktopRow *desktop)
{
    Id layer = id_new(), trash = id_new();
    const char *why = desktop->draft_of ? "a template's next version is made in it"
                      : g_str_equal(desktop->version_id, plan->version.id)
                          ? "it stands on the version already"
                          : NULL;

    json_array_append_new(plan->rows,
                          json_pack("[I,s,s,s,s,s,s,s?]", (json_int_t)json_array_size(plan->rows),
                                    desktop->id, desktop->name, desktop->version_id,
                                    why ? "skipped" : "waiting", layer.s, trash.s, why));
    if (why)
        plan->n_skipped++;
    else
        plan->n_waiting++;
}

gboolean rollout_plan_check_free(World *world, const json_t *rows, GError **error)
{
    char *text = json_dumps(rows, JSON_COMPACT);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT n.value ->> 2 AS desktop, r.name, r.state FROM json_each(?1) n JOIN"
                        " rollout_desktop o ON o.desktop_id = n.value ->> 1 AND o.is_open = 1 JOIN"
                        " rollout r ON r.id = o.rollout_id WHERE n.value ->> 4 = 'waiting' LIMIT 1",
                        "t", text);
    gboolean is_taken = query_next(q);

    if (is_taken) {
        const char *other = query_text(q, "name");
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "desktop '%s' is part of roll-out '%s', which is not over (%s)",
                    query_text(q, "desktop"), other, query_text(q, "state"));
        imaged_error_hint(error,
                          "see it with: imagectl rollout show %s; 'imagectl rollout cancel %s' ends"
                          " it where it is",
                          other, other);
    }
    gboolean ok = query_end(q, is_taken ? NULL : error) && !is_taken;
    catalog_read_end(world->catalog, db);
    free(text);
    return ok;
}

gboolean rollout_plan(OpsCall *call, RolloutPlan *ret, GError **error)
{
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = find_version(call, db, ret, error) && select_desktops(call, db, ret, error);

    catalog_read_end(call->world->catalog, db);
    ret->rows = json_array();
    for (guint i = 0; ok && i < ret->desktops.rows->len; i++)
        add_row(ret, ret->desktops.rows->pdata[i]);
    return ok && rollout_plan_check_free(call->world, ret->rows, error);
}

/* ---- dry run ---- */

/* Of the catalog about one desktop.  Read first for all of them: no reader waits for a store. */
typedef struct {
    char *former; /* the version's name */
    gboolean runs, has_user;
    LayerRow layer;
} Seen;

static Seen *read_seen(World *world, const GPtrArray *desktops)
{
    Seen *seen = g_new0(Seen, desktops->len + 1);
    Db *db = catalog_read_begin(world->catalog);

    for (guint i = 0; i < desktops->len; i++) {
        const DesktopRow *desktop = desktops->pdata[i];
        seen[i].former = lookup_version_name(db, desktop->version_id);
        lookup_layer(db, desktop->layer_id, &seen[i].layer, NULL);
        seen[i].runs =
            lookup_int(db, "SELECT count(*) FROM run WHERE desktop_id = ?1", "t", desktop->id) != 0;
        seen[i].has_user = lookup_int(db,
                                      "SELECT count(*) FROM session WHERE desktop_id = ?1 AND"
                                      " state IN ('opening', 'connected')",
                                      "t", desktop->id) != 0;
    }
    catalog_read_end(world->catalog, db);
    return seen;
}

/* Why it could not be moved just now (caller frees), or NULL. */
static char *why_busy(World *world, const DesktopRow *desktop, const LayerRow *layer)
{
    g_autofree char *thing = g_strconcat("desktop/", desktop->id, NULL);
    g_autoptr(GError) error = NULL;
    gboolean is_live = FALSE;

    if (claims_has(world->claims, thing))
        return g_strdup("it is busy: a job is at work on it, or it is exported");
    g_autoptr(Store) store = store_set_get(world->stores, desktop->store_id, &error);
    if (!store)
        return imaged_error_message(error);
    if (!layer->id)
        return NULL;
    int fd = store->ops->open(store, STORE_LAYERS, layer->slot, &is_live, NULL);
    durable_close(&fd);
    return is_live ? g_strdup("its disk is in use by QEMU") : NULL;
}

/* Of one that runs: when its turn comes, or NULL: now. */
static const char *why_later(const Seen *seen, const char *when)
{
    if (g_str_equal(when, "next-stop"))
        return "it runs: when it is stopped";
    return g_str_equal(when, "idle") && seen->has_user ? "its user is on it: when he has left"
                                                       : NULL;
}

static json_t *view_row(World *world, const DesktopRow *desktop, const Seen *seen,
                        const json_t *row, const char *when, guint *n_before, guint canary,
                        guint batch)
{
    const char *reason = json_string_value(json_array_get(row, 7));
    gboolean is_run = seen->runs && when && !reason;
    const char *later = is_run ? why_later(seen, when) : NULL;
    g_autofree char *busy = reason || is_run ? NULL : why_busy(world, desktop, &seen->layer);
    g_autofree char *stage = NULL;

    if (!reason && !busy && !later) {
        guint n = (*n_before)++;
        stage = n < canary ? g_strdup("canary")
                           : g_strdup_printf("batch %u", (n - canary) / MAX(batch, 1) + 1);
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s?,s:s?}", "id", desktop->id, "name", desktop->name,
                     "former", seen->former, "action",
                     reason  ? "skip"
                     : busy  ? "unavailable"
                     : later ? "later"
                             : "move",
                     "stage", stage, "reason",
                     reason  ? reason
                     : busy  ? busy
                     : later ? later
                     : is_run ? "it runs: it is stopped, and started again"
                              : NULL);
}

json_t *rollout_plan_view(World *world, const RolloutPlan *plan, const char *when, guint canary,
                          guint batch)
{
    const GPtrArray *desktops = plan->desktops.rows;
    g_autofree Seen *seen = read_seen(world, desktops);
    json_t *list = json_array();
    guint n_move = 0, n_later = 0;

    for (guint i = 0; i < desktops->len; i++) {
        json_array_append_new(list, view_row(world, desktops->pdata[i], &seen[i],
                                             json_array_get(plan->rows, i), when, &n_move, canary,
                                             batch));
        json_t *made = json_array_get(list, i);
        n_later += g_str_equal(json_string_value(json_object_get(made, "action")), "later");
        g_free(seen[i].former);
        layer_row_clear(&seen[i].layer);
    }
    return json_pack("{s:b,s:s,s:I,s:i,s:i,s:i,s:i,s:i,s:i,s:o}", "dry_run", 1, "template",
                     plan->template.name, "version", (json_int_t)plan->version.version, "n_move",
                     (int)n_move, "n_unavailable", (int)(plan->n_waiting - n_move - n_later),
                     "n_later", (int)n_later, "n_skipped", (int)plan->n_skipped, "canary",
                     (int)canary, "batch", (int)batch, "desktops", list);
}
