/* tls_fixture.h: a key and a certificate of its own for localhost, for the unit tests of TLS. */
#pragma once

#include <glib.h>
#include <gnutls/x509.h>
#include <time.h>

/* Caller deinits both. */
static inline void tls_fixture_make(gnutls_x509_crt_t *ret_crt, gnutls_x509_privkey_t *ret_key)
{
    gnutls_x509_privkey_init(ret_key);
    g_assert_cmpint(gnutls_x509_privkey_generate(*ret_key, GNUTLS_PK_ECDSA,
                                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                                 0),
                    ==, 0);
    gnutls_x509_crt_init(ret_crt);
    gnutls_x509_crt_set_version(*ret_crt, 3);
    gnutls_x509_crt_set_serial(*ret_crt, "\1", 1);
    gnutls_x509_crt_set_activation_time(*ret_crt, time(NULL) - 60);
    gnutls_x509_crt_set_expiration_time(*ret_crt, time(NULL) + 3600);
    gnutls_x509_crt_set_dn(*ret_crt, "CN=localhost", NULL);
    gnutls_x509_crt_set_key(*ret_crt, *ret_key);
    g_assert_cmpint(gnutls_x509_crt_sign2(*ret_crt, *ret_crt, *ret_key, GNUTLS_DIG_SHA256, 0), ==,
                    0);
}
