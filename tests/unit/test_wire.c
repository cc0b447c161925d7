/* test_wire.c: connections with and without TLS, and peers that say half of something, or nothing.
 */
#include "broker/session/wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "tests/unit/tls_fixture.h"

#define SOON_US (50 * 1000)
#define LONG_US (60 * G_USEC_PER_SEC)

static gint64 in(gint64 us)
{
    return g_get_monotonic_time() + us;
}

static void pair(Wire *ret, int *ret_peer)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    *ret = (Wire){ .fd = fds[0] };
    *ret_peer = fds[1];
}

static void test_bare(void)
{
    g_auto(Wire) wire = { .fd = -1 };
    int peer;
    guint8 data[8];

    pair(&wire, &peer);
    g_assert_cmpint(wire_recv(&wire, data, sizeof data), ==, 0);
    g_assert_cmpint(write(peer, "abc", 3), ==, 3);
    g_assert_true(wire_read(&wire, data, 2, in(LONG_US)));
    g_assert_cmpmem(data, 2, "ab", 2);
    g_assert_false(wire_read(&wire, data, 2, in(SOON_US))); /* one byte is there */
    g_assert_true(wire_send(&wire, (const guint8 *)"xyz", 3, in(LONG_US)));
    g_assert_cmpint(read(peer, data, sizeof data), ==, 3);
    close(peer);
    g_assert_cmpint(wire_recv(&wire, data, sizeof data), ==, -1);
    g_assert_false(wire_read(&wire, data, 1, in(LONG_US)));
}

/* Who reads nothing holds nobody up. */
static void test_full(void)
{
    g_auto(Wire) wire = { .fd = -1 };
    g_autofree guint8 *much = g_malloc0(16 << 20);
    int peer;

    pair(&wire, &peer);
    g_assert_false(wire_send(&wire, much, 16 << 20, in(SOON_US)));
    close(peer);
    g_assert_false(wire_send(&wire, much, 1, in(LONG_US)));
}

static void test_shut(void)
{
    g_auto(Wire) wire = { .fd = -1 };
    int peer;
    guint8 byte;

    pair(&wire, &peer);
    wire_shut(&wire);
    g_assert_cmpint(read(peer, &byte, 1), ==, 0);
    g_assert_cmpint(wire_recv(&wire, &byte, 1), ==, -1);
    close(peer);
}

/* ---- TLS ---- */

static gnutls_certificate_credentials_t make_credentials(void)
{
    gnutls_certificate_credentials_t out;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;

    tls_fixture_make(&crt, &key);
    gnutls_certificate_allocate_credentials(&out);
    g_assert_cmpint(gnutls_certificate_set_x509_key(out, &crt, 1, key), ==, 0);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
    return out;
}

/* A client that says this many bytes behind its log-in, and reads as many. */
#define N_SAID 100000

static gpointer run_client(gpointer data)
{
    int fd = GPOINTER_TO_INT(data);
    gnutls_certificate_credentials_t none;
    gnutls_session_t tls;
    g_autofree guint8 *said = g_malloc(N_SAID);
    gssize n = 0, done;

    gnutls_certificate_allocate_credentials(&none);
    gnutls_init(&tls, GNUTLS_CLIENT);
    gnutls_set_default_priority(tls);
    gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, none);
    gnutls_transport_set_int(tls, fd);
    g_assert_cmpint(gnutls_handshake(tls), ==, 0);
    memset(said, 'x', N_SAID);
    for (done = 0; done < N_SAID; done += n) {
        n = gnutls_record_send(tls, said + done, (gsize)(N_SAID - done));
        g_assert_cmpint(n, >, 0);
    }
    for (done = 0; done < N_SAID; done += n) {
        while ((n = gnutls_record_recv(tls, said, N_SAID)) == GNUTLS_E_AGAIN)
            ;
        g_assert_cmpint(n, >, 0);
    }
    gnutls_bye(tls, GNUTLS_SHUT_WR);
    gnutls_deinit(tls);
    gnutls_certificate_free_credentials(none);
    close(fd);
    return NULL;
}

static void test_tls(void)
{
    gnutls_certificate_credentials_t credentials = make_credentials();
    g_auto(Wire) wire = { .fd = -1 };
    g_autofree guint8 *data = g_malloc0(N_SAID);
    int peer;

    pair(&wire, &peer);
    GThread *client = g_thread_new("client", run_client, GINT_TO_POINTER(peer));
    g_assert_true(wire_start_tls(&wire, credentials, in(LONG_US), NULL));
    g_assert_true(wire_read(&wire, data, 10, in(LONG_US)));
    g_assert_true(wire_has_more(&wire)); /* of the same record: poll() would not tell */
    g_assert_true(wire_read(&wire, data + 10, N_SAID - 10, in(LONG_US)));
    for (guint i = 0; i < N_SAID; i++)
        g_assert_cmpint(data[i], ==, 'x');
    g_assert_true(wire_send(&wire, data, N_SAID, in(LONG_US)));
    g_thread_join(client);
    g_assert_false(wire_read(&wire, data, 1, in(LONG_US)));
    gnutls_certificate_free_credentials(credentials);
}

/* Half a greeting, something else, nothing at all. */
static void test_no_tls(void)
{
    static const struct {
        const char *said;
        gsize n;
    } bad[] = { { "", 0 }, { "\026\003\001\002\000\001", 6 }, { "GET / HTTP/1.1\r\n\r\n", 18 } };
    gnutls_certificate_credentials_t credentials = make_credentials();

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(Wire) wire = { .fd = -1 };
        g_autoptr(GError) error = NULL;
        int peer;
        pair(&wire, &peer);
        g_assert_cmpint(write(peer, bad[i].said, bad[i].n), ==, bad[i].n);
        g_assert_false(wire_start_tls(&wire, credentials, in(SOON_US), &error));
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE);
        close(peer);
    }
    gnutls_certificate_free_credentials(credentials);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/bare", test_bare);
    g_test_add_func("/wire/full", test_full);
    g_test_add_func("/wire/shut", test_shut);
    g_test_add_func("/wire/tls", test_tls);
    g_test_add_func("/wire/no-tls", test_no_tls);
    return g_test_run();
}
