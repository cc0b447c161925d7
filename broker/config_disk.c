/* config_disk.c: from the rows of a desktop and its version to the facts of config_files.h, and the
 * disk in its store.  The disk is no fact: no row names it, its name says whose it is. */
#include "broker/config_disk.h"

#include <string.h>

#include "broker/config_files.h"
#include "broker/identity_merge.h"
#include "broker/identity_secrets.h"
#include "broker/identity_settings.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/catalog/lookup.h"

/* ---- Making ---- */

static const char *text_of(const json_t *settings, const char *key)
{
    return json_string_value(json_object_get(settings, key));
}

/* A name that had to be changed may have become another's: then the id tells them apart. */
static gboolean is_taken(Db *db, const DesktopRow *d, const char *hostname)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM desktop WHERE is_trashed = 0 AND id <> ?1 AND"
                      " length(name) >= length(?2) AND lower(rtrim(replace(replace(name, '.', '-'),"
                      " '_', '-'), '-')) = lower(?2))",
                      "tt", d->id, hostname) != 0;
}

/* Of the version that it stands on, and its own.  A draft becomes a version: it must neither have
 * the user of its template's desktops for good, nor be known to their directory. */
static json_t *settings_of(const VersionRow *version, const DesktopRow *d)
{
    json_t *settings = identity_merge(version->identity, d->identity);

    if (!d->draft_of)
        return settings;
    json_t *hostname = json_object_get(settings, "hostname");
    json_t *of_draft = hostname ? json_pack("{s:O}", "hostname", hostname) : json_object();
    json_decref(settings);
    return of_draft;
}

static json_t *find_settings(Db *db, const DesktopRow *d)
{
    g_auto(VersionRow) version = { 0 };

    lookup_version_by_id(db, d->version_id, &version, NULL);
    return settings_of(&version, d);
}

static char *hostname_of(Db *db, const DesktopRow *d, const json_t *settings)
{
    const char *own = text_of(settings, "hostname");
    g_autofree char *made = identity_hostname(d->name);

    if (own && *own)
        return g_strdup(own);
    if (g_str_equal(made, d->name) || !is_taken(db, d, made))
        return g_steal_pointer(&made);
    return g_strdup_printf("%.58s-%s", made, d->id + ID_LEN - 4);
}

char *config_disk_hostname(Db *db, const DesktopRow *desktop)
{
    json_t *settings = find_settings(db, desktop);
    char *hostname = hostname_of(db, desktop, settings);

    json_decref(settings);
    return hostname;
}

json_t *config_disk_shown(Db *db, const DesktopRow *desktop)
{
    json_t *settings = find_settings(db, desktop);
    char *text = json_dumps(settings, 0);
    json_t *shown = identity_settings_shown(text);

    free(text);
    json_decref(settings);
    return shown;
}

/* The version's os is what somebody wrote, if anything. */
static gboolean is_windows(const VersionRow *version, const char *os_type)
{
    if (os_type && !g_str_equal(os_type, "unknown"))
        return g_str_equal(os_type, "windows");
    g_autofree char *os = g_utf8_casefold(version->os, -1);

    return strstr(os, "windows") != NULL;
}

/* NULL without an error if settings name no such secret. */
static gboolean get_secret(World *world, const json_t *settings, const char *key, char **ret_secret,
                           char **ret_hash, GError **error)
{
    const char *id = text_of(settings, key);

    if (!id || !*id)
        return TRUE;
    *ret_secret = identity_secret_get(world, id, ret_hash, error);
    return *ret_secret != NULL;
}

typedef struct {
    char *join_password, *one_time_password, *user_password, *user_password_hash;
} Secrets;

static void secrets_clear(Secrets *s)
{
    g_free(s->join_password);
    g_free(s->one_time_password);
    g_free(s->user_password);
    g_free(s->user_password_hash);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secrets, secrets_clear)

static GByteArray *make_disk(World *world, const DesktopRow *d, const VersionRow *version,
                             const char *os_type, const char *hostname, const json_t *settings,
                             GError **error)
{
    g_auto(Secrets) s = { 0 };
    g_autofree char *computer = identity_computer_name(hostname, d->id);

    if (!get_secret(world, settings, "join_password", &s.join_password, NULL, error) ||
        !get_secret(world, settings, "one_time_password", &s.one_time_password, NULL, error) ||
        !get_secret(world, settings, "user_password", &s.user_password, &s.user_password_hash,
                    error))
        return NULL;
    const ConfigFacts facts = {
        .desktop_id = d->id,
        .generation = d->generation,
        .is_windows = is_windows(version, os_type),
        .hostname = hostname,
        .computer_name = computer,
        .domain = text_of(settings, "domain"),
        .ou = text_of(settings, "ou"),
        .join_user = text_of(settings, "join_user"),
        .join_password = s.join_password,
        .one_time_password = s.one_time_password,
        .renews_account = g_strcmp0(text_of(settings, "account"), "renew") == 0,
        .user = text_of(settings, "user"),
        .user_password = s.user_password,
        .user_password_hash = s.user_password_hash,
        .auto_login = json_is_true(json_object_get(settings, "auto_login")),
        .is_domain_user = json_is_true(json_object_get(settings, "domain_user")),
    };
    return config_files_disk(&facts);
}

char *config_disk_make(World *world, const char *desktop, const char *os_type, GError **error)
{
    g_auto(DesktopRow) d = { 0 };
    g_auto(VersionRow) version = { 0 };
    g_autofree char *hostname = NULL;
    json_t *settings = NULL;
    GByteArray *disk = NULL;
    Db *db = catalog_read_begin(world->catalog);

    if (lookup_desktop(db, desktop, &d, error) &&
        lookup_version_by_id(db, d.version_id, &version, error)) {
        settings = settings_of(&version, &d);
        hostname = hostname_of(db, &d, settings);
    }
    catalog_read_end(world->catalog, db);
    g_autoptr(Store) store = settings ? store_set_get(world->stores, d.store_id, error) : NULL;
    if (store)
        disk = make_disk(world, &d, &version, os_type, hostname, settings, error);
    json_decref(settings);
    if (!disk)
        return NULL;
    g_autofree char *name = g_strdup_printf("%s-%" G_GINT64_FORMAT ".iso", d.id, d.generation);
    gboolean ok = store->ops->put_config(store, name, disk->data, disk->len, error);
    g_byte_array_unref(disk);
    return ok ? store->ops->config_path(store, name, error) : NULL;
}

/* ---- Tidying ---- */

static gboolean note(const char *name, const StoreStat *stat, gpointer names, GError **error)
{
    g_ptr_array_add(names, g_strdup(name));
    return TRUE;
}

/* Memory is needed while the desktop is suspended, or while a run of it may be about to be: what a
 * run was begun with is of no use any more. */
static gboolean is_needed(Db *db, const char *id, gint64 generation)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM suspension WHERE desktop_id = ?1 AND"
                      " generation = ?2) OR (EXISTS (SELECT 1 FROM run WHERE desktop_id = ?1) AND"
                      " EXISTS (SELECT 1 FROM job WHERE kind = 'desktop.suspend' AND state IN"
                      " ('queued', 'running')))",
                      "ti", id, generation) != 0;
}

/* What firmware keeps goes with the disk: into the trash too, from where that is brought back. */
static gboolean has_disk(Db *db, const char *store_id, const char *id, gint64 generation)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM desktop d JOIN layer l ON l.id = d.layer_id"
                      " WHERE d.id = ?1 AND d.store_id = ?3 AND ?2 IN (d.generation,"
                      " l.generation)) OR EXISTS (SELECT 1 FROM trash t JOIN layer l ON l.id ="
                      " t.layer_id WHERE t.desktop_id = ?1 AND t.store_id = ?3 AND t.kind = 'disk'"
                      " AND ?2 IN (t.generation, l.generation))",
                      "tit", id, generation, store_id) != 0;
}

static gboolean is_of_today(Db *db, const char *store_id, const char *id, gint64 generation)
{
    return lookup_int(db,
                      "SELECT EXISTS (SELECT 1 FROM desktop WHERE id = ?1 AND generation = ?2 AND"
                      " store_id = ?3 AND is_trashed = 0)",
                      "tit", id, generation, store_id) != 0;
}

static gboolean is_stale(Db *db, const char *store_id, const char *name)
{
    char id[ID_LEN + 1];
    gint64 generation;
    StoreConfigKind kind;

    if (!store_config_name_parse(name, id, &generation, &kind))
        return FALSE;
    if (kind == CONFIG_NVRAM)
        return !has_disk(db, store_id, id, generation);
    return !is_of_today(db, store_id, id, generation) ||
           (kind == CONFIG_MEMORY && !is_needed(db, id, generation));
}

static void tidy_store(World *world, Store *store)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) stale = g_ptr_array_new();

    if (!store->ops->list_config(store, note, names, NULL) || !names->len)
        return;
    Db *db = catalog_read_begin(world->catalog);
    for (guint i = 0; i < names->len; i++) {
        if (is_stale(db, store->id, names->pdata[i]))
            g_ptr_array_add(stale, names->pdata[i]);
    }
    catalog_read_end(world->catalog, db);
    for (guint i = 0; i < stale->len; i++)
        store->ops->remove_config(store, stale->pdata[i], NULL);
}

void config_disks_tidy(World *world)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);

    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(Store) store = store_set_get(world->stores, ids->pdata[i], NULL);
        if (store)
            tidy_store(world, store);
    }
    identity_secrets_tidy(world);
}
