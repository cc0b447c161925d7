/* export_folder.h: STATE/exports/NAME: an export's socket, its TLS material, its server's mark.
 *
 *   nbd       the unix socket             tls/   keys and certificates, 0700, files 0600
 *   server    which process serves it (cow/export_child.h)
 *
 * NAME is short, because a unix socket's path has 107 bytes. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "cow/export_child.h"

/* Make one with a new name (caller frees), for this group (may be NULL). */
char *export_folder_make(const char *state_dir, const char *group, GError **error);

/* Remove it and all it holds. */
void export_folder_remove(const char *state_dir, const char *name);

/* "STATE/exports/NAME/FILE".  Caller frees. */
char *export_folder_path(const char *state_dir, const char *name, const char *file);

/* Write the TLS material: a text of keys (EXPORT_TLS_PSK), or an object of ca_cert, server_cert,
 * server_key (EXPORT_TLS_CERTS).  INVALID. */
gboolean export_folder_put_tls(const char *state_dir, const char *name, ExportTls tls,
                               const json_t *material, GError **error);

gboolean export_folder_put_mark(const char *state_dir, const char *name, const char *mark,
                                GError **error);

/* End what a former daemon left running in any of the folders, and remove the folders that keep()
 * does not want.  UNAVAILABLE if one does not end. */
typedef gboolean (*ExportFolderKeep)(const char *name, gpointer user);
gboolean export_folder_clean(const char *state_dir, ExportFolderKeep keep, gpointer user,
                             GError **error);
