/* domain_xml.h: a desktop as libvirt's XML: a pure function of what is written here.
 *
 * The chain is spelled out down to its base, so that QEMU follows no name that stands in a file; no
 * file is relabelled or given to another user by libvirt; a disk that cannot be written stops the
 * guest instead of damaging its file system.  What a user may do through his client is forbidden
 * here, because what a client is told is only advice. */
#pragma once

#include <glib.h>

#include "broker/run/hardware.h"

/* A disk: paths as the host sees them, the active layer first, then down to the base. */
typedef struct {
    const char *const *paths; /* ends with NULL; an empty list or NULL: there is no such disk */
    gboolean has_direct_io;   /* the file system can do without the host's page cache */
} DomainChain;

typedef enum { NIC_USER, NIC_BRIDGE, NIC_NETWORK } NicKind;

typedef struct {
    NicKind kind; /* QEMU's own network; a bridge of the host; a network of its libvirt */
    const char *mac;
    const char *source; /* the bridge's or the network's name */
} DomainNic;

typedef struct {
    const char *name, *uuid;
    const char *desktop_id, *incarnation; /* into the metadata: whose run it is */
    gint64 generation;

    const Hardware *hardware;
    gboolean is_kvm;
    const char *cpu_model; /* that all hosts of its group have, or NULL */
    const char *machine;   /* that its host group pins, or NULL */

    DomainChain disk, data;
    const char *config_path; /* of the config disk, or NULL */
    const char *nvram_path;  /* what UEFI keeps, or NULL: it keeps nothing */
    const char *driver_path; /* of the host's CD of drivers, or NULL */

    const DomainNic *nics;
    guint n_nics;

    gboolean has_spice; /* else VNC on a unix socket */
    const char *listen; /* address for SPICE */
    gboolean has_tls;   /* SPICE by TLS alone */
} DomainSpec;

/* Caller frees. */
char *domain_xml(const DomainSpec *spec);
