/* probe.h: whether KVM works on a host, tried once.
 *
 * /dev/kvm may be there and lead nowhere: guests hang, or run slower than without.  So a guest that
 * is nothing but firmware, which finds no disk and restarts, runs once by TCG and once by KVM, each
 * under a time limit; what KVM does not do faster it shall not do.  The answer stands in the host's
 * row.  Any thread. */
#pragma once

#include "broker/host/hosts.h"
#include "imaged/job/job.h"

extern const JobType host_probe_job;

/* Find it out if it is not known and asked for (accelerator auto): at once if the host has no KVM,
 * else by a job. */
void probe_begin(World *world, const HostRow *host, gboolean has_kvm);

/* Until it is known, or is not asked for, or the host is not up, or limit_ms are over. */
void probe_wait(World *world, const char *host_id, gint64 limit_ms);
