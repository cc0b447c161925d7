/* merge_runs.c: see merge_runs.h. */
#include "snapshot/merge_runs.h"

#include "snapshot/chain.h"

GHashTable *runs_live_layers(Db *db, const char *desktop_id, const char *except)
{
    GHashTable *live = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Query *q = db_query(db,
                        "WITH RECURSIVE live(id) AS (SELECT layer_id FROM desktop WHERE id = ?1 AND"
                        " is_trashed = 0 UNION SELECT data_layer_id FROM desktop WHERE id = ?1 AND"
                        " is_trashed = 0 UNION SELECT layer_id FROM snapshot WHERE desktop_id = ?1"
                        " AND is_trashed = 0 AND id <> coalesce(?2, '') UNION SELECT data_layer_id"
                        " FROM snapshot WHERE desktop_id = ?1 AND is_trashed = 0 AND id <>"
                        " coalesce(?2, '') UNION SELECT l.parent_id"
                        " FROM layer l JOIN live ON l.id = live.id WHERE l.parent_id IS NOT NULL"
                        " AND l.owner_kind IN ('desktop', 'data')) SELECT id FROM live WHERE"
                        " id IS NOT NULL",
                        "tt", desktop_id, except);

    while (query_next(q))
        g_hash_table_add(live, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    return live;
}

char *runs_live_child(Db *db, GHashTable *live, const char *layer_id, guint *ret_n)
{
    Query *q = db_query(db, "SELECT id FROM layer WHERE parent_id = ?1", "t", layer_id);
    char *child = NULL;

    *ret_n = 0;
    while (query_next(q)) {
        const char *id = query_text(q, "id");
        if (!g_hash_table_contains(live, id))
            continue;
        ++*ret_n;
        g_free(child);
        child = g_strdup(id);
    }
    query_end(q, NULL);
    if (*ret_n != 1)
        g_clear_pointer(&child, g_free);
    return child;
}

static void clear_run(gpointer data)
{
    Run *run = data;

    g_free(run->bottom);
    g_free(run->top);
    g_free(run->frozen_top);
}

static gboolean has_snapshot(Db *db, const char *layer_id)
{
    return lookup_int(db, "SELECT EXISTS (SELECT 1 FROM snapshot WHERE layer_id = ?1 AND"
                          " is_trashed = 0) OR EXISTS (SELECT 1 FROM snapshot WHERE"
                          " data_layer_id = ?1 AND is_trashed = 0)", "t", layer_id);
}

GArray *runs_of_disk(Db *db, const DesktopRow *desktop, const char *layer_id, GError **error)
{
    g_auto(LookupRows) chain = { 0 };
    GArray *runs = g_array_new(FALSE, TRUE, sizeof(Run));
    g_autoptr(GHashTable) live = runs_live_layers(db, desktop->id, NULL);
    Run run = { 0 };

    g_array_set_clear_func(runs, clear_run);
    if (!chain_rows(db, layer_id, &chain, error)) {
        g_array_unref(runs);
        return NULL;
    }
    guint first = chain.rows->len - chain_n_own(&chain);
    for (guint i = first; i < chain.rows->len; i++) {
        const char *id = row_id(chain.rows->pdata[i]);
        gboolean is_last = i + 1 == chain.rows->len;
        guint n_children = 1;
        if (!is_last)
            g_free(runs_live_child(db, live, id, &n_children));
        if (!run.bottom)
            run.bottom = g_strdup(id);
        run.n++;
        if (!is_last) {
            g_free(run.frozen_top);
            run.frozen_top = g_strdup(id);
        }
        if (is_last || n_children != 1 || has_snapshot(db, id)) {
            run.top = g_strdup(id);
            run.is_active = is_last;
            g_array_append_val(runs, run);
            run = (Run){ 0 };
        }
    }
    return runs;
}
