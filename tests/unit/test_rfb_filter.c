/* test_rfb_filter.c: who only looks says nothing that would change what is looked at. */
#include "broker/session/rfb_filter.h"

#include <string.h>

#include "imaged/base/error.h"

#define HELLO "RFB 003.008\n\001\001"

/* All of text in pieces of this size.  NULL: refused.  Caller frees. */
static GByteArray *feed(gboolean may_control, const char *text, gsize len, gsize piece)
{
    RfbFilter filter = { .may_control = may_control };
    GByteArray *out = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; i < len; i += piece) {
        if (!rfb_filter_feed(&filter, (const guint8 *)text + i, MIN(piece, len - i), out, &error)) {
            g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID);
            g_byte_array_unref(out);
            return NULL;
        }
    }
    return out;
}

static void check(gboolean may_control, const char *text, gsize len, const char *expected,
                  gsize n_expected)
{
    for (gsize piece = 1; piece <= len; piece++) {
        g_autoptr(GByteArray) out = feed(may_control, text, len, piece);
        g_assert_nonnull(out);
        g_assert_cmpmem(out->data, out->len, expected, n_expected);
    }
}

#define CHECK(may, text, expected)                                                                 \
    check(may, HELLO text, sizeof(HELLO text) - 1, HELLO expected, sizeof(HELLO expected) - 1)

#define FORMAT "\0\0\0\0\040\030\0\001\0\377\0\377\0\377\020\010\0\0\0\0"
#define ENCODINGS "\002\0\0\002\0\0\0\0\377\377\377\021"
#define UPDATE "\003\001\0\0\0\0\002\320\001\220"
#define KEY_A "\004\001\0\0\0\0\0a"
#define CLICK "\005\001\0\020\0\020"
#define PASTE "\006\0\0\0\0\0\0\003abc"
#define PASTE_MORE "\006\0\0\0\377\377\377\374abcd"
#define SIZE "\373\0\004\0\003\0\001\0\0\0\0\0\0\0\0\0\004\0\003\0\0\0\0\0"
#define KEY_EXT "\377\0\0\001\0\0\0a\0\0\0\036"
#define AUDIO "\377\001\0\002\003\002\0\0\254\104"

static void test_look(void)
{
    CHECK(FALSE, FORMAT ENCODINGS UPDATE, FORMAT ENCODINGS UPDATE);
    CHECK(FALSE, KEY_A UPDATE CLICK UPDATE, UPDATE UPDATE);
    CHECK(FALSE, PASTE PASTE_MORE UPDATE, UPDATE);
    CHECK(FALSE, SIZE KEY_EXT AUDIO UPDATE, UPDATE);
    CHECK(FALSE, PASTE KEY_A, "");
}

static void test_control(void)
{
    CHECK(TRUE, FORMAT KEY_A CLICK PASTE PASTE_MORE SIZE KEY_EXT AUDIO UPDATE,
          FORMAT KEY_A CLICK PASTE PASTE_MORE SIZE KEY_EXT AUDIO UPDATE);
}

/* By a log-in that was ours: what follows it is filtered just the same. */
static void test_logged_in(void)
{
    static const char said[] = "\0" KEY_A CLICK PASTE UPDATE, passed[] = "\001" UPDATE;

    RfbFilter filter = { .step = RFB_FILTER_LOGGED_IN };
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_assert_true(rfb_filter_feed(&filter, (const guint8 *)said, sizeof said - 1, out, NULL));
    g_assert_cmpmem(out->data, out->len, passed, sizeof passed - 1);
}

/* Others are not to be thrown out. */
static void test_shared(void)
{
    check(FALSE, "RFB 003.008\n\001\0", 14, HELLO, sizeof HELLO - 1);
}

static void test_refused(void)
{
    static const struct {
        const char *text;
        gsize len;
    } bad[] = {
        { "GET / HTTP/1.1\r\n", 16 },
        { "RFB 003.003\n", 12 },
        { "RFB 003.008\n\002", 13 },                              /* a password */
        { HELLO "\001", sizeof HELLO },                           /* no such message */
        { HELLO "\372\0\001\002", sizeof HELLO + 3 },             /* reboot, says xvp */
        { HELLO "\377\007\0\0", sizeof HELLO + 3 },               /* none of QEMU's */
        { HELLO "\006\0\0\0\177\377\377\377", sizeof HELLO + 7 }, /* 2 GiB */
        { HELLO "\006\0\0\0\200\0\0\0", sizeof HELLO + 7 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) out = feed(TRUE, bad[i].text, bad[i].len, 1);
        g_assert_null(out);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rfb-filter/look", test_look);
    g_test_add_func("/rfb-filter/control", test_control);
    g_test_add_func("/rfb-filter/logged-in", test_logged_in);
    g_test_add_func("/rfb-filter/shared", test_shared);
    g_test_add_func("/rfb-filter/refused", test_refused);
    return g_test_run();
}
