/* run_domain.h: what a desktop is on one host: its hardware, its chain, its networks, as a domain.
 *
 * Read from the catalog as it is now.  Any thread. */
#pragma once

#include "broker/host/hosts.h"
#include "broker/run/hardware.h"
#include "imaged/catalog/lookup.h"

typedef struct {
    char *xml;
    GPtrArray *networks; /* of char *: XML of libvirt networks that must be on first */
} RunDomain;
void run_domain_clear(RunDomain *domain);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunDomain, run_domain_clear)

/* The domain of this run.  NOT_FOUND, UNAVAILABLE (the host does not see its store, or has not its
 * network). */
gboolean run_domain_make(World *world, const char *desktop_id, const char *host_id,
                         const char *incarnation, RunDomain *ret, GError **error);

/* The isolated networks that this desktop wants are on on that host, which is asked for it.  As
 * run_domain_make(). */
gboolean run_make_networks(World *world, const char *desktop_id, const char *host_id,
                           GError **error);

/* The hardware of a desktop, by all that counts for it. */
gboolean run_hardware(Db *db, const DesktopRow *desktop, Hardware *ret, GError **error);

/* The MAC address of its n-th adapter: the first is the desktop's own, the others follow from its
 * id, so that all of them stay.  Caller frees. */
char *run_mac(const DesktopRow *desktop, guint n);

/* The path of a layer as the host sees it.  UNAVAILABLE: it does not.  Caller frees. */
char *run_layer_path(World *world, const HostRow *host, const LayerRow *layer, GError **error);

/* A path of ours, in this store, as the host sees it; NULL: it does not.  Caller frees. */
char *run_path_there(World *world, const HostRow *host, const char *store_id, const char *path);

/* The paths of a chain as the host sees them, the active layer first; ends with NULL. */
GPtrArray *run_chain_paths(World *world, Db *db, const HostRow *host, const char *layer_id,
                           GError **error);
