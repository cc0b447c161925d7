/* files.h: looking at a guest's files: a folder's list, a file's bytes.
 *
 * Paths are escaped text (imaged/base/escape.h), from the guest's root.  Links on the way lead
 * about inside of the guest; one at the end is told as a link and never followed.  Nothing is
 * written. */
#pragma once

#include <jansson.h>

#include "imaged/guest/helper/block.h"

#define FILES_MAX 50000u /* entries of one list */

typedef gboolean (*FilesData)(gpointer user, const void *bytes, gsize n, GError **error);

/* {"entries":[{name, type, mode, uid, gid, owner, group, size, mtime, target}], "cut":false}, by
 * name; of a file itself if path is one.  NOT_FOUND, CORRUPT; UNSUPPORTED: only the appliance can.
 */
json_t *files_list(Block *disk, const char *path, GError **error);

/* The bytes of a file, handed to data.  Its entry as above.  INVALID if it is no file. */
json_t *files_get(Block *disk, const char *path, FilesData data, gpointer user, GError **error);

/* ---- for the appliance's way of doing it (files_appliance.c) ---- */

typedef struct {
    const char *name; /* bytes */
    gsize name_len;
    guint32 mode, uid, gid;
    guint64 size;
    gint64 mtime_s; /* seconds since 1970; any number */
    GBytes *target; /* of a link, or NULL */
} FilesEntry;

json_t *files_entry_json(const FilesEntry *entry, const char *owner, const char *group);

/* FALSE with INVALID, in words, if what this mode tells cannot be handed over as a file. */
gboolean files_check_is_file(guint32 mode, const char *path, GBytes *target, GError **error);
