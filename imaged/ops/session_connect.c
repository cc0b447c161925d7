/* session_connect.c: a user gets to his desktop.
 *
 * Found or picked, started if it is off (then the answer is the job, and the client asks again when
 * it is done), opened, and described in the file that his client program reads. */
#include <string.h>

#include "broker/pool/pick.h"
#include "broker/run/guest_agent.h"
#include "broker/session/choose.h"
#include "broker/session/sessions.h"
#include "broker/session/viewer_file.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/run_domain.h"
#include "imaged/ops/session_ops.h"
#include "imaged/ops/submit.h"

#define PICK_LIMIT_MS 20000 /* for a pool's desktop that is about to be free */
#define START_LIMIT_MS 30000
#define LOOK_MS 100

/* All that is known of one request. */
typedef struct {
    char *user_id, *user_name; /* "" and "root" for root */
    const char *protocol;
    gboolean takes_over, is_another;
    SessionChoice choice;
    DesktopRow desktop;
    RunRow run;
    HostRow host;
    Hardware hardware; /* what the user may do through his client */
} Connect;

static void connect_clear(Connect *c)
{
    g_free(c->user_id);
    g_free(c->user_name);
    session_choice_clear(&c->choice);
    desktop_row_clear(&c->desktop);
    run_row_clear(&c->run);
    host_row_clear(&c->host);
    hardware_clear(&c->hardware);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Connect, connect_clear)

/* ---- Who wants what ---- */

static gboolean take_args(OpsCall *call, Connect *c, GError **error)
{
    const char *protocol = args_text(call, "protocol", FALSE, NULL);

    return args_check(call, "name user protocol take_over another", error) &&
           args_are_texts(call, "name user protocol", error) &&
           args_bool(call, "take_over", &c->takes_over, error) &&
           args_bool(call, "another", &c->is_another, error) &&
           (!protocol || session_protocol_check(protocol, error)) &&
           session_user(call, args_text(call, "user", FALSE, NULL), &c->user_id, &c->user_name,
                        error);
}

/* A role's or a token's scope may leave out what is his. */
static gboolean is_allowed(Db *db, const OpsCall *call, const Connect *c, GError **error)
{
    const char *name = args_text(call, "name", FALSE, NULL);
    const char *object = c->choice.desktop_id ? "desktop" : "pool";
    const char *id = c->choice.desktop_id ? c->choice.desktop_id : c->choice.pool_id;

    return access_check_id(db, call->caller, call->permission, object, id, name ? name : id, error);
}

static gboolean choose(OpsCall *call, Connect *c, GError **error)
{
    const SessionWish wish = { c->user_id, args_text(call, "name", FALSE, NULL) };
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = session_choose(db, &wish, &c->choice, error) && is_allowed(db, call, c, error);

    catalog_read_end(call->world->catalog, db);
    return ok;
}

/* The narrow gate: from here on a pool's desktop is his, and no other user's. */
static gboolean pick(OpsCall *call, Connect *c, GError **error)
{
    const PickAsk ask = { .user_id = c->user_id,
                          .pool_id = c->choice.pool_id,
                          .desktop_id = c->choice.desktop_id,
                          .wants_another = c->is_another && !c->choice.desktop_id,
                          .limit_ms = PICK_LIMIT_MS };
    Picked picked = { 0 };

    if (!*c->user_id || c->choice.is_assigned)
        return TRUE; /* by the commit that opens the session */
    if (!pool_pick(call->world, &ask, &picked, error))
        return FALSE;
    g_free(c->choice.desktop_id);
    c->choice.desktop_id = g_strdup(picked.desktop_id);
    return TRUE;
}

/* ---- It runs, or is started ---- */

/* FALSE without an error: it does not run. */
static gboolean look(World *world, Connect *c, GError **error)
{
    g_autoptr(GError) local = NULL;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok;

    desktop_row_clear(&c->desktop);
    run_row_clear(&c->run);
    host_row_clear(&c->host);
    hardware_clear(&c->hardware);
    ok = lookup_desktop_by_id(db, c->choice.desktop_id, &c->desktop, &local) &&
         run_lookup(db, c->desktop.id, &c->run, &local);
    gboolean is_off =
        !ok && c->desktop.id && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
    ok = ok && host_lookup(db, c->run.host_id, &c->host, &local) &&
         run_hardware(db, &c->desktop, &c->hardware, &local);
    catalog_read_end(world->catalog, db);
    if (local && !is_off)
        g_propagate_error(error, g_steal_pointer(&local));
    return ok;
}

/* Sets call->job_id. */
static void begin(OpsCall *call, const Connect *c, OpsFunction function, GError **error)
{
    json_auto_t *args = json_pack("{s:[s]}", "names", c->desktop.name);
    OpsCall start = *call;

    start.args = args;
    start.idem_key = start.idem_hash = NULL;
    start.job_id = NULL;
    json_decref(function(&start, error));
    call->job_id = start.job_id;
}

/* One look, and what follows from it.  TRUE: it runs.  FALSE without an error: call->job_id brings
 * it there, or (*ret_again) somebody is just at it. */
static gboolean try_run(OpsCall *call, Connect *c, gboolean *ret_again, GError **error)
{
    GError *local = NULL;
    gboolean is_on = look(call->world, c, &local);

    *ret_again = FALSE;
    if (is_on && g_str_equal(c->run.state, "running"))
        return TRUE;
    if (is_on && g_str_equal(c->run.state, "paused")) {
        begin(call, c, ops_desktop_resume, &local);
    } else if (is_on) {
        *ret_again = g_str_equal(c->run.state, "starting");
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_BUSY, "'%s' is not ready (%s)",
                    c->desktop.name, c->run.state);
    } else if (!local) {
        begin(call, c, ops_desktop_start, &local);
        *ret_again = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    }
    if (local)
        g_propagate_error(error, local);
    return FALSE;
}

static gboolean make_run(OpsCall *call, Connect *c, GError **error)
{
    gint64 end_us = g_get_monotonic_time() + START_LIMIT_MS * 1000;
    gboolean again;

    for (;;) {
        GError *local = NULL;
        if (try_run(call, c, &again, &local))
            return TRUE;
        if (!again || g_get_monotonic_time() > end_us) {
            if (local)
                g_propagate_error(error, local);
            return FALSE;
        }
        g_clear_error(&local);
        g_usleep(LOOK_MS * 1000);
    }
}

/* ---- What the client is told ---- */

static char *vv_of(const Connect *c, const char *host, const SessionTicket *t)
{
    ViewerSpice spice = { .protocol = "spice",
                          .host = host,
                          .port = t->display.port,
                          .tls_port = t->display.tls_port,
                          .password = t->password,
                          .ca = c->host.tls_ca,
                          .host_subject = c->host.tls_subject,
                          .proxy = c->host.proxy,
                          .title = c->desktop.name,
                          .has_usb = !g_str_equal(c->hardware.channels.usb, "none") };

    return viewer_file_vv(&spice);
}

/* Without TLS where TLS is wanted, the password would be read on the way. */
static gboolean check_tls(const Connect *c, const SessionTicket *t, GError **error)
{
    if (!c->host.tls_subject || t->display.tls_port)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "it was started without TLS, which its host wants now");
    imaged_error_hint(error, "stop it and start it again");
    return FALSE;
}

static json_t *answer_spice(OpsCall *call, const Connect *c, const SessionTicket *t)
{
    g_autofree char *host = session_display_host(&c->host);
    g_autofree char *file = vv_of(c, host, t);
    g_autofree char *until = units_format_time(t->valid_until);
    g_autofree char *name = g_strconcat(c->desktop.name, ".vv", NULL);

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:i,s:i,s:s,s:s,s:s,s:s,s:s}", "id",
                     t->session_id, "name", c->desktop.name, "desktop", c->desktop.name, "user",
                     c->user_name, "protocol", "spice", "password", t->password, "roaming",
                     t->is_roaming, "host", host, "port", (int)t->display.port, "tls_port",
                     (int)t->display.tls_port, "run_host", c->host.name, "valid_until", until,
                     "content_type", VIEWER_VV_TYPE, "file_name", name, "file", file);
}

static json_t *answer_rdp(OpsCall *call, const Connect *c, const SessionTicket *t, const char *host)
{
    const ViewerRdp rdp = { .host = host,
                            .user = *c->user_id ? c->user_name : NULL,
                            .title = c->desktop.name,
                            .has_clipboard = c->hardware.channels.may_copy,
                            .has_audio = c->hardware.channels.audio != AUDIO_NONE };
    g_autofree char *file = viewer_file_rdp(&rdp);
    g_autofree char *name = g_strconcat(c->desktop.name, ".rdp", NULL);

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:s,s:s,s:s,s:s}", "id", t->session_id, "name",
                     c->desktop.name, "desktop", c->desktop.name, "user", c->user_name, "protocol",
                     "rdp", "roaming", t->is_roaming, "host", host, "run_host", c->host.name,
                     "content_type", VIEWER_RDP_TYPE, "file_name", name, "file", file);
}

/* On a unix socket there is no file for client programs that could say so. */
static json_t *answer_vnc(OpsCall *call, const Connect *c, const SessionTicket *t)
{
    g_autofree char *until = units_format_time(t->valid_until);
    json_t *out =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s,s:s}", "id", t->session_id, "name", c->desktop.name,
                  "desktop", c->desktop.name, "user", c->user_name, "protocol", "vnc", "roaming",
                  t->is_roaming, "run_host", c->host.name, "valid_until", until);

    json_object_update_new(out, session_way_json(&t->way, c->user_name, c->desktop.name));
    return out;
}

static gboolean take_protocol(OpsCall *call, Connect *c, GError **error)
{
    g_auto(HostView) view = { 0 };
    const RelayAsk own = { NULL, TRUE, session_address(call) != NULL };
    SessionDisplay display = { .is_windows = c->hardware.is_windows };
    g_autoptr(GError) no_vnc = NULL;

    if (!relays_check(call->world->relays, c->run.host_id, &own, &no_vnc))
        display.no_vnc = no_vnc;
    hosts_view(call->world->hosts, c->run.host_id, &view);
    display.has_spice = view.facts.has_spice;
    c->protocol = session_protocol(args_text(call, "protocol", FALSE, NULL), &display, error);
    return c->protocol != NULL;
}

static json_t *open_session(OpsCall *call, Connect *c, GError **error)
{
    g_autofree char *guest = NULL;
    g_auto(SessionTicket) ticket = { 0 };

    if (!take_protocol(call, c, error) ||
        (g_str_equal(c->protocol, "rdp") &&
         !(guest = guest_agent_address(call->world, &c->run, error))))
        return NULL;
    const SessionAsk ask = { .user_id = c->user_id,
                             .user_name = c->user_name,
                             .who = call->who,
                             .desktop_id = c->desktop.id,
                             .pool_id = c->choice.pool_id,
                             .protocol = c->protocol,
                             .address = session_address(call),
                             .takes_over = c->takes_over,
                             .may_take_over = c->choice.may_take_over };
    if (!sessions_open(call->world->sessions, &ask, &ticket, error))
        return NULL;
    if (g_str_equal(c->protocol, "rdp"))
        return answer_rdp(call, c, &ticket, guest);
    if (g_str_equal(c->protocol, "vnc"))
        return answer_vnc(call, c, &ticket);
    return check_tls(c, &ticket, error) ? answer_spice(call, c, &ticket) : NULL;
}

json_t *ops_session_connect(OpsCall *call, GError **error)
{
    g_auto(Connect) c = { 0 };

    if (!take_args(call, &c, error) || !choose(call, &c, error) || !pick(call, &c, error) ||
        !make_run(call, &c, error))
        return NULL;
    json_t *out = open_session(call, &c, error);
    if (!out)
        g_prefix_error(error, "'%s': ", c.desktop.name);
    return out;
}
