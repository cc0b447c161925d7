/* fuzz_rfb.c: libFuzzer target: what VNC clients say, before their log-in and after it.
 *
 * A log-in never takes more than it wants, and lets nobody in without a password; who only looks
 * makes no more of what he says. */
#include <stddef.h>
#include <stdint.h>

#include "broker/session/rfb_filter.h"
#include "broker/session/rfb_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void log_in(const uint8_t *data, size_t size)
{
    RfbLogin login = { 0 };
    g_autoptr(GByteArray) out = g_byte_array_new();

    for (size_t i = 0; i < size && login.step != RFB_LOGIN_DONE;) {
        if (login.step == RFB_LOGIN_TLS)
            rfb_login_tls_is_up(&login);
        gsize n = MIN(rfb_login_wants(&login), size - i);
        g_assert_cmpuint(n, >, 0);
        if (!rfb_login_feed(&login, data + i, n, out, NULL))
            break;
        i += n;
    }
    g_assert_cmpuint(out->len, <, 100);
    g_autofree char *password = rfb_login_password(&login);
    g_assert_true(login.step == RFB_LOGIN_DONE || !password);
}

static void look(const uint8_t *data, size_t size, gboolean may_control)
{
    RfbFilter filter = { .may_control = may_control, .step = RFB_FILTER_LOGGED_IN };
    g_autoptr(GByteArray) out = g_byte_array_new();

    rfb_filter_feed(&filter, data, size, out, NULL);
    g_assert_cmpuint(out->len, <=, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_in(data, size);
    look(data, size, TRUE);
    look(data, size, FALSE);
    return 0;
}
