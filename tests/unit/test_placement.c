/* test_placement.c: on which host a desktop starts. */
#include "broker/host/placement.h"

#include <string.h>

#include "imaged/base/units.h"

#define N 4

static void hosts_init(PlaceHost *hosts)
{
    static const char *const names[N] = { "a", "b", "c", "d" };

    for (guint i = 0; i < N; i++)
        hosts[i] = (PlaceHost){ .id = names[i],
                                .name = names[i],
                                .is_up = TRUE,
                                .has_store = TRUE,
                                .has_networks = TRUE,
                                .memory_bytes = 64 * GIB,
                                .n_cpus = 16 };
}

static gint choose(const PlaceHost *hosts, guint n, guint64 memory, guint cpus, PlacePolicy policy)
{
    PlaceNeed need = { memory, cpus };
    g_autofree char *why = NULL;
    gint at = placement_choose(hosts, n, &need, policy, &why);

    g_assert_true((at < 0) == (why != NULL));
    return at;
}

static void test_memory(void)
{
    PlaceHost hosts[N];

    hosts_init(hosts);
    hosts[0].given_memory = 20 * GIB;
    hosts[1].given_memory = 10 * GIB;
    hosts[2].given_memory = 30 * GIB;
    hosts[3].given_memory = 11 * GIB;
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 2, PLACE_SPREAD), ==, 1);
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 2, PLACE_PACK), ==, 2);
    /* the fullest one in which it still fits */
    hosts[2].given_memory = 60 * GIB;
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 2, PLACE_PACK), ==, 0);
}

static void test_processors(void)
{
    PlaceHost hosts[N];

    hosts_init(hosts);
    hosts[0].given_cpus = 8;
    hosts[1].given_cpus = 2;
    hosts[2].given_cpus = 4;
    hosts[3].cpu_usage = 0.9; /* given nothing, and busy all the same */
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 2, PLACE_SPREAD), ==, 1);
    hosts[1].given_cpus = 16 * 8;
    hosts[2].given_cpus = 16 * 8 - 1;
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 2, PLACE_SPREAD), ==, 0);
    g_assert_cmpint(choose(hosts, N, 4 * GIB, 17, PLACE_SPREAD), ==, -1);
}

static void test_refused(void)
{
    PlaceNeed need = { 4 * GIB, 2 };
    PlaceHost hosts[N];

    hosts_init(hosts);
    hosts[0].is_up = FALSE;
    hosts[1].is_maintenance = TRUE;
    hosts[2].has_store = FALSE;
    hosts[3].given_memory = 62 * GIB;
    g_autofree char *why = NULL;
    g_assert_cmpint(placement_choose(hosts, N, &need, PLACE_SPREAD, &why), ==, -1);
    g_assert_cmpstr(why, ==,
                    "a is not up; b is in maintenance; c does not see the desktop's store; and 1"
                    " more");
    g_autofree char *full = NULL;
    g_assert_cmpint(placement_choose(hosts + 3, 1, &need, PLACE_SPREAD, &full), ==, -1);
    g_assert_cmpstr(full, ==, "d has too little free memory");
    g_autofree char *none = NULL;
    g_assert_cmpint(placement_choose(NULL, 0, &need, PLACE_SPREAD, &none), ==, -1);
    g_assert_cmpstr(none, ==, "there is no host");
}

/* A storm on an empty cluster of hosts like those of big sites: none is given more than it has, all
 * that fits is placed, and evenly. */
static void test_storm(void)
{
    guint64 size = 1024 * GIB, need = 8 * GIB;
    guint n_placed = 0;
    PlaceHost hosts[N];

    hosts_init(hosts);
    for (guint i = 0; i < N; i++) {
        hosts[i].memory_bytes = size;
        hosts[i].n_cpus = 96;
    }
    for (;;) {
        gint at = choose(hosts, N, need, 4, PLACE_SPREAD);
        if (at < 0)
            break;
        hosts[at].given_memory += need;
        hosts[at].given_cpus += 4;
        n_placed++;
    }
    for (guint i = 0; i < N; i++) {
        g_assert_cmpuint(hosts[i].given_memory + placement_reserve(size), <=, size);
        g_assert_cmpuint(hosts[i].given_memory, ==, hosts[0].given_memory);
    }
    g_assert_cmpuint(n_placed, >=, N * 120);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/placement/memory", test_memory);
    g_test_add_func("/placement/processors", test_processors);
    g_test_add_func("/placement/refused", test_refused);
    g_test_add_func("/placement/storm", test_storm);
    return g_test_run();
}
