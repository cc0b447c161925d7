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

/* An SQL condition, for statements that make the desktop with the id d (SQL) the user's with the id
 * u: may he have one more?  Asked in the catalog's writer, so that two at once don't both get the
 * last one.  The quotas of groups count for all members together. */
#define QUOTA_ALLOWS_DESKTOP(d, u)                                                                 \
    "NOT EXISTS (SELECT 1 FROM quota q WHERE q.n_desktops IS NOT NULL AND (q.subject_id = " u      \
    " OR q.subject_id IN (SELECT group_id FROM group_member WHERE user_id = " u "))"               \
    " AND q.n_desktops <= (SELECT count(*) FROM (SELECT desktop_id FROM assignment WHERE is_owner" \
    " = 1 AND desktop_id <> " d " AND (user_id = q.subject_id OR user_id IN (SELECT user_id FROM"  \
    " group_member WHERE group_id = q.subject_id)) UNION SELECT desktop_id FROM pool_desktop"      \
    " WHERE desktop_id <> " d " AND (user_id = q.subject_id OR user_id IN (SELECT user_id FROM"    \
    " group_member WHERE group_id = q.subject_id)))))"

/* What a user, or a group's members together, have now. */
gint64 quota_used(Db *db, const char *subject_id, QuotaKind kind);
