/* directory.c: see directory.h. */
#include "broker/access/directory_row.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/secret_file.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

#define DOWN_MS 20000 /* how long one that did not answer is not asked again */

struct Directories {
    World *world;
    gint64 interval_ms;
    GThread *thread;

    GMutex lock; /* guards the rest */
    GCond cond;
    gboolean is_stopping;
    GHashTable *down_until; /* id -> gint64, by units_boottime_ms() */
};

/* ---- Asking ---- */

/* Is it known not to answer?  done: what came of asking it (NULL: nobody has asked). */
static gboolean is_down(Directories *d, const char *id)
{
    g_mutex_lock(&d->lock);
    const gint64 *until = g_hash_table_lookup(d->down_until, id);
    gboolean down = until && units_boottime_ms() < *until;
    g_mutex_unlock(&d->lock);
    return down;
}

void directory_note_answer(World *world, const char *id, gboolean answered)
{
    Directories *d = world->directories;
    gint64 *until = g_new(gint64, 1);

    *until = answered ? 0 : units_boottime_ms() + DOWN_MS;
    g_mutex_lock(&d->lock);
    g_hash_table_insert(d->down_until, g_strdup(id), until);
    g_mutex_unlock(&d->lock);
}

LdapLink *directory_open(World *world, const DirectoryRow *row, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *secret = NULL;
    LdapServers servers = row->servers;

    if (is_down(world->directories, row->id)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the directory '%s' does not answer", row->name);
        return NULL;
    }
    if (directory_has_password(row->settings) &&
        !(secret = secret_file_read(world->state_dir, DIRECTORY_SECRETS, row->id, &local))) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the directory '%s': the password of its account cannot be read: %s", row->name,
                    local->message);
        imaged_error_hint(error, "tell it: imagectl directory set %s --bind-password-file FILE",
                          row->name);
        return NULL;
    }
    servers.bind_password = secret;
    LdapLink *link = ldap_link_open(&servers, &local);
    if (secret)
        explicit_bzero(secret, strlen(secret));
    directory_note_answer(world, row->id,
                          !g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE));
    if (link)
        return link;
    /* That our own account is refused is no word about who wants to log in. */
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the directory '%s': %s", row->name,
                local->message);
    return NULL;
}

static gboolean log_in_at(World *world, const DirectoryRow *row, const char *name,
                          const char *password, UserRow *ret, const char **ret_refusal,
                          GError **error)
{
    g_autoptr(LdapLink) link = directory_open(world, row, error);
    g_autoptr(LdapPerson) person = link ? ldap_find_person(link, &row->shape, name, error) : NULL;

    if (!person)
        return FALSE;
    g_autoptr(GPtrArray) groups = ldap_groups_of(link, &row->shape, person, error);
    if (!groups || !ldap_link_bind(link, person->dn, password, ret_refusal, error))
        return FALSE;
    return directory_store_person(world, row, person, groups, person->name, ret, error);
}

gboolean directory_log_in(World *world, const char *name, const char *password, UserRow *ret,
                          const char **ret_refusal, GError **error)
{
    g_autoptr(GError) unavailable = NULL;
    *ret_refusal = NULL;
    Db *db = catalog_read_begin(world->catalog);
    g_autoptr(GPtrArray) rows = directory_list(db);
    const char *at = strrchr(name, '@');

    catalog_read_end(world->catalog, db);
    for (guint i = 0; i < rows->len; i++) {
        const DirectoryRow *row = rows->pdata[i];
        g_autoptr(GError) local = NULL;
        g_autofree char *plain = at && g_ascii_strcasecmp(at + 1, row->name) == 0
                                     ? g_strndup(name, (gsize)(at - name))
                                     : g_strdup(name);
        if (log_in_at(world, row, plain, password, ret, ret_refusal, &local))
            return TRUE;
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE) && !unavailable)
            unavailable = g_steal_pointer(&local);
    }
    if (unavailable) {
        g_propagate_error(error, g_steal_pointer(&unavailable));
        return FALSE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "no directory knows him");
    return FALSE;
}

/* "no user of that name" is not a refusal here. */
static LdapPerson *find_person(LdapLink *link, const DirectoryRow *row, const char *name,
                               GError **error)
{
    g_autoptr(GError) local = NULL;
    LdapPerson *person = ldap_find_person(link, &row->shape, name, &local);

    if (person)
        return person;
    g_set_error(error, IMAGED_ERROR,
                g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_DENIED) ? IMAGED_ERROR_NOT_FOUND
                                                                          : local->code,
                "%s", local->message);
    return NULL;
}

gboolean directory_import_user(World *world, const char *directory, const char *name,
                               const char *who, UserRow *ret, GError **error)
{
    g_autoptr(DirectoryRow) row = directory_find(world, directory, error);
    g_autoptr(LdapLink) link = row ? directory_open(world, row, error) : NULL;
    g_autoptr(LdapPerson) person = link ? find_person(link, row, name, error) : NULL;
    g_autoptr(GPtrArray) groups = person ? ldap_groups_of(link, &row->shape, person, error) : NULL;

    return groups && directory_store_person(world, row, person, groups, who, ret, error);
}

gboolean directory_import_group(World *world, const char *directory, const char *name,
                                const char *who, GroupRow *ret, GError **error)
{
    g_autoptr(DirectoryRow) row = directory_find(world, directory, error);
    g_autoptr(LdapLink) link = row ? directory_open(world, row, error) : NULL;
    GroupRow group = { 0 };

    if (!link || !ldap_find_group(link, &row->shape, name, &group.external_id, &group.name, error))
        return FALSE;
    directory_group_name(group.name);
    group.directory_id = g_strdup(row->id);
    *ret = group;
    if (!group_add(world->catalog, ret, who, error))
        return FALSE;
    directory_refresh(world, row->id, NULL); /* who is in it; else that comes later */
    return TRUE;
}

json_t *directory_test(World *world, const char *name, const char *user, GError **error)
{
    g_autoptr(DirectoryRow) row = directory_find(world, name, error);
    g_autoptr(LdapLink) link = row ? directory_open(world, row, error) : NULL;
    g_autoptr(GPtrArray) people = link ? ldap_list_people(link, &row->shape, error) : NULL;

    if (!people)
        return NULL;
    json_auto_t *out = json_pack("{s:s,s:s,s:s,s:i}", "id", row->id, "name", row->name, "server",
                                 ldap_link_server(link), "n_users", (int)people->len);
    if (!user)
        return g_steal_pointer(&out);
    g_autoptr(LdapPerson) p = find_person(link, row, user, error);
    g_autoptr(GPtrArray) groups = p ? ldap_groups_of(link, &row->shape, p, error) : NULL;
    if (!groups)
        return NULL;
    json_t *names = json_array();
    Db *db = catalog_read_begin(world->catalog);
    for (guint i = 0; i < groups->len; i++) {
        Query *q = db_query(db,
                            "SELECT name FROM user_group WHERE directory_id = ?1 AND external_id ="
                            " ?2",
                            "tt", row->id, groups->pdata[i]);
        if (query_next(q))
            json_array_append_new(names, json_string(query_text(q, "name")));
        query_end(q, NULL);
    }
    catalog_read_end(world->catalog, db);
    json_object_set_new(out, "user",
                        json_pack("{s:s,s:s,s:s?,s:s?,s:s,s:b,s:i,s:o}", "id", p->id, "name",
                                  p->name, "full_name", p->full_name, "email", p->email, "dn",
                                  p->dn, "disabled", p->is_disabled, "n_groups", (int)groups->len,
                                  "groups", names));
    return g_steal_pointer(&out);
}

/* ---- The thread ---- */

static void refresh_all(Directories *d)
{
    Db *db = catalog_read_begin(d->world->catalog);
    g_autoptr(GPtrArray) rows = directory_list(db);

    catalog_read_end(d->world->catalog, db);
    for (guint i = 0; i < rows->len; i++) {
        const DirectoryRow *row = rows->pdata[i];
        g_autoptr(GError) why = NULL;
        if (directory_refresh(d->world, row->id, &why))
            continue;
        Changes *changes = changes_new();
        changes_event(changes, "directory.refresh", "warning", row->name, NULL, "%s", why->message);
        catalog_commit(d->world->catalog, changes, NULL);
    }
}

static gpointer run(gpointer data)
{
    Directories *d = data;

    g_mutex_lock(&d->lock);
    while (!d->is_stopping) {
        gint64 end = g_get_monotonic_time() + d->interval_ms * 1000;
        while (!d->is_stopping && g_cond_wait_until(&d->cond, &d->lock, end))
            ;
        if (d->is_stopping)
            break;
        g_mutex_unlock(&d->lock);
        refresh_all(d);
        g_mutex_lock(&d->lock);
    }
    g_mutex_unlock(&d->lock);
    return NULL;
}

static gboolean is_used(const char *id, gpointer rows)
{
    const GPtrArray *list = rows;

    for (guint i = 0; i < list->len; i++) {
        const DirectoryRow *row = list->pdata[i];
        if (g_str_equal(row->id, id) && directory_has_password(row->settings))
            return TRUE;
    }
    return FALSE;
}

Directories *directories_new(World *world, gint64 interval_ms)
{
    Directories *d = g_new0(Directories, 1);
    Db *db = catalog_read_begin(world->catalog);
    g_autoptr(GPtrArray) rows = directory_list(db);

    catalog_read_end(world->catalog, db);
    secret_file_tidy(world->state_dir, DIRECTORY_SECRETS, is_used, rows);

    d->world = world;
    d->interval_ms = interval_ms;
    g_mutex_init(&d->lock);
    g_cond_init(&d->cond);
    d->down_until = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (interval_ms > 0)
        d->thread = g_thread_new("directories", run, d);
    return d;
}

void directories_free(Directories *d)
{
    if (!d)
        return;
    g_mutex_lock(&d->lock);
    d->is_stopping = TRUE;
    g_cond_signal(&d->cond);
    g_mutex_unlock(&d->lock);
    if (d->thread)
        g_thread_join(d->thread);
    g_hash_table_unref(d->down_until);
    g_mutex_clear(&d->lock);
    g_cond_clear(&d->cond);
    g_free(d);
}
