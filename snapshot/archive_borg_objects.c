/* archive_borg_objects.c: the layers of a borg repository: stored, read, verified, collected. */
#include "snapshot/archive_borg.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cow/layer_stream.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

/* ---- storing ---- */

typedef struct {
    LayerStream *stream;
    const ArchivePut *put;
    guint64 done, total; /* bytes */
} Feed;

static gssize read_stream(gpointer data, void *buffer, gsize max, GError **error)
{
    Feed *f = data;
    gssize n = layer_stream_read(f->stream, buffer, max, error);

    if (n == 0 && f->done != f->total) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the layer's stream ends too soon");
        return -1;
    }
    f->done += n > 0 ? (guint64)n : 0;
    if (n > 0 && f->put->progress)
        f->put->progress(f->done, f->total, f->put->data);
    return n;
}

/* "layer-ID" -> "ID.qcow2".  Caller frees; NULL if it is no object's name. */
static char *file_of(const char *object)
{
    gsize skip = strlen(BORG_LAYER);

    if (!g_str_has_prefix(object, BORG_LAYER) || !id_is_valid(object + skip))
        return NULL;
    return g_strconcat(object + skip, ".qcow2", NULL);
}

static gboolean no_object(const char *name, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "the target has no object %s", name);
    return FALSE;
}

static gboolean read_through(BorgTarget *t, const char *archive, const gint *cancel, GError **error)
{
    g_autofree char *where = borg_where(t, archive);
    const char *const argv[] = { "extract", "--dry-run", where, NULL };
    const BorgRun run = { .input = -1, .cancel = cancel, .may_be_silent = TRUE };

    return borg_run(&t->place, argv, &run, error);
}

/* The stored stream gets the object's name.  Where there was one already, it is taken for damaged:
 * but then borg may have counted on the same damaged chunks, so the new one is read first. */
static gboolean publish(BorgTarget *t, const char *stored, const char *object, const gint *cancel,
                        GError **error)
{
    g_autoptr(GPtrArray) old = g_ptr_array_new();

    if (borg_find(t, object)) {
        if (!read_through(t, stored, cancel, error)) {
            imaged_error_hint(error, "'borg check --repair' drops what is damaged; then archive "
                                     "it again");
            return FALSE;
        }
        g_ptr_array_add(old, (gpointer)object);
        if (!borg_delete(t, old, error))
            return FALSE;
    }
    return borg_rename(t, stored, object, error);
}

gboolean borg_put_layer(ArchiveTarget *target, const ArchivePut *put, ArchiveObject *ret,
                        GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autofree char *backing = put->parent ? file_of(put->parent) : NULL;
    g_autofree char *file = g_strconcat(put->layer_id, ".qcow2", NULL);
    Id id = id_new();
    g_autofree char *stored = g_strdup_printf(BORG_PUT "%s-%.8s", put->layer_id, id.s + 24);
    guint64 added = 0;

    if (put->parent && !backing)
        return no_object(put->parent, error);
    g_autoptr(LayerStream) stream =
        layer_stream_new(put->layer, put->below, put->n_below, backing, error);
    if (!stream || !borg_note_manager(t, error))
        return FALSE;
    Feed feed = { .stream = stream, .put = put, .total = layer_stream_length(stream) };
    const BorgRun run = { .read = read_stream, .input = -1, .data = &feed, .cancel = put->cancel };
    g_snprintf(ret->name, sizeof ret->name, BORG_LAYER "%s", put->layer_id);
    if (!borg_create(t, stored, file, &run, &added, error))
        return FALSE;
    if (feed.done != feed.total) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "borg did not read the whole layer");
        return FALSE;
    }
    ret->bytes = added;
    return publish(t, stored, ret->name, put->cancel, error);
}

/* ---- reading ---- */

/* The archive that holds this object, which may be on its way out. */
static const BorgArchive *find_object(BorgTarget *t, const char *name, GError **error)
{
    const BorgArchive *archive = NULL;
    g_autofree char *file = file_of(name);

    if (file && (t->archives || borg_list(t, error))) {
        archive = borg_find(t, name);
        if (!archive) {
            g_autofree char *gone = g_strdup_printf(BORG_GONE "%s-", name + strlen(BORG_LAYER));
            archive = borg_find_prefix(t, gone);
        }
    }
    if (!archive && (!file || t->archives))
        no_object(name, error);
    return archive;
}

gboolean borg_has_object(ArchiveTarget *target, const char *name, gboolean *ret_has, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;

    /* Asked by who is about to write: what is found must not be collected from now on. */
    if (!borg_note_manager(t, error))
        return FALSE;
    *ret_has = borg_find(t, name) != NULL; /* one on its way out is not to be counted on */
    return TRUE;
}

typedef struct {
    int fd;
    guint64 done;
    ArchiveProgress progress;
    gpointer data;
} Spool;

static gboolean write_spool(gpointer data, const void *bytes, gsize n, GError **error)
{
    Spool *s = data;

    if (!durable_write(s->fd, bytes, n, s->done, error))
        return FALSE;
    s->done += n;
    if (s->progress)
        s->progress(s->done, 0, s->data);
    return TRUE;
}

int borg_open_object(ArchiveTarget *target, const char *name, int scratch, const gint *cancel,
                     ArchiveProgress progress, gpointer data, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    const BorgArchive *archive = find_object(t, name, error);
    Id id = id_new();

    if (!archive)
        return -1;
    auto_fd fd = durable_create(scratch, id.s, 0, 0600, error);
    if (fd < 0 || !durable_unlink(scratch, id.s, error))
        return -1;
    Spool spool = { fd, 0, progress, data };
    g_autofree char *where = borg_where(t, archive->name), *file = file_of(name);
    const char *const argv[] = { "extract", "--stdout", where, file, NULL };
    const BorgRun run = { .input = -1, .write = write_spool, .data = &spool, .cancel = cancel };
    if (!borg_run(&t->place, argv, &run, error))
        return -1;
    int result = fd;
    fd = -1;
    return result;
}

/* borg compares each chunk with its id, which is made from its content. */
gboolean borg_verify_object(ArchiveTarget *target, const char *name, const gint *cancel,
                            GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    const BorgArchive *archive = find_object(t, name, error);

    return archive && read_through(t, archive->name, cancel, error);
}

gboolean borg_list_objects(ArchiveTarget *target, ArchiveVisit visit, gpointer user, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;

    if (!t->archives && !borg_list(t, error))
        return FALSE;
    g_autoptr(GArray) archives = g_array_ref(t->archives);
    for (guint i = 0; i < archives->len; i++) {
        const char *name = g_array_index(archives, BorgArchive, i).name;
        g_autofree char *file = file_of(name), *object = NULL;
        char id[ID_LEN + 1];
        gint64 ms;
        if (!file && borg_split(name, BORG_GONE, id, &ms)) {
            object = g_strconcat(BORG_LAYER, id, NULL);
            if (borg_find(t, object))
                continue; /* listed as that */
        }
        if ((file || object) && !visit(file ? name : object, 0, user, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- collecting ---- */

typedef struct {
    BorgTarget *t;
    GHashTable *unused; /* layer ids */
    gboolean is_shared; /* other managers use the repository */
    gint64 now;
    GPtrArray *dead;    /* names of archives to delete */
    GPtrArray *leaving; /* layer ids: layer- becomes gone- */
    GPtrArray *back;    /* names of archives: gone- becomes layer- */
} Collection;

static void judge(Collection *c, const BorgArchive *a)
{
    const char *name = a->name;
    gboolean is_old = a->start_ms < c->now - BORG_FORGET_MS;
    gsize skip = strlen(BORG_LAYER);
    char id[ID_LEN + 1];
    gint64 ms;

    if (g_str_has_prefix(name, BORG_PUT) ||
        ((g_str_has_prefix(name, BORG_POINT) || g_str_has_prefix(name, BORG_MANAGER)) &&
         strstr(name, ".checkpoint"))) {
        /* Interrupted.  Another manager may be at it, but not for longer than a session lasts. */
        if (is_old || !c->is_shared)
            g_ptr_array_add(c->dead, g_strdup(name));
    } else if (g_str_has_prefix(name, BORG_LAYER) && id_is_valid(name + skip)) {
        if (g_hash_table_contains(c->unused, name + skip))
            g_ptr_array_add(c->is_shared ? c->leaving : c->dead,
                            g_strdup(c->is_shared ? name + skip : name));
    } else if (borg_split(name, BORG_GONE, id, &ms)) {
        g_autofree char *layer = g_strconcat(BORG_LAYER, id, NULL);
        gboolean is_doubled = borg_find(c->t, layer) != NULL;
        if (!is_doubled && !g_hash_table_contains(c->unused, id))
            g_ptr_array_add(c->back, g_strdup(name)); /* a point has come to name it */
        else if (is_doubled || !c->is_shared || ms < c->now - BORG_FORGET_MS)
            g_ptr_array_add(c->dead, g_strdup(name));
    }
}

static gboolean move_all(Collection *c, GError **error)
{
    for (guint i = 0; i < c->back->len; i++) {
        char id[ID_LEN + 1];
        gint64 ms;
        borg_split(c->back->pdata[i], BORG_GONE, id, &ms);
        g_autofree char *layer = g_strconcat(BORG_LAYER, id, NULL);
        if (!borg_rename(c->t, c->back->pdata[i], layer, error))
            return FALSE;
    }
    for (guint i = 0; i < c->leaving->len; i++) {
        const char *id = c->leaving->pdata[i];
        g_autofree char *layer = g_strconcat(BORG_LAYER, id, NULL);
        g_autofree char *gone = g_strdup_printf(BORG_GONE "%s-%" G_GINT64_FORMAT, id, c->now);
        if (!borg_rename(c->t, layer, gone, error))
            return FALSE;
    }
    return TRUE;
}

static guint count(const BorgTarget *t, const char *prefix)
{
    guint n = 0;

    for (guint i = 0; i < t->archives->len; i++)
        n += g_str_has_prefix(g_array_index(t->archives, BorgArchive, i).name, prefix);
    return n;
}

/* What was listed when the session began is what the caller judged by.  Another manager that came
 * to use the repository since, or put a point, may name what is not in the caller's books. */
static gboolean list_again(BorgTarget *t, GError **error)
{
    guint n_managers = t->archives ? count(t, BORG_MANAGER) : 0;
    guint n_points = t->archives ? count(t, BORG_POINT) : 0;
    gboolean had_list = t->archives != NULL;

    if (!borg_list(t, error))
        return FALSE;
    if (had_list && (count(t, BORG_MANAGER) != n_managers || count(t, BORG_POINT) > n_points)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "borg repository '%s': another manager has just written to it",
                    t->place.location);
        return FALSE;
    }
    return TRUE;
}

gboolean borg_delete_objects(ArchiveTarget *target, const char *const *names, guint n,
                             guint64 *ret_freed, GError **error)
{
    BorgTarget *t = (BorgTarget *)target;
    g_autoptr(GHashTable) unused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) dead = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) leaving = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) back = g_ptr_array_new_with_free_func(g_free);
    guint64 before = 0, after = 0;

    *ret_freed = 0;
    for (guint i = 0; i < n; i++) {
        if (g_str_has_prefix(names[i], BORG_LAYER))
            g_hash_table_add(unused, g_strdup(names[i] + strlen(BORG_LAYER)));
    }
    if (!list_again(t, error))
        return FALSE;
    Collection c = { .t = t,
                     .unused = unused,
                     .is_shared = count(t, BORG_MANAGER) > 1,
                     .now = units_now_ms(),
                     .dead = dead,
                     .leaving = leaving,
                     .back = back };
    for (guint i = 0; i < t->archives->len; i++)
        judge(&c, &g_array_index(t->archives, BorgArchive, i));
    if (!move_all(&c, error))
        return FALSE;
    if (dead->len > 0 && (!borg_stored_bytes(t, &before, error) || !borg_delete(t, dead, error) ||
                          !borg_stored_bytes(t, &after, error)))
        return FALSE;
    *ret_freed = before > after ? before - after : 0;
    /* Also what points and renamed archives left behind. */
    return borg_compact(t, error);
}
