/* sessions.c: who is on which desktop: seen, told something, ended. */
#include "broker/session/sessions.h"

#include "broker/access/users.h"
#include "broker/session/shadow.h"
#include "broker/session/viewer_file.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/desktop_tell.h"
#include "imaged/ops/session_ops.h"
#include "imaged/ops/view.h"

#define SESSION_COLUMNS                                                                            \
    "SELECT s.id, d.name, d.name AS desktop, coalesce(u.name, 'root') AS user, p.name AS pool,"    \
    " h.name AS host, s.protocol, s.state, s.client_address, s.reason, s.created_at AS"            \
    " created_at__time, s.connected_at AS connected_at__time, s.disconnected_at AS"                \
    " disconnected_at__time, s.logged_in_at AS logged_in_at__time, s.ended_at AS ended_at__time"   \
    " FROM session s LEFT JOIN desktop d ON d.id = s.desktop_id LEFT JOIN user u ON u.id ="        \
    " s.user_id LEFT JOIN pool p ON p.id = s.pool_id LEFT JOIN host h ON h.id = s.host_id WHERE "

/* ---- Who asks ---- */

static gboolean lookup_user(Db *db, const char *name, char **ret_id, char **ret_name,
                            GError **error)
{
    g_autofree char *key = user_name_key(name);
    Query *q = db_query(db,
                        "SELECT id, name, is_disabled FROM user WHERE name_key = ?1 OR id = ?2"
                        " OR name = ?2 LIMIT 1",
                        "tt", key, name);
    gboolean found = query_next(q), is_disabled = found && query_int(q, "is_disabled");

    if (found) {
        *ret_id = g_strdup(query_text(q, "id"));
        *ret_name = g_strdup(query_text(q, "name"));
    }
    if (!query_end(q, error))
        return FALSE;
    if (!found || is_disabled) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, found ? IMAGED_ERROR_DENIED : IMAGED_ERROR_NOT_FOUND,
                    found ? "the user '%s' is disabled" : "there is no user '%s'", shown);
        g_clear_pointer(ret_id, g_free);
        g_clear_pointer(ret_name, g_free);
        return FALSE;
    }
    return TRUE;
}

/* For himself: root without a row of his own is "". */
static gboolean take_self(const OpsCall *call, char **ret_id, char **ret_name)
{
    *ret_id = g_strdup(call->caller->user_id ? call->caller->user_id : "");
    *ret_name = g_strdup(call->caller->name);
    return TRUE;
}

gboolean session_user(OpsCall *call, const char *name, char **ret_id, char **ret_name,
                      GError **error)
{
    g_autofree char *key = name ? user_name_key(name) : NULL;
    g_autofree char *own = user_name_key(call->caller->name);

    if (!name || (call->caller->user_id && g_str_equal(key, own)))
        return take_self(call, ret_id, ret_name);
    if (!caller_may_everywhere(call->caller, call->permission)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "this takes the permission %s for everybody",
                    permission_name(call->permission));
        return FALSE;
    }
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = lookup_user(db, name, ret_id, ret_name, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

const char *session_address(const OpsCall *call)
{
    return call->caller->address;
}

json_t *session_way_json(const RelayWay *way, const char *user, const char *title)
{
    if (!way->ticket)
        return way->socket ? json_pack("{s:s}", "socket", way->socket) : json_object();
    const ViewerSpice vnc = { .protocol = "vnc",
                              .host = way->host,
                              .port = way->port,
                              .user = user,
                              .password = way->ticket,
                              .title = title };
    g_autofree char *file = viewer_file_vv(&vnc);
    g_autofree char *name = g_strconcat(title, ".vv", NULL);

    return json_pack("{s:s,s:i,s:s,s:s,s:s,s:s}", "host", way->host, "port", (int)way->port,
                     "password", way->ticket, "content_type", VIEWER_VV_TYPE, "file_name", name,
                     "file", file);
}

/* ---- Seeing ---- */

/* Filters that name nothing are a slip. */
static gboolean check_filter(Db *db, const char *sql, const char *what, const char *name,
                             GError **error)
{
    if (!name || lookup_int(db, sql, "t", name))
        return TRUE;
    g_autofree char *shown = text_for_message(name, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no %s '%s'", what, shown);
    imaged_error_hint(error, "see them with: imagectl %s list", what);
    return FALSE;
}

json_t *ops_session_list(OpsCall *call, GError **error)
{
    ViewPage page;
    gboolean all;

    if (!args_check(call, "search limit after user desktop all", error) ||
        !args_are_texts(call, "user desktop", error) || !args_bool(call, "all", &all, error) ||
        !view_page_of(call, "sessions", &page, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    g_autofree char *visible = access_visible_sql(call->caller, "session", "s");
    g_autofree char *sql =
        g_strdup_printf(SESSION_COLUMNS "s.id > coalesce(?1, '') AND (?2 OR s.ended_at IS NULL)"
                                        " AND (?3 IS NULL OR u.name = ?3) AND (?4 IS NULL OR"
                                        " d.name = ?4) AND %s ORDER BY s.id",
                        visible ? visible : "1");
    const char *user = args_text(call, "user", FALSE, NULL);
    const char *desktop = args_text(call, "desktop", FALSE, NULL);
    json_t *out = view_found(db_query_once(db, sql, "titt", page.after, (gint64)all, user, desktop),
                             &page, error);
    /* who sees only some of them is not told what else there is */
    if (out && json_array_size(out) == 0 && !visible &&
        (!check_filter(db, "SELECT count(*) FROM user WHERE name = ?1", "user", user, error) ||
         !check_filter(db, "SELECT count(*) FROM desktop WHERE name = ?1", "desktop", desktop,
                       error)))
        g_clear_pointer(&out, json_decref);
    catalog_read_end(call->world->catalog, db);
    return out;
}

/* The row that the argument "session" names: an id, or a desktop that somebody is on. */
static gboolean find(OpsCall *call, SessionRow *ret, GError **error)
{
    const char *name = args_text(call, "session", TRUE, error);

    if (!name)
        return FALSE;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok =
        session_lookup(db, name, ret, error) &&
        access_check_id(db, call->caller, call->permission, "session", ret->id, name, error);
    catalog_read_end(call->world->catalog, db);
    return ok;
}

static json_t *object_of(World *world, const char *id, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, SESSION_COLUMNS "s.id = ?1", "t", id);
    json_t *out = query_next(q) ? view_object(q) : NULL;

    if (!query_end(q, error))
        g_clear_pointer(&out, json_decref);
    catalog_read_end(world->catalog, db);
    return out;
}

json_t *ops_session_show(OpsCall *call, GError **error)
{
    g_auto(SessionRow) row = { 0 };

    if (!args_check(call, "session", error) || !find(call, &row, error))
        return NULL;
    return object_of(call->world, row.id, error);
}

/* ---- Ending ---- */

json_t *ops_session_end(OpsCall *call, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    g_autofree char *reason = g_strdup_printf("ended by %s", call->who);

    if (!args_check(call, "session", error) || !find(call, &row, error) ||
        !sessions_end(call->world->sessions, row.id, reason, call->who, error))
        return NULL;
    return object_of(call->world, row.id, error);
}

/* ---- Telling ---- */

/* What was not delivered is written down, too: why is NULL if it was. */
static gboolean note_message(OpsCall *call, const SessionRow *row, const char *text,
                             const char *why, GError **error)
{
    g_autofree char *message =
        why ? g_strdup_printf("not delivered to %s (%s): %s", row->user_name, why, text)
            : g_strdup_printf("to %s: %s", row->user_name, text);
    Changes *changes = changes_new();

    changes_event(changes, "session.message", why ? "warning" : "info", row->desktop_name,
                  call->who, "%s", message);
    return catalog_commit(call->world->catalog, changes, error);
}

static gboolean check_not_over(const SessionRow *row, GError **error)
{
    if (!row->ended_at)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the session of %s is over",
                row->user_name);
    return FALSE;
}

static gboolean check_message(const char *text, GError **error)
{
    if (!*text) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the message is empty");
        return FALSE;
    }
    return text_check("message", text, 1000, error);
}

json_t *ops_session_message(OpsCall *call, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    const char *text = args_text(call, "text", TRUE, error);
    g_autoptr(GError) local = NULL;

    if (!text || !args_check(call, "session text", error) || !check_message(text, error) ||
        !find(call, &row, error) || !check_not_over(&row, error))
        return NULL;
    if (!desktop_tell(call->world, row.desktop_id, text, &local)) {
        if (!note_message(call, &row, text, local->message, error))
            return NULL;
        g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                   "not delivered to %s: ", row.user_name);
        return NULL;
    }
    return note_message(call, &row, text, NULL, error) ? object_of(call->world, row.id, error)
                                                       : NULL;
}

/* ---- Looking on ---- */

static gboolean check_open(const SessionRow *row, GError **error)
{
    if (!row->ended_at && !g_str_equal(row->state, "ending") && !g_str_equal(row->protocol, "rdp"))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "nobody can look on: the session is %s, by %s", row->state, row->protocol);
    return FALSE;
}

static gboolean note_shadow(OpsCall *call, const SessionRow *row, const char *message,
                            GError **error)
{
    Changes *changes = changes_new();

    changes_event(changes, "session.shadow", "info", row->desktop_name, call->who, "%s", message);
    return catalog_commit(call->world->catalog, changes, error);
}

json_t *ops_session_shadow(OpsCall *call, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    g_auto(RelayWay) way = { 0 };
    RelayAsk ask = { .who = call->who, .is_remote = session_address(call) != NULL };
    ShadowState state;
    gboolean control;

    if (!args_check(call, "session control", error) ||
        !args_bool(call, "control", &control, error) || !find(call, &row, error) ||
        !check_open(&row, error))
        return NULL;
    ask.may_control = control;
    if (!shadow_ask(call->world->shadows, &row, &ask, &state, &way, error))
        return NULL;
    if (state == SHADOW_ASKED) {
        g_autofree char *text =
            g_strdup_printf("%s asks to %s your screen. To answer: imagectl session consent %s",
                            call->who, control ? "see and control" : "see", row.desktop_name);
        if (!note_shadow(call, &row, control ? "asks to look on and control" : "asks to look on",
                         error))
            return NULL;
        /* else he is told by whom he speaks to */
        desktop_tell(call->world, row.desktop_id, text, NULL);
    }
    json_t *out =
        json_pack("{s:s,s:s,s:s,s:b,s:n}", "id", row.id, "name", row.desktop_name, "state",
                  state == SHADOW_ASKED ? "asked" : "allowed", "control", control, "socket");
    json_object_update_new(out, session_way_json(&way, call->who, row.desktop_name));
    return out;
}

json_t *ops_session_consent(OpsCall *call, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    g_autofree char *who = NULL;
    gboolean refuses, control = FALSE;

    if (!args_check(call, "session refuse", error) || !args_bool(call, "refuse", &refuses, error) ||
        !find(call, &row, error))
        return NULL;
    if (!g_str_equal(row.user_id, call->caller->user_id ? call->caller->user_id : "")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                    "only its user can say that somebody may look on");
        return NULL;
    }
    if (!shadow_answer(call->world->shadows, &row, !refuses, &who, &control, error))
        return NULL;
    g_autofree char *message =
        g_strdup_printf("%s %s to look on%s", refuses ? "does not allow" : "allows", who,
                        control ? " and control" : "");
    if (!note_shadow(call, &row, message, error))
        return NULL;
    return json_pack("{s:s,s:s,s:s,s:s,s:b}", "id", row.id, "name", row.desktop_name, "state",
                     refuses ? "refused" : "allowed", "who", who, "control", control);
}
