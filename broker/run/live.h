/* live.h: hosts asked about, and told to change, the disks of desktops that run.
 *
 * Only a domain of the run's own incarnation is looked at or touched.  NOT_FOUND is its host's word
 * that there is none; UNAVAILABLE means that it is not known, what of it was done included: then
 * ask again (live_ask()).  The caller has claimed x:run/ID.  Any thread. */
#pragma once

#include "broker/run/domain_edit.h"
#include "broker/run/runs.h"
#include "imaged/job/job.h"

/* Which disks it has, and what they write to (DomainDisk).  Caller unrefs. */
GPtrArray *live_disks(World *world, const RunRow *run, GError **error);

/* The same, asked until its host answers, however long that takes: for jobs that can go neither on
 * nor back without the answer.  UNAVAILABLE only when the daemon stops.  For a job that says on
 * what it waits. */
GPtrArray *live_ask(World *world, Job *job, const RunRow *run, GError **error);

/* See driver_live.h.  to: where each of disks[] (DomainDisk) is to write; NULL: it stays. */
gboolean live_snapshot(World *world, const RunRow *run, const GPtrArray *disks,
                       const char *const *to, gboolean *ret_is_quiet, GError **error);
/* After a snapshot of which nobody knows how it ended: let its file systems go on. */
void live_thaw(World *world, const RunRow *run);
gboolean live_copy(World *world, const RunRow *run, const char *dev, const char *const *paths,
                   GError **error);
gboolean live_copy_look(World *world, const RunRow *run, const char *dev, LiveCopy *ret,
                        GError **error);
gboolean live_copy_end(World *world, const RunRow *run, const char *dev, gboolean take_copy,
                       GError **error);
gboolean live_pause(World *world, const RunRow *run, GError **error);
gboolean live_resume(World *world, const RunRow *run, GError **error);
gboolean live_shut_down(World *world, const RunRow *run, GError **error); /* asks the guest */
gboolean live_ping(World *world, const RunRow *run, GError **error);

/* The domain of the run on a host that need not be the run's own.  NOT_FOUND.  Caller frees. */
HostDomain *live_find(World *world, const char *host_id, const RunRow *run, GError **error);

/* Is it being moved away from this host?  Give that up.  Switch it off there. */
gboolean live_is_moving(World *world, const RunRow *run, gboolean *ret_is, GError **error);
gboolean live_move_stop(World *world, const RunRow *run, GError **error);
gboolean live_destroy(World *world, const char *host_id, const RunRow *run, GError **error);

/* After a move: the password of its display, which was held open for its client, ends. */
gboolean live_end_password(World *world, const char *host_id, const RunRow *run, GError **error);
