/* test_rfb_relay.c: tickets to displays: for whom, how often, how long. */
#include "broker/session/rfb_relay.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/hosts.h"
#include "imaged/base/error.h"
#include "tests/unit/catalog_fixture.h"

typedef struct {
    World world;
    Relays *relays;
} Fixture;

static const HostDriver no_driver = { 0 };
static const HostWatcher no_watcher = { 0 };

static void set_up(Fixture *f, gconstpointer serves)
{
    catalog_fixture_start();
    memset(f, 0, sizeof *f);
    f->world.catalog = catalog_open_named("relays");
    f->world.hosts = hosts_new(&f->world, &no_driver, &no_watcher, NULL);
    f->relays = relays_new(&f->world, "/nonexistent");
    if (serves)
        relays_serve_vnc(f->relays, "desk.example.org", 5901);
}

static void tear_down(Fixture *f, gconstpointer serves)
{
    relays_free(f->relays);
    hosts_free(f->world.hosts);
    catalog_close(f->world.catalog);
    catalog_fixture_end();
}

/* Caller frees. */
static char *ticket(Fixture *f, const char *session, const char *who)
{
    SessionRow row = { .id = (char *)session,
                       .host_id = (char *)"h",
                       .incarnation = (char *)"i",
                       .uuid = (char *)"u",
                       .desktop_name = (char *)"d" };
    const RelayAsk ask = { .who = who, .is_remote = TRUE };
    g_auto(RelayWay) way = { 0 };

    g_assert_true(relay_begin(f->relays, &row, &ask, &way, NULL));
    g_assert_cmpstr(way.host, ==, "desk.example.org");
    g_assert_cmpuint(way.port, ==, 5901);
    g_assert_null(way.socket);
    g_assert_cmpuint(strlen(way.ticket), ==, 32);
    return g_strdup(way.ticket);
}

static void check_none(Fixture *f, const char *shown)
{
    g_assert_null(relays_claim(f->relays, shown));
}

/* It is good; its host is not there, which the client hears. */
static void check_good(Fixture *f, const char *shown)
{
    Relay *relay = relays_claim(f->relays, shown);
    guint8 said[256];
    int fds[2];

    g_assert_nonnull(relay);
    check_none(f, shown); /* once */
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_auto(Wire) client = { .fd = fds[0] };
    relay_serve(relay, &client, "192.0.2.1");
    g_assert_cmpint(read(fds[1], said, sizeof said), >, 8);
    g_assert_cmpmem(said, 4, "\0\0\0\1", 4);
    g_assert_cmpint(read(fds[1], said, sizeof said), ==, 0);
    close(fds[1]);
}

static void test_once(Fixture *f, gconstpointer serves)
{
    g_autofree char *one = ticket(f, "s1", NULL);
    g_autofree char *other = ticket(f, "s2", NULL);
    g_autofree char *part = g_strndup(one, 31);
    g_autofree char *more = g_strconcat(one, "0", NULL);

    g_assert_cmpstr(one, !=, other);
    check_none(f, "");
    check_none(f, part);
    check_none(f, more);
    check_none(f, "00000000000000000000000000000000");
    check_good(f, one);
    check_good(f, other);
    check_none(f, one);
}

/* A user has one way in; who looks on keeps his. */
static void test_own(Fixture *f, gconstpointer serves)
{
    g_autofree char *first = ticket(f, "s1", NULL);
    g_autofree char *look = ticket(f, "s1", "helpdesk");
    g_autofree char *second = ticket(f, "s1", NULL);

    check_none(f, first);
    check_good(f, look);
    check_good(f, second);
}

/* The end of a session is the end of all that lead there. */
static void test_cut(Fixture *f, gconstpointer serves)
{
    g_autofree char *own = ticket(f, "s1", NULL);
    g_autofree char *look = ticket(f, "s1", "helpdesk");
    g_autofree char *other = ticket(f, "s2", NULL);

    relays_cut(f->relays, "s1");
    check_none(f, own);
    check_none(f, look);
    check_good(f, other);
}

static void test_nobody_serves(Fixture *f, gconstpointer serves)
{
    const RelayAsk far = { .is_remote = TRUE }, near = { 0 };
    g_autoptr(GError) error = NULL;
    g_auto(RelayWay) way = { 0 };
    SessionRow row = { .id = (char *)"s1" };

    g_assert_true(relays_check(f->relays, NULL, &near, NULL));
    g_assert_false(relays_check(f->relays, NULL, &far, NULL));
    g_assert_false(relay_begin(f->relays, &row, &far, &way, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
}

/* Before anybody is asked, or given a way that leads nowhere. */
static void test_no_way(Fixture *f, gconstpointer serves)
{
    const RelayAsk ask = { .is_remote = TRUE };
    g_autoptr(GError) error = NULL;
    Changes *changes = changes_new();

    changes_sql(changes,
                "INSERT INTO host (id, name, uri, accelerator, store_paths, is_maintenance,"
                " created_at) VALUES ('t', 'vs-t', 'qemu+tls://vs-t/system', 'auto', '{}', 0, 0),"
                " ('s', 'vs-s', 'qemu+ssh://vs-s/system', 'auto', '{}', 0, 0)",
                "");
    g_assert_true(catalog_commit(f->world.catalog, changes, NULL));
    g_assert_true(relays_check(f->relays, "s", &ask, NULL));
    g_assert_false(relays_check(f->relays, "t", &ask, &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "'vs-t'"));
    g_assert_nonnull(strstr(imaged_error_get_hint(error), "qemu+ssh:"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, serves, function) g_test_add(name, Fixture, serves, set_up, function, tear_down)
    ADD("/rfb-relay/once", "x", test_once);
    ADD("/rfb-relay/own", "x", test_own);
    ADD("/rfb-relay/cut", "x", test_cut);
    ADD("/rfb-relay/no-way", "x", test_no_way);
    ADD("/rfb-relay/nobody-serves", NULL, test_nobody_serves);
    return g_test_run();
}
