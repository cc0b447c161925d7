/* folder.h: STATE/guest/RUNID: the sockets of one run's disks, and what its helper writes.
 *
 * RUNID is ours, 0710 for the helper's group, so whatever modes and set-id bits a helper leaves
 * below it, no other user gets there; sockets are for the helper's user alone: /proc/net/unix shows
 * their names to everybody.  Any thread. */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct {
    gboolean is_root; /* imaged is: things are given to uid and gid */
    uid_t uid;        /* the helper's, if known (is_root) */
    gid_t gid;        /* its group; (gid_t)-1: ours */
} GuestOwner;

/* Make STATE/guest/NEW, with GUEST_RUN_TMP for the helper's own use in it; or, for what helpers
 * hand on to each other, STATE/guest/NEW/work (2770), which is then the answer.  Caller frees the
 * path. */
#define GUEST_RUN_TMP "tmp"
#define GUEST_RUN_WORK "work"
char *guest_run_folder_make(const char *state_dir, const GuestOwner *owner, gboolean is_writable,
                            GError **error);

/* Make STATE/guest-cache/NAME, unless it is there: what helpers keep from one run to the next.
 * Caller frees the path. */
char *guest_kept_folder_make(const char *state_dir, const char *name, const GuestOwner *owner,
                             GError **error);

/* A listening unix socket FOLDER/NAME; *ret_path (caller frees) is its path.  -1 on an error. */
int guest_run_folder_listen(const char *folder, const char *name, const GuestOwner *owner,
                            char **ret_path, GError **error);

/* Remove a folder with all that is in it; it may have been filled by somebody hostile: no link is
 * followed.  cancel may be NULL; once it is set, CANCELLED. */
gboolean guest_run_folder_remove(const char *path, const gint *cancel, GError **error);

/* The paths of all that there are: at the start, what a former daemon left.  Caller unrefs. */
GPtrArray *guest_run_folders_list(const char *state_dir);
