/* search_load.c: how long searches take.
 *
 *     search_load CATALOG ROUNDS [PART]:
 * "NAME<tab>P50_MS<tab>P99_MS<tab>CPU_MS<tab>LEAST_MS<tab>NAIVE_MS<tab>ROWS" for each (with PART:
 * those that have it in their names); CPU is what the median one took of a processor, LEAST what
 * the best one did, naive likewise
 *
 * What the daemon's GET /v1/search calls is called here, over the same catalog, with live figures
 * of all desktops that run; HTTP is not in the figures.  Naive is one statement with LIKE '%x%' and
 * EXISTS, as one writes it first, the median of three. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/host/driver.h"
#include "broker/run/figures.h"
#include "broker/search/search.h"
#include "imaged/base/units.h"

#define N_WARM 5
#define SECOND 1000000000ull * 4

typedef struct {
    const char *name, *text, *naive;
    gboolean is_user; /* asked by an ordinary one */
} Question;

#define OF_USER                                                                                    \
    "EXISTS (SELECT 1 FROM assignment x JOIN user u ON u.id = x.user_id WHERE x.desktop_id = d.id" \
    " AND u.name LIKE "
#define OF_TEMPLATE                                                                                \
    "EXISTS (SELECT 1 FROM version v JOIN template t ON t.id = v.template_id WHERE v.id ="         \
    " d.version_id AND t.name LIKE "
#define OF_APP                                                                                     \
    "EXISTS (SELECT 1 FROM inspection i JOIN application_in m ON m.set_id = i.set_id JOIN"         \
    " application p ON p.id = m.application_id WHERE i.layer_id = d.layer_id AND p.name LIKE "

static const Question questions[] = {
    { "three links (the issue's first)",
      "Vms: user.username = *John* AND template.name = *xp* AND Apps = *office*",
      "SELECT d.name FROM desktop d WHERE " OF_USER "'%john%') AND " OF_TEMPLATE
      "'%xp%') AND " OF_APP "'%office%') ORDER BY d.name LIMIT 101",
      FALSE },
    { "live CPU and host (the issue's second)", "Vms: CPU_Usage > 90 AND Hosts.Name = vs-a", NULL,
      FALSE },
    { "free text in events", "Events: watchdog timeout",
      "SELECT e.id FROM event e WHERE e.message LIKE '%watchdog%' AND e.message LIKE '%timeout%'"
      " ORDER BY e.id DESC LIMIT 101",
      FALSE },
    { "NOT over users", "Users: NOT desktops.template = *xp* AND NOT groups = group-00?",
      "SELECT u.id FROM user u WHERE NOT EXISTS (SELECT 1 FROM assignment x JOIN desktop d ON"
      " d.id = x.desktop_id WHERE x.user_id = u.id AND " OF_TEMPLATE
      "'%xp%')) AND NOT EXISTS (SELECT 1 FROM group_member m JOIN user_group g ON g.id ="
      " m.group_id WHERE m.user_id = u.id AND g.name LIKE 'group-00_') ORDER BY u.name LIMIT 101",
      FALSE },
    { "GROUP BY template", "Vms: GROUP BY template",
      "SELECT t.name, count(*) FROM desktop d JOIN version v ON v.id = d.version_id JOIN template t"
      " ON t.id = v.template_id WHERE d.is_trashed = 0 GROUP BY t.name",
      FALSE },
    { "sort by live CPU", "Vms: SORTBY cpu_usage DESC LIMIT 20", NULL, FALSE },
    { "IN", "Vms: template IN (winxp-office, debian-12) AND generation IN (1, 2)",
      "SELECT d.name FROM desktop d WHERE (" OF_TEMPLATE "'winxp-office') OR " OF_TEMPLATE
      "'debian-12')) AND d.generation IN (1, 2) ORDER BY d.name LIMIT 101",
      FALSE },
    { "three-way cross reference",
      "Hosts: desktops.user.group = group-017 AND desktops.apps = *office-addon-7* AND"
      " sessions.active = yes",
      NULL, FALSE },
    { "IS NONE", "Vms: user IS NONE AND host IS NONE",
      "SELECT d.name FROM desktop d WHERE NOT EXISTS (SELECT 1 FROM assignment x WHERE"
      " x.desktop_id = d.id) AND NOT EXISTS (SELECT 1 FROM pool_desktop x WHERE x.desktop_id = d.id"
      " AND x.user_id IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM run r WHERE r.desktop_id = d.id)"
      " ORDER BY d.name LIMIT 101",
      FALSE },
    { "an ordinary user", "Vms: apps = *office* AND status = running", NULL, TRUE },
};

/* All desktops that run, as their hosts would tell of them twice. */
static void tell_figures(World *world)
{
    g_autoptr(GHashTable) hosts =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db, "SELECT desktop_id, host_id FROM run", "");
    GHashTableIter iter;
    gpointer host, list;
    guint n = 0;

    while (query_next(q)) {
        HostDomain *d = g_new0(HostDomain, 1);
        list = g_hash_table_lookup(hosts, query_text(q, "host_id"));
        if (!list) {
            list = g_ptr_array_new();
            g_hash_table_insert(hosts, g_strdup(query_text(q, "host_id")), list);
        }
        d->desktop_id = g_strdup(query_text(q, "desktop_id"));
        d->state = DOMAIN_RUNNING;
        d->n_cpus = 2;
        d->memory_bytes = 4 * GIB;
        d->generation = n++ % 100; /* so much of its processors */
        g_ptr_array_add(list, d);
    }
    query_end(q, NULL);
    catalog_read_end(world->catalog, db);
    for (guint round = 0; round < 2; round++) {
        g_hash_table_iter_init(&iter, hosts);
        while (g_hash_table_iter_next(&iter, &host, &list)) {
            figures_seen(world->figures, host, list);
            for (guint i = 0; i < ((GPtrArray *)list)->len; i++) {
                HostDomain *d = ((GPtrArray *)list)->pdata[i];
                /* one of ten uses all it has, however long this machine takes to look again */
                d->cpu_ns += d->generation < 90 ? (guint64)d->generation * 2 * 1000 * 1000 : SECOND;
            }
        }
        g_usleep(100 * 1000);
    }
}

static double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static double ask(World *world, const Question *question, const Caller *caller, gsize *ret_rows,
                  double *ret_cpu)
{
    double cpu = cpu_ms();
    const SearchRequest request = { .text = question->text, .caller = caller, .fields = "table" };
    g_autoptr(GError) error = NULL;
    gint64 begin = g_get_monotonic_time();
    json_t *answer = search_run(world, &request, &error);
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    double ms = (double)(g_get_monotonic_time() - begin) / 1000;

    *ret_cpu = cpu_ms() - cpu;
    if (error)
        g_error("%s: %s", question->name, error->message);
    *ret_rows = json_array_size(json_object_get(answer, "rows"));
    json_decref(answer);
    free(text);
    return ms;
}

static int compare(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double naive(World *world, const char *sql)
{
    double ms[3];

    for (guint i = 0; i < 3; i++) {
        Db *db = catalog_read_begin(world->catalog);
        double begin = cpu_ms();
        Query *q = db_query_made(db, sql, NULL, 0);
        g_autoptr(GError) error = NULL;
        while (query_next(q))
            ;
        if (!query_end(q, &error))
            g_error("%s", error->message);
        ms[i] = cpu_ms() - begin;
        catalog_read_end(world->catalog, db);
    }
    qsort(ms, 3, sizeof *ms, compare);
    return ms[1];
}

static void measure(World *world, const Question *question, const Caller *caller, guint rounds)
{
    g_autofree double *ms = g_new(double, rounds), *cpu = g_new(double, rounds);
    gsize n_rows;

    for (guint i = 0; i < N_WARM; i++)
        ask(world, question, caller, &n_rows, cpu);
    for (guint i = 0; i < rounds; i++)
        ms[i] = ask(world, question, caller, &n_rows, &cpu[i]);
    qsort(ms, rounds, sizeof *ms, compare);
    qsort(cpu, rounds, sizeof *cpu, compare);
    g_autofree char *peer =
        question->naive ? g_strdup_printf("%.2f", naive(world, question->naive)) : g_strdup("-");
    printf("%s\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%zu\n", question->name, ms[rounds / 2],
           ms[rounds * 99 / 100], cpu[rounds / 2], cpu[0], peer, n_rows);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    g_autofree char *uri = argc >= 3 ? g_strdup_printf("file:%s", argv[1]) : NULL;
    guint rounds = argc >= 3 ? (guint)atoi(argv[2]) : 0;
    const char *part = argc > 3 ? argv[3] : "";
    World world = { 0 };
    g_autoptr(GError) error = NULL;

    if (rounds < 10) {
        fprintf(stderr, "usage: search_load CATALOG ROUNDS (10 or more) [PART]\n");
        return 64;
    }
    world.catalog = catalog_open(uri, &error);
    if (!world.catalog)
        g_error("%s", error->message);
    world.figures = figures_new();
    tell_figures(&world);
    g_autoptr(Caller) admin = caller_new_admin("root");
    Db *db = catalog_read_begin(world.catalog);
    Query *q = db_query(db,
                        "SELECT x.user_id FROM assignment x JOIN role_grant g ON g.subject_id ="
                        " x.user_id JOIN run r ON r.desktop_id = x.desktop_id LIMIT 1",
                        "");
    g_autofree char *id = query_next(q) ? g_strdup(query_text(q, "user_id")) : NULL;
    query_end(q, NULL);
    g_autoptr(Caller) user = caller_new_user(db, id, NULL, &error);
    catalog_read_end(world.catalog, db);
    if (!user)
        g_error("%s", error->message);
    for (guint i = 0; i < G_N_ELEMENTS(questions); i++) {
        if (strstr(questions[i].name, part))
            measure(&world, &questions[i], questions[i].is_user ? user : admin, rounds);
    }
    catalog_close(world.catalog);
    return 0;
}
