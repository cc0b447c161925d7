/* rfb_login.c: see rfb_login.h.  Each step wants a number of bytes, and has one function that
 * judges them when they are there. */
#include "broker/session/rfb_login.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"

#define VERSION "RFB 003.008\n"
#define VENCRYPT 19
#define X509_PLAIN 262

static gboolean refuse(GError **error, const char *what)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "a VNC client says %s", what);
    return FALSE;
}

static guint32 big32(const guint8 *p)
{
    return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

static void put32(GByteArray *out, guint32 n)
{
    const guint8 bytes[] = { (guint8)(n >> 24), (guint8)(n >> 16), (guint8)(n >> 8), (guint8)n };

    g_byte_array_append(out, bytes, sizeof bytes);
}

static void put_bytes(GByteArray *out, const char *bytes, guint n)
{
    g_byte_array_append(out, (const guint8 *)bytes, n);
}

void rfb_login_begin(RfbLogin *login, GByteArray *out)
{
    put_bytes(out, VERSION, RFB_LOGIN_N_VERSION);
}

void rfb_login_result(GByteArray *out, const char *why_not)
{
    put32(out, why_not != NULL);
    if (!why_not)
        return;
    put32(out, (guint32)strlen(why_not));
    put_bytes(out, why_not, (guint)strlen(why_not));
}

void rfb_login_refusal(GByteArray *out, const char *why)
{
    put_bytes(out, "\0", 1); /* no kind of security */
    put32(out, (guint32)strlen(why));
    put_bytes(out, why, (guint)strlen(why));
}

/* ---- Steps ---- */

static gboolean take_version(RfbLogin *l, GByteArray *out, GError **error)
{
    if (memcmp(l->data, VERSION, RFB_LOGIN_N_VERSION) != 0) {
        rfb_login_refusal(out, "RFB 3.8 alone");
        return refuse(error, "what is no RFB 3.8");
    }
    put_bytes(out, "\001\023", 2); /* one kind: VeNCrypt */
    return TRUE;
}

static gboolean take_security(RfbLogin *l, GByteArray *out, GError **error)
{
    if (l->data[0] != VENCRYPT) {
        rfb_login_result(out, "VeNCrypt alone");
        return refuse(error, "that it wants another kind of security");
    }
    put_bytes(out, "\0\002", 2); /* 0.2 */
    return TRUE;
}

static gboolean take_vencrypt_version(RfbLogin *l, GByteArray *out, GError **error)
{
    if (l->data[0] != 0 || l->data[1] != 2) {
        put_bytes(out, "\377", 1);
        return refuse(error, "that it wants another version of VeNCrypt");
    }
    put_bytes(out, "\0\001", 2); /* fine; one kind */
    put32(out, X509_PLAIN);
    return TRUE;
}

static gboolean take_subtype(RfbLogin *l, GByteArray *out, GError **error)
{
    gboolean ok = big32(l->data) == X509_PLAIN;

    put_bytes(out, ok ? "\001" : "\0", 1);
    return ok || refuse(error, "that it wants another kind of TLS");
}

static gboolean take_lengths(RfbLogin *l, GByteArray *out, GError **error)
{
    guint32 n_name = big32(l->data), n_password = big32(l->data + 4);

    if (n_name > RFB_LOGIN_MAX_TEXT || !n_password || n_password > RFB_LOGIN_MAX_TEXT) {
        rfb_login_result(out, "the log-in is not right");
        return refuse(error, "a name or password that is too long, or none");
    }
    l->n_name = n_name;
    l->n_password = n_password;
    return TRUE;
}

static gboolean take_texts(RfbLogin *l, GByteArray *out, GError **error)
{
    return TRUE;
}

static const struct {
    guint size; /* 0: it says how much */
    gboolean (*take)(RfbLogin *login, GByteArray *out, GError **error);
} steps[] = {
    [RFB_LOGIN_VERSION] = { RFB_LOGIN_N_VERSION, take_version },
    [RFB_LOGIN_SECURITY] = { 1, take_security },
    [RFB_LOGIN_VENCRYPT_VERSION] = { 2, take_vencrypt_version },
    [RFB_LOGIN_SUBTYPE] = { 4, take_subtype },
    [RFB_LOGIN_TLS] = { 0, NULL },
    [RFB_LOGIN_LENGTHS] = { 8, take_lengths },
    [RFB_LOGIN_TEXTS] = { 0, take_texts },
    [RFB_LOGIN_DONE] = { 0, NULL },
};

guint rfb_login_wants(const RfbLogin *l)
{
    guint size = l->step == RFB_LOGIN_TEXTS ? l->n_name + l->n_password : steps[l->step].size;

    return size ? size - l->n_data : 0;
}

gboolean rfb_login_feed(RfbLogin *l, const guint8 *data, gsize len, GByteArray *out, GError **error)
{
    guint wants = rfb_login_wants(l);

    if (len > wants)
        return refuse(error, "more than it was asked for");
    memcpy(l->data + l->n_data, data, len);
    l->n_data += (guint)len;
    if (len < wants)
        return TRUE;
    if (!steps[l->step].take || !steps[l->step].take(l, out, error))
        return !steps[l->step].take;
    if (l->step != RFB_LOGIN_TEXTS) /* these stay, to be asked for */
        l->n_data = 0;
    l->step++;
    return TRUE;
}

void rfb_login_tls_is_up(RfbLogin *l)
{
    if (l->step == RFB_LOGIN_TLS)
        l->step = RFB_LOGIN_LENGTHS;
}

char *rfb_login_password(const RfbLogin *l)
{
    const guint8 *password = l->data + l->n_name;

    if (l->step != RFB_LOGIN_DONE || memchr(password, 0, l->n_password))
        return NULL;
    return g_strndup((const char *)password, l->n_password);
}

void rfb_login_wipe(RfbLogin *l)
{
    sodium_memzero(l, sizeof *l);
}
