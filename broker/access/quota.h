/* quota.h: how much a user, or all members of a group together, may have.
 *
 * What counts as a user's: desktops that he owns by assignment and those of pools given to him.
 * Desktops that several share count for their owner.  Disk bytes are as the last count of the
 * layers found them.  Any thread. */
#pragma once

#include "imaged/catalog/catalog.h"

typedef enum {
    QUOTA_DESKTOPS,
    QUOTA_RUNNING,
    QUOTA_DISK_BYTES,
    QUOTA_SNAPSHOTS,
    QUOTA_N
} QuotaKind;

#define QUOTA_KEEP (-2) /* as it is */
#define QUOTA_NONE (-1) /* no limit */

typedef struct {
    gint64 limit[QUOTA_N];
} Quota;

/* The API's words: "max_desktops" ...  Static. */
const char *quota_key(QuotaKind kind);

/* Set the limits of a user or group (its row's id). */
gboolean quota_set(Catalog *catalog, const char *subject_id, gboolean is_group, const char *name,
                   const Quota *quota, const char *who, GError **error);

/* May the user have more of this, by his own quota and those of his groups?  DENIED says whose. */
gboolean quota_check(Db *db, const char *user_id, QuotaKind kind, gint64 more, GError **error);

/* The same for whom the desktop counts; nobody: TRUE.  planned (g_hash_table_new_full(g_str_hash,
 * g_str_equal, g_free, g_free), or NULL) is what the same request has planned already for each user
 * and group; what may be is added to it. */
gboolean quota_check_desktop(Db *db, const char *desktop_id, QuotaKind kind, gint64 more,
                             GHashTable *planned, GError **error);

/* What a user, or a group's members together, have now. */
gint64 quota_used(Db *db, const char *subject_id, QuotaKind kind);
