/* run_console.c: see run_console.h. */
#include "imaged/ops/run_console.h"

#include <unistd.h>

#include "broker/run/runs.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"

#define CALL_LIMIT_MS 30000
#define BUSY_MS 3000
#define LOOK_MS 100

typedef struct {
    char *uuid, *incarnation;
    gboolean is_forced;
    gint fd; /* atomic; -1: there is none, or it was taken */
} Opening;

/* Nobody waits any more for what came too late. */
static void opening_clear(gpointer data)
{
    Opening *o = data;

    if (o->fd >= 0)
        close(o->fd);
    g_free(o->uuid);
    g_free(o->incarnation);
}

static gboolean open_there(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Opening *o = data;
    HostDomain *d = driver->find(link, o->uuid, error);
    gboolean is_ours = d && g_strcmp0(d->incarnation, o->incarnation) == 0;

    if (d && !is_ours)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
    host_domain_free(d);
    if (!is_ours)
        return FALSE;
    if (!driver->open_console) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "its host has no consoles");
        return FALSE;
    }
    /* Who left it just now may have it for a moment yet. */
    gint64 until_us = g_get_monotonic_time() + BUSY_MS * 1000;
    for (;;) {
        g_autoptr(GError) local = NULL;
        o->fd = driver->open_console(link, o->uuid, o->is_forced, &local);
        if (o->fd >= 0)
            return TRUE;
        if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY) ||
            g_get_monotonic_time() >= until_us) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_usleep(LOOK_MS * 1000);
    }
}

static int open_on_host(OpsCall *call, const RunRow *run, gboolean is_forced, GError **error)
{
    Opening *o = g_atomic_rc_box_new0(Opening);
    int fd = -1;

    *o = (Opening){ .uuid = g_strdup(run->uuid),
                    .incarnation = g_strdup(run->incarnation),
                    .is_forced = is_forced,
                    .fd = -1 };
    if (hosts_call_apart(call->world->hosts, run->host_id, open_there, o, opening_clear,
                         CALL_LIMIT_MS, error)) {
        fd = o->fd;
        o->fd = -1;
    }
    g_atomic_rc_box_release_full(o, opening_clear);
    return fd;
}

static gboolean note(OpsCall *call, const RunRow *run, gboolean is_forced, GError **error)
{
    Changes *changes = changes_new();

    changes_event(changes, "desktop.console", "info", run->name, call->who, "%s",
                  is_forced ? "its console was opened, and taken from who had it"
                            : "its console was opened");
    return catalog_commit(call->world->catalog, changes, error);
}

int run_console_open(OpsCall *call, GError **error)
{
    g_auto(DesktopRow) desktop = { 0 };
    g_auto(RunRow) run = { 0 };
    gboolean is_forced;
    const char *name = args_text(call, "desktop", TRUE, error);

    if (!name || !args_check(call, "desktop force", error) ||
        !args_bool(call, "force", &is_forced, error))
        return -1;
    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok =
        lookup_desktop(db, name, &desktop, error) && run_lookup_on(db, desktop.id, &run, error);
    catalog_read_end(call->world->catalog, db);
    int fd = ok ? open_on_host(call, &run, is_forced, error) : -1;
    if (fd < 0 && !is_forced && error && *error &&
        g_error_matches(*error, IMAGED_ERROR, IMAGED_ERROR_BUSY))
        imaged_error_hint(error, "take it over: imagectl desktop console %s --force", name);
    if (fd >= 0 && !note(call, &run, is_forced, error)) {
        close(fd);
        fd = -1;
    }
    return fd;
}
