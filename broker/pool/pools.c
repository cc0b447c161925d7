/* pools.c: candidates are loaded from the catalog when a list is empty, or old and something has
 * changed; so that a thousand picks in a second read it a few times. */
#include "broker/pool/pools.h"

#include "imaged/base/error.h"

#define N_CANDIDATES 512
#define LIST_AGE_US 200000

typedef struct {
    GArray *list;      /* of PoolCandidate, the best one last */
    guint64 n_changes; /* of what it was loaded after */
    guint64 load;      /* its number */
    gboolean is_none;  /* when it was loaded none was free, and nobody was about to get one */
    gint64 loaded_us;
} FreeList;

struct Pools {
    World *world;
    GMutex lock; /* guards what follows */
    GCond changed;
    guint64 stamp, n_changes, n_left, n_loads;
    GHashTable *loading; /* ids of pools whose list somebody loads */
    GHashTable *lists;   /* id of a pool -> FreeList */
    GHashTable *taken;   /* id of a desktop that somebody is about to get -> its pool's */
    GHashTable *stale;   /* ids of those taken while lists are loaded, which may show them free */
};

/* ---- Rows ---- */

void pool_row_clear(PoolRow *row)
{
    char **texts[] = { &row->id,          &row->name,       &row->type,
                       &row->template_id, &row->version_id, &row->settings };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}

gboolean pool_lookup(Db *db, const char *name, PoolRow *ret, GError **error)
{
    Query *q = db_query(db, "SELECT * FROM pool WHERE id = ?1 OR name = ?1", "t", name);
    gboolean found = query_next(q);

    if (found)
        *ret = (PoolRow){ .id = g_strdup(query_text(q, "id")),
                          .name = g_strdup(query_text(q, "name")),
                          .type = g_strdup(query_text(q, "type")),
                          .template_id = g_strdup(query_text(q, "template_id")),
                          .version_id = g_strdup(query_text(q, "version_id")),
                          .size = query_int(q, "size"),
                          .spares = query_int(q, "spares"),
                          .max_per_user = query_int(q, "max_per_user"),
                          .disconnect_limit_s = query_is_null(q, "disconnect_limit_s")
                                                    ? POOL_NEVER
                                                    : query_int(q, "disconnect_limit_s"),
                          .settings = g_strdup(query_text(q, "settings")),
                          .created_at = query_int(q, "created_at"),
                          .changed_at = query_int(q, "changed_at"),
                          .is_deleting = query_int(q, "is_deleting") != 0 };
    if (!query_end(q, error)) {
        pool_row_clear(ret);
        return FALSE;
    }
    if (!found) {
        g_autofree char *shown = text_for_message(name, 80);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no pool '%s'", shown);
        imaged_error_hint(error, "see them with: imagectl pool list");
    }
    return found;
}

char *pool_wanted_version(Db *db, const PoolRow *pool, GError **error)
{
    Query *q = db_query(db,
                        "SELECT v.id FROM pool p JOIN version v ON v.id = " POOL_WANTED_OF_P
                        " WHERE p.id = ?1 AND v.is_trashed = 0",
                        "t", pool->id);
    char *id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;

    if (query_end(q, error) && !id)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the template of the pool '%s' has no published version", pool->name);
    return id;
}

/* ---- Candidates ---- */

static void list_free(gpointer data)
{
    FreeList *list = data;

    g_array_unref(list->list);
    g_free(list);
}

Pools *pools_new(World *world)
{
    Pools *pools = g_new0(Pools, 1);

    pools->world = world;
    g_mutex_init(&pools->lock);
    g_cond_init(&pools->changed);
    pools->lists = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, list_free);
    pools->loading = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    pools->taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    pools->stale = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return pools;
}

void pools_free(Pools *pools)
{
    if (!pools)
        return;
    g_hash_table_unref(pools->lists);
    g_hash_table_unref(pools->loading);
    g_hash_table_unref(pools->taken);
    g_hash_table_unref(pools->stale);
    g_mutex_clear(&pools->lock);
    g_cond_clear(&pools->changed);
    g_free(pools);
}

/* The best come last. */
static GArray *load(Pools *pools, const char *pool_id)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(PoolCandidate));
    Db *db = catalog_read_begin(pools->world->catalog);
    Query *q = db_query(
        db,
        "SELECT m.desktop_id, m.clean_generation FROM (SELECT m.*, coalesce((SELECT"
        " r.state = 'running' FROM run r WHERE r.desktop_id = d.id), 0) AS is_on,"
        " EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = d.id) AS has_run"
        " FROM pool_desktop m JOIN pool p ON p.id = m.pool_id JOIN desktop d ON d.id ="
        " m.desktop_id WHERE m.pool_id = ?1 AND m.state = 'free' AND d.generation ="
        " m.clean_generation AND d.version_id = " POOL_WANTED_OF_P
        " AND NOT EXISTS (SELECT 1 FROM attachment a WHERE a.desktop_id = d.id AND a.generation >="
        " m.clean_generation) ORDER BY is_on DESC, has_run, m.changed_at LIMIT ?2) m JOIN desktop"
        " d ON d.id = m.desktop_id WHERE " POOL_IS_CLEAN_D_M
        " ORDER BY m.is_on, m.has_run DESC, m.changed_at DESC",
        "ti", pool_id, (gint64)N_CANDIDATES);

    while (query_next(q)) {
        PoolCandidate c = { .generation = query_int(q, "clean_generation") };
        g_strlcpy(c.desktop_id, query_text(q, "desktop_id"), sizeof c.desktop_id);
        g_array_append_val(out, c);
    }
    query_end(q, NULL);
    catalog_read_end(pools->world->catalog, db);
    return out;
}

/* What was taken while this list was read stands in it, and first: each would be tried in vain. */
static void drop_stale(Pools *pools, GArray *list)
{
    guint n = 0;

    for (guint i = 0; i < list->len; i++) {
        const PoolCandidate *c = &g_array_index(list, PoolCandidate, i);
        if (!g_hash_table_contains(pools->stale, c->desktop_id))
            g_array_index(list, PoolCandidate, n++) = *c;
    }
    g_array_set_size(list, n);
}

static gboolean some_are_taken(Pools *pools, const char *pool_id)
{
    GHashTableIter iter;
    gpointer of;

    g_hash_table_iter_init(&iter, pools->taken);
    while (g_hash_table_iter_next(&iter, NULL, &of)) {
        if (g_str_equal(of, pool_id))
            return TRUE;
    }
    return FALSE;
}

/* With the lock held, which is given up meanwhile.  One loads at a time. */
static void renew(Pools *pools, const char *pool_id)
{
    FreeList *list;

    if (!g_hash_table_add(pools->loading, g_strdup(pool_id))) {
        while (g_hash_table_contains(pools->loading, pool_id))
            g_cond_wait(&pools->changed, &pools->lock);
        return;
    }
    list = g_new0(FreeList, 1);
    *list = (FreeList){ .n_changes = pools->n_changes, .load = ++pools->n_loads };
    GHashTableIter iter;
    gpointer id;
    g_hash_table_iter_init(&iter, pools->taken);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_hash_table_add(pools->stale, g_strdup(id));
    g_mutex_unlock(&pools->lock);
    list->list = load(pools, pool_id);
    g_mutex_lock(&pools->lock);
    drop_stale(pools, list->list);
    list->is_none = list->list->len == 0 && !some_are_taken(pools, pool_id);
    list->loaded_us = g_get_monotonic_time();
    g_hash_table_replace(pools->lists, g_strdup(pool_id), list);
    g_hash_table_remove(pools->loading, pool_id);
    if (g_hash_table_size(pools->loading) == 0)
        g_hash_table_remove_all(pools->stale);
    g_cond_broadcast(&pools->changed);
}

/* Others go on with the old list while somebody loads. */
static gboolean is_old(Pools *pools, const char *pool_id)
{
    const FreeList *list = g_hash_table_lookup(pools->lists, pool_id);

    if (!list)
        return TRUE;
    return list->n_changes != pools->n_changes && !g_hash_table_contains(pools->loading, pool_id) &&
           g_get_monotonic_time() > list->loaded_us + LIST_AGE_US;
}

static gboolean pop(Pools *pools, const char *pool_id, PoolCandidate *ret)
{
    FreeList *list = g_hash_table_lookup(pools->lists, pool_id);

    while (list && list->list->len) {
        *ret = g_array_index(list->list, PoolCandidate, list->list->len - 1);
        g_array_set_size(list->list, list->list->len - 1);
        if (!g_hash_table_contains(pools->taken, ret->desktop_id)) {
            g_hash_table_insert(pools->taken, g_strdup(ret->desktop_id), g_strdup(pool_id));
            if (g_hash_table_size(pools->loading))
                g_hash_table_add(pools->stale, g_strdup(ret->desktop_id));
            return TRUE;
        }
    }
    return FALSE;
}

/* Was none free at some moment since that load began?  A list that others have emptied says
 * nothing: they may leave what they took. */
static gboolean is_none(Pools *pools, const char *pool_id, guint64 since)
{
    const FreeList *list = g_hash_table_lookup(pools->lists, pool_id);

    return list && list->is_none && list->load > since;
}

gboolean pools_take(Pools *pools, const char *pool_id, PoolCandidate *ret)
{
    gboolean found;

    g_mutex_lock(&pools->lock);
    guint64 since = pools->n_loads; /* what was begun before says nothing of now */
    if (is_old(pools, pool_id))
        renew(pools, pool_id);
    while (!(found = pop(pools, pool_id, ret)) && !is_none(pools, pool_id, since)) {
        guint64 n_left = pools->n_left;
        renew(pools, pool_id);
        if ((found = pop(pools, pool_id, ret)) || is_none(pools, pool_id, since))
            break;
        /* others are about to get the last ones, and may leave some */
        while (n_left == pools->n_left && some_are_taken(pools, pool_id))
            g_cond_wait(&pools->changed, &pools->lock);
    }
    g_mutex_unlock(&pools->lock);
    return found;
}

/* The list from which one was taken in vain is not asked again: the next ones would be too. */
void pools_give_back(Pools *pools, const char *desktop_id, gboolean was_given)
{
    g_mutex_lock(&pools->lock);
    if (!was_given) {
        const char *pool_id = g_hash_table_lookup(pools->taken, desktop_id);
        g_hash_table_remove(pools->stale, desktop_id);
        g_hash_table_remove(pools->lists, pool_id);
        pools->n_left++;
    }
    g_hash_table_remove(pools->taken, desktop_id);
    g_cond_broadcast(&pools->changed);
    g_mutex_unlock(&pools->lock);
}

/* ---- Waiting ---- */

static void wake(Pools *pools, gboolean has_more)
{
    if (!pools)
        return;
    g_mutex_lock(&pools->lock);
    pools->stamp++;
    pools->n_changes += has_more;
    g_cond_broadcast(&pools->changed);
    g_mutex_unlock(&pools->lock);
}

void pools_touch(Pools *pools)
{
    wake(pools, TRUE);
}

void pools_took(Pools *pools)
{
    wake(pools, FALSE);
}

void pools_wait(Pools *pools, guint64 *stamp, gint64 ms)
{
    gint64 until = g_get_monotonic_time() + ms * 1000;

    g_mutex_lock(&pools->lock);
    while (pools->stamp == *stamp && g_cond_wait_until(&pools->changed, &pools->lock, until))
        ;
    *stamp = pools->stamp;
    g_mutex_unlock(&pools->lock);
}

guint64 pools_stamp(Pools *pools)
{
    g_mutex_lock(&pools->lock);
    guint64 stamp = pools->stamp;
    g_mutex_unlock(&pools->lock);
    return stamp;
}
