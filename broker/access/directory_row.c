/* directory_row.c: see directory_row.h. */
#include "broker/access/directory_row.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

void directory_row_free(DirectoryRow *row)
{
    if (!row)
        return;
    g_free(row->id);
    g_free(row->name);
    json_decref(row->settings);
    g_free(row->server_list);
    g_free(row);
}

static char *text_of(const json_t *settings, const char *key)
{
    return (char *)json_string_value(json_object_get(settings, key));
}

/* Of the current row. */
static DirectoryRow *read_row(Query *q)
{
    DirectoryRow *row = g_new0(DirectoryRow, 1);
    json_t *server;
    size_t i;

    row->id = g_strdup(query_text(q, "id"));
    row->name = g_strdup(query_text(q, "name"));
    row->settings = json_loads(query_text(q, "settings"), 0, NULL);
    json_t *servers = json_object_get(row->settings, "servers");
    row->server_list = g_new0(char *, json_array_size(servers) + 1);
    json_array_foreach (servers, i, server)
        row->server_list[i] = (char *)json_string_value(server);
    row->servers =
        (LdapServers){ row->server_list, text_of(row->settings, "ca_pem"),
                       text_of(row->settings, "bind_dn"), NULL }; /* its password: when used */
    row->shape = (LdapShape){ .is_ad = g_str_equal(query_text(q, "kind"), "ad"),
                              .base = text_of(row->settings, "base"),
                              .user_filter = text_of(row->settings, "user_filter"),
                              .group_filter = text_of(row->settings, "group_filter"),
                              .user_attribute = text_of(row->settings, "user_attribute") };
    return row;
}

DirectoryRow *directory_lookup(Db *db, const char *name, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM directory WHERE name = ?1 OR id = ?1", "t", name);
    DirectoryRow *row = query_next(q) ? read_row(q) : NULL;

    if (!query_end(q, error)) {
        directory_row_free(row);
        return NULL;
    }
    if (!row) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no directory '%s'",
                    shown);
    }
    return row;
}

DirectoryRow *directory_find(World *world, const char *name, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    DirectoryRow *row = directory_lookup(db, name, error);

    catalog_read_end(world->catalog, db);
    return row;
}

GPtrArray *directory_list(Db *db)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)directory_row_free);
    Query *q = db_query(db, "SELECT * FROM directory ORDER BY created_at, id", "");

    while (query_next(q))
        g_ptr_array_add(rows, read_row(q));
    query_end(q, NULL);
    return rows;
}

void directory_group_name(char *name)
{
    g_strdelimit(name, " ", '_');
}

/* ---- Users ---- */

/* The name that he gets here: his own, or NAME@DIRECTORY if another has that.  Caller frees. */
static char *free_name(Db *db, const DirectoryRow *row, const LdapPerson *p, GError **error)
{
    g_autofree char *longer = g_strdup_printf("%s@%s", p->name, row->name);
    const char *candidates[] = { p->name, longer };

    for (guint i = 0; i < G_N_ELEMENTS(candidates); i++) {
        g_autofree char *key = user_name_key(candidates[i]);
        if (!user_check_name("user", candidates[i], error))
            return NULL;
        if (!lookup_int(db,
                        "SELECT count(*) FROM user WHERE name_key = ?1 AND (directory_id IS NOT ?2"
                        " OR external_id IS NOT ?3)",
                        "ttt", key, row->id, p->id))
            return g_strdup(candidates[i]);
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a user '%s' already", longer);
    return NULL;
}

static gboolean is_same(const UserRow *old, const LdapPerson *p, const char *name)
{
    return g_strcmp0(old->name, name) == 0 && old->is_disabled == p->is_disabled &&
           g_strcmp0(old->full_name, p->full_name ? p->full_name : "") == 0 &&
           g_strcmp0(old->email, p->email ? p->email : "") == 0;
}

static void put_person(Changes *changes, const DirectoryRow *row, const UserRow *old,
                       const LdapPerson *p, const char *name, const char *who)
{
    g_autofree char *key = user_name_key(name);
    gint64 now = units_now_ms();
    Id id = id_new();

    changes_sql(changes,
                "INSERT INTO user (id, name, name_key, full_name, email, directory_id, external_id,"
                " is_disabled, created_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
                " ?9) ON CONFLICT (directory_id, external_id) WHERE external_id IS NOT NULL DO"
                " UPDATE SET name = ?2, name_key = ?3, full_name = ?4, email = ?5, is_disabled ="
                " ?8, changed_at = ?9",
                "tttttttii", id.s, name, key, p->full_name ? p->full_name : "",
                p->email ? p->email : "", row->id, p->id, (gint64)p->is_disabled, now);
    if (p->is_disabled)
        changes_sql(changes,
                    "DELETE FROM token WHERE is_login = 1 AND user_id IN (SELECT id FROM user WHERE"
                    " directory_id = ?1 AND external_id = ?2)",
                    "tt", row->id, p->id);
    if (!old)
        changes_event(changes, "user.add", "info", name, who, "of the directory %s", row->name);
    else if (g_strcmp0(old->name, name) != 0)
        changes_event(changes, "user.set", "info", name, who, "was %s", old->name);
    else
        changes_event(changes, "user.set", "info", name, who, "%s",
                      p->is_disabled ? "disabled by the directory" : "changed in the directory");
}

static gboolean find_person(Db *db, const DirectoryRow *row, const LdapPerson *p, UserRow *ret)
{
    g_autofree char *id = NULL;
    Query *q = db_query(db, "SELECT id FROM user WHERE directory_id = ?1 AND external_id = ?2",
                        "tt", row->id, p->id);

    if (query_next(q))
        id = g_strdup(query_text(q, "id"));
    query_end(q, NULL);
    return id && user_lookup(db, id, ret, NULL);
}

/* In those of the groups that were added here, and no others of this directory.  Only what differs
 * is written, and told: a group may give him a role. */
static void put_groups(Db *db, Changes *changes, const DirectoryRow *row, const LdapPerson *p,
                       const char *name, const GPtrArray *groups, const char *who)
{
    json_auto_t *ids = json_array();
    gboolean differs = FALSE;

    for (guint i = 0; i < groups->len; i++)
        json_array_append_new(ids, json_string(groups->pdata[i]));
    g_autofree char *text = json_dumps(ids, JSON_COMPACT);
    Query *q =
        db_query(db,
                 "SELECT name, is_in FROM (SELECT g.name, g.external_id IN (SELECT value FROM"
                 " json_each(?3)) AS is_in, EXISTS (SELECT 1 FROM group_member m JOIN user u"
                 " ON u.id = m.user_id WHERE m.group_id = g.id AND u.directory_id = ?1 AND"
                 " u.external_id = ?2) AS was_in FROM user_group g WHERE g.directory_id ="
                 " ?1) WHERE is_in <> was_in",
                 "ttt", row->id, p->id, text);
    for (; query_next(q); differs = TRUE)
        changes_event(changes, "group.member", "info", query_text(q, "name"), who,
                      "%s is %s, says the directory %s", name,
                      query_int(q, "is_in") ? "in it" : "not in it any more", row->name);
    query_end(q, NULL);
    if (!differs)
        return;
    changes_sql(changes,
                "DELETE FROM group_member WHERE user_id = (SELECT id FROM user WHERE directory_id ="
                " ?1 AND external_id = ?2) AND group_id IN (SELECT id FROM user_group WHERE"
                " directory_id = ?1 AND external_id NOT IN (SELECT value FROM json_each(?3)))",
                "ttt", row->id, p->id, text);
    changes_sql(changes,
                "INSERT INTO group_member (group_id, user_id) SELECT g.id, u.id FROM user_group g,"
                " user u WHERE g.directory_id = ?1 AND g.external_id IN (SELECT value FROM"
                " json_each(?3)) AND u.directory_id = ?1 AND u.external_id = ?2 ON CONFLICT DO"
                " NOTHING",
                "ttt", row->id, p->id, text);
}

gboolean directory_store_person(World *world, const DirectoryRow *row, const LdapPerson *p,
                                const GPtrArray *groups, const char *who, UserRow *ret,
                                GError **error)
{
    g_auto(UserRow) old = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean is_known = find_person(db, row, p, &old);
    g_autofree char *name = free_name(db, row, p, error);

    if (!name) {
        catalog_read_end(world->catalog, db);
        return FALSE;
    }
    Changes *changes = changes_new();
    if (!is_known || !is_same(&old, p, name))
        put_person(changes, row, is_known ? &old : NULL, p, name, who);
    if (groups)
        put_groups(db, changes, row, p, name, groups, who);
    catalog_read_end(world->catalog, db);
    if (changes_count(changes) == 0)
        changes_free(changes);
    else if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    if (!ret)
        return TRUE;
    db = catalog_read_begin(world->catalog);
    gboolean found = find_person(db, row, p, ret);
    catalog_read_end(world->catalog, db);
    if (!found)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the user '%s' is gone", name);
    return found;
}
