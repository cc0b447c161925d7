/* identity_secrets.c: a file is the secret's hash (yescrypt; empty but for a user's password), a
 * newline, and the secret.  The hash is made once, because its salt is random: a config disk that
 * is made again has the same bytes. */
#include "broker/identity_secrets.h"

#include <crypt.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define FOLDER "secrets"
#define UNUSED "unused" /* below it: what nothing names, for as long as the trash keeps things */
#define SECRET_MAX 4096
#define KEPT_MS 3600000 /* one that is not named yet is about to be */

static int open_folder(World *world, gboolean create, GError **error)
{
    auto_fd state = open(world->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (state < 0) {
        imaged_error_set_errno(error, errno, "cannot open the state folder");
        return -1;
    }
    if (create && !durable_mkdir(state, FOLDER, 0700, error))
        return -1;
    int fd = openat(state, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        imaged_error_set_errno(error, errno, "cannot open the folder of secrets");
    return fd;
}

/* "" and an error if the system has no yescrypt.  Caller frees. */
static char *hash_of(const char *password, GError **error)
{
    g_autofree struct crypt_data *data = g_new0(struct crypt_data, 1);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *hash = NULL;

    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting))
        hash = crypt_rn(password, setting, data, sizeof *data);
    char *copy = hash && *hash == '$' ? g_strdup(hash) : NULL;
    if (!copy)
        imaged_error_set_errno(error, errno, "cannot hash the password");
    explicit_bzero(data, sizeof *data);
    return copy;
}

gboolean identity_secret_put(World *world, const char *key, const char *secret, Id *ret_id,
                             GError **error)
{
    g_autofree char *hash =
        g_str_equal(key, "user_password") ? hash_of(secret, error) : g_strdup("");
    auto_fd folder = hash ? open_folder(world, TRUE, error) : -1;

    if (folder < 0)
        return FALSE;
    g_autofree char *text = g_strconcat(hash, "\n", secret, NULL);
    *ret_id = id_new();
    return durable_replace(folder, ret_id->s, text, strlen(text), 0600, error);
}

char *identity_secret_get(World *world, const char *id, char **ret_hash, GError **error)
{
    auto_fd folder = open_folder(world, FALSE, NULL);
    g_autofree char *text = NULL, *put_away = g_strconcat(UNUSED "/", id, NULL);
    char *end;

    if (folder < 0 || !id_is_valid(id) ||
        (!durable_read(folder, id, SECRET_MAX, &text, NULL, NULL) &&
         !durable_read(folder, put_away, SECRET_MAX, &text, NULL, NULL)) ||
        !(end = strchr(text, '\n'))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "a password of its identity is not on this machine");
        imaged_error_hint(error, "passwords are kept apart from catalog and stores: set it again "
                                 "with 'imagectl desktop set' or 'imagectl template set'");
        return NULL;
    }
    if (ret_hash)
        *ret_hash = g_strndup(text, (gsize)(end - text));
    return g_strdup(end + 1);
}

/* ---- What nothing names any more ---- */

/* The ids of secrets that rows name. */
static gboolean add_named(Db *db, const char *sql, GHashTable *named)
{
    Query *q = db_query(db, sql, "");

    while (query_next(q)) {
        json_t *settings = json_loads(query_text(q, "identity"), 0, NULL), *value;
        const char *key;
        json_object_foreach (settings, key, value) {
            if (json_is_string(value))
                g_hash_table_add(named, g_strdup(json_string_value(value)));
        }
        json_decref(settings);
    }
    return query_end(q, NULL);
}

/* Does the catalog know all that the stores do?  What lies in a store that is away, or in a journal
 * that was not replayed yet, may name any of them. */
static gboolean is_catalog_whole(World *world, Db *db)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);

    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(Store) store = store_set_get(world->stores, ids->pdata[i], NULL);
        if (!store || journal_last_seq(store->journal) !=
                          (guint64)lookup_int(db, "SELECT seq FROM store WHERE id = ?1", "t",
                                              (const char *)ids->pdata[i]))
            return FALSE;
    }
    return TRUE;
}

/* NULL if that can't be told now. */
static GHashTable *find_named(World *world)
{
    g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok =
        is_catalog_whole(world, db) &&
        add_named(db, "SELECT DISTINCT identity FROM version WHERE identity IS NOT NULL", named) &&
        add_named(db, "SELECT DISTINCT identity FROM desktop WHERE identity IS NOT NULL", named);

    catalog_read_end(world->catalog, db);
    return ok ? g_steal_pointer(&named) : NULL;
}

static gboolean is_old(int folder, const char *name, gint64 age_ms)
{
    struct stat st;

    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (gint64)st.st_mtim.tv_sec * 1000 < units_now_ms() - age_ms;
}

/* The same content under the same name in the other folder; its time is that of the change. */
static void put_over(int from, int to, const char *name)
{
    g_autofree char *text = NULL;
    gsize len;

    if (durable_read(from, name, SECRET_MAX, &text, &len, NULL) &&
        durable_replace(to, name, text, len, 0600, NULL))
        durable_unlink(from, name, NULL);
    if (text)
        explicit_bzero(text, len);
}

/* The secrets' ids in a folder. */
static GPtrArray *list(int folder)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir) {
        durable_close(&fd);
        return names;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (id_is_valid(entry->d_name))
            g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    closedir(dir);
    return names;
}

void identity_secrets_tidy(World *world)
{
    auto_fd folder = open_folder(world, FALSE, NULL);

    if (folder < 0 || g_atomic_int_get(&world->expiry_held) ||
        !durable_mkdir(folder, UNUSED, 0700, NULL))
        return;
    auto_fd unused = openat(folder, UNUSED, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    /* The files first: one that is made after the look at the catalog is not among them. */
    g_autoptr(GPtrArray) present = list(folder);
    g_autoptr(GPtrArray) put_away = unused >= 0 ? list(unused) : NULL;
    g_autoptr(GHashTable) named = put_away ? find_named(world) : NULL;

    if (!named)
        return;
    for (guint i = 0; i < present->len; i++) {
        if (!g_hash_table_contains(named, present->pdata[i]) &&
            is_old(folder, present->pdata[i], KEPT_MS))
            put_over(folder, unused, present->pdata[i]);
    }
    for (guint i = 0; i < put_away->len; i++) {
        if (g_hash_table_contains(named, put_away->pdata[i]))
            put_over(unused, folder, put_away->pdata[i]);
        else if (is_old(unused, put_away->pdata[i], world->settings.trash_keep_ms))
            durable_unlink(unused, put_away->pdata[i], NULL);
    }
}
