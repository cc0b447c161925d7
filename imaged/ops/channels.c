/* channels.c: see channels.h. */
#include "imaged/ops/channels.h"

#include <string.h>

#include "broker/access/users.h"
#include "broker/pool/pools.h"
#include "broker/run/hardware.h"
#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/hardware.h"

static const char *const channel_keys[] = { "clipboard", "file_transfer", "shared_folder",
                                            "usb",       "audio",         NULL };

/* ---- What counts ---- */

/* Users who have the desktop, or who may get it while nobody has it. */
#define POLICIES                                                                                   \
    "WITH have(user_id) AS (SELECT user_id FROM assignment WHERE desktop_id = ?1 UNION"            \
    " SELECT user_id FROM pool_desktop WHERE desktop_id = ?1 AND user_id IS NOT NULL),"            \
    " may(user_id) AS (SELECT user_id FROM have UNION SELECT m.user_id FROM pool_desktop p JOIN"   \
    " pool_grant g ON g.pool_id = p.pool_id JOIN group_member m ON m.group_id = g.subject_id"      \
    " WHERE p.desktop_id = ?1 AND p.user_id IS NULL UNION SELECT g.subject_id FROM pool_desktop p" \
    " JOIN pool_grant g ON g.pool_id = p.pool_id WHERE p.desktop_id = ?1 AND p.user_id IS NULL)"   \
    " SELECT c.policy FROM channel_policy c WHERE c.subject_id = (SELECT pool_id FROM"             \
    " pool_desktop WHERE desktop_id = ?1) OR c.subject_id IN (SELECT m.group_id FROM group_member" \
    " m JOIN may ON may.user_id = m.user_id) OR c.subject_id IN (SELECT g.subject_id FROM"         \
    " pool_desktop p JOIN pool_grant g ON g.pool_id = p.pool_id WHERE p.desktop_id = ?1 AND"       \
    " p.user_id IS NULL)"

gboolean channels_narrow(Db *db, const char *desktop_id, ChannelPolicy *policy, guint *ret_n,
                         GError **error)
{
    Query *q = db_query(db, POLICIES, "t", desktop_id);
    guint n = 0;

    while (query_next(q)) {
        const char *texts[] = { query_text(q, "policy") };
        json_auto_t *merged = hardware_merge(texts, G_N_ELEMENTS(texts));
        g_auto(Hardware) other = { 0 };
        hardware_read(merged, NULL, &other);
        channel_policy_narrow(policy, &other.channels);
        n++;
    }
    if (ret_n)
        *ret_n = n;
    return query_end(q, error);
}

void channels_put(json_t *object, const ChannelPolicy *policy)
{
    static const char *const audio[] = { "both", "playback", "none" };

    json_object_set_new(object, "clipboard", json_boolean(policy->may_copy));
    json_object_set_new(object, "file_transfer", json_boolean(policy->may_transfer));
    json_object_set_new(object, "shared_folder", json_boolean(policy->may_share));
    json_object_set_new(object, "usb", json_string(policy->usb));
    json_object_set_new(object, "audio", json_string(audio[policy->audio]));
}

gboolean channels_any(const json_t *hardware)
{
    for (guint i = 0; channel_keys[i]; i++) {
        if (json_object_get(hardware, channel_keys[i]))
            return TRUE;
    }
    return FALSE;
}

/* ---- Verbs ---- */

typedef struct {
    char *id, *name;
    gboolean is_pool;
} Subject;

static void subject_clear(Subject *subject)
{
    g_free(subject->id);
    g_free(subject->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Subject, subject_clear)

static gboolean find_pool(OpsCall *call, Db *db, Subject *ret, GError **error)
{
    g_auto(PoolRow) row = { 0 };
    const char *name = args_text(call, "pool", TRUE, error);

    if (!name || !pool_lookup(db, name, &row, error))
        return FALSE;
    *ret = (Subject){ g_strdup(row.id), g_strdup(row.name), TRUE };
    return TRUE;
}

static gboolean find_group(OpsCall *call, Db *db, Subject *ret, GError **error)
{
    g_auto(GroupRow) row = { 0 };
    const char *name = args_text(call, "group", TRUE, error);

    if (!name || !group_lookup(db, name, &row, error))
        return FALSE;
    *ret = (Subject){ g_strdup(row.id), g_strdup(row.name), FALSE };
    return TRUE;
}

typedef gboolean (*Find)(OpsCall *call, Db *db, Subject *ret, GError **error);

static gboolean check_change(const json_t *change, GError **error)
{
    const char *key;
    json_t *value;

    if (!hardware_check(change, error))
        return FALSE;
    json_object_foreach ((json_t *)change, key, value) {
        if (!g_strv_contains(channel_keys, key)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a channel policy has no '%s'",
                        key);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean put(OpsCall *call, const Subject *subject, const char *policy, GError **error)
{
    g_autofree char *keys = hardware_keys(json_object_get(call->args, "policy"));
    Changes *changes = changes_new();

    changes_sql(changes, "DELETE FROM channel_policy WHERE subject_id = ?1", "t", subject->id);
    if (policy)
        changes_sql(changes, "INSERT INTO channel_policy (subject_id, policy) VALUES (?1, ?2)",
                    "tt", subject->id, policy);
    changes_event(changes, subject->is_pool ? "pool.channels" : "group.channels", "info",
                  subject->name, call->who, "%s", keys);
    return catalog_commit(call->world->catalog, changes, error);
}

/* The policy is shown, after the change, if there is one. */
static json_t *channels(OpsCall *call, const json_t *change, Find find, GError **error)
{
    g_auto(Subject) subject = { 0 };
    g_autofree char *stored = NULL;

    Db *db = catalog_read_begin(call->world->catalog);
    gboolean ok = find(call, db, &subject, error);
    if (ok) {
        Query *q = db_query(db, "SELECT policy FROM channel_policy WHERE subject_id = ?1", "t",
                            subject.id);
        if (query_next(q))
            stored = g_strdup(query_text(q, "policy"));
        ok = query_end(q, error);
    }
    catalog_read_end(call->world->catalog, db);
    g_autofree char *policy = ok && change ? hardware_apply(stored, change) : g_strdup(stored);
    if (!ok || (change && !put(call, &subject, policy, error)))
        return NULL;
    json_t *object = policy ? json_loads(policy, 0, NULL) : NULL;
    return json_pack("{s:s,s:s,s:o}", "id", subject.id, "name", subject.name, "policy",
                     object ? object : json_object());
}

static json_t *set_channels(OpsCall *call, const char *known, Find find, GError **error)
{
    const json_t *change = json_object_get(call->args, "policy");

    if (!args_check(call, known, error) || !check_change(change, error))
        return NULL;
    return channels(call, change, find, error);
}

json_t *ops_pool_channels(OpsCall *call, GError **error)
{
    return args_check(call, "pool", error) ? channels(call, NULL, find_pool, error) : NULL;
}

json_t *ops_pool_set_channels(OpsCall *call, GError **error)
{
    return set_channels(call, "pool policy", find_pool, error);
}

json_t *ops_group_channels(OpsCall *call, GError **error)
{
    return args_check(call, "group", error) ? channels(call, NULL, find_group, error) : NULL;
}

json_t *ops_group_set_channels(OpsCall *call, GError **error)
{
    return set_channels(call, "group policy", find_group, error);
}
