/* borg_child.h: one run of BorgBackup's program as a child, for archive_borg.c.
 *
 * The child is started without a shell, with an environment in which borg never asks anything and
 * keeps its cache and configuration in the folder that is given.  What it reads is fed, and what it
 * writes is taken, by the calling thread.  Cancelling ends it by SIGTERM, on which borg gives its
 * lock back and forgets what it had not committed.  One thread per run; no state between runs. */
#pragma once

#include <glib.h>

typedef struct {
    char *location;   /* of the repository: an absolute path or ssh://... */
    char *base_dir;   /* BORG_BASE_DIR */
    char *passphrase; /* or NULL; reaches borg by its environment alone */
} BorgPlace;

typedef struct {
    /* What borg reads: the next bytes, 0 at the end, -1 on an error (the child is ended). */
    gssize (*read)(gpointer data, void *buffer, gsize max, GError **error);
    int input; /* or a file that it reads instead (borrowed); -1: nothing */
    /* What borg writes; without it, it is collected into *ret_text, up to max_text bytes. */
    gboolean (*write)(gpointer data, const void *bytes, gsize n, GError **error);
    gpointer data;
    char **ret_text;
    gsize max_text;
    const gint *cancel;       /* or NULL */
    gboolean warnings_are_ok; /* exit code 1 is success */
    gboolean may_be_silent;   /* works long without a word: no time limit */
} BorgRun;

/* Run "borg ARGV..." (NULL-terminated).  Where the repository stands in them, the caller has put
 * place->location.  Errors carry borg's own words:
 *   UNAVAILABLE  no such repository, no connection, no answer for a long time
 *   NOT_FOUND    no such archive            EXISTS     there is one of that name
 *   BUSY         somebody holds its lock    DENIED     wrong passphrase, no permission
 *   NO_SPACE     the repository's file system or quota is full
 *   CORRUPT      a chunk or record is damaged or missing
 *   CANCELLED, FAILED */
gboolean borg_run(const BorgPlace *place, const char *const *argv, const BorgRun *run,
                  GError **error);

/* The message id of borg and its text, as an error of ours: for borg_run() and its test. */
void borg_set_error(const BorgPlace *place, const char *msgid, const char *text, GError **error);
