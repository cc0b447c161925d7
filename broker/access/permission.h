/* permission.h: what can be allowed, and the roles that are there from the start.
 *
 * A permission is one word pair, "desktop.reset".  A role is a set of them; a role that is_own
 * holds only for what is the user's own: desktops assigned to him, his sessions.  Pure; any
 * thread. */
#pragma once

#include <glib.h>

typedef enum {
    PERMISSION_UNSET,  /* forgotten: for admins alone, and a test fails */
    PERMISSION_NONE,   /* whoever asks, also before a log-in */
    PERMISSION_ANYONE, /* every user: the operation itself looks only at what is his */
    PERMISSION_STATUS_SEE,
    PERMISSION_TEMPLATE_SEE,
    PERMISSION_TEMPLATE_MAKE,    /* new ones */
    PERMISSION_TEMPLATE_CHANGE,  /* edit, seal, settings, names */
    PERMISSION_TEMPLATE_PUBLISH, /* and retire */
    PERMISSION_TEMPLATE_DELETE,
    PERMISSION_DESKTOP_SEE,
    PERMISSION_DESKTOP_CREATE,
    PERMISSION_DESKTOP_CHANGE, /* name, settings, hardware */
    PERMISSION_DESKTOP_DISKS,  /* data disks, sizes, merging, moving */
    PERMISSION_DESKTOP_DELETE,
    PERMISSION_DESKTOP_FILES, /* reading what is on its disk */
    PERMISSION_DESKTOP_START, /* and resume */
    PERMISSION_DESKTOP_STOP,  /* and pause, suspend */
    PERMISSION_DESKTOP_RESTART,
    PERMISSION_DESKTOP_RESET,   /* and undo */
    PERMISSION_DESKTOP_CONSOLE, /* and screenshot */
    PERMISSION_DESKTOP_MIGRATE,
    PERMISSION_DESKTOP_ASSIGN, /* to users */
    PERMISSION_SNAPSHOT_SEE,
    PERMISSION_SNAPSHOT_CREATE,
    PERMISSION_SNAPSHOT_REVERT,
    PERMISSION_SNAPSHOT_DELETE, /* and rename */
    PERMISSION_TRASH_SEE,
    PERMISSION_TRASH_CHANGE,
    PERMISSION_STORE_SEE,
    PERMISSION_STORE_CHANGE,
    PERMISSION_ARCHIVE_SEE,
    PERMISSION_ARCHIVE_CREATE,
    PERMISSION_ARCHIVE_RESTORE,
    PERMISSION_ARCHIVE_CHANGE, /* targets, schedules, deleting */
    PERMISSION_EXPORT_SEE,
    PERMISSION_EXPORT_CHANGE,
    PERMISSION_ROLLOUT_SEE,
    PERMISSION_ROLLOUT_CHANGE,
    PERMISSION_JOB_SEE, /* others' jobs; one's own anybody may see and cancel */
    PERMISSION_JOB_CANCEL,
    PERMISSION_EVENT_SEE,
    PERMISSION_REPORT_SEE,
    PERMISSION_HOST_SEE,
    PERMISSION_HOST_CHANGE,
    PERMISSION_NETWORK_SEE,
    PERMISSION_NETWORK_CHANGE,
    PERMISSION_POOL_SEE,
    PERMISSION_POOL_CHANGE, /* create, set, resize, delete */
    PERMISSION_POOL_ASSIGN, /* grant, revoke, return */
    PERMISSION_SESSION_SEE,
    PERMISSION_SESSION_CONNECT,
    PERMISSION_SESSION_END,
    PERMISSION_SESSION_SHADOW,
    PERMISSION_SESSION_MESSAGE,
    PERMISSION_USER_SEE, /* and groups, roles */
    PERMISSION_USER_CHANGE,
    PERMISSION_ROLE_CHANGE,  /* and grant */
    PERMISSION_TOKEN_CHANGE, /* others' tokens */
    PERMISSION_DIRECTORY_SEE,
    PERMISSION_DIRECTORY_CHANGE,
    PERMISSION_SEARCH_SHARE, /* searches saved for all */
    PERMISSION_ALERT_SEE,
    PERMISSION_ALERT_CHANGE,
    PERMISSION_CATALOG_CHANGE, /* backup, rebuild */
    PERMISSION_N,
} Permission;

typedef struct {
    guint64 bits[2];
} PermissionSet;
G_STATIC_ASSERT(PERMISSION_N <= 128);

/* "desktop.reset"; the first three are "unset", "none", "anyone".  Static. */
const char *permission_name(Permission permission);

/* PERMISSION_UNSET: there is none of this name. */
Permission permission_parse(const char *name);

/* The first that can be given to a role; those before it are no more than marks. */
#define PERMISSION_FIRST PERMISSION_STATUS_SEE

void permission_add(PermissionSet *set, Permission permission);
gboolean permission_has(const PermissionSet *set, Permission permission);
gboolean permission_has_all(const PermissionSet *set, const PermissionSet *others);

/* Of names, separated by blanks; "*" is all, "template.*" those of one kind.  INVALID names an
 * unknown one and the nearest.  ret_set is added to. */
gboolean permission_parse_set(const char *names, PermissionSet *ret_set, GError **error);

/* What a row of the catalog says: unknown ones, of a newer imaged, are passed over. */
PermissionSet permission_read_set(const char *names);

/* "desktop.see desktop.start".  Caller frees. */
char *permission_set_text(const PermissionSet *set);

typedef struct {
    const char *id; /* of its row, the same in every catalog */
    const char *name, *permissions, *about;
    gboolean is_own;
} BuiltInRole;

/* Ends with a name that is NULL.  The one called "user" everybody has. */
extern const BuiltInRole permission_roles[];
