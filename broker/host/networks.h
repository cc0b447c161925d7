/* networks.h: the networks that desktops are plugged into, by names that hold on all hosts.
 *
 * A bridge is there on the hosts already; a VLAN is the bridge that stands for it there, named
 * BRIDGE.VLAN; an isolated network is made by the host's libvirt when the first desktop wants it:
 * its desktops on one host reach one another and nothing else.  A network of a host group is on the
 * group's hosts alone.  Any thread. */
#pragma once

#include "broker/host/hosts.h"

typedef struct {
    char *id, *name;
    char *kind;     /* bridge | vlan | isolated */
    char *bridge;   /* of the hosts; NULL: isolated */
    gint64 vlan;    /* 1 to 4094; 0: none */
    char *group_id; /* or NULL: on all hosts */
    gint64 created_at;
} NetworkRow;
void network_row_clear(NetworkRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NetworkRow, network_row_clear)

/* NOT_FOUND; name may be an id. */
gboolean network_lookup(Db *db, const char *name, NetworkRow *ret, GError **error);

/* A new one; row has no id yet, and gets it.  EXISTS, INVALID. */
gboolean network_add(World *world, NetworkRow *row, const char *who, GError **error);

/* BUSY while a desktop's or a version's hardware names it. */
gboolean network_remove(World *world, const char *name, const char *who, GError **error);

gboolean network_is_on(const NetworkRow *network, const HostRow *host);

/* The bridge of the hosts, or for an isolated one the name that libvirt has for it; caller frees.
 */
char *network_source(const NetworkRow *network);

/* What libvirt makes an isolated one of; caller frees. */
char *network_xml(const NetworkRow *network);
