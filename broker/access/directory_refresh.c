/* directory_refresh.c: all rows of a directory, held against what it says now (directory.h).  All
 * is asked before anything is changed, so a server that fails half-way changes nothing; only what
 * differs is written. */
#include "broker/access/directory_row.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

typedef struct {
    char *id, *external_id, *name;
    gboolean is_disabled;
} Known;

static void known_free(gpointer data)
{
    Known *known = data;

    g_free(known->id);
    g_free(known->external_id);
    g_free(known->name);
    g_free(known);
}

static Known *read_known(Query *q, gboolean is_user)
{
    Known *known = g_new0(Known, 1);

    known->id = g_strdup(query_text(q, "id"));
    known->external_id = g_strdup(query_text(q, "external_id"));
    known->name = g_strdup(query_text(q, "name"));
    known->is_disabled = is_user && query_int(q, "is_disabled") != 0;
    return known;
}

static GPtrArray *read_all(World *world, const char *directory_id, gboolean are_users)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(known_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q =
        are_users
            ? db_query(db, "SELECT * FROM user WHERE directory_id = ?1", "t", directory_id)
            : db_query(db, "SELECT * FROM user_group WHERE directory_id = ?1", "t", directory_id);

    while (query_next(q))
        g_ptr_array_add(all, read_known(q, are_users));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return all;
}

/* Who is gone from the directory is kept out, and his desktops stay his until an admin looks. */
static gboolean disable_gone(World *world, const DirectoryRow *row, const Known *user,
                             GError **error)
{
    Changes *changes;

    if (user->is_disabled)
        return TRUE;
    changes = changes_new();
    changes_sql(changes, "UPDATE user SET is_disabled = 1, changed_at = ?2 WHERE id = ?1", "ti",
                user->id, units_now_ms());
    changes_sql(changes, "DELETE FROM token WHERE user_id = ?1 AND is_login = 1", "t", user->id);
    changes_event(changes, "user.set", "warning", user->name, NULL,
                  "disabled: the directory %s knows him no more", row->name);
    return catalog_commit(world->catalog, changes, error);
}

static gboolean refresh_users(World *world, const DirectoryRow *row, const GPtrArray *people,
                              const GPtrArray *users, GError **error)
{
    g_autoptr(GHashTable) by_id = g_hash_table_new(g_str_hash, g_str_equal);
    gboolean ok = TRUE;

    for (guint i = 0; i < people->len; i++)
        g_hash_table_insert(by_id, ((LdapPerson *)people->pdata[i])->id, people->pdata[i]);
    for (guint i = 0; ok && i < users->len; i++) {
        const Known *user = users->pdata[i];
        const LdapPerson *p = g_hash_table_lookup(by_id, user->external_id);
        g_autoptr(GError) local = NULL;
        if (!p)
            ok = disable_gone(world, row, user, error);
        else if (!directory_store_person(world, row, p, NULL, NULL, NULL, &local) &&
                 g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) {
            g_propagate_error(error,
                              g_steal_pointer(&local)); /* of one odd name: the others go on */
            ok = FALSE;
        }
    }
    return ok;
}

#define MAX_TOLD 20 /* names in the event of a group */

/* "alice, bob" and how many more.  Returns whether there are any. */
static gboolean add_names(GString *out, const char *what, Query *q)
{
    guint n = 0;

    for (; query_next(q); n++) {
        if (n < MAX_TOLD)
            g_string_append_printf(out, "%s%s",
                                   n          ? ", "
                                   : out->len ? "; "
                                              : "",
                                   query_text(q, "name"));
    }
    query_end(q, NULL);
    if (n > MAX_TOLD)
        g_string_append_printf(out, " and %u more", n - MAX_TOLD);
    if (n)
        g_string_append_printf(out, " %s", what);
    return n > 0;
}

/* Who comes into the group and who leaves it, of those who have a row here.  FALSE: nobody. */
static gboolean say_who(World *world, const Known *group, const DirectoryRow *row,
                        const char *members, GString *out)
{
    Db *db = catalog_read_begin(world->catalog);
    gboolean some = add_names(
        out, "in it now",
        db_query(db,
                 "SELECT name FROM user WHERE directory_id = ?2 AND external_id IN (SELECT value"
                 " FROM json_each(?3)) AND id NOT IN (SELECT user_id FROM group_member WHERE"
                 " group_id = ?1) ORDER BY name_key",
                 "ttt", group->id, row->id, members));

    some |= add_names(
        out, "not in it any more",
        db_query(
            db,
            "SELECT u.name FROM group_member m JOIN user u ON u.id = m.user_id WHERE m.group_id"
            " = ?1 AND NOT (u.directory_id IS ?2 AND u.external_id IN (SELECT value FROM"
            " json_each(?3))) ORDER BY name_key",
            "ttt", group->id, row->id, members));
    catalog_read_end(world->catalog, db);
    return some;
}

/* Who is in it by now. */
static gboolean store_members(World *world, const Known *group, const DirectoryRow *row,
                              GHashTable *members, GError **error)
{
    json_auto_t *ids = json_array();
    g_autoptr(GString) said = g_string_new(NULL);
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, members);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        json_array_append_new(ids, json_string(id));
    g_autofree char *text = json_dumps(ids, JSON_COMPACT);
    if (!say_who(world, group, row, text, said))
        return TRUE;
    Changes *changes = changes_new();
    changes_sql(changes,
                "DELETE FROM group_member WHERE group_id = ?1 AND user_id NOT IN (SELECT id FROM"
                " user WHERE directory_id = ?2 AND external_id IN (SELECT value FROM"
                " json_each(?3)))",
                "ttt", group->id, row->id, text);
    changes_sql(changes,
                "INSERT INTO group_member (group_id, user_id) SELECT ?1, id FROM user WHERE"
                " directory_id = ?2 AND external_id IN (SELECT value FROM json_each(?3)) ON"
                " CONFLICT DO NOTHING",
                "ttt", group->id, row->id, text);
    changes_event(changes, "group.member", "info", group->name, NULL, "%s, says the directory %s",
                  said->str, row->name);
    return catalog_commit(world->catalog, changes, error);
}

/* A group that has another name there gets it here, unless that is taken, or none of ours. */
static void rename_group(World *world, const DirectoryRow *row, const Known *group, char *name)
{
    directory_group_name(name);
    if (g_strcmp0(name, group->name) == 0 || !user_check_name("group", name, NULL))
        return;
    g_autofree char *key = user_name_key(name);
    Changes *changes = changes_new();
    changes_sql(changes, "UPDATE user_group SET name = ?2, name_key = ?3 WHERE id = ?1", "ttt",
                group->id, name, key);
    changes_event(changes, "group.set", "info", name, NULL, "was %s, says the directory %s",
                  group->name, row->name);
    catalog_commit(world->catalog, changes, NULL);
}

static gboolean refresh_groups(World *world, const DirectoryRow *row, LdapLink *link,
                               const GPtrArray *people, GError **error)
{
    g_autoptr(GPtrArray) groups = read_all(world, row->id, FALSE);
    g_autoptr(LdapCrowd) crowd =
        groups->len ? ldap_crowd_new(link, &row->shape, people, error) : NULL;

    if (groups->len && !crowd)
        return FALSE;

    for (guint i = 0; i < groups->len; i++) {
        const Known *group = groups->pdata[i];
        g_autofree char *name = NULL;
        g_autoptr(GError) local = NULL;
        g_autoptr(GHashTable) members =
            ldap_members_of(link, &row->shape, group->external_id, crowd, &name, &local);
        if (!members && g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND))
            members = g_hash_table_new(g_str_hash, g_str_equal); /* gone: nobody is in it */
        if (!members) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!store_members(world, group, row, members, error))
            return FALSE;
        if (name)
            rename_group(world, row, group, name);
    }
    return TRUE;
}

gboolean directory_refresh(World *world, const char *name, GError **error)
{
    Db *db = catalog_read_begin(world->catalog);
    g_autoptr(DirectoryRow) row = directory_lookup(db, name, error);

    catalog_read_end(world->catalog, db);
    g_autoptr(LdapLink) link = row ? directory_open(world, row, error) : NULL;
    g_autoptr(GPtrArray) people = link ? ldap_list_people(link, &row->shape, error) : NULL;
    if (!people)
        return FALSE;
    /* An answer without anybody is more likely a filter or a right that is wrong. */
    g_autoptr(GPtrArray) users = read_all(world, row->id, TRUE);
    if (people->len == 0 && users->len > 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the directory '%s' shows no users at all", row->name);
        return FALSE;
    }
    return refresh_users(world, row, people, users, error) &&
           refresh_groups(world, row, link, people, error);
}
