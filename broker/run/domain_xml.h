/* domain_xml.h: a desktop as libvirt's XML: a pure function of what is written here.
 *
 * The chain is spelled out down to its base, so that QEMU follows no name that stands in a file; no
 * file is relabelled or given to another user by libvirt; a disk that cannot be written stops the
 * guest instead of damaging its file system. */
#pragma once

#include <glib.h>

#define DOMAIN_MAX_HEADS 4

/* A disk: paths as the host sees them, the active layer first, then down to the base. */
typedef struct {
    const char *const *paths; /* ends with NULL; an empty list or NULL: there is no such disk */
} DomainChain;

typedef struct {
    const char *name, *uuid;
    const char *desktop_id, *incarnation; /* into the metadata: whose run it is */
    gint64 generation;

    gboolean is_kvm;
    guint n_cpus;
    guint64 memory_bytes;
    const char *os_type;  /* linux or windows; NULL: not known, which is treated as linux */
    const char *firmware; /* bios or uefi */

    DomainChain disk, data;
    const char *config_path; /* of the config disk, or NULL */

    const char *mac;
    const char *network; /* a bridge of the host; NULL: QEMU's own network, without rights */

    gboolean has_spice; /* else VNC on a unix socket */
    const char *listen; /* address for SPICE */
    gboolean has_tls;   /* SPICE by TLS alone */
    guint n_heads;      /* 1 to DOMAIN_MAX_HEADS */
} DomainSpec;

/* Caller frees. */
char *domain_xml(const DomainSpec *spec);
