/* alerts.c: who is told of events. */
#include "broker/alert/alerts.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define ALERT_COLUMNS                                                                              \
    "SELECT a.id, a.name, a.kind, a.target, a.severity, a.kinds, a.has_secret AS signed__bool,"    \
    " a.is_on AS enabled__bool, a.created_at AS created_at__time FROM alert a WHERE "

static json_t *time_or_null(gint64 ms)
{
    g_autofree char *text = ms ? units_format_time(ms) : NULL;

    return text ? json_string(text) : json_null();
}

/* How it is, and what waits. */
static void add_view(World *world, json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "id"));
    g_auto(AlertView) view = { 0 };
    g_auto(AlertRow) row = { 0 };

    if (!alerts_view(world->alerts, id, &view))
        return;
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = alert_lookup(db, id, &row, NULL);
    gint64 n = found && row.is_on ? alert_backlog(db, &row, view.position) : 0;
    catalog_read_end(world->catalog, db);
    json_t *more =
        json_pack("{s:s,s:s?,s:o,s:o,s:I,s:I}", "state", view.state, "last_error", view.last_error,
                  "next_try_at", time_or_null(view.next_try), "last_sent_at",
                  time_or_null(view.last_sent), "n_sent", (json_int_t)view.n_sent, "backlog",
                  (json_int_t)n);
    json_object_update(object, more);
    json_decref(more);
}

static json_t *alert_object(World *world, const char *name, GError **error)
{
    g_auto(AlertRow) row = { 0 };
    json_t *out = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (alert_lookup(db, name, &row, error)) {
        Query *q = db_query(db, ALERT_COLUMNS "a.id = ?1", "t", row.id);
        out = query_next(q) ? view_object(q) : NULL;
        if (!query_end(q, error))
            g_clear_pointer(&out, json_decref);
    }
    catalog_read_end(world->catalog, db);
    if (out)
        add_view(world, out);
    return out;
}

json_t *ops_alert_list(OpsCall *call, GError **error)
{
    ViewPage page;
    size_t i;
    json_t *alert;

    if (!args_check(call, "search limit after", error) || !view_page(call, &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    json_t *out = view_array(
        db_query(db, ALERT_COLUMNS "a.name > coalesce(?1, '') ORDER BY a.name", "t", page.after),
        page.search, page.limit, error);
    catalog_read_end(call->world->catalog, db);
    json_array_foreach(out, i, alert) {
        add_view(call->world, alert);
    }
    return out;
}

static const char *only_name(OpsCall *call, GError **error)
{
    const char *name = args_text(call, "alert", TRUE, error);

    return name && args_check(call, "alert", error) ? name : NULL;
}

json_t *ops_alert_show(OpsCall *call, GError **error)
{
    const char *name = only_name(call, error);

    return name ? alert_object(call->world, name, error) : NULL;
}

static void set_text(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

/* What the call says goes into row; what it does not say stays. */
static gboolean take_fields(OpsCall *call, AlertRow *row, GError **error)
{
    const char *webhook, *mail, *severity, *kinds;

    if (!args_are_texts(call, "webhook mail severity kinds secret", error))
        return FALSE;
    webhook = args_text(call, "webhook", FALSE, NULL);
    mail = args_text(call, "mail", FALSE, NULL);
    severity = args_text(call, "severity", FALSE, NULL);
    kinds = args_text(call, "kinds", FALSE, NULL);
    if ((webhook && mail) || (!webhook && !mail && !row->target)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "an alert is told by 'webhook' or by 'mail': give one of the two");
        return FALSE;
    }
    if (webhook || mail) {
        set_text(&row->kind, webhook ? "webhook" : "mail");
        set_text(&row->target, webhook ? webhook : mail);
    }
    if (severity)
        set_text(&row->severity, severity);
    if (kinds)
        set_text(&row->kinds, *kinds ? kinds : NULL);
    return TRUE;
}

json_t *ops_alert_add(OpsCall *call, GError **error)
{
    g_auto(AlertRow) row = { .severity = g_strdup("warning") };
    const char *name = args_text(call, "name", TRUE, error);

    if (!name || !args_check(call, "name webhook mail severity kinds secret", error) ||
        !take_fields(call, &row, error))
        return NULL;
    row.name = g_strdup(name);
    if (!alerts_add(call->world->alerts, &row, args_text(call, "secret", FALSE, NULL), call->who,
                    error))
        return NULL;
    return alert_object(call->world, row.id, error);
}

json_t *ops_alert_set(OpsCall *call, GError **error)
{
    World *world = call->world;
    g_auto(AlertRow) row = { 0 };
    const char *name = args_text(call, "alert", TRUE, error);
    const char *secret = args_text(call, "secret", FALSE, NULL);
    gboolean skips, enabled;

    if (!name ||
        !args_check(call, "alert webhook mail severity kinds secret enabled skip", error) ||
        !args_bool(call, "skip", &skips, error) || !args_bool(call, "enabled", &enabled, error))
        return NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = alert_lookup(db, name, &row, error);
    catalog_read_end(world->catalog, db);
    if (!ok || !take_fields(call, &row, error))
        return NULL;
    if (json_object_get(call->args, "enabled"))
        row.is_on = enabled;
    if (g_str_equal(row.kind, "mail") && !secret)
        secret = ""; /* a webhook's goes with it */
    if (!alerts_set(world->alerts, &row, secret, skips, call->who, error))
        return NULL;
    return alert_object(world, row.id, error);
}

json_t *ops_alert_test(OpsCall *call, GError **error)
{
    const char *name = only_name(call, error);

    if (!name || !alerts_test(call->world->alerts, name, error))
        return NULL;
    return alert_object(call->world, name, error);
}

json_t *ops_alert_remove(OpsCall *call, GError **error)
{
    const char *name = only_name(call, error);
    json_t *alert = name ? alert_object(call->world, name, error) : NULL;

    if (alert && !alerts_remove(call->world->alerts, name, call->who, error))
        g_clear_pointer(&alert, json_decref);
    return alert;
}
