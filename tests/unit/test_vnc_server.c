/* test_vnc_server.c: VNC by TCP and TLS, up to the display: who has a ticket gets there. */
#include "imaged/http/vnc_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/host/hosts.h"
#include "broker/session/rfb_relay.h"
#include "tests/unit/catalog_fixture.h"
#include "tests/unit/tls_fixture.h"

typedef struct {
    World world;
    VncServer *server;
    char *cert, *key;
    guint port;
} Fixture;

static const HostDriver no_driver = { 0 };
static const HostWatcher no_watcher = { 0 };

static void write_pair(const Fixture *f)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    gnutls_datum_t pem;

    tls_fixture_make(&crt, &key);
    g_assert_cmpint(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), ==, 0);
    g_assert_true(g_file_set_contents(f->cert, (char *)pem.data, pem.size, NULL));
    gnutls_free(pem.data);
    g_assert_cmpint(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), ==, 0);
    g_assert_true(g_file_set_contents(f->key, (char *)pem.data, pem.size, NULL));
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static int local_socket(struct sockaddr_in *address)
{
    *address =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static guint free_port(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int fd = local_socket(&address);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &len), ==, 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    catalog_fixture_start();
    memset(f, 0, sizeof *f);
    f->world.catalog = catalog_open_named("vnc");
    f->world.hosts = hosts_new(&f->world, &no_driver, &no_watcher, NULL);
    f->world.relays = relays_new(&f->world, "/nonexistent");
    f->cert = g_build_filename(catalog_folder, "cert", NULL);
    f->key = g_build_filename(catalog_folder, "key", NULL);
    write_pair(f);
    f->port = free_port();
    g_autofree char *at = g_strdup_printf("127.0.0.1:%u", f->port);
    const VncServerOptions options = { at, NULL, f->cert, f->key };
    g_autoptr(GError) error = NULL;
    f->server = vnc_server_start(&f->world, &options, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    vnc_server_stop(f->server);
    relays_free(f->world.relays);
    hosts_free(f->world.hosts);
    catalog_close(f->world.catalog);
    catalog_fixture_end();
    g_free(f->cert);
    g_free(f->key);
}

static int come(const Fixture *f)
{
    const struct timeval limit = { .tv_sec = 60 };
    struct sockaddr_in address;
    int fd = local_socket(&address);

    address.sin_port = htons((guint16)f->port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static void expect(int fd, const char *text, gsize len)
{
    guint8 got[64];

    g_assert_cmpint(recv(fd, got, len, MSG_WAITALL), ==, len);
    g_assert_cmpmem(got, len, text, len);
}

static void say(int fd, const char *text, gsize len)
{
    g_assert_cmpint(send(fd, text, len, MSG_NOSIGNAL), ==, len);
}

/* All that a server says to this password, by TLS.  Caller frees. */
static char *log_in(const Fixture *f, const char *password)
{
    int fd = come(f);
    gnutls_certificate_credentials_t none;
    gnutls_session_t tls;
    GByteArray *said = g_byte_array_new();
    guint8 data[512], lengths[8] = { 0, 0, 0, 1, 0, 0, 0, (guint8)strlen(password) };
    gssize n;

    expect(fd, "RFB 003.008\n", 12);
    say(fd, "RFB 003.008\n", 12);
    expect(fd, "\001\023", 2);
    say(fd, "\023", 1);
    expect(fd, "\000\002", 2);
    say(fd, "\000\002", 2);
    expect(fd, "\000\001\000\000\001\006", 6);
    say(fd, "\000\000\001\006", 4);
    expect(fd, "\001", 1);
    gnutls_certificate_allocate_credentials(&none);
    gnutls_init(&tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    gnutls_set_default_priority(tls);
    gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, none);
    gnutls_transport_set_int(tls, fd);
    g_assert_cmpint(gnutls_handshake(tls), ==, 0);
    g_assert_cmpint(gnutls_record_send(tls, lengths, sizeof lengths), ==, sizeof lengths);
    g_assert_cmpint(gnutls_record_send(tls, "a", 1), ==, 1);
    g_assert_cmpint(gnutls_record_send(tls, password, strlen(password)), ==, strlen(password));
    while ((n = gnutls_record_recv(tls, data, sizeof data)) > 0)
        g_byte_array_append(said, data, (guint)n);
    gnutls_deinit(tls);
    gnutls_certificate_free_credentials(none);
    close(fd);
    g_assert_cmpuint(said->len, >, 8);
    g_assert_cmpmem(said->data, 4, "\0\0\0\1", 4);
    g_byte_array_append(said, (const guint8 *)"", 1);
    char *text = g_strdup((char *)said->data + 8);
    g_byte_array_unref(said);
    return text;
}

/* Caller frees. */
static char *new_ticket(const Fixture *f)
{
    SessionRow row = { .id = (char *)"s",
                       .host_id = (char *)"h",
                       .incarnation = (char *)"i",
                       .uuid = (char *)"u",
                       .desktop_name = (char *)"d" };
    const RelayAsk ask = { .is_remote = TRUE };
    g_auto(RelayWay) way = { 0 };

    g_assert_true(relay_begin(f->world.relays, &row, &ask, &way, NULL));
    g_assert_cmpstr(way.host, ==, "127.0.0.1");
    g_assert_cmpuint(way.port, ==, f->port);
    return g_strdup(way.ticket);
}

/* With a ticket one hears that the host is not there; without one, nothing of that. */
static void test_ticket(Fixture *f, gconstpointer unused)
{
    g_autofree char *ticket = new_ticket(f);
    g_autofree char *wrong = log_in(f, "00000000000000000000000000000000");
    g_autofree char *right = log_in(f, ticket);
    g_autofree char *again = log_in(f, ticket);

    g_assert_nonnull(strstr(wrong, "not right"));
    g_assert_null(strstr(right, "not right"));
    g_assert_cmpstr(again, ==, wrong);
}

/* A new certificate is taken, one that is none is not. */
static void test_reload(Fixture *f, gconstpointer unused)
{
    g_autofree char *ticket = new_ticket(f);

    write_pair(f);
    g_assert_true(vnc_server_reload(f->server, NULL));
    g_assert_true(g_file_set_contents(f->cert, "none", -1, NULL));
    g_assert_false(vnc_server_reload(f->server, NULL));
    g_autofree char *right = log_in(f, ticket);
    g_assert_null(strstr(right, "not right"));
}

/* Those that say nothing have so many places and no more; a stop does not wait for them. */
static void test_silent(Fixture *f, gconstpointer unused)
{
    int fds[17];
    guint8 byte;

    for (guint i = 0; i < 16; i++) {
        fds[i] = come(f);
        expect(fds[i], "RFB 003.008\n", 12);
    }
    fds[16] = come(f);
    g_assert_cmpint(recv(fds[16], &byte, 1, 0), ==, 0);
    vnc_server_stop(g_steal_pointer(&f->server));
    for (guint i = 0; i < 16; i++)
        g_assert_cmpint(recv(fds[i], &byte, 1, 0), ==, 0);
    for (guint i = 0; i < 17; i++)
        close(fds[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add(name, Fixture, NULL, set_up, function, tear_down)
    ADD("/vnc-server/ticket", test_ticket);
    ADD("/vnc-server/reload", test_reload);
    ADD("/vnc-server/silent", test_silent);
    return g_test_run();
}
