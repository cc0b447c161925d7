/* exports.c: what a user starts and stops, and what the daemon finds and leaves.  The servers are
 * started and watched by export_keeper.c. */
#include "imaged/ops/exports.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/export_folder.h"
#include "imaged/ops/export_keeper.h"
#include "imaged/ops/pool_guard.h"

#define READY_LIMIT_MS 20000

/* ---- Starting a server ---- */

static void close_all(GArray *fds)
{
    for (guint i = 0; i < fds->len; i++)
        durable_close(&g_array_index(fds, int, i));
    g_array_unref(fds);
}

/* Start the entry's server on the open layers and the listening socket; returns once it serves. */
static gboolean serve(Exports *x, ExportEntry *e, const GArray *fds, int listen_fd, GError **error)
{
    /* Our plugin takes the default name for the first one; QEMU wants to be told. */
    const char *names[4] = { e->name };
    guint n = 1;
    if (strcmp(e->name, e->ref) != 0)
        names[n++] = e->ref;
    if (e->is_read_write)
        names[n++] = "";
    g_autofree char *tls_dir = export_folder_path(x->world->state_dir, e->folder, "tls");
    ExportChildSpec spec = { .is_read_write = e->is_read_write,
                             .fds = (const int *)fds->data,
                             .n_fds = fds->len,
                             .listen_fd = listen_fd,
                             .names = names,
                             .tls = e->tls,
                             .tls_dir = tls_dir };
    g_autoptr(ExportChild) child = export_keeper_spawn(x, &spec, error);
    g_autofree char *mark = child ? export_child_mark(export_child_pid(child)) : NULL;

    if (!child || (mark && !export_folder_put_mark(x->world->state_dir, e->folder, mark, error)) ||
        !export_child_wait_ready(child, READY_LIMIT_MS, error))
        return FALSE;
    e->child = g_steal_pointer(&child);
    e->active_at_ms = units_boottime_ms();
    return TRUE;
}

static gboolean open_and_serve(Exports *x, ExportEntry *e, const ExportRef *ref,
                               gboolean is_restored, GError **error)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    auto_fd listen_fd = -1;
    gboolean ok = export_ref_open(x->world, ref, fds, error) &&
                  (listen_fd = export_entry_listen(x->world, e, x->group, error)) >= 0 &&
                  export_entry_put(x->world, e, ref, error) && serve(x, e, fds, listen_fd, error) &&
                  export_entry_set_running(x->world, e, is_restored, error);

    close_all(fds);
    return ok;
}

static void set_running(Exports *x, ExportEntry *e)
{
    g_mutex_lock(&x->lock);
    e->state = ENTRY_RUNNING;
    g_hash_table_replace(x->entries, e->id, e);
    g_mutex_unlock(&x->lock);
    export_keeper_wake(x);
}

static ExportEntry *new_entry(const ExportRequest *r, const ExportRef *ref)
{
    ExportEntry *e = g_new0(ExportEntry, 1);
    Id id = id_new();

    e->id = g_strdup(id.s);
    e->name = g_strdup(ref->name);
    e->ref = g_strdup(r->ref);
    e->kind = g_strdup(ref->kind);
    e->object_id = g_strdup(ref->object_id);
    e->owner = g_strdup(r->owner);
    e->is_read_write = r->is_read_write;
    e->tls = r->tls;
    e->tls_user = g_strdup(r->tls_user);
    e->idle_timeout_s = r->idle_timeout_s;
    if (r->address) {
        e->address = *r->address;
        e->address.host = g_strdup(r->address->host);
    }
    return e;
}

/* Is the desktop under somebody's lease?  Then no writer is started, whatever the locks say.  Nor
 * on a pool's one that the next user would get with what was written to it. */
static gboolean check_lease(World *world, const ExportRef *ref, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    gint64 n =
        lookup_int(db, "SELECT count(*) FROM lease WHERE desktop_id = ?1", "t", ref->object_id);

    catalog_read_end(world->catalog, db);
    if (!ref->is_read_write || n == 0)
        return !ref->is_read_write || pool_guard_item(world, GUARD_WRITE, ref->object_id, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the desktop '%s' is in use", ref->name);
    return FALSE;
}

char *exports_start(Exports *x, const ExportRequest *r, GError **error)
{
    World *world = x->world;
    g_auto(ExportRef) found = { 0 };
    g_auto(ExportRef) ref = { 0 };

    if (!export_ref_find(world, r->ref, r->is_read_write, &found, error))
        return NULL;
    g_autoptr(ExportEntry) e = new_entry(r, &found);
    /* Once it is claimed it is looked at again: it may have been reset in between. */
    gboolean ok =
        export_entry_take_claims(world, e, &found, error) &&
        export_ref_find_by_id(world, e->kind, e->object_id, r->is_read_write, &ref, error) &&
        check_lease(world, &ref, error) &&
        (e->folder = export_folder_make(world->state_dir, x->group, error)) != NULL &&
        (r->tls == EXPORT_TLS_NONE ||
         export_folder_put_tls(world->state_dir, e->folder, r->tls, r->material, error)) &&
        open_and_serve(x, e, &ref, FALSE, error);
    if (ok) {
        char *id = g_strdup(e->id);
        set_running(x, g_steal_pointer(&e));
        return id;
    }
    g_clear_pointer(&e->child, export_child_free); /* ended before anybody else may write */
    if (e->folder) {
        export_entry_delete(world, e, NULL, NULL, NULL);
        export_folder_remove(world->state_dir, e->folder);
    }
    export_entry_release_claims(world, e);
    return NULL;
}

/* ---- Ending ---- */

gboolean exports_stop(Exports *x, const char *id, const char *who, GError **error)
{
    g_mutex_lock(&x->lock);
    ExportEntry *e = g_hash_table_lookup(x->entries, id);
    gboolean is_ending = e && e->state == ENTRY_ENDING;
    if (e)
        e->state = ENTRY_ENDING;
    g_mutex_unlock(&x->lock);
    if (e && !is_ending)
        return export_keeper_end(x, e, who, "stopped", error);
    g_set_error(error, IMAGED_ERROR, e ? IMAGED_ERROR_BUSY : IMAGED_ERROR_NOT_FOUND,
                e ? "the export is ending already" : "there is no export '%.40s'", id);
    return FALSE;
}

/* ---- With the daemon ---- */

/* A row of a start that was never answered is forgotten; its server is gone by then. */
static void load(Exports *x, Query *rows, GPtrArray *unanswered)
{
    while (query_next(rows)) {
        ExportEntry *e = export_entry_from_row(rows);
        if (strcmp(query_text(rows, "state"), "starting") == 0)
            g_ptr_array_add(unanswered, e);
        else
            g_hash_table_insert(x->entries, e->id, e);
    }
}

static gboolean is_wanted(const char *folder, gpointer user)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, ((Exports *)user)->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (strcmp(((ExportEntry *)value)->folder, folder) == 0)
            return TRUE;
    }
    return FALSE;
}

static void take_claims_again(Exports *x)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, x->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ExportEntry *e = value;
        g_auto(ExportRef) ref = { 0 };
        g_autoptr(GError) error = NULL;
        if (e->state == ENTRY_STARTING && (!export_ref_find_by_id(x->world, e->kind, e->object_id,
                                                                  e->is_read_write, &ref, &error) ||
                                           !export_entry_take_claims(x->world, e, &ref, &error)))
            export_keeper_fail(x, e, error->message);
    }
}

Exports *exports_new(World *world, const char *group, GError **error)
{
    Exports *x = g_new0(Exports, 1);
    g_autoptr(GPtrArray) unanswered =
        g_ptr_array_new_with_free_func((GDestroyNotify)export_entry_free);

    x->world = world;
    x->group = g_strdup(group);
    x->entries =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)export_entry_free);
    g_mutex_init(&x->lock);
    g_cond_init(&x->spawned);
    g_queue_init(&x->spawns);
    x->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT * FROM export", "");
    load(x, q, unanswered);
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    ok = ok && export_folder_clean(world->state_dir, is_wanted, x, error);
    for (guint i = 0; ok && i < unanswered->len; i++)
        ok = export_entry_delete(world, unanswered->pdata[i], NULL, NULL, error);
    if (ok)
        take_claims_again(x);
    x->keeper = g_thread_new("exports", export_keeper_run, x);
    if (ok)
        return x;
    g_hash_table_remove_all(x->entries); /* the rows stay for the next start */
    exports_free(x);
    return NULL;
}

void exports_restore(Exports *x)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&x->lock);
    g_hash_table_iter_init(&iter, x->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (((ExportEntry *)value)->state == ENTRY_STARTING)
            g_ptr_array_add(list, value);
    }
    g_mutex_unlock(&x->lock);
    for (guint i = 0; i < list->len; i++) {
        ExportEntry *e = list->pdata[i];
        g_auto(ExportRef) ref = { 0 };
        g_autoptr(GError) error = NULL;
        if (export_ref_find_by_id(x->world, e->kind, e->object_id, e->is_read_write, &ref,
                                  &error) &&
            open_and_serve(x, e, &ref, TRUE, &error)) {
            g_mutex_lock(&x->lock);
            e->state = ENTRY_RUNNING;
            g_mutex_unlock(&x->lock);
        } else {
            g_autofree char *message = imaged_error_message(error);
            export_keeper_fail(x, e, message);
        }
    }
    export_keeper_wake(x);
}

/* All are asked first, so that they end side by side. */
static void end_all(Exports *x)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&x->lock);
    g_hash_table_iter_init(&iter, x->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ExportEntry *e = value;
        if (e->state != ENTRY_RUNNING)
            continue; /* a failed one is shown again after the next start */
        e->state = ENTRY_ENDING;
        export_child_ask(e->child);
        g_ptr_array_add(list, e);
    }
    g_mutex_unlock(&x->lock);
    for (guint i = 0; i < list->len; i++)
        export_keeper_end(x, list->pdata[i], NULL, "imaged was stopped", NULL);
}

void exports_free(Exports *x)
{
    if (!x)
        return;
    end_all(x);
    g_mutex_lock(&x->lock);
    x->is_stopping = TRUE;
    g_mutex_unlock(&x->lock);
    export_keeper_wake(x);
    g_thread_join(x->keeper);
    g_hash_table_unref(x->entries);
    durable_close(&x->wake);
    g_mutex_clear(&x->lock);
    g_cond_clear(&x->spawned);
    g_free(x->group);
    g_free(x);
}

gint exports_look(Exports *x, const char *id, guint *ret_n_clients)
{
    gint pid = 0;
    guint64 stamp;

    *ret_n_clients = 0;
    g_mutex_lock(&x->lock);
    const ExportEntry *e = g_hash_table_lookup(x->entries, id);
    if (e && e->state == ENTRY_RUNNING) {
        export_child_activity(e->child, ret_n_clients, &stamp);
        pid = export_child_pid(e->child);
    }
    g_mutex_unlock(&x->lock);
    return pid;
}
