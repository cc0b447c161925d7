/* pool_picks.c: desktops given to users, each durable before it is answered.
 *
 *   pool_picks FOLDER N THREADS [quota]
 *
 * N users ask for N desktops of a pool, THREADS at a time, of a catalog in FOLDER; without hosts
 * and sessions.  quota: the group that all of them are in has one, so each pick asks what they have
 * together.  Prints picks per second, the time of one (median and p99) and of all, in ms. */
#include "tests/bench/bench.h"

#include "broker/pool/pick.h"

static World world;
static guint n_all;
static gint next; /* atomic */
static double *took;

static void run(const char *sql, const char *types, gint64 n)
{
    Changes *changes = changes_new();
    g_autoptr(GError) error = NULL;

    changes_sql(changes, sql, types, n);
    if (!catalog_commit(world.catalog, changes, &error))
        die("%s", error->message);
}

#define COUNT "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?1) "

static void fill(void)
{
    run("INSERT INTO template VALUES ('t', 'office', 1, 0, 0, 0)", "", 0);
    run("INSERT INTO version (id, template_id, version, state, is_trashed, layer_id, cpus,"
        " memory_bytes, os, description, source, notes, created_at, changed_at) VALUES ('v', 't',"
        " 1, 'published', 0, 'base', 1, 1, '', '', '', '', 0, 0)",
        "", 0);
    run(COUNT "INSERT INTO layer (id, slot, store_id, parent_id, owner_kind, owner_id, generation,"
              " state, place, virtual_size, created_at) SELECT 'l' || i, 'l' || i, 's', 'base',"
              " 'desktop', 'd' || i, 1, 'active', 'layers', 1, 0 FROM c",
        "i", n_all);
    run(COUNT "INSERT INTO desktop (id, name, version_id, owner, generation, layer_id, store_id,"
              " mac, uuid, state, is_trashed, created_at, changed_at) SELECT 'd' || i, 'lab-' ||"
              " i, 'v', '', 1, 'l' || i, 's', '', '', 'ok', 0, 0, 0 FROM c",
        "i", n_all);
    run(COUNT "INSERT INTO pool_desktop (desktop_id, pool_id, state, clean_generation,"
              " n_extensions, changed_at) SELECT 'd' || i, 'p', 'free', 1, 0, i FROM c",
        "i", n_all);
    run("INSERT INTO pool (id, name, type, template_id, size, spares, max_per_user, settings,"
        " created_at, changed_at) VALUES ('p', 'lab', 'automatic', 't', ?1, 0, 1, '{}', 0, 0)",
        "i", n_all);
    run("INSERT INTO pool_grant VALUES ('p', 'group', 'g', 0)", "", 0);
    run(COUNT "INSERT INTO group_member SELECT 'g', 'u' || i FROM c", "i", n_all);
}

static gpointer pick(gpointer unused)
{
    guint i;

    while ((i = (guint)g_atomic_int_add(&next, 1)) < n_all) {
        g_autofree char *user = g_strdup_printf("u%u", i + 1);
        PickAsk ask = { .user_id = user, .pool_id = "p", .limit_ms = 10000 };
        g_autoptr(GError) error = NULL;
        Picked picked;
        double start = bench_now_ms();
        if (!pool_pick(&world, &ask, &picked, &error))
            die("%s: %s", user, error->message);
        took[i] = bench_now_ms() - start;
    }
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static gint64 count(const char *sql)
{
    Db *db = catalog_read_begin(world.catalog);
    gint64 n = lookup_int(db, sql, "");

    catalog_read_end(world.catalog, db);
    return n;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    g_set_prgname("pool_picks");
    gboolean has_quota = argc == 5 && g_str_equal(argv[4], "quota");
    if (argc != 4 && !has_quota)
        die("usage: pool_picks FOLDER N THREADS [quota]");
    g_autofree char *uri = g_strdup_printf("file:%s/picks.db", argv[1]);
    n_all = (guint)bench_number(argv[2]);
    guint n_threads = (guint)bench_number(argv[3]);
    if (!(world.catalog = catalog_open(uri, &error)))
        die("%s", error->message);
    world.pools = pools_new(&world);
    fill();
    if (has_quota)
        run("INSERT INTO quota (subject_id, subject_kind, n_desktops, n_running, n_snapshots)"
            " VALUES ('g', 'group', ?1, ?1, ?1)",
            "i", n_all);
    took = g_new0(double, n_all);
    g_autofree GThread **threads = g_new0(GThread *, n_threads);
    double start = bench_now_ms();
    for (guint i = 0; i < n_threads; i++)
        threads[i] = g_thread_new("pick", pick, NULL);
    for (guint i = 0; i < n_threads; i++)
        g_thread_join(threads[i]);
    double all = bench_now_ms() - start;
    if (count("SELECT count(DISTINCT user_id) FROM pool_desktop WHERE state = 'given'") != n_all ||
        count("SELECT count(DISTINCT desktop_id) FROM attachment") != n_all)
        die("somebody was given nothing, or what another has");
    qsort(took, n_all, sizeof *took, by_time);
    printf("%.0f %.1f %.1f %.0f\n", n_all / all * 1000, took[n_all / 2], took[n_all * 99 / 100],
           all);
    g_free(took);
    pools_free(world.pools);
    catalog_close(world.catalog);
    return 0;
}
