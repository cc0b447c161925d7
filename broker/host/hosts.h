/* hosts.h: the hosts that desktops run on: their rows and, for each, a worker.
 *
 * A host is a row of the catalog; what it is, has and does at the moment is known by its worker
 * alone.  A host in maintenance is looked at, but gets no new desktop.  Any thread may call these
 * functions. */
#pragma once

#include "broker/host/host_row.h"
#include "broker/host/worker.h"
#include "imaged/job/world.h"

typedef struct Hosts Hosts;

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

/* It was declared off (broker/run/fence.h), and did not come back yet: nothing runs there.  Its
 * worker goes on trying to reach it. */
void hosts_set_fenced(Hosts *hosts, const char *host_id, gboolean is_fenced);
gboolean hosts_is_fenced(Hosts *hosts, const char *host_id);

/* host_worker_call() by the host's id; UNAVAILABLE too if the host was removed; NOT_FOUND at once,
 * like from a host where there is nothing, if it was declared off. */
gboolean hosts_call(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                    GDestroyNotify clear, gint64 limit_ms, GError **error);

/* host_worker_post() by the host's id. */
void hosts_post(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                GDestroyNotify clear);

/* host_worker_call_apart(), likewise. */
gboolean hosts_call_apart(Hosts *hosts, const char *host_id, HostCall call, gpointer data,
                          GDestroyNotify clear, gint64 limit_ms, GError **error);

/* host_worker_view() by the host's id; HOST_FENCED whatever its worker knows.  FALSE: no host. */
gboolean hosts_view(Hosts *hosts, const char *host_id, HostView *ret);
