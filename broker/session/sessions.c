/* sessions.c: see sessions.h.
 *
 * lock guards the tables alone; it is never held across a commit or a call to a host. */
#include "broker/session/sessions.h"

#include <sodium.h>
#include <string.h>

#include "broker/pool/pick.h"
#include "broker/session/clients.h"
#include "broker/session/live.h"
#include "broker/session/rfb_relay.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define OPEN_LIMIT_MS 10000
#define MAX_TRIES 5

/* 128 bits.  SPICE takes up to 60 characters. */
static char *new_password(void)
{
    guint8 bytes[16];
    char text[33];

    randombytes_buf(bytes, sizeof bytes);
    return g_strdup(sodium_bin2hex(text, sizeof text, bytes, sizeof bytes));
}

void session_ticket_clear(SessionTicket *t)
{
    g_free(t->session_id);
    relay_way_clear(&t->way);
    if (t->password)
        sodium_memzero(t->password, strlen(t->password));
    g_free(t->password);
    *t = (SessionTicket){ 0 };
}

/* ---- Asking a host ---- */

typedef struct {
    char *uuid, *incarnation, *password;
    gint64 valid_until;
    gboolean cuts;
    Sessions *if_over;   /* only if this password is the last one still, and over */
    Sessions *if_wanted; /* only if it is the last one, and the session is not being ended */
    HostDisplay display;
} Arm;

static void arm_clear(gpointer data)
{
    Arm *arm = data;

    g_free(arm->uuid);
    g_free(arm->incarnation);
    g_free(arm->password);
}

/* On the host's thread.  Only the domain of the session's own run is given a password. */
static gboolean arm_domain(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Arm *arm = data;
    HostTicket ticket = { arm->password, arm->valid_until, arm->cuts };

    /* another that was given out meanwhile is set behind this in the host's queue */
    if (arm->if_over && !live_is_over(arm->if_over, arm->uuid, arm->password))
        return TRUE;
    if (arm->if_wanted && !live_is_wanted(arm->if_wanted, arm->uuid, arm->password)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "the session was ended, or opened elsewhere, meanwhile");
        return FALSE;
    }
    HostDomain *there = driver->find(link, arm->uuid, error);
    gboolean is_ours = there && g_strcmp0(there->incarnation, arm->incarnation) == 0;

    if (there && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "it was started anew meanwhile");
    host_domain_free(there);
    return is_ours && driver->set_ticket(link, arm->uuid, &ticket, &arm->display, error);
}

/* a: filled in but for the desktop's part; its texts are taken over. */
static gboolean arm(World *world, const SessionRow *row, const Arm *wanted, gint64 limit_ms,
                    HostDisplay *ret, GError **error)
{
    Arm *a = g_atomic_rc_box_new0(Arm);

    *a = *wanted;
    a->uuid = g_strdup(row->uuid);
    a->incarnation = g_strdup(row->incarnation);
    gboolean ok = hosts_call(world->hosts, row->host_id, arm_domain, a, arm_clear, limit_ms, error);
    if (ok && ret)
        *ret = a->display;
    g_atomic_rc_box_release_full(a, arm_clear);
    return ok;
}

/* ---- Opening ---- */

/* What is there before a session is opened. */
typedef struct {
    RunRow run;
    SessionRow session;
    gboolean has_session;
} Found;

static void found_clear(Found *f)
{
    run_row_clear(&f->run);
    session_row_clear(&f->session);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

/* Else it is of a run that is over, whosever it was, and only not written off yet. */
static gboolean is_present(const Found *f)
{
    return f->has_session && g_strcmp0(f->session.incarnation, f->run.incarnation) == 0;
}

static gboolean look(World *world, const SessionAsk *ask, Found *ret, GError **error)
{
    GError *local = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = run_lookup(db, ask->desktop_id, &ret->run, error);

    ret->has_session = ok && session_of_desktop(db, ask->desktop_id, &ret->session, &local);
    catalog_read_end(world->catalog, db);
    if (local) {
        g_propagate_error(error, local);
        return FALSE;
    }
    if (ok && !g_str_equal(ret->run.state, "running")) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "it is not ready (%s)", ret->run.state);
        return FALSE;
    }
    return ok;
}

/* TRUE: it was ended, or is not in the way. */
static gboolean settle_other(Sessions *s, const SessionAsk *ask, const Found *f, GError **error)
{
    const SessionRow *other = &f->session;

    if (ask->takes_over && ask->may_take_over) {
        g_autofree char *reason = g_strdup_printf("taken over by %s", ask->user_name);
        return sessions_end(s, other->id, reason, ask->user_name, error);
    }
    g_autoptr(GDateTime) at = g_date_time_new_from_unix_local(other->created_at / 1000);
    g_autofree char *since = at ? g_date_time_format(at, "%Y-%m-%d %H:%M") : g_strdup("a while");
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "%s is on it since %s (%s)",
                other->user_name, since, other->state);
    if (ask->takes_over)
        imaged_error_hint(error, "who may take over, the desktop's share says: imagectl desktop"
                                 " share ... --may-take-over");
    else if (ask->may_take_over)
        imaged_error_hint(error, "end that session and take its place with: --take-over");
    return FALSE;
}

/* The row of a new session, or of the one that he has.  FALSE without an error: try again. */
static gboolean put_row(World *world, const SessionAsk *ask, const Found *f, SessionRow *row,
                        GError **error)
{
    g_autoptr(GError) local = NULL;
    Changes *changes = changes_new();
    gint64 now = units_now_ms();
    Id id = id_new();
    gboolean is_his = is_present(f);

    if (f->has_session && !is_his)
        session_set_ended(changes, f->session.id, "its desktop was switched off", now);
    *row = (SessionRow){ .id = g_strdup(is_his ? f->session.id : id.s),
                         .user_id = g_strdup(ask->user_id),
                         .desktop_id = g_strdup(ask->desktop_id),
                         .pool_id = g_strdup(ask->pool_id),
                         .host_id = g_strdup(f->run.host_id),
                         .incarnation = g_strdup(f->run.incarnation),
                         .protocol = g_strdup(ask->protocol),
                         .client_address = g_strdup(ask->address),
                         .created_at = now,
                         .desktop_name = g_strdup(f->run.name),
                         .uuid = g_strdup(f->run.uuid) };
    if (!is_his)
        session_put(changes, row);
    else if (!g_str_equal(f->session.protocol, ask->protocol))
        session_set_protocol(changes, row->id, ask->protocol);
    changes_event(changes, is_his ? "session.again" : "session.open", "info", f->run.name,
                  ask->who ? ask->who : ask->user_name, "for %s, by %s", ask->user_name,
                  ask->protocol);
    if (catalog_commit(world->catalog, changes, &local))
        return TRUE;
    if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        g_propagate_error(error, g_steal_pointer(&local));
    session_row_clear(row);
    return FALSE;
}

/* Until nobody else is on it and the row is there. */
static gboolean open_row(Sessions *s, const SessionAsk *ask, SessionRow *row,
                         gboolean *ret_is_roaming, GError **error)
{
    for (guint i = 0; i < MAX_TRIES; i++) {
        g_auto(Found) f = { 0 };
        g_autoptr(GError) local = NULL;
        if (!look(sessions_world(s), ask, &f, error))
            return FALSE;
        gboolean is_his = is_present(&f) && g_str_equal(f.session.user_id, ask->user_id);
        if (is_his && g_str_equal(f.session.state, "ending")) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                        "its former session is being ended");
            return FALSE;
        }
        if (is_present(&f) && !is_his) {
            if (!settle_other(s, ask, &f, error))
                return FALSE;
            continue; /* look again */
        }
        *ret_is_roaming = is_his;
        if (put_row(sessions_world(s), ask, &f, row, &local))
            return TRUE;
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                "it cannot be given out now: it is on its way to or from somebody else");
    return FALSE;
}

/* Asked when its password is in the table: whoever ends it from now on finds it there. */
static gboolean is_open_still(World *world, const char *session_id)
{
    g_auto(SessionRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is = session_lookup(db, session_id, &row, NULL) && !row.ended_at &&
                  !g_str_equal(row.state, "ending");

    catalog_read_end(world->catalog, db);
    return is;
}

gboolean sessions_open(Sessions *s, const SessionAsk *ask, SessionTicket *ret, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    gint64 now = units_now_ms();

    if (!open_row(s, ask, &row, &ret->is_roaming, error))
        return FALSE;
    ret->session_id = g_strdup(row.id);
    ret->valid_until = now + TICKET_MS;
    if (!g_str_equal(ask->protocol, "spice")) {
        const RelayAsk own = { NULL, TRUE, ask->address != NULL };
        live_add(s, &row, NULL, 0);
        return g_str_equal(ask->protocol, "rdp") ||
               relay_begin(sessions_world(s)->relays, &row, &own, &ret->way, error);
    }
    ret->password = new_password();
    live_add(s, &row, ret->password, now);
    if (!is_open_still(sessions_world(s), row.id)) {
        live_drop(s, row.uuid, row.id);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the session was ended meanwhile");
        return FALSE;
    }
    const Arm wanted = { .password = g_strdup(ret->password),
                         .valid_until = ret->valid_until,
                         .if_wanted = s };
    return arm(sessions_world(s), &row, &wanted, OPEN_LIMIT_MS, &ret->display, error);
}

/* ---- Ending ---- */

/* The host does not have it: has another one? */
static gboolean has_moved(World *world, const SessionRow *row)
{
    g_auto(RunRow) run = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_on = run_lookup(db, row->desktop_id, &run, NULL) &&
                     g_strcmp0(run.incarnation, row->incarnation) == 0;

    catalog_read_end(world->catalog, db);
    return is_on && (run.target_host_id || g_strcmp0(run.host_id, row->host_id) != 0);
}

/* A password that nobody knows. */
static gboolean arm_last(World *world, const SessionRow *row, gint64 limit_ms, GError **error)
{
    const Arm last = { .password = new_password(), .cuts = TRUE };

    return arm(world, row, &last, limit_ms, NULL, error);
}

/* Nobody gets in with this one, and whoever is in is out: by SPICE whatever the session's protocol
 * is, for it may have had another before.  TRUE also if there is no such domain or display.  Of two
 * hosts that a desktop moves between neither will do. */
static gboolean cut(Sessions *s, const SessionRow *row, gint64 limit_ms, GError **error)
{
    World *world = sessions_world(s);
    g_autoptr(GError) local = NULL;

    live_forbid(s, row->uuid, row->id);
    relays_cut(world->relays, row->id);
    if (!row->host_id)
        return TRUE;
    if (!row->is_moving &&
        (arm_last(world, row, limit_ms, &local) ||
         g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED) ||
         (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) && !has_moved(world, row))))
        return TRUE;
    if (!local || g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND)) {
        g_clear_error(&local);
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "its desktop is being moved to another host");
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

void sessions_end_password(Sessions *s, const LiveSession *t)
{
    Arm *a = g_atomic_rc_box_new0(Arm);

    *a = (Arm){ .uuid = g_strdup(t->uuid),
                .incarnation = g_strdup(t->incarnation),
                .password = g_strdup(t->password),
                .if_over = s };
    hosts_post(sessions_world(s)->hosts, t->host_id, arm_domain, a, arm_clear);
    g_atomic_rc_box_release_full(a, arm_clear);
}

gboolean sessions_finish(Sessions *s, const SessionRow *row, const char *reason, gint64 now_ms,
                         GError **error)
{
    Changes *changes = changes_new();

    World *world = sessions_world(s);

    session_set_ended(changes, row->id, reason, now_ms);
    if (row->pool_id)
        pool_release(changes, row->desktop_id, row->user_id);
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    live_drop(s, row->uuid, row->id);
    if (row->pool_id && world->pools)
        pools_touch(world->pools);
    return TRUE;
}

gboolean sessions_cut_and_finish(Sessions *s, const SessionRow *row, gint64 now_ms, gint64 limit_ms,
                                 GError **error)
{
    return cut(s, row, limit_ms, error) && sessions_finish(s, row, NULL, now_ms, error);
}

static gboolean end_claimed(Sessions *s, const char *session_id, const char *reason,
                            const char *who, GError **error)
{
    g_auto(SessionRow) row = { 0 };
    World *world = sessions_world(s);
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = session_lookup(db, session_id, &row, error);

    catalog_read_end(world->catalog, db);
    if (!ok || row.ended_at)
        return ok;
    Changes *changes = changes_new();
    session_set_ending(changes, row.id, reason);
    changes_event(changes, "session.end", "info", row.desktop_name, who, "of %s: %s", row.user_name,
                  reason);
    return catalog_commit(world->catalog, changes, error) &&
           sessions_cut_and_finish(s, &row, units_now_ms(), OPEN_LIMIT_MS, error);
}

gboolean sessions_end(Sessions *s, const char *session_id, const char *reason, const char *who,
                      GError **error)
{
    live_claim_end(s, session_id);
    gboolean ok = end_claimed(s, session_id, reason, who, error);
    live_release_end(s, session_id);
    return ok;
}
