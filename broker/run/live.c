/* live.c: see live.h.
 *
 * What a host is asked lives in a box of its own: who gives up waiting leaves it behind. */
#include "broker/run/live.h"

#include <string.h>

#include "imaged/base/error.h"

#define LOOK_LIMIT_MS 20000
#define CHANGE_LIMIT_MS 120000 /* an agent may take its time */
#define AGAIN_MS 500

typedef enum {
    ASK_FIND,
    ASK_XML,
    ASK_SNAPSHOT,
    ASK_THAW,
    ASK_COPY,
    ASK_COPY_LOOK,
    ASK_COPY_END,
    ASK_PAUSE,
    ASK_RESUME,
    ASK_PING,
    ASK_SHUT_DOWN,
    ASK_IS_MOVING,
    ASK_MOVE_STOP,
    ASK_DESTROY,
    ASK_END_PASSWORD,
} What;

typedef struct {
    What what;
    char *uuid, *incarnation;
    char *dev, *text; /* of a disk: its chain */
    gboolean flag;    /* take the copy; it is being moved */
    char **devs, **paths, **others;
    /* What came of it. */
    char *xml;
    HostDomain *domain;
    LiveCopy copy;
    gboolean is_quiet;
} Ask;

static void ask_clear(gpointer data)
{
    Ask *a = data;

    g_free(a->uuid);
    g_free(a->incarnation);
    g_free(a->dev);
    g_free(a->text);
    g_strfreev(a->devs);
    g_strfreev(a->paths);
    g_strfreev(a->others);
    g_free(a->xml);
    host_domain_free(a->domain);
}

static void ask_free(Ask *a)
{
    g_atomic_rc_box_release_full(a, ask_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ask, ask_free)

static Ask *ask_new(const RunRow *run, What what)
{
    Ask *a = g_atomic_rc_box_new0(Ask);

    a->what = what;
    a->uuid = g_strdup(run->uuid);
    a->incarnation = g_strdup(run->incarnation);
    return a;
}

static gboolean snapshot(const HostLive *live, gpointer link, Ask *a, GError **error)
{
    guint n = g_strv_length(a->devs);
    g_autofree LiveDisk *disks = g_new0(LiveDisk, n);

    for (guint i = 0; i < n; i++)
        disks[i] = (LiveDisk){ a->devs[i], a->paths[i] };
    return live->snapshot(link, a->uuid, disks, n, (const char *const *)a->others, &a->is_quiet,
                          error);
}

static gboolean do_ask(const HostDriver *driver, gpointer link, Ask *a, GError **error)
{
    const HostLive *live = driver->live;

    switch (a->what) {
    case ASK_XML:
        return (a->xml = live->xml(link, a->uuid, FALSE, error)) != NULL;
    case ASK_SNAPSHOT:
        return snapshot(live, link, a, error);
    case ASK_THAW:
        return live->thaw(link, a->uuid, error);
    case ASK_COPY:
        return live->copy(link, a->uuid, a->dev, a->text, error);
    case ASK_COPY_LOOK:
        return live->copy_look(link, a->uuid, a->dev, &a->copy, error);
    case ASK_COPY_END:
        return live->copy_end(link, a->uuid, a->dev, a->flag, error);
    case ASK_PAUSE:
        return driver->pause(link, a->uuid, error);
    case ASK_RESUME:
        return driver->resume(link, a->uuid, error);
    case ASK_PING:
        return live->ping(link, a->uuid, error);
    case ASK_SHUT_DOWN:
        return driver->shut_down(link, a->uuid, error);
    case ASK_IS_MOVING:
        return live->is_moving(link, a->uuid, &a->flag, error);
    case ASK_MOVE_STOP:
        return live->move_stop(link, a->uuid, error);
    case ASK_DESTROY:
        return driver->destroy(link, a->uuid, error);
    case ASK_END_PASSWORD:
        return live->hold_password(link, a->uuid, "1970-01-01T00:00:01", error);
    default:
        return TRUE;
    }
}

/* On a thread of the host. */
static gboolean ask_host(const HostDriver *driver, gpointer link, gpointer data, GError **error)
{
    Ask *a = data;

    a->domain = driver->find(link, a->uuid, error);
    if (!a->domain)
        return FALSE;
    if (g_strcmp0(a->domain->incarnation, a->incarnation) != 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its host runs another incarnation of it, which is left alone");
        return FALSE;
    }
    return do_ask(driver, link, a, error);
}

static gboolean ask(World *world, const char *host_id, Ask *a, GError **error)
{
    gboolean is_long = a->what == ASK_SNAPSHOT || a->what == ASK_COPY || a->what == ASK_COPY_END ||
                       a->what == ASK_PING || a->what == ASK_THAW;

    return is_long
               ? hosts_call_apart(world->hosts, host_id, ask_host, a, ask_clear, CHANGE_LIMIT_MS,
                                  error)
               : hosts_call(world->hosts, host_id, ask_host, a, ask_clear, LOOK_LIMIT_MS, error);
}

HostDomain *live_find(World *world, const char *host_id, const RunRow *run, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_FIND);

    return ask(world, host_id, a, error) ? g_steal_pointer(&a->domain) : NULL;
}

GPtrArray *live_disks(World *world, const RunRow *run, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_XML);

    return ask(world, run->host_id, a, error) ? domain_disks(a->xml, error) : NULL;
}

GPtrArray *live_ask(World *world, Job *job, const RunRow *run, GError **error)
{
    for (;;) {
        g_autoptr(GError) local = NULL;
        GPtrArray *disks = live_disks(world, run, &local);
        gboolean is_gone = g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND);
        is_gone |= g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY);
        if (disks || is_gone || job_is_stopping(job)) {
            if (local)
                g_propagate_error(error, g_steal_pointer(&local));
            return disks;
        }
        job_message(job, "%s: only its host can tell how it is: %s", run->name, local->message);
        g_usleep(AGAIN_MS * 1000);
    }
}

gboolean live_snapshot(World *world, const RunRow *run, const GPtrArray *disks,
                       const char *const *to, gboolean *ret_is_quiet, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_SNAPSHOT);
    g_autoptr(GStrvBuilder) devs = g_strv_builder_new();
    g_autoptr(GStrvBuilder) paths = g_strv_builder_new();
    g_autoptr(GStrvBuilder) others = g_strv_builder_new();

    for (guint i = 0; i < disks->len; i++) {
        const DomainDisk *disk = disks->pdata[i];
        g_strv_builder_add(to[i] ? devs : others, disk->dev);
        if (to[i])
            g_strv_builder_add(paths, to[i]);
    }
    a->devs = g_strv_builder_end(devs);
    a->paths = g_strv_builder_end(paths);
    a->others = g_strv_builder_end(others);
    gboolean ok = ask(world, run->host_id, a, error);
    *ret_is_quiet = ok && a->is_quiet;
    return ok;
}

gboolean live_copy(World *world, const RunRow *run, const char *dev, const char *const *paths,
                   GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_COPY);

    a->dev = g_strdup(dev);
    a->text = domain_chain_xml(paths);
    return ask(world, run->host_id, a, error);
}

gboolean live_copy_look(World *world, const RunRow *run, const char *dev, LiveCopy *ret,
                        GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_COPY_LOOK);

    a->dev = g_strdup(dev);
    gboolean ok = ask(world, run->host_id, a, error);
    *ret = a->copy;
    return ok;
}

gboolean live_copy_end(World *world, const RunRow *run, const char *dev, gboolean take_copy,
                       GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_COPY_END);

    a->dev = g_strdup(dev);
    a->flag = take_copy;
    return ask(world, run->host_id, a, error);
}

static gboolean simply(World *world, const RunRow *run, What what, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, what);

    return ask(world, run->host_id, a, error);
}

gboolean live_pause(World *world, const RunRow *run, GError **error)
{
    return simply(world, run, ASK_PAUSE, error);
}

gboolean live_resume(World *world, const RunRow *run, GError **error)
{
    return simply(world, run, ASK_RESUME, error);
}

gboolean live_shut_down(World *world, const RunRow *run, GError **error)
{
    return simply(world, run, ASK_SHUT_DOWN, error);
}

gboolean live_ping(World *world, const RunRow *run, GError **error)
{
    return simply(world, run, ASK_PING, error);
}

void live_thaw(World *world, const RunRow *run)
{
    g_autoptr(GError) error = NULL;

    if (!simply(world, run, ASK_THAW, &error)) /* none has an agent that has not answered before */
        g_debug("'%s': %s", run->name, error->message);
}

gboolean live_is_moving(World *world, const RunRow *run, gboolean *ret_is, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_IS_MOVING);
    gboolean ok = ask(world, run->host_id, a, error);

    *ret_is = ok && a->flag;
    return ok;
}

gboolean live_move_stop(World *world, const RunRow *run, GError **error)
{
    return simply(world, run, ASK_MOVE_STOP, error);
}

gboolean live_destroy(World *world, const char *host_id, const RunRow *run, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_DESTROY);

    return ask(world, host_id, a, error);
}

gboolean live_end_password(World *world, const char *host_id, const RunRow *run, GError **error)
{
    g_autoptr(Ask) a = ask_new(run, ASK_END_PASSWORD);

    return ask(world, host_id, a, error);
}
