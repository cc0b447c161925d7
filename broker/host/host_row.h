/* host_row.h: a host as the catalog has it, and what follows from that alone.
 *
 * Any thread. */
#pragma once

#include "imaged/job/world.h"

typedef struct {
    char *id, *name, *uri;
    char *display_address; /* where clients of its desktops connect to, or NULL: its address */
    char *proxy;           /* "http://host:port" that clients go through, or NULL */
    char *accelerator;     /* auto | kvm | tcg */
    char *found_accelerator; /* kvm | tcg, once it was tried; else NULL */
    char *store_paths;     /* JSON: id of a store -> the path at which this host sees it */
    char *listen;          /* its own address for displays, or NULL: host_listen() */
    char *tls_subject, *tls_ca; /* clients come by TLS alone: the certificate's subject, and who
                                   signed it (PEM); NULL: they don't */
    char *driver_iso;      /* path there of a CD with drivers, or NULL */
    char *group_id, *group_name; /* or NULL */
    char *cpu_model, *machine, *group_paths; /* of its group, or NULL; as store_paths */
    gboolean is_maintenance;
    gint64 created_at;
} HostRow;
void host_row_clear(HostRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HostRow, host_row_clear)

/* NOT_FOUND; name may be an id. */
gboolean host_lookup(Db *db, const char *name, HostRow *ret, GError **error);

/* Is this an address of a libvirt that is supported: qemu or test, by unix socket, ssh, tls or tcp?
 * INVALID. */
gboolean host_check_uri(const char *uri, GError **error);

/* Do its desktops use KVM?  FALSE if that was not tried yet. */
gboolean host_is_kvm(const HostRow *host);

/* Where its displays listen: never further than clients come from.  Static, or the row's. */
const char *host_listen(const HostRow *host);

/* The path at which the host sees what lies in this store, or NULL: it does not.  Caller frees. */
char *host_store_path(const HostRow *host, const Store *store);
