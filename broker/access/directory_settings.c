/* directory_settings.c: directories are added, changed and removed (directory.h).  The password of
 * the account that asks is no setting: it goes to a file of its own, and is nowhere shown. */
#include "broker/access/directory_row.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/secret_file.h"
#include "imaged/base/units.h"
#include "imaged/catalog/lookup.h"

/* What the row's settings say in place of the account's password: it has one. */
#define HAS_PASSWORD "has_password"

gboolean directory_has_password(const json_t *settings)
{
    return json_is_true(json_object_get(settings, HAS_PASSWORD));
}

/* The password is taken out of the settings and written to its file. */
static gboolean keep_password(World *world, const char *id, json_t *settings, GError **error)
{
    const char *password = json_string_value(json_object_get(settings, "bind_password"));

    if (!password)
        return TRUE;
    if (*password && !secret_file_write(world->state_dir, DIRECTORY_SECRETS, id, password, error))
        return FALSE;
    json_object_set_new(settings, HAS_PASSWORD, json_boolean(*password != '\0'));
    return json_object_del(settings, "bind_password") == 0;
}

gboolean directory_add(World *world, const char *name, const char *kind, json_t *settings,
                       const char *who, GError **error)
{
    g_autoptr(GError) local = NULL;
    Id id = id_new();

    if (!name_check("directory", name, error) || !keep_password(world, id.s, settings, error))
        return FALSE;
    char *text = json_dumps(settings, JSON_COMPACT);
    Changes *changes = changes_new();
    changes_sql(changes,
                "INSERT INTO directory (id, name, kind, settings, created_at) VALUES (?1, ?2, ?3,"
                " ?4, ?5)",
                "tttti", id.s, name, kind, text, units_now_ms());
    changes_event(changes, "directory.add", "info", name, who, "%s", kind);
    free(text);
    if (catalog_commit(world->catalog, changes, &local))
        return TRUE;
    secret_file_delete(world->state_dir, DIRECTORY_SECRETS, id.s);
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_EXISTS))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "there is a directory '%s' already",
                    name);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean directory_set(World *world, const char *name, const json_t *changed, const char *who,
                       GError **error)
{
    json_auto_t *keys = json_array();
    g_autoptr(DirectoryRow) row = directory_find(world, name, error);
    g_autoptr(GString) said = g_string_new(NULL);
    const char *key;
    json_t *value;

    if (!row)
        return FALSE;
    claims_add(keys, 'x', "directory", row->id);
    if (!claims_take(world->claims, keys, "directory.set", error))
        return FALSE;
    directory_row_free(row); /* read again: another change may have come in between */
    row = directory_find(world, name, error);
    json_auto_t *settings = row ? json_deep_copy(row->settings) : NULL;
    json_object_foreach ((json_t *)changed, key, value) {
        g_string_append_printf(said, "%s%s", said->len ? ", " : "", key);
        json_object_set(settings, key, value);
    }
    gboolean ok = row && keep_password(world, row->id, settings, error);
    if (ok) {
        char *text = json_dumps(settings, JSON_COMPACT);
        Changes *changes = changes_new();
        changes_sql(changes, "UPDATE directory SET settings = ?2 WHERE id = ?1", "tt", row->id,
                    text);
        changes_event(changes, "directory.set", "info", row->name, who, "%s", said->str);
        free(text);
        ok = catalog_commit(world->catalog, changes, error);
    }
    if (ok) {
        if (!directory_has_password(settings))
            secret_file_delete(world->state_dir, DIRECTORY_SECRETS, row->id);
        directory_note_answer(world, row->id, TRUE); /* it is asked again at once */
    }
    claims_release(world->claims, keys);
    return ok;
}

/* data: its id. */
static gboolean has_idle_users(Db *db, gpointer data, GError **error)
{
    gint64 n = lookup_int(
        db,
        "SELECT count(*) FROM user u WHERE u.directory_id = ?1 AND (EXISTS (SELECT 1 FROM"
        " assignment WHERE user_id = u.id) OR EXISTS (SELECT 1 FROM pool_desktop WHERE user_id ="
        " u.id) OR EXISTS (SELECT 1 FROM session WHERE user_id = u.id AND ended_at IS NULL))",
        "t", (const char *)data);

    if (n)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "%" G_GINT64_FORMAT " of its users have desktops or a session", n);
    return !n;
}

gboolean directory_remove(World *world, const char *name, const char *who, GError **error)
{
    g_autoptr(DirectoryRow) row = directory_find(world, name, error);
    static const char *const forget[] = {
        "DELETE FROM channel_policy WHERE subject_id IN (SELECT id FROM user_group WHERE"
        " directory_id = ?1)",
        "DELETE FROM saved_search WHERE user_id IN (SELECT id FROM user WHERE directory_id = ?1)",
        "DELETE FROM role_grant WHERE subject_id IN (SELECT id FROM user WHERE directory_id = ?1"
        " UNION ALL SELECT id FROM user_group WHERE directory_id = ?1)",
        "DELETE FROM pool_grant WHERE subject_id IN (SELECT id FROM user WHERE directory_id = ?1"
        " UNION ALL SELECT id FROM user_group WHERE directory_id = ?1)",
        "DELETE FROM quota WHERE subject_id IN (SELECT id FROM user WHERE directory_id = ?1"
        " UNION ALL SELECT id FROM user_group WHERE directory_id = ?1)",
        "DELETE FROM token WHERE user_id IN (SELECT id FROM user WHERE directory_id = ?1)",
        "DELETE FROM group_member WHERE user_id IN (SELECT id FROM user WHERE directory_id = ?1)"
        " OR group_id IN (SELECT id FROM user_group WHERE directory_id = ?1)",
        "DELETE FROM user WHERE directory_id = ?1",
        "DELETE FROM user_group WHERE directory_id = ?1",
        "DELETE FROM directory WHERE id = ?1",
    };

    if (!row)
        return FALSE;
    Changes *changes = changes_new();
    changes_require(changes, has_idle_users, row->id, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(forget); i++)
        changes_sql(changes, forget[i], "t", row->id);
    changes_event(changes, "directory.remove", "info", row->name, who, "with its users and groups");
    if (!catalog_commit(world->catalog, changes, error))
        return FALSE;
    secret_file_delete(world->state_dir, DIRECTORY_SECRETS, row->id);
    return TRUE;
}
