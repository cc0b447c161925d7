/* program.h: run one program to its end and hand on what it says, line by line.
 *
 * Programs are started without a shell, with an environment of a few fixed variables, nothing on
 * their standard input and no descriptor of ours.  One thread. */
#pragma once

#include <glib.h>

typedef struct {
    const char *const *argv;        /* ends with NULL; argv[0] is looked up in the PATH */
    const char *const *environment; /* further "NAME=VALUE", or NULL */
    const char *root;               /* chroot there first, or NULL */
    const char *input;              /* what it reads, or NULL: nothing */
    void (*line)(const char *text, gpointer data); /* each line it says, or NULL */
    gpointer data;
    char **ret_output; /* all it says on standard output, not handed to line (caller frees) */
} Program;

/* FAILED if it cannot be started, or ends with anything but 0: the message has how it ended, and
 * its last lines follow in the hint. */
gboolean program_run(const Program *program, GError **error);

/* The same with the arguments given here; the rest as in like, which may be NULL. */
gboolean program_run_args(const Program *like, GError **error, const char *argv0,
                          ...) G_GNUC_NULL_TERMINATED;
