/* test_same_machine.c: a machine is one host's, whatever its addresses. */
#include "broker/host/same_machine.h"

#include "tests/unit/catalog_fixture.h"

#define M1 "77000000-0000-4000-8000-000000000001"
#define M2 "77000000-0000-4000-8000-000000000002"
#define M3 "77000000-0000-4000-8000-000000000003"

typedef struct {
    Catalog *catalog;
    const char *up; /* ids of the hosts that are */
} Fixture;

static void add_host(Catalog *catalog, const char *id, const char *name)
{
    Changes *changes = changes_new();

    changes_sql(changes,
                "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance,"
                " created_at) VALUES (?1, ?2, ?1, 'tcg', '{}', 0, 0)",
                "tt", id, name);
    g_assert_true(commit(catalog, changes));
}

static void set_up(Fixture *f, gconstpointer data)
{
    catalog_fixture_start();
    f->catalog = catalog_open_named("catalog.db");
    f->up = "";
    add_host(f->catalog, "a", "vs-a");
    add_host(f->catalog, "b", "vs-b");
}

static void tear_down(Fixture *f, gconstpointer data)
{
    catalog_close(f->catalog);
    catalog_fixture_end();
}

static gboolean is_up(gpointer user, const char *host_id)
{
    return strstr(((Fixture *)user)->up, host_id) != NULL;
}

/* want: NULL, or what stands in the reason. */
static void check(Fixture *f, const char *host_id, const char *uuid, const char *want)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = same_machine_check(f->catalog, host_id, uuid, is_up, f, &error);

    if (want) {
        g_assert_false(ok);
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
        g_assert_nonnull(strstr(error->message, want));
    } else {
        g_assert_no_error(error);
        g_assert_true(ok);
    }
}

static gint64 n_events(Fixture *f)
{
    return count_of(f->catalog, "SELECT count(*) FROM event WHERE kind = 'host.same'");
}

static void reopen(Fixture *f)
{
    g_autofree char *uri = catalog_uri("catalog.db");
    g_autoptr(GError) error = NULL;

    catalog_close(f->catalog);
    f->catalog = catalog_open(uri, &error);
    g_assert_no_error(error);
}

static void test_two(Fixture *f, gconstpointer data)
{
    check(f, "a", M1, NULL);
    check(f, "b", M2, NULL);
    check(f, "a", M1, NULL);
    check(f, "b", M2, NULL);
    g_assert_cmpint(n_events(f), ==, 0);
}

/* The first one has it, whether it is up or not, also after a restart; told once. */
static void test_same(Fixture *f, gconstpointer data)
{
    check(f, "a", M1, NULL);
    check(f, "b", M1, "the same machine as the host 'vs-a'");
    f->up = "a";
    check(f, "b", M1, "the same machine as the host 'vs-a'");
    reopen(f);
    f->up = "";
    check(f, "b", M1, "the same machine as the host 'vs-a'");
    check(f, "a", M1, NULL);
    g_assert_cmpint(n_events(f), ==, 1);
}

/* libvirtd began again, and its machine has a new UUID each time: the second does not come first.
 */
static void test_made_up(Fixture *f, gconstpointer data)
{
    check(f, "a", M1, NULL);
    check(f, "b", M1, "vs-a");
    reopen(f);
    check(f, "b", M2, "vs-a");
    check(f, "a", M2, NULL);
    f->up = "a";
    check(f, "b", M2, "vs-a");
    check(f, "b", M3, NULL); /* while the other is up as another one: they are two */
    f->up = "";
    check(f, "b", M3, NULL);
}

/* What is removed has no machine. */
static void test_removed(Fixture *f, gconstpointer data)
{
    Changes *changes = changes_new();

    check(f, "a", M1, NULL);
    check(f, "b", M1, "vs-a");
    changes_sql(changes, "DELETE FROM host WHERE id = 'a'", "");
    g_assert_true(commit(f->catalog, changes));
    check(f, "b", M1, NULL);
    check(f, "a", M1, "removed");
}

/* A host moves to other hardware, and its former machine gets another address. */
static void test_moved(Fixture *f, gconstpointer data)
{
    check(f, "a", M1, NULL);
    check(f, "a", M2, NULL);
    check(f, "b", M1, NULL);
    check(f, "a", M1, "vs-b");
}

/* Test drivers don't say what they are. */
static void test_unknown(Fixture *f, gconstpointer data)
{
    check(f, "a", NULL, NULL);
    check(f, "b", NULL, NULL);
}

static void add(const char *name, void (*func)(Fixture *, gconstpointer))
{
    g_test_add(name, Fixture, NULL, set_up, func, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/same_machine/two", test_two);
    add("/same_machine/same", test_same);
    add("/same_machine/made_up", test_made_up);
    add("/same_machine/removed", test_removed);
    add("/same_machine/moved", test_moved);
    add("/same_machine/unknown", test_unknown);
    return g_test_run();
}
