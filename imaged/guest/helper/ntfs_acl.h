/* ntfs_acl.h: what cp leaves behind on NTFS: security descriptors, attributes, creation times.
 *
 * ntfs-3g shows them as extended attributes that are not listed. */
#pragma once

#include "imaged/guest/helper/appliance.h"

/* Of all that lies in from, to the same names in to. */
gboolean ntfs_acl_copy(Task *task, guestfs_h *g, const char *from, const char *to, GError **error);
