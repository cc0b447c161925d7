/* lease_ends.c: see lease_ends.h.
 *
 *   his session is cut off -> off (or suspended) -> [archived] -> [laid fresh] -> done
 *
 * Where each one stands is seen by the rows of sessions, runs, desktops and archives. */
#include "imaged/ops/lease_ends.h"

#include <string.h>

#include "imaged/base/error.h"

#define ASK_MS 50000      /* a guest is asked to shut down so long, and then switched off */
#define SUSPEND_MS 900000 /* so long it is tried to save its memory */

typedef struct {
    char *id, *name, *target;
    LeaseAction action;
    gint64 age_ms;
    gboolean is_gone, has_session, has_run, is_archived, is_fresh;
} Ending;

static void ending_free(gpointer data)
{
    Ending *e = data;

    g_free(e->id);
    g_free(e->name);
    g_free(e->target);
    g_free(e);
}

void lease_end_put(Changes *changes, const char *desktop_id, const char *user_id,
                   LeaseAction action, const char *target, gint64 now_ms)
{
    changes_sql(changes,
                "INSERT INTO lease_end (desktop_id, user_id, action, target, generation,"
                " created_at) SELECT d.id, ?2, ?3, ?4, d.generation, ?5 FROM desktop d WHERE"
                " d.id = ?1 ON CONFLICT (desktop_id) DO NOTHING",
                "tttti", desktop_id, user_id, lease_action_name(action), target, now_ms);
}

static LeaseAction action_of(const char *name)
{
    guint i = 0;

    while (i + 1 < LEASE_N_ACTIONS && !g_str_equal(lease_action_name(i), name))
        i++;
    return i;
}

static GPtrArray *load(World *world, gint64 now_ms)
{
    GPtrArray *out = g_ptr_array_new_with_free_func(ending_free);
    Db *db = catalog_read_begin(world->catalog);
    Query *q =
        db_query(db,
                 "SELECT e.*, d.name, coalesce(d.is_trashed, 1) AS is_gone, EXISTS (SELECT 1 FROM"
                 " session s WHERE s.desktop_id = e.desktop_id AND s.ended_at IS NULL) AS"
                 " has_session, EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = e.desktop_id) AS"
                 " has_run, EXISTS (SELECT 1 FROM archive_point a WHERE a.desktop_id ="
                 " e.desktop_id AND a.created_at >= e.created_at) AS is_archived,"
                 " coalesce(d.generation > e.generation, 0) AS is_fresh FROM lease_end e LEFT JOIN"
                 " desktop d ON d.id = e.desktop_id",
                 "");

    while (query_next(q)) {
        Ending *e = g_new0(Ending, 1);
        *e = (Ending){ .id = g_strdup(query_text(q, "desktop_id")),
                       .name = g_strdup(query_text(q, "name")),
                       .target = g_strdup(query_text(q, "target")),
                       .action = action_of(query_text(q, "action")),
                       .age_ms = MAX(now_ms - query_int(q, "created_at"), 0),
                       .is_gone = query_int(q, "is_gone") != 0,
                       .has_session = query_int(q, "has_session") != 0,
                       .has_run = query_int(q, "has_run") != 0,
                       .is_archived = query_int(q, "is_archived") != 0,
                       .is_fresh = query_int(q, "is_fresh") != 0 };
        g_ptr_array_add(out, e);
    }
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    return out;
}

/* What comes next; DEED_CREATE: nothing, *ret_done says why. */
static Deed next_deed(const Ending *e, gboolean *ret_done)
{
    *ret_done = FALSE;
    if (e->has_session) /* is being cut off */
        return DEED_CREATE;
    if (e->has_run && e->action == LEASE_SUSPEND && e->age_ms < SUSPEND_MS)
        return DEED_SUSPEND;
    if (e->has_run)
        return e->age_ms < ASK_MS ? DEED_SHUT_DOWN : DEED_STOP;
    if (e->action == LEASE_ARCHIVE && !e->is_archived)
        return DEED_ARCHIVE;
    if ((e->action == LEASE_ARCHIVE || e->action == LEASE_REIMAGE) && !e->is_fresh)
        return DEED_RESET;
    *ret_done = TRUE;
    return DEED_CREATE;
}

static void forget(World *world, const GPtrArray *done)
{
    Changes *changes = changes_new();

    for (guint i = 0; i < done->len; i++)
        changes_sql(changes, "DELETE FROM lease_end WHERE desktop_id = ?1", "t", done->pdata[i]);
    catalog_commit(world->catalog, changes, NULL);
}

/* Of the same deed and target: one job. */
typedef struct {
    Deed deed;
    const char *target;
    json_t *ids, *names;
} Group;

static Group *group_of(GArray *groups, Deed deed, const char *target)
{
    for (guint i = 0; i < groups->len; i++) {
        Group *g = &g_array_index(groups, Group, i);
        if (g->deed == deed && g_strcmp0(g->target, target) == 0)
            return g;
    }
    Group fresh = { deed, target, json_array(), json_array() };
    g_array_append_val(groups, fresh);
    return &g_array_index(groups, Group, groups->len - 1);
}

gboolean lease_ends_turn(World *world, PoolDeeds *deeds, gint64 now_ms)
{
    g_autoptr(GPtrArray) all = load(world, now_ms);
    g_autoptr(GPtrArray) done = g_ptr_array_new();
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(Group));

    for (guint i = 0; i < all->len; i++) {
        const Ending *e = all->pdata[i];
        gboolean is_done = FALSE;
        Deed deed = e->is_gone ? DEED_CREATE : next_deed(e, &is_done);
        if (e->is_gone || is_done)
            g_ptr_array_add(done, e->id);
        else if (deed != DEED_CREATE && pool_deeds_may(deeds, e->id, deed)) {
            Group *g = group_of(groups, deed, deed == DEED_ARCHIVE ? e->target : NULL);
            json_array_append_new(g->ids, json_string(e->id));
            json_array_append_new(g->names, json_string(e->name));
        }
    }
    for (guint i = 0; i < groups->len; i++) {
        Group *g = &g_array_index(groups, Group, i);
        pool_deeds_do_any(deeds, g->target, g->deed, g->ids, g->names);
        json_decref(g->ids);
        json_decref(g->names);
    }
    if (done->len)
        forget(world, done);
    return all->len > done->len;
}
