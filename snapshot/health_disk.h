/* health_disk.h: a desktop's disk for a health command to read: an NBD socket of its user's own.
 *
 * nbdkit with our plugin, with the layers as they are open now: what becomes of the desktop
 * meanwhile makes no difference to it.  It ends with the thread that started it. */
#pragma once

#include "imaged/job/world.h"
#include "snapshot/health_command.h"

typedef struct HealthDisk HealthDisk;

/* Whom health commands become here.  As health_command_user(); DENIED for the guest helper's user,
 * whose sockets lead to disks that are none of the command's business. */
gboolean health_disk_user(const World *world, HealthUser *ret, GError **error);

/* BUSY while QEMU writes the disk. */
HealthDisk *health_disk_serve(World *world, const char *desktop_id, GError **error);
const char *health_disk_uri(const HealthDisk *disk);

void health_disk_free(HealthDisk *disk); /* ends the server */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HealthDisk, health_disk_free)
