/* quota.h: how much a user, or all members of a group together, may have.
 *
 * What counts as a user's: desktops that he owns by assignment and those of pools given to him.
 * Desktops that several share count for their owner.  Disk bytes are those of the files, asked
 * for when it is checked: guests write without us, so that no commit can decide on them.  What is
 * there already stays: a quota only keeps more from coming.  Any thread. */
#pragma once

#include "imaged/job/world.h"

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

/* Is there any quota at all? */
gboolean quota_any(Db *db);

/* May the user be given this desktop (owned, or of a pool)?  It counts with what it has: running or
 * not, its bytes, its snapshots.  DENIED says whose quota of what is reached.  The second one is
 * the wall: put it into the set of changes that gives it to him, before the statement that does;
 * it is decided in the catalog's writer, so that two at the same moment can't both pass. */
gboolean quota_check_given(World *world, Db *db, const char *user_id, const char *desktop_id,
                           GError **error);
void quota_require_given(Changes *changes, const char *user_id, const char *desktop_id);

/* May the desktop, whoever it counts for, get one more snapshot, be switched on (if it isn't), grow
 * (QUOTA_DISK_BYTES: only while the quota is not used up)?  planned (from
 * g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free), or NULL) is what the same request
 * has planned already for each user and group; what may be is added to it.  One for each kind: that
 * of QUOTA_DISK_BYTES keeps what their files hold, so that they are asked once. */
gboolean quota_check_more(World *world, Db *db, const char *desktop_id, QuotaKind kind,
                          GHashTable *planned, GError **error);

/* The wall for QUOTA_RUNNING and QUOTA_SNAPSHOTS: with a job's intent, one hold for each thing that
 * the job is to make (a run's incarnation, a snapshot's id), counted until it is there or the job
 * has ended.  The set fails (DENIED) if that is more than may be. */
void quota_hold(Changes *changes, QuotaKind kind, const char *desktop_id, const char *thing_id,
                const char *job_id);

/* What a user, or a group's members together, have now. */
gint64 quota_used(World *world, Db *db, const char *subject_id, QuotaKind kind);
