/* run_place.c: see run_place.h. */
#include "imaged/ops/run_place.h"

#include <string.h>

#include "broker/host/networks.h"
#include "imaged/base/error.h"
#include "imaged/ops/run_domain.h"

static void free_row(gpointer row)
{
    host_row_clear(row);
    g_free(row);
}

void run_places_clear(RunPlaces *h)
{
    g_clear_pointer(&h->places, g_array_unref);
    g_clear_pointer(&h->rows, g_ptr_array_unref);
}
/* What was promised there: a desktop that is moved counts on both. */
gboolean run_places_load(World *world, Db *db, RunPlaces *ret, GError **error)
{
    Query *q = db_query(db,
                        "SELECT h.id, coalesce(sum(coalesce(d.hardware ->> '$.memory_bytes',"
                        " v.memory_bytes)), 0) AS memory, coalesce(sum(coalesce(d.hardware ->>"
                        " '$.cpus', v.cpus)), 0) AS cpus FROM host h LEFT JOIN run r ON"
                        " h.id IN (r.host_id, r.target_host_id) LEFT JOIN desktop d ON d.id = "
                        "r.desktop_id LEFT JOIN"
                        " version v ON v.id = d.version_id GROUP BY h.id",
                        "");

    ret->places = g_array_new(FALSE, TRUE, sizeof(PlaceHost));
    ret->rows = g_ptr_array_new_with_free_func(free_row);
    while (query_next(q)) {
        g_autofree HostRow *row = g_new0(HostRow, 1);
        g_auto(HostView) view = { 0 };
        if (!host_lookup(db, query_text(q, "id"), row, NULL))
            continue;
        hosts_view(world->hosts, row->id, &view);
        PlaceHost place = { .id = row->id,
                            .name = row->name,
                            .is_up = view.state == HOST_UP,
                            .is_maintenance = row->is_maintenance,
                            .memory_bytes = view.facts.memory_bytes,
                            .given_memory = (guint64)query_int(q, "memory"),
                            .n_cpus = MAX(view.facts.n_cpus, 1),
                            .given_cpus = (guint)query_int(q, "cpus"),
                            .cpu_usage = view.cpu_usage };
        g_array_append_val(ret->places, place);
        g_ptr_array_add(ret->rows, g_steal_pointer(&row));
    }
    return query_end(q, error);
}

/* What each of the hosts lacks of what this desktop wants. */
static gboolean note_lacks(World *world, Db *db, RunPlaces *h, const DesktopRow *desktop,
                           const Hardware *hardware, GError **error)
{
    g_autoptr(Store) store = store_set_get(world->stores, desktop->store_id, error);
    PlaceHost *places = (PlaceHost *)(void *)h->places->data;

    if (!store)
        return FALSE;
    for (guint i = 0; i < h->rows->len; i++) {
        g_autofree char *path = host_store_path(h->rows->pdata[i], store);
        places[i].has_store = path != NULL;
        places[i].has_networks = TRUE;
    }
    for (guint n = 0; hardware->networks[n]; n++) {
        g_auto(NetworkRow) network = { 0 };
        if (!network_lookup(db, hardware->networks[n], &network, error))
            return FALSE;
        for (guint i = 0; i < h->rows->len; i++)
            places[i].has_networks &= network_is_on(&network, h->rows->pdata[i]);
    }
    return TRUE;
}

/* Those that may be chosen: without the one it is to leave, or the only one. */
static gboolean is_open(const PlaceHost *place, const char *only, const char *except)
{
    return (!only || g_str_equal(place->id, only)) && g_strcmp0(place->id, except) != 0;
}

const PlaceHost *run_place(World *world, Db *db, RunPlaces *h, const DesktopRow *desktop,
                           const char *only, const char *except, GError **error)
{
    g_auto(Hardware) hardware = { 0 };
    PlaceHost *places = (PlaceHost *)(void *)h->places->data;
    g_autofree char *why = NULL;

    if (!run_hardware(db, desktop, &hardware, error) ||
        !note_lacks(world, db, h, desktop, &hardware, error))
        return NULL;
    PlaceNeed need = { hardware.memory_bytes + hardware_video_bytes(&hardware), hardware.n_cpus };
    g_autofree PlaceHost *open = g_new0(PlaceHost, h->places->len);
    g_autofree guint *index = g_new0(guint, h->places->len);
    guint n = 0;
    for (guint i = 0; i < h->places->len; i++) {
        if (!is_open(&places[i], only, except))
            continue;
        index[n] = i;
        open[n++] = places[i];
    }
    gint at = placement_choose(open, n, &need, PLACE_SPREAD, &why);
    if (at < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no host can take it: %s", why);
        imaged_error_hint(error, "see them with: imagectl host list");
        return NULL;
    }
    at = (gint)index[at];
    places[at].given_memory += need.memory_bytes;
    places[at].given_cpus += need.n_cpus;
    return &places[at];
}
