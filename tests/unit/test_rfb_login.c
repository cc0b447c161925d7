/* test_rfb_login.c: who logs in to VNC with a ticket, and all that others say instead. */
#include "broker/session/rfb_login.h"

#include <string.h>

#include "imaged/base/error.h"

#define VERSION "RFB 003.008\n"
#define TO_TLS VERSION "\023\000\002\000\000\001\006"
#define N_TO_TLS (12 + 1 + 2 + 4)

/* As its caller does: never more than is wanted, in pieces. FALSE: it is refused. */
static gboolean feed(RfbLogin *login, const char *text, gsize len, gsize piece, GByteArray *out)
{
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; i < len;) {
        if (login->step == RFB_LOGIN_TLS)
            rfb_login_tls_is_up(login);
        gsize n = MIN(MIN(piece, len - i), rfb_login_wants(login));
        if (!n)
            return TRUE;
        if (!rfb_login_feed(login, (const guint8 *)text + i, n, out, &error)) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            return FALSE;
        }
        i += n;
    }
    return TRUE;
}

static void test_welcome(void)
{
    static const char said[] = TO_TLS "\0\0\0\004\0\0\0\006annasecret";
    static const char answers[] = VERSION "\001\023\000\002\000\001\000\000\001\006\001";

    for (gsize piece = 1; piece < sizeof said; piece++) {
        RfbLogin login = { 0 };
        g_autoptr(GByteArray) out = g_byte_array_new();
        rfb_login_begin(&login, out);
        g_assert_true(feed(&login, said, sizeof said - 1, piece, out));
        g_assert_cmpint(login.step, ==, RFB_LOGIN_DONE);
        g_assert_cmpmem(out->data, out->len, answers, sizeof answers - 1);
        g_autofree char *password = rfb_login_password(&login);
        g_assert_cmpstr(password, ==, "secret");
        g_assert_cmpuint(rfb_login_wants(&login), ==, 0);
        rfb_login_wipe(&login);
        g_assert_null(rfb_login_password(&login));
    }
}

/* No byte of TLS's is taken for ours, and none is wanted before TLS is up. */
static void test_tls_between(void)
{
    RfbLogin login = { 0 };
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    g_assert_true(feed(&login, TO_TLS, N_TO_TLS, N_TO_TLS, out));
    g_assert_cmpint(login.step, ==, RFB_LOGIN_TLS);
    g_assert_cmpuint(rfb_login_wants(&login), ==, 0);
    g_assert_null(rfb_login_password(&login));
    g_assert_false(rfb_login_feed(&login, (const guint8 *)"\026", 1, out, &error));
    g_assert_cmpint(login.step, ==, RFB_LOGIN_TLS);
    rfb_login_tls_is_up(&login);
    g_assert_cmpuint(rfb_login_wants(&login), ==, 8);
    rfb_login_tls_is_up(&login);
    g_assert_cmpint(login.step, ==, RFB_LOGIN_LENGTHS);
}

/* TLS "being up" too early opens nothing. */
static void test_tls_too_early(void)
{
    RfbLogin login = { 0 };

    rfb_login_tls_is_up(&login);
    g_assert_cmpint(login.step, ==, RFB_LOGIN_VERSION);
}

static void test_refused(void)
{
#define BAD(text, ends)                                                                            \
    {                                                                                              \
        text, sizeof text - 1, ends, sizeof ends - 1                                               \
    }
    static const struct {
        const char *said;
        gsize n_said;
        const char *ends; /* the answer does */
        gsize n_ends;
    } bad[] = {
        BAD("GET / HTTP/1", "\000\000\000\000\015RFB 3.8 alone"),
        BAD("RFB 003.003\n", "RFB 3.8 alone"),
        BAD("RFB 003.007\n", "RFB 3.8 alone"),
        BAD("RFB 003.889\n", "RFB 3.8 alone"),
        BAD("\026\003\001\002\000\001\000\001\374\003\003\000", "RFB 3.8 alone"), /* TLS at once */
        BAD(VERSION "\001", "VeNCrypt alone"),                                    /* no security */
        BAD(VERSION "\002", "VeNCrypt alone"), /* VNC's own password */
        BAD(VERSION "\000", "VeNCrypt alone"),
        BAD(VERSION "\023\000\001", "\377"),
        BAD(VERSION "\023\000\000", "\377"),
        BAD(VERSION "\023\377\002", "\377"),
        BAD(VERSION "\023\000\002\000\000\001\000", "\001\006\000"), /* Plain without TLS */
        BAD(VERSION "\023\000\002\000\000\001\001", "\001\006\000"), /* anonymous TLS */
        BAD(VERSION "\023\000\002\000\000\001\004", "\001\006\000"), /* no password */
        BAD(VERSION "\023\000\002\377\377\377\377", "\001\006\000"),
        BAD(TO_TLS "\377\377\377\377\000\000\000\001", "not right"),
        BAD(TO_TLS "\000\000\000\001\377\377\377\377", "not right"),
        BAD(TO_TLS "\000\000\001\001\000\000\000\001", "not right"),
        BAD(TO_TLS "\000\000\000\001\000\000\001\001", "not right"),
        BAD(TO_TLS "\000\000\000\004\000\000\000\000", "not right"), /* an empty one */
        BAD(TO_TLS "\200\000\000\000\200\000\000\001", "not right"), /* their sum is 1 */
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (gsize piece = 1; piece <= bad[i].n_said; piece++) {
            RfbLogin login = { 0 };
            g_autoptr(GByteArray) out = g_byte_array_new();
            g_test_message("case %u, pieces of %zu", i, piece);
            g_assert_false(feed(&login, bad[i].said, bad[i].n_said, piece, out));
            g_assert_cmpuint(out->len, >=, bad[i].n_ends);
            g_assert_cmpmem(out->data + out->len - bad[i].n_ends, bad[i].n_ends, bad[i].ends,
                            bad[i].n_ends);
        }
    }
}

/* The longest fits; a zero byte makes no shorter password of it. */
static void test_texts(void)
{
    static const guint8 lengths[] = { 0, 0, 1, 0, 0, 0, 1, 0 };
    RfbLogin login = { 0 };
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GByteArray) said = g_byte_array_new();
    guint8 texts[2 * RFB_LOGIN_MAX_TEXT];

    memset(texts, 'x', sizeof texts);
    g_byte_array_append(said, (const guint8 *)TO_TLS, N_TO_TLS);
    g_byte_array_append(said, lengths, sizeof lengths);
    g_byte_array_append(said, texts, sizeof texts);
    g_assert_true(feed(&login, (const char *)said->data, said->len, 100, out));
    g_autofree char *password = rfb_login_password(&login);
    g_assert_nonnull(password);
    g_assert_cmpuint(strlen(password), ==, RFB_LOGIN_MAX_TEXT);
    login.data[sizeof login.data - 1] = 0;
    g_assert_null(rfb_login_password(&login));
}

/* Bytes by chance: refused, or still wanting, and never let in. */
static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (guint i = 0; i < 20000; i++) {
        RfbLogin login = { 0 };
        g_autoptr(GByteArray) out = g_byte_array_new();
        char said[64];
        guint n_right = (guint)g_rand_int_range(rand, 0, N_TO_TLS);
        memcpy(said, TO_TLS, n_right);
        for (guint k = n_right; k < sizeof said; k++)
            said[k] = (char)g_rand_int_range(rand, 0, 256);
        gsize piece = (gsize)g_rand_int_range(rand, 1, 40);
        gboolean ok = feed(&login, said, sizeof said, piece, out);
        g_assert_cmpint(!ok || login.step != RFB_LOGIN_DONE, ==, TRUE);
        g_assert_cmpuint(rfb_login_wants(&login), <=, sizeof login.data);
        g_assert_cmpuint(out->len, <=, 64);
    }
}

static void test_result(void)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    rfb_login_result(out, NULL);
    g_assert_cmpmem(out->data, out->len, "\0\0\0\0", 4);
    rfb_login_result(out, "no");
    g_assert_cmpmem(out->data + 4, out->len - 4, "\0\0\0\001\0\0\0\002no", 10);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rfb-login/welcome", test_welcome);
    g_test_add_func("/rfb-login/tls-between", test_tls_between);
    g_test_add_func("/rfb-login/tls-too-early", test_tls_too_early);
    g_test_add_func("/rfb-login/refused", test_refused);
    g_test_add_func("/rfb-login/texts", test_texts);
    g_test_add_func("/rfb-login/noise", test_noise);
    g_test_add_func("/rfb-login/result", test_result);
    return g_test_run();
}
