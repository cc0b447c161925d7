/* export_address.h: where an export listens: "ADDR:PORT", a unix socket, and its URI.
 *
 * The daemon makes the listening socket itself and hands it to the server, so an address that is
 * taken or not ours is found before anything is started.  Any thread. */
#pragma once

#include <glib.h>

typedef struct {
    char *host;   /* a numeric address, without brackets */
    guint16 port; /* 0: any */
    gboolean is_v6;
} ExportAddress;

/* "192.0.2.7:10809", "[2001:db8::7]:10809"; "localhost" stands for 127.0.0.1.  INVALID. */
gboolean export_address_parse(const char *text, ExportAddress *ret_address, GError **error);
void export_address_clear(ExportAddress *address);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ExportAddress, export_address_clear)

/* "ADDR:PORT" again.  Caller frees. */
char *export_address_text(const ExportAddress *address);

/* Listen there; address->port becomes the real one.  Returns the descriptor (caller closes) or -1:
 * BUSY if it is taken, INVALID if it is not an address of this machine. */
int export_listen_tcp(ExportAddress *address, GError **error);

/* Listen on a unix socket (replaced), of mode 0660 and this group (may be NULL).  INVALID if the
 * path is too long. */
int export_listen_unix(const char *path, const char *group, GError **error);

/* The URI as libnbd, QEMU and imagectl understand it.  Of the two, path is for a unix socket and
 * address for TLS; user (of a pre-shared key) may be NULL.  Caller frees. */
char *export_uri(const char *name, const char *path, const ExportAddress *address,
                 const char *user);

/* The only user of a file of pre-shared keys ("user:hexadecimal key" lines), NULL if there are
 * several.  INVALID if it is no such file.  Caller frees. */
gboolean export_psk_check(const char *text, char **ret_user, GError **error);
