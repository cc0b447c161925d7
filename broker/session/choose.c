/* choose.c: see choose.h. */
#include "broker/session/choose.h"

#include <string.h>

#include "broker/pool/pick.h"
#include "broker/session/session_rows.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define MAX_NAMED 10 /* in a message */

void session_choice_clear(SessionChoice *choice)
{
    g_clear_pointer(&choice->desktop_id, g_free);
    g_clear_pointer(&choice->pool_id, g_free);
}

/* By what he has this desktop.  FALSE: he has it not. */
static gboolean choose_desktop(Db *db, const SessionWish *wish, const char *desktop_id,
                               SessionChoice *ret)
{
    gboolean is_root = !*wish->user_id;
    Query *q = db_query(db,
                        "SELECT a.user_id IS NOT NULL AS is_assigned, coalesce(a.is_owner OR"
                        " a.may_take_over, 0) AS may_take_over, p.pool_id, coalesce(p.state ="
                        " 'given' AND p.user_id = ?2, 0) AS is_given FROM desktop d LEFT JOIN"
                        " assignment a ON a.desktop_id = d.id AND a.user_id = ?2 AND"
                        " (a.lease_until IS NULL OR a.lease_until > ?3) LEFT JOIN pool_desktop p ON"
                        " p.desktop_id = d.id WHERE d.id = ?1 AND d.is_trashed = 0",
                        "tti", desktop_id, wish->user_id, units_now_ms());
    gboolean found = query_next(q), ok = FALSE;

    if (found) {
        ret->is_assigned = query_int(q, "is_assigned") != 0;
        ret->may_take_over = is_root || query_int(q, "may_take_over");
        ok = is_root || ret->is_assigned || query_int(q, "is_given");
        ret->desktop_id = g_strdup(desktop_id);
        ret->pool_id = g_strdup(query_text(q, "pool_id"));
    }
    return query_end(q, NULL) && ok;
}

static gboolean choose_named(Db *db, const SessionWish *wish, SessionChoice *ret, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(PoolRow) pool = { 0 };

    if (lookup_desktop(db, wish->name, &desktop, NULL) && choose_desktop(db, wish, desktop.id, ret))
        return TRUE;
    session_choice_clear(ret);
    if (pool_lookup(db, wish->name, &pool, NULL) && pool_is_granted(db, pool.id, wish->user_id)) {
        ret->pool_id = g_strdup(pool.id);
        return TRUE;
    }
    /* What others have is none of his business: it is not there for him. */
    g_autofree char *shown = text_for_message(wish->name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "there is no desktop or pool '%s' for this user", shown);
    if (!*wish->user_id && pool.id)
        imaged_error_hint(error, "a pool's desktops are for users: --user NAME");
    return FALSE;
}

/* The names that he may choose from.  Caller frees. */
static char *names_of(const json_t *all)
{
    GString *out = g_string_new(NULL);

    for (size_t i = 0; i < json_array_size(all); i++) {
        if (i == MAX_NAMED) {
            g_string_append(out, " ...");
            break;
        }
        g_string_append_printf(out, "%s%s", i ? ", " : "",
                               json_string_value(json_object_get(json_array_get(all, i), "name")));
    }
    return g_string_free(out, FALSE);
}

gboolean session_choose(Db *db, const SessionWish *wish, SessionChoice *ret, GError **error)
{
    g_auto(SessionRow) session = { 0 };

    if (wish->name)
        return choose_named(db, wish, ret, error);
    if (session_of_user(db, wish->user_id, &session, NULL) &&
        choose_desktop(db, wish, session.desktop_id, ret))
        return TRUE;
    session_choice_clear(ret);
    json_auto_t *all = pool_entitlements(db, wish->user_id);
    const json_t *one = json_array_get(all, 0);
    const char *id = json_string_value(json_object_get(one, "id"));
    if (json_array_size(all) > 1) {
        g_autofree char *names = names_of(all);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "say which one: %s", names);
        imaged_error_hint(error, "as in: imagectl connect %s",
                          json_string_value(json_object_get(one, "name")));
        return FALSE;
    }
    if (!one) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "no desktop is assigned to this user, and no pool granted");
        return FALSE;
    }
    if (g_strcmp0(json_string_value(json_object_get(one, "kind")), "pool") == 0) {
        ret->pool_id = g_strdup(id);
        return TRUE;
    }
    if (choose_desktop(db, wish, id, ret))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the desktop is not there any more");
    return FALSE;
}

char *session_display_host(const HostRow *host)
{
    g_autoptr(GUri) uri = NULL;

    if (host->display_address)
        return g_strdup(host->display_address);
    uri = g_uri_parse(host->uri, G_URI_FLAGS_NON_DNS, NULL);
    const char *name = uri ? g_uri_get_host(uri) : NULL;
    return g_strdup(name && *name ? name : "127.0.0.1");
}

gboolean session_protocol_check(const char *name, GError **error)
{
    static const char *const known[] = { "spice", "vnc", "rdp", NULL };

    if (g_strv_contains(known, name))
        return TRUE;
    g_autofree char *shown = text_for_message(name, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "a protocol is spice, vnc or rdp, not '%s'", shown);
    return FALSE;
}

const char *session_protocol(const char *wanted, const SessionDisplay *d, GError **error)
{
    const char *protocol = wanted ? wanted : d->has_spice ? "spice" : "vnc";

    if (g_str_equal(protocol, "rdp") && !d->is_windows)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "it is no Windows desktop: RDP is for these alone");
    else if (g_str_equal(protocol, "spice") && !d->has_spice)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "its host knows no SPICE");
    else if (g_str_equal(protocol, "vnc") && d->has_spice)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "it has a SPICE display: VNC is for hosts without SPICE");
    else if (g_str_equal(protocol, "vnc") && d->no_vnc)
        g_propagate_prefixed_error(error, g_error_copy(d->no_vnc),
                                   "its host knows no SPICE, and ");
    else
        return g_intern_string(protocol);
    return NULL;
}
