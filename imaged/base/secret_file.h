/* secret_file.h: passwords and keys that the daemon must know in clear: a file of the state folder
 * each, which only its user can read.
 *
 * The catalog has none of them: it is copied into every store, and backups of it are handed around.
 * folder is a name below the state folder (mode 0700, made when it is first needed), id a name in
 * there that was made by us.  Any thread. */
#pragma once

#include <glib.h>

#define SECRET_FILE_MAX 4096 /* bytes */

/* Durable when this returns; replaces what was there. */
gboolean secret_file_write(const char *state_dir, const char *folder, const char *id,
                           const char *secret, GError **error);

/* Caller frees.  NOT_FOUND if it was lost. */
char *secret_file_read(const char *state_dir, const char *folder, const char *id, GError **error);

void secret_file_delete(const char *state_dir, const char *folder, const char *id);

/* Delete those that nothing refers to any more, as a stop in between may leave them. */
typedef gboolean (*SecretFileIsUsed)(const char *id, gpointer user);
void secret_file_tidy(const char *state_dir, const char *folder, SecretFileIsUsed is_used,
                      gpointer user);
