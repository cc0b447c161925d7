/* export_keeper.c: see export_keeper.h.  It waits on the servers' process descriptors and what they
 * say, and looks once a second at those with an idle timeout. */
#include "imaged/ops/export_keeper.h"

#include <poll.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/export_folder.h"

#define READER_END_MS 1000  /* it has nothing to lose */
#define WRITER_END_MS 10000 /* it writes what its clients were told is written */
#define TICK_MS 1000

typedef struct {
    const ExportChildSpec *spec;
    ExportChild *child;
    GError *error;
    gboolean is_done;
} Spawn;

void export_keeper_wake(Exports *x)
{
    guint64 one = 1;

    if (write(x->wake, &one, sizeof one) < 0)
        g_debug("cannot wake the keeper of exports");
}

/* ---- Starting ---- */

ExportChild *export_keeper_spawn(Exports *x, const ExportChildSpec *spec, GError **error)
{
    Spawn request = { .spec = spec };

    g_mutex_lock(&x->lock);
    if (x->is_stopping) {
        g_mutex_unlock(&x->lock);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "imaged stops");
        return NULL;
    }
    g_queue_push_tail(&x->spawns, &request);
    export_keeper_wake(x);
    while (!request.is_done)
        g_cond_wait(&x->spawned, &x->lock);
    g_mutex_unlock(&x->lock);
    if (request.error)
        g_propagate_error(error, request.error);
    return request.child;
}

static void spawn_waiting(Exports *x)
{
    Spawn *s;

    g_mutex_lock(&x->lock);
    while ((s = g_queue_pop_head(&x->spawns))) {
        g_mutex_unlock(&x->lock);
        s->child = export_child_start(s->spec, &s->error);
        g_mutex_lock(&x->lock);
        s->is_done = TRUE;
        g_cond_broadcast(&x->spawned);
    }
    g_mutex_unlock(&x->lock);
}

/* ---- Ending ---- */

/* The entry is ENDING and so ours. */
static void end_server(ExportEntry *e)
{
    if (e->child)
        export_child_stop(e->child, e->is_read_write ? WRITER_END_MS : READER_END_MS);
    g_clear_pointer(&e->child, export_child_free);
}

void export_keeper_fail(Exports *x, ExportEntry *e, const char *reason)
{
    end_server(e);
    if (!export_entry_set_failed(x->world, e, reason, NULL))
        g_debug("cannot note that an export failed");
    export_entry_release_claims(x->world, e);
    g_mutex_lock(&x->lock);
    e->state = ENTRY_FAILED;
    g_mutex_unlock(&x->lock);
}

gboolean export_keeper_end(Exports *x, ExportEntry *e, const char *who, const char *why,
                           GError **error)
{
    end_server(e);
    if (!export_entry_delete(x->world, e, who, why, error)) {
        export_keeper_fail(x, e, "it was ended, but the catalog could not be written");
        return FALSE;
    }
    export_folder_remove(x->world->state_dir, e->folder);
    export_entry_release_claims(x->world, e);
    g_mutex_lock(&x->lock);
    g_hash_table_remove(x->entries, e->id); /* frees it */
    g_mutex_unlock(&x->lock);
    return TRUE;
}

/* ---- Watching ---- */

static gboolean is_idle(ExportEntry *e, gint64 now_ms)
{
    guint n_clients;
    guint64 stamp;

    if (!e->idle_timeout_s)
        return FALSE;
    if (!export_child_activity(e->child, &n_clients, &stamp) || n_clients || stamp != e->stamp) {
        e->stamp = stamp;
        e->active_at_ms = now_ms;
    }
    return now_ms - e->active_at_ms >= e->idle_timeout_s * 1000;
}

/* The next entry that has to be ended, as ENDING, or NULL. */
static ExportEntry *next_to_end(Exports *x, gboolean *ret_is_dead)
{
    GHashTableIter iter;
    gpointer value;
    gint64 now = units_boottime_ms();
    ExportEntry *found = NULL;

    g_mutex_lock(&x->lock);
    g_hash_table_iter_init(&iter, x->entries);
    while (!found && g_hash_table_iter_next(&iter, NULL, &value)) {
        ExportEntry *e = value;
        if (e->state != ENTRY_RUNNING)
            continue;
        export_child_drain(e->child);
        *ret_is_dead = export_child_has_ended(e->child);
        if (*ret_is_dead || is_idle(e, now)) {
            e->state = ENTRY_ENDING;
            found = e;
        }
    }
    g_mutex_unlock(&x->lock);
    return found;
}

static void end_what_has_to(Exports *x)
{
    ExportEntry *e;
    gboolean is_dead;

    while ((e = next_to_end(x, &is_dead))) {
        if (is_dead) {
            const char *words = export_child_last_words(e->child);
            g_autofree char *reason =
                g_strdup_printf("its server ended unexpectedly%s%s", *words ? ": " : "", words);
            export_keeper_fail(x, e, reason);
        } else {
            g_autofree char *why =
                g_strdup_printf("no client for %" G_GINT64_FORMAT " s", e->idle_timeout_s);
            export_keeper_end(x, e, NULL, why, NULL);
        }
    }
}

/* What to wait for: being woken, and each server's end and words. */
static GArray *what_to_poll(Exports *x)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    struct pollfd mine = { x->wake, POLLIN, 0 };
    GHashTableIter iter;
    gpointer value;

    g_array_append_val(fds, mine);
    g_mutex_lock(&x->lock);
    g_hash_table_iter_init(&iter, x->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const ExportEntry *e = value;
        if (e->state != ENTRY_RUNNING)
            continue;
        struct pollfd both[] = { { export_child_pidfd(e->child), POLLIN, 0 },
                                 { export_child_stderr(e->child), POLLIN, 0 } };
        g_array_append_vals(fds, both, G_N_ELEMENTS(both));
    }
    g_mutex_unlock(&x->lock);
    return fds;
}

gpointer export_keeper_run(gpointer data)
{
    Exports *x = data;
    gboolean is_stopping = FALSE;

    while (!is_stopping) {
        GArray *fds = what_to_poll(x);
        guint64 count;
        poll((struct pollfd *)fds->data, fds->len, TICK_MS);
        if (g_array_index(fds, struct pollfd, 0).revents && read(x->wake, &count, sizeof count) < 0)
            g_debug("the keeper of exports was woken for nothing");
        g_array_unref(fds);
        spawn_waiting(x);
        end_what_has_to(x);
        g_mutex_lock(&x->lock);
        is_stopping = x->is_stopping && g_queue_is_empty(&x->spawns);
        g_mutex_unlock(&x->lock);
    }
    return NULL;
}
