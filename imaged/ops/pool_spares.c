/* pool_spares.c: see pool_spares.h. */
#include "imaged/ops/pool_spares.h"

#include "broker/host/hosts.h"
#include "broker/pool/spares.h"
#include "imaged/base/units.h"

double pool_spares_memory_given(World *world)
{
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    guint64 all = 0, given = 0;
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT id FROM host WHERE is_maintenance = 0", "");

    while (query_next(q))
        g_ptr_array_add(ids, g_strdup(query_text(q, "id")));
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    for (guint i = 0; i < ids->len; i++) {
        g_auto(HostView) view = { 0 };
        if (!hosts_view(world->hosts, ids->pdata[i], &view) || view.state != HOST_UP)
            continue;
        all += view.facts.memory_bytes;
        given += view.domains_memory;
    }
    return all ? (double)given / (double)all : 1;
}

static void put(PoolDeeds *deeds, const char *id, const char *name, json_t *ids, json_t *names)
{
    if (!pool_deeds_may(deeds, id, DEED_START))
        return;
    json_array_append_new(ids, json_string(id));
    json_array_append_new(names, json_string(name));
}

void pool_spares_keep(World *world, PoolDeeds *deeds, const PoolRow *pool, double memory_given)
{
    json_auto_t *ids = json_array(), *names = json_array();
    gint64 n_on = 0;
    Db *db = catalog_read_begin(world->catalog);
    SparesNeed need = { .asked = pool->spares, .memory_given = memory_given };

    if (pool->spares && !pool->is_deleting) {
        need.n_free = lookup_int(db,
                                 "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND state ="
                                 " 'free'",
                                 "t", pool->id);
        need.n_picks = lookup_int(db,
                                  "SELECT count(*) FROM pool_desktop WHERE pool_id = ?1 AND"
                                  " given_at > ?2",
                                  "ti", pool->id, units_now_ms() - SPARES_WINDOW_MS);
        n_on = lookup_int(db,
                          "SELECT count(*) FROM run r JOIN pool_desktop m ON m.desktop_id ="
                          " r.desktop_id WHERE m.pool_id = ?1 AND m.state = 'free'",
                          "t", pool->id);
        Query *q = db_query(db,
                            "SELECT m.desktop_id, d.name FROM pool_desktop m JOIN desktop d ON d.id"
                            " = m.desktop_id WHERE m.pool_id = ?1 AND m.state = 'free' AND NOT"
                            " EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = d.id)"
                            " ORDER BY m.changed_at LIMIT ?2",
                            "ti", pool->id, MAX(spares_wanted(&need) - n_on, 0));
        while (query_next(q))
            put(deeds, query_text(q, "desktop_id"), query_text(q, "name"), ids, names);
        query_end(q, NULL);
    }
    catalog_read_end(world->catalog, db);
    pool_deeds_do(deeds, pool, DEED_START, ids, names);
}
