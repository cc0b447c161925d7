/* archive_borg_repo.c: the archives of a borg repository: listed, renamed, deleted, created.
 *
 * The list is kept between calls of one session; whatever changes the repository lists it anew. */
#include "snapshot/archive_borg.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"

#define LIST_MAX (256u << 20)
#define ARGUMENTS_MAX 500 /* archives named in one run */
#define COMPRESSION "zstd,3"
/* Content-defined chunks of 64 KiB on average: see docs/design/archives-borg.md. */
#define CHUNKER "buzhash,14,18,16,4095"
#define CHECKPOINT_S "300" /* so much of an interrupted transfer may be lost */

char *borg_where(const BorgTarget *t, const char *archive)
{
    return g_strconcat(t->place.location, "::", archive, NULL);
}

static gboolean odd_answer(const BorgTarget *t, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED,
                "borg repository '%s': borg's answer is not what was expected", t->place.location);
    return FALSE;
}

/* Run borg and parse its answer. */
static json_t *ask(BorgTarget *t, const char *const *argv, GError **error)
{
    g_autofree char *text = NULL;
    const BorgRun run = { .input = -1, .ret_text = &text, .max_text = LIST_MAX };

    if (!borg_run(&t->place, argv, &run, error))
        return NULL;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        odd_answer(t, error);
        return NULL;
    }
    return root;
}

/* ---- archives ---- */

/* "2026-11-21T15:00:39.000000", in UTC by our environment. */
static gint64 parse_time(const char *text)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, utc) : NULL;

    return time ? g_date_time_to_unix(time) * 1000 : G_MAXINT64;
}

static gboolean note_repository(BorgTarget *t, json_t *root, GError **error)
{
    const char *id = json_string_value(json_object_get(json_object_get(root, "repository"), "id"));

    if (!id || strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64)
        return odd_answer(t, error);
    g_autofree char *own = g_strndup(id, ID_LEN); /* ids of ours have half as many bits */
    if (t->base.id && !g_str_equal(t->base.id, own)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "borg repository '%s': another repository is there", t->place.location);
        return FALSE;
    }
    if (!t->base.id)
        t->base.id = g_steal_pointer(&own);
    return TRUE;
}

/* One archive of borg's answer; FALSE if it is none. */
static gboolean note_archive(GArray *archives, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *id = json_string_value(json_object_get(entry, "id"));
    BorgArchive a = { .start_ms = parse_time(json_string_value(json_object_get(entry, "start"))) };

    if (!name || !id)
        return FALSE;
    /* Longer names and ids are none of ours. */
    if (g_strlcpy(a.name, name, sizeof a.name) < sizeof a.name &&
        g_strlcpy(a.id, id, sizeof a.id) < sizeof a.id &&
        strspn(a.id, "0123456789abcdef") == strlen(a.id) && *a.id)
        g_array_append_val(archives, a);
    return TRUE;
}

gboolean borg_list(BorgTarget *t, GError **error)
{
    const char *const argv[] = { "list", "--json", "--consider-checkpoints", t->place.location,
                                 NULL };
    json_t *root = ask(t, argv, error), *entry;
    size_t i;

    if (!root || !note_repository(t, root, error)) {
        json_decref(root);
        return FALSE;
    }
    json_t *list = json_object_get(root, "archives");
    g_autoptr(GArray) archives = g_array_new(FALSE, TRUE, sizeof(BorgArchive));
    gboolean ok = json_is_array(list);
    json_array_foreach (list, i, entry) {
        ok = ok && note_archive(archives, entry);
    }
    json_decref(root);
    if (!ok)
        return odd_answer(t, error);
    if (t->archives)
        g_array_unref(t->archives);
    t->archives = g_steal_pointer(&archives);
    return TRUE;
}

static const BorgArchive *find(const BorgTarget *t, const char *text, gboolean is_prefix)
{
    for (guint i = 0; t->archives && i < t->archives->len; i++) {
        const BorgArchive *a = &g_array_index(t->archives, BorgArchive, i);
        if (is_prefix ? g_str_has_prefix(a->name, text) : g_str_equal(a->name, text))
            return a;
    }
    return NULL;
}

const BorgArchive *borg_find(const BorgTarget *t, const char *name)
{
    return find(t, name, FALSE);
}

const BorgArchive *borg_find_prefix(const BorgTarget *t, const char *prefix)
{
    return find(t, prefix, TRUE);
}

gboolean borg_split(const char *name, const char *prefix, char ret_id[ID_LEN + 1], gint64 *ret_ms)
{
    gsize skip = strlen(prefix);
    guint64 ms;

    if (!g_str_has_prefix(name, prefix) || strlen(name) < skip + ID_LEN + 2 ||
        name[skip + ID_LEN] != '-' ||
        !g_ascii_string_to_unsigned(name + skip + ID_LEN + 1, 10, 0, G_MAXINT64, &ms, NULL))
        return FALSE;
    g_autofree char *id = g_strndup(name + skip, ID_LEN);
    if (!id_is_valid(id))
        return FALSE;
    g_strlcpy(ret_id, id, ID_LEN + 1);
    *ret_ms = (gint64)ms;
    return TRUE;
}

/* It has another id now, which counts for points only: what is kept of them goes by it. */
static gboolean rename_in_list(BorgTarget *t, const char *from, const char *to)
{
    BorgArchive *a = (BorgArchive *)borg_find(t, from);

    if (!a || strlen(to) >= sizeof a->name || !g_str_has_prefix(to, BORG_LAYER))
        return FALSE;
    g_strlcpy(a->name, to, sizeof a->name);
    return TRUE;
}

gboolean borg_rename(BorgTarget *t, const char *from, const char *to, GError **error)
{
    g_autofree char *where = borg_where(t, from);
    const char *const argv[] = { "rename", where, to, NULL };
    const BorgRun run = { .input = -1 };
    GError *local = NULL;

    if (!borg_run(&t->place, argv, &run, &local) &&
        !(g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND) && borg_list(t, NULL) &&
          borg_find(t, to))) {
        g_propagate_error(error, local);
        return FALSE;
    }
    g_clear_error(&local);
    return rename_in_list(t, from, to) || borg_list(t, error);
}

gboolean borg_delete(BorgTarget *t, const GPtrArray *names, GError **error)
{
    for (guint from = 0; from < names->len; from += ARGUMENTS_MAX) {
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        const BorgRun run = { .input = -1, .warnings_are_ok = TRUE, .may_be_silent = TRUE };
        g_ptr_array_add(argv, (gpointer) "delete");
        g_ptr_array_add(argv, t->place.location);
        for (guint i = from; i < MIN(names->len, from + ARGUMENTS_MAX); i++)
            g_ptr_array_add(argv, names->pdata[i]);
        g_ptr_array_add(argv, NULL);
        if (!borg_run(&t->place, (const char *const *)argv->pdata, &run, error))
            return FALSE;
    }
    return names->len == 0 || borg_list(t, error);
}

gboolean borg_compact(BorgTarget *t, GError **error)
{
    const char *const argv[] = { "compact", "--threshold=5", t->place.location, NULL };
    const BorgRun run = { .input = -1, .may_be_silent = TRUE };

    return borg_run(&t->place, argv, &run, error);
}

/* A number of an answer, by its path; FALSE if it is none. */
static gboolean number_of(json_t *root, const char *const *path, guint64 *ret)
{
    json_t *at = root;

    for (; *path; path++)
        at = json_object_get(at, *path);
    if (!json_is_integer(at) || json_integer_value(at) < 0)
        return FALSE;
    *ret = (guint64)json_integer_value(at);
    return TRUE;
}

gboolean borg_stored_bytes(BorgTarget *t, guint64 *ret_bytes, GError **error)
{
    static const char *const path[] = { "cache", "stats", "unique_csize", NULL };
    const char *const argv[] = { "info", "--json", t->place.location, NULL };
    json_t *root = ask(t, argv, error);
    gboolean ok = root && (number_of(root, path, ret_bytes) || odd_answer(t, error));

    json_decref(root);
    return ok;
}

gboolean borg_create(BorgTarget *t, const char *archive, const char *file, const BorgRun *input,
                     guint64 *ret_added, GError **error)
{
    static const char *const added[] = { "archive", "stats", "deduplicated_size", NULL };
    g_autofree char *where = borg_where(t, archive), *text = NULL;
    const char *const argv[] = { "create",
                                 "--json",
                                 "--compression=" COMPRESSION,
                                 "--chunker-params=" CHUNKER,
                                 "--checkpoint-interval=" CHECKPOINT_S,
                                 "--files-cache=disabled",
                                 "--stdin-name",
                                 file,
                                 "--stdin-mode=0440",
                                 where,
                                 "-",
                                 NULL };
    BorgRun run = *input;

    run.ret_text = &text;
    run.max_text = 1 << 20;
    if (!borg_run(&t->place, argv, &run, error))
        return FALSE;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    gboolean ok = number_of(root, added, ret_added) || odd_answer(t, error);
    gboolean is_noted =
        ok && t->archives && note_archive(t->archives, json_object_get(root, "archive"));
    json_decref(root);
    return ok && (is_noted || borg_list(t, error));
}

int borg_input_file(const char *text, GError **error)
{
    auto_fd fd = memfd_create("borg-input", MFD_CLOEXEC);
    gsize len = strlen(text);

    if (fd < 0 || write(fd, text, len) != (gssize)len || lseek(fd, 0, SEEK_SET) != 0) {
        imaged_error_set_errno(error, errno, "cannot make a file in memory");
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}
