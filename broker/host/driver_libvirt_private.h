/* driver_libvirt_private.h: what the files of libvirt's driver share.  For those alone. */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

#include "broker/host/driver.h"

/* What open() gives. */
typedef struct {
    virConnectPtr conn;
    HostListener listener;
    int lifecycle;     /* the callback's id, or -1 */
    int graphics;      /* the same */
    GHashTable *marks; /* "UUID/ID" of a domain -> Mark: read once for each run */
} LibvirtLink;

/* NOT_FOUND, UNAVAILABLE.  Free with virDomainFree(). */
virDomainPtr driver_libvirt_lookup(gpointer link, const char *uuid, GError **error);

/* What libvirt said last on this thread, in one line.  FALSE. */
gboolean driver_libvirt_error(GError **error, const char *what);

/* driver_libvirt_domains.c: what domains there are.  marks: a new table for a link. */
GHashTable *libvirt_marks_new(void);
GPtrArray *libvirt_domains(gpointer link, GError **error);
HostDomain *libvirt_find(gpointer link, const char *uuid, GError **error);

/* driver_libvirt_acts.c: what is done to one of them; as the members of HostDriver. */
gboolean libvirt_create(gpointer link, const char *xml, GError **error);
gboolean libvirt_make_network(gpointer link, const char *xml, GError **error);
gboolean libvirt_destroy(gpointer link, const char *uuid, GError **error);
gboolean libvirt_shut_down(gpointer link, const char *uuid, GError **error);
gboolean libvirt_reboot(gpointer link, const char *uuid, GError **error);
gboolean libvirt_pause(gpointer link, const char *uuid, GError **error);
gboolean libvirt_resume(gpointer link, const char *uuid, GError **error);
gboolean libvirt_set_ticket(gpointer link, const char *uuid, const HostTicket *ticket,
                            HostDisplay *ret, GError **error);
GPtrArray *libvirt_clients(gpointer link, const char *uuid, GError **error);
int libvirt_open_vnc(gpointer link, const char *uuid, GError **error);
char *libvirt_vnc_socket(gpointer link, const char *uuid, GError **error);
int libvirt_open_console(gpointer link, const char *uuid, gboolean is_forced, GError **error);
char *libvirt_agent(gpointer link, const char *uuid, const char *command, guint timeout_s,
                    GError **error);
gboolean libvirt_is_full(gpointer link, const char *uuid, gboolean *ret, GError **error);
gboolean libvirt_save(gpointer link, const char *uuid, const char *path, GError **error);
gboolean libvirt_is_at_work(gpointer link, const char *uuid);
gboolean libvirt_is_memory_of(gpointer link, const char *path, const char *incarnation,
                              gboolean *ret, GError **error);
gboolean libvirt_restore(gpointer link, const char *path, const char *saved_incarnation,
                         const char *incarnation, GError **error);
GByteArray *libvirt_screenshot(gpointer link, const char *uuid, char **ret_type, GError **error);

extern const HostLive driver_libvirt_live;
