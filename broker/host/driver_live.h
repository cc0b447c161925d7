/* driver_live.h: what is done to a domain's disks, or to the domain as a whole, while it runs.
 *
 * A part of HostDriver (driver.h), whose rules hold here too. These calls may take long: they are
 * made on a connection of their own (host_call_apart() in worker.h). */
#pragma once

#include <glib.h>

/* A disk of a domain, and the new file that it is to write to. */
typedef struct {
    const char *dev, *path;
} LiveDisk;

/* How far a copy is; bytes. */
typedef struct {
    gboolean is_there;
    guint64 done, total;
} LiveCopy;

typedef struct {
    const char *uri;          /* of the target's libvirt, as the source reaches it */
    const char *address;      /* of the target, for the guest's memory; NULL: what it says itself */
    const char *xml;          /* the domain as it will be there */
    const char *graphics_uri; /* where a client of its display goes on, or NULL */
} LiveMove;

typedef struct {
    /* The domain's XML; with_secrets: with the display's password, and fit for move(). Caller
     * frees. */
    char *(*xml)(gpointer link, const char *uuid, gboolean with_secrets, GError **error);
    /* From now on it writes to these files, which are there and stand on what it writes to now: all
     * or none.  others: its other disks (names, ends with NULL), which stay.  With its agent's help
     * its file systems are at rest in that moment: *ret_is_quiet. */
    gboolean (*snapshot)(gpointer link, const char *uuid, const LiveDisk *disks, guint n,
                         const char *const *others, gboolean *ret_is_quiet, GError **error);
    /* Its file systems, if a snapshot that was broken off has left them at rest, go on. */
    gboolean (*thaw)(gpointer link, const char *uuid, GError **error);
    /* Begin to copy what the uppermost file of a disk holds into another that is there; chain is
     * that one's (domain_chain_xml()). */
    gboolean (*copy)(gpointer link, const char *uuid, const char *dev, const char *chain,
                     GError **error);
    gboolean (*copy_look)(gpointer link, const char *uuid, const char *dev, LiveCopy *ret,
                          GError **error);
    /* End it: the disk is the copy from now on, or stays where it is. */
    gboolean (*copy_end)(gpointer link, const char *uuid, const char *dev, gboolean take_copy,
                         GError **error);
    /* Returns when it runs there, or will not. */
    gboolean (*move)(gpointer link, const char *uuid, const LiveMove *move, GError **error);
    /* Is a move of it going on?  Give that up: none is no error. */
    gboolean (*is_moving)(gpointer link, const char *uuid, gboolean *ret_is, GError **error);
    gboolean (*move_stop)(gpointer link, const char *uuid, GError **error);
    /* Does the guest's agent answer?  UNAVAILABLE. */
    gboolean (*ping)(gpointer link, const char *uuid, GError **error);
    /* Until when its display's password holds; the password itself stays as it is. */
    gboolean (*hold_password)(gpointer link, const char *uuid, const char *valid_to,
                              GError **error);
} HostLive;
