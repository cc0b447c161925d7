/* files.c: the helper runs in a thread of the stream's own (it dies with it); what it sends waits
 * in a buffer until the client takes it. */
#include "imaged/ops/files.h"

#include <string.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/export_ref.h"
#include "imaged/ops/inspect_disk.h"

#define BUFFER_MAX (2 * MIB)
#define WAIT_US 200000

/* ---- The disk ---- */

typedef struct {
    World *world;
    ExportRef ref;
    GArray *fds;
    json_t *claims;
} Held;

static void held_clear(Held *h)
{
    for (guint i = 0; h->fds && i < h->fds->len; i++)
        durable_close(&g_array_index(h->fds, int, i));
    g_clear_pointer(&h->fds, g_array_unref);
    if (h->claims) {
        claims_release(h->world->claims, h->claims);
        json_decref(h->claims);
    }
    export_ref_clear(&h->ref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Held, held_clear)

static gboolean hold(Held *h, World *world, const char *text, GError **error)
{
    g_auto(ExportRef) found = { 0 };

    h->world = world;
    h->fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!export_ref_find(world, text, FALSE, &found, error))
        return FALSE;
    json_t *claims = export_ref_claims(world, &found);
    if (!claims_take(world->claims, claims, "desktop.files", error)) {
        json_decref(claims);
        return FALSE;
    }
    h->claims = claims;
    /* Once it is claimed it is looked at again: it may have been reset in between. */
    if (!export_ref_find_by_id(world, found.kind, found.object_id, FALSE, &h->ref, error))
        return FALSE;
    GError *local = NULL;
    if (export_ref_open(world, &h->ref, h->fds, &local))
        return TRUE;
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_BUSY)) {
        g_clear_error(&local);
        g_set_error(&local, IMAGED_ERROR, IMAGED_ERROR_BUSY, "the disk of '%s' is in use",
                    h->ref.name);
        imaged_error_hint(&local,
                          "its snapshots can be read: imagectl desktop files ls "
                          "%s@SNAPSHOT",
                          h->ref.name);
    }
    g_propagate_error(error, local);
    return FALSE;
}

/* Quick, or by the appliance if only that can, and *has_sent (or NULL) does not say that bytes of
 * the quick one are on their way already. */
static json_t *run(const Held *h, const json_t *request, const GuestEvents *events,
                   const gint *cancel, const gboolean *has_sent, GError **error)
{
    InspectRun r = { .what = h->ref.name,
                     .task = "files",
                     .fds = h->fds,
                     .request = request,
                     .events = events,
                     .cancel = cancel };
    GError *local = NULL;
    json_t *result = inspect_run(h->world, &r, FALSE, &local);

    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED) &&
        !(has_sent && *has_sent)) {
        g_clear_error(&local);
        result = inspect_run(h->world, &r, TRUE, &local);
    }
    if (local)
        g_propagate_error(error, local);
    return result;
}

/* ---- Lists ---- */

static gboolean is_text(const json_t *entry, const char *key)
{
    const json_t *text = json_object_get(entry, key);

    return json_is_string(text) && json_string_length(text) <= 65536 &&
           strlen(json_string_value(text)) == json_string_length(text);
}

static gboolean is_number(const json_t *entry, const char *key)
{
    return json_integer_value(json_object_get(entry, key)) >= 0 &&
           json_is_integer(json_object_get(entry, key));
}

/* The helper may have been taken over by what it read. */
static gboolean check_entries(const json_t *list)
{
    json_t *entry;
    size_t i;

    if (!json_is_array(list))
        return FALSE;
    json_array_foreach (list, i, entry) {
        const json_t *target = json_object_get(entry, "target");
        if (!is_text(entry, "name") || !is_text(entry, "type") || !is_text(entry, "owner") ||
            !is_text(entry, "group") || !is_text(entry, "mtime") || !is_number(entry, "mode") ||
            !is_number(entry, "uid") || !is_number(entry, "gid") || !is_number(entry, "size") ||
            !(json_is_null(target) || is_text(entry, "target")))
            return FALSE;
    }
    return TRUE;
}

json_t *files_list_folder(World *world, const char *ref, const char *path, GError **error)
{
    g_auto(Held) held = { 0 };

    if (!hold(&held, world, ref, error))
        return NULL;
    json_t *request = json_pack("{s:s,s:s}", "verb", "list", "path", path);
    json_t *result = run(&held, request, NULL, NULL, NULL, error);
    json_decref(request);
    if (!result)
        return NULL;
    json_t *entries = json_object_get(result, "entries"), *out = NULL;
    if (check_entries(entries))
        out = json_pack("{s:s,s:s,s:s,s:b,s:O}", "id", held.ref.object_id, "name", held.ref.name,
                        "path", path, "is_cut", json_is_true(json_object_get(result, "cut")),
                        "entries", entries);
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the helper's list is not what may be said");
    json_decref(result);
    return out;
}

json_t *ops_files_list(OpsCall *call, GError **error)
{
    const char *ref = args_text(call, "ref", TRUE, error);
    const char *path = ref ? args_text(call, "path", TRUE, error) : NULL;

    return path && args_check(call, "ref path", error)
               ? files_list_folder(call->world, ref, path, error)
               : NULL;
}

/* ---- Streams ---- */

struct FilesStream {
    Held held;
    json_t *request;
    GThread *thread;
    gint cancel;       /* atomic */
    gboolean has_sent; /* the thread's own */
    const gint *stopping;

    GMutex lock; /* guards what follows */
    GCond changed;
    GByteArray *buffer; /* sent by the helper, not taken yet: from taken on */
    gsize taken;
    gboolean is_over;
    GError *why;
};

static gboolean on_data(gpointer user, const void *bytes, gsize n, GError **error)
{
    FilesStream *s = user;

    s->has_sent = TRUE;
    g_mutex_lock(&s->lock);
    while (s->buffer->len - s->taken > BUFFER_MAX && !g_atomic_int_get(&s->cancel))
        g_cond_wait(&s->changed, &s->lock);
    if (s->taken) {
        g_byte_array_remove_range(s->buffer, 0, (guint)s->taken);
        s->taken = 0;
    }
    g_byte_array_append(s->buffer, bytes, (guint)n);
    g_cond_broadcast(&s->changed);
    g_mutex_unlock(&s->lock);
    return TRUE;
}

static gpointer read_file(gpointer data)
{
    FilesStream *s = data;
    GuestEvents events = { .data = on_data, .user = s };
    GError *why = NULL;

    json_decref(run(&s->held, s->request, &events, &s->cancel, &s->has_sent, &why));
    g_mutex_lock(&s->lock);
    s->is_over = TRUE;
    s->why = why;
    g_cond_broadcast(&s->changed);
    g_mutex_unlock(&s->lock);
    return NULL;
}

static gboolean has_some(const FilesStream *s)
{
    return s->buffer->len > s->taken;
}

/* Until there is something to take, or nothing to come.  The lock is held. */
static void wait_for_some(FilesStream *s)
{
    while (!s->is_over && !has_some(s) && !g_atomic_int_get(s->stopping))
        g_cond_wait_until(&s->changed, &s->lock, g_get_monotonic_time() + WAIT_US);
}

FilesStream *files_stream_open(World *world, const char *ref, const char *path,
                               const gint *stopping, GError **error)
{
    g_autoptr(FilesStream) s = g_new0(FilesStream, 1);

    g_mutex_init(&s->lock);
    g_cond_init(&s->changed);
    s->buffer = g_byte_array_new();
    s->stopping = stopping;
    s->request = json_pack("{s:s,s:s}", "verb", "get", "path", path);
    if (!hold(&s->held, world, ref, error))
        return NULL;
    s->thread = g_thread_new("files", read_file, s);
    g_mutex_lock(&s->lock);
    wait_for_some(s);
    gboolean ok = has_some(s) || (s->is_over && !s->why);
    if (!ok && s->why)
        g_propagate_error(error, g_steal_pointer(&s->why));
    else if (!ok)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "imaged is being stopped");
    g_mutex_unlock(&s->lock);
    return ok ? g_steal_pointer(&s) : NULL;
}

gssize files_stream_read(FilesStream *s, void *buffer, gsize max)
{
    gssize n;

    g_mutex_lock(&s->lock);
    wait_for_some(s);
    if (has_some(s)) {
        n = (gssize)MIN(max, s->buffer->len - s->taken);
        memcpy(buffer, s->buffer->data + s->taken, (gsize)n);
        s->taken += (gsize)n;
        g_cond_broadcast(&s->changed);
    } else {
        n = s->why || !s->is_over ? -1 : 0;
    }
    g_mutex_unlock(&s->lock);
    return n;
}

void files_stream_close(FilesStream *s)
{
    if (!s)
        return;
    g_mutex_lock(&s->lock);
    g_atomic_int_set(&s->cancel, 1);
    g_cond_broadcast(&s->changed);
    g_mutex_unlock(&s->lock);
    if (s->thread)
        g_thread_join(s->thread);
    held_clear(&s->held);
    json_decref(s->request);
    g_byte_array_unref(s->buffer);
    g_clear_error(&s->why);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->changed);
    g_free(s);
}
