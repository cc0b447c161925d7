/* hosts.h: the hosts that desktops run on: their rows and, for each, a worker.
 *
 * A host is a row of the catalog; what it is, has and does at the moment is known by its worker
 * alone.  A host in maintenance is looked at, but gets no new desktop.  Any thread may call these
 * functions. */
#pragma once

#include "broker/host/worker.h"
#include "imaged/job/world.h"

typedef struct Hosts Hosts;

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

/* Begin to connect to all hosts of the catalog.  That one comes or goes is an event;
 * of watcher seen() is called as worker.h says (changed() may be NULL), from hosts_listen() on. */
Hosts *hosts_new(World *world, const HostDriver *driver, const HostWatcher *watcher,
                 GError **error);
void hosts_listen(Hosts *hosts);
void hosts_free(Hosts *hosts);

/* A new one; row has no id yet, and gets it.  EXISTS, INVALID. */
gboolean hosts_add(Hosts *hosts, HostRow *row, const char *who, GError **error);

/* The settings of row, by its id; uri and name stay.  One whose accelerator is auto is tried
 * again. */
gboolean hosts_set(Hosts *hosts, const HostRow *row, const char *who, GError **error);

/* BUSY while desktops run there. */
gboolean hosts_remove(Hosts *hosts, const char *name, const char *who, GError **error);
gboolean hosts_set_maintenance(Hosts *hosts, const char *name, gboolean is_maintenance,
                               const char *who, GError **error);

/* host_worker_call() by the host's id; UNAVAILABLE too if the host was removed. */
gboolean hosts_call(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error);

/* host_worker_post() by the host's id. */
void hosts_post(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                GDestroyNotify clear);

/* host_worker_call_apart(), likewise. */
gboolean hosts_call_apart(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                          GDestroyNotify clear, gint64 limit_ms, GError **error);

/* host_worker_view() by the host's id.  FALSE: there is none. */
gboolean hosts_view(Hosts *hosts, const char *host_id, HostView *ret);
