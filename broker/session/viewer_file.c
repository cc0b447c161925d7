/* viewer_file.c: see viewer_file.h. */
#include "broker/session/viewer_file.h"

#include <string.h>

#define GROUP "virt-viewer"

/* GKeyFile writes a line's end as \n, and remote-viewer reads with GKeyFile, too.  What is no UTF-8
 * it would refuse to read at all. */
static void set(GKeyFile *file, const char *key, const char *value)
{
    g_autofree char *text = value ? g_utf8_make_valid(value, -1) : NULL;

    if (text)
        g_key_file_set_string(file, GROUP, key, text);
}

char *viewer_file_vv(const ViewerSpice *s)
{
    g_autoptr(GKeyFile) file = g_key_file_new();

    set(file, "type", s->protocol);
    set(file, "host", s->host);
    if (s->tls_port)
        g_key_file_set_integer(file, GROUP, "tls-port", (gint)s->tls_port);
    else
        g_key_file_set_integer(file, GROUP, "port", (gint)s->port);
    set(file, "username", s->user);
    set(file, "password", s->password);
    g_key_file_set_integer(file, GROUP, "delete-this-file", 1); /* the password stands in it */
    set(file, "title", s->title);
    if (s->tls_port) {
        set(file, "ca", s->ca);
        set(file, "host-subject", s->host_subject);
    }
    set(file, "proxy", s->proxy);
    g_key_file_set_integer(file, GROUP, "fullscreen", 0);
    set(file, "toggle-fullscreen", "shift+f11");
    set(file, "release-cursor", "shift+f12");
    set(file, "secure-attention", "ctrl+alt+end");
    if (g_strcmp0(s->protocol, "spice") == 0) {
        g_key_file_set_integer(file, GROUP, "enable-smartcard", 0);
        g_key_file_set_integer(file, GROUP, "enable-usb-autoshare", s->has_usb);
        set(file, "usb-filter", s->has_usb ? s->usb_filter : NULL);
    }
    return g_key_file_to_data(file, NULL, NULL);
}

/* One line.  There is no way to write a line's end within a value. */
static void add(GString *out, const char *key, char type, const char *value)
{
    g_autofree char *text = g_utf8_make_valid(value, -1);

    for (char *c = text; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    }
    g_string_append_printf(out, "%s:%c:%s\r\n", key, type, text);
}

static void add_number(GString *out, const char *key, gint n)
{
    g_string_append_printf(out, "%s:i:%d\r\n", key, n);
}

char *viewer_file_rdp(const ViewerRdp *r)
{
    GString *out = g_string_new(NULL);
    gboolean is_v6 = strchr(r->host, ':') != NULL;
    g_autofree char *address =
        g_strdup_printf(is_v6 ? "[%s]:%u" : "%s:%u", r->host, r->port ? r->port : 3389);

    add(out, "full address", 's', address);
    if (r->user)
        add(out, "username", 's', r->user);
    add_number(out, "prompt for credentials", 1);
    add_number(out, "authentication level", 2); /* warn if the desktop cannot prove who it is */
    add_number(out, "enablecredsspsupport", 1);
    add_number(out, "screen mode id", 2);
    add_number(out, "use multimon", 1);
    add_number(out, "redirectclipboard", r->has_clipboard);
    add_number(out, "audiomode", r->has_audio ? 0 : 2);
    add_number(out, "audiocapturemode", r->has_audio);
    add(out, "drivestoredirect", 's', r->has_drives ? "*" : "");
    add_number(out, "autoreconnection enabled", 1);
    add(out, "alternate full address", 's', address);
    return g_string_free(out, FALSE);
}
