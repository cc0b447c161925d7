/* lease_warnings.c: see lease_warnings.h.  Told first and noted then: if the daemon ends between
 * the two he is told twice, rather than never. */
#include "imaged/ops/lease_warnings.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/desktop_tell.h"

#define N_THREADS 32

struct LeaseWarnings {
    World *world;
    gint is_stopping;  /* atomic */
    GThreadPool *pool; /* of Telling */
    GMutex lock;       /* guards busy */
    GHashTable *busy;  /* desktop and user of those under way */
};

typedef struct {
    gboolean is_pooled;
    char *key, *desktop_id, *name, *user_id, *user_name;
    gint64 until_ms, now_ms;
} Telling;

static void telling_free(Telling *t)
{
    g_free(t->key);
    g_free(t->desktop_id);
    g_free(t->name);
    g_free(t->user_id);
    g_free(t->user_name);
    g_free(t);
}

/* A lease that was extended meanwhile is told of again. */
static void put_warned(Changes *changes, const Telling *t)
{
    if (t->is_pooled)
        changes_sql(changes,
                    "UPDATE pool_desktop SET warned_at = ?3 WHERE desktop_id = ?1 AND user_id = ?2"
                    " AND state = 'given' AND lease_until = ?4",
                    "ttii", t->desktop_id, t->user_id, t->now_ms, t->until_ms);
    else
        changes_sql(changes,
                    "UPDATE assignment SET warned_at = ?3 WHERE desktop_id = ?1 AND user_id = ?2"
                    " AND lease_until = ?4",
                    "ttii", t->desktop_id, t->user_id, t->now_ms, t->until_ms);
}

static void tell_user(LeaseWarnings *w, const Telling *t)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *when = units_format_time(t->until_ms);
    g_autofree char *text =
        g_strdup_printf("This desktop is yours until %s. Save your work.", when);
    gboolean is_told = desktop_tell(w->world, t->desktop_id, text, &error);
    Changes *changes = changes_new();

    put_warned(changes, t);
    if (error)
        error->message[strcspn(error->message, "\n")] = 0; /* without a hint */
    changes_event(changes, "lease.warning", "info", t->name, NULL, "%s: until %s; %s%s",
                  t->user_name, when,
                  is_told ? "told in the guest" : "not delivered: ", is_told ? "" : error->message);
    catalog_commit(w->world->catalog, changes, NULL);
}

static void tell(gpointer data, gpointer user)
{
    Telling *t = data;
    LeaseWarnings *w = user;

    if (!g_atomic_int_get(&w->is_stopping)) /* else after the next start */
        tell_user(w, t);
    g_mutex_lock(&w->lock);
    g_hash_table_remove(w->busy, t->key);
    g_mutex_unlock(&w->lock);
    telling_free(t);
}

LeaseWarnings *lease_warnings_new(World *world)
{
    LeaseWarnings *w = g_new0(LeaseWarnings, 1);

    w->world = world;
    g_mutex_init(&w->lock);
    w->busy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    w->pool = g_thread_pool_new(tell, w, N_THREADS, FALSE, NULL);
    return w;
}

void lease_warnings_free(LeaseWarnings *w)
{
    g_atomic_int_set(&w->is_stopping, 1);
    g_thread_pool_free(w->pool, FALSE, TRUE);
    g_hash_table_unref(w->busy);
    g_mutex_clear(&w->lock);
    g_free(w);
}

void lease_warn(LeaseWarnings *w, const LeaseWarning *warning, gint64 now_ms)
{
    g_autofree char *key = g_strconcat(warning->desktop_id, " ", warning->user_id, NULL);

    g_mutex_lock(&w->lock);
    gboolean is_new = g_hash_table_add(w->busy, g_strdup(key));
    g_mutex_unlock(&w->lock);
    if (!is_new)
        return;
    Telling *t = g_new0(Telling, 1);
    *t = (Telling){ .is_pooled = warning->is_pooled,
                    .key = g_steal_pointer(&key),
                    .desktop_id = g_strdup(warning->desktop_id),
                    .name = g_strdup(warning->name),
                    .user_id = g_strdup(warning->user_id),
                    .user_name = g_strdup(warning->user_name ? warning->user_name : "its user"),
                    .until_ms = warning->until_ms,
                    .now_ms = now_ms };
    g_thread_pool_push(w->pool, t, NULL);
}
