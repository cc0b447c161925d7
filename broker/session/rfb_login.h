/* rfb_login.h: the server's side of a log-in to VNC: RFB 3.8, VeNCrypt 0.2, X509Plain alone.
 *
 * Takes what the client says, and answers; TLS is its caller's, who reads no byte more than is
 * wanted: what comes behind is TLS's.  Names and passwords are short; whatever else a client says
 * is an error.  Pure; one thread at a time.
 *
 * Source: RFC 6143; VeNCrypt in the RFB community's rfbproto.rst. */
#pragma once

#include <glib.h>

#define RFB_LOGIN_MAX_TEXT 256 /* bytes */
#define RFB_LOGIN_N_VERSION 12 /* bytes of a greeting, of either side */

typedef enum {
    RFB_LOGIN_VERSION,
    RFB_LOGIN_SECURITY,
    RFB_LOGIN_VENCRYPT_VERSION,
    RFB_LOGIN_SUBTYPE,
    RFB_LOGIN_TLS, /* the caller's turn */
    RFB_LOGIN_LENGTHS,
    RFB_LOGIN_TEXTS,
    RFB_LOGIN_DONE,
} RfbLoginStep;

typedef struct {
    RfbLoginStep step;
    guint8 data[2 * RFB_LOGIN_MAX_TEXT]; /* of this step */
    guint n_data, n_name, n_password;
} RfbLogin;

/* Of a login that is all zero: the greeting. */
void rfb_login_begin(RfbLogin *login, GByteArray *out);

/* Bytes that it takes now; 0: it is TLS's turn, or done. */
guint rfb_login_wants(const RfbLogin *login);

/* len: no more than it wants.  Appends the answer to out, also if that is a refusal: INVALID. */
gboolean rfb_login_feed(RfbLogin *login, const guint8 *data, gsize len, GByteArray *out,
                        GError **error);

void rfb_login_tls_is_up(RfbLogin *login);

/* When it is done.  Caller wipes and frees; NULL if there is a zero byte in it. */
char *rfb_login_password(const RfbLogin *login);

/* The last word: welcome, or why not. */
void rfb_login_result(GByteArray *out, const char *why_not);

/* To a client that is not to log in at all, when it has said its version. */
void rfb_login_refusal(GByteArray *out, const char *why);

void rfb_login_wipe(RfbLogin *login);
