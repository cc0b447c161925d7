/* child.h: one imaged-guest: our child process, or a connection to its systemd unit.
 *
 * For guest.c and converse.c; used by the thread that made it, which a child dies with. */
#pragma once

#include "imaged/guest/guest.h"

typedef struct GuestChild GuestChild;

/* Start the program for this role.  It gets user's rights if we are root. */
GuestChild *guest_child_spawn(GuestRole role, const char *user, GError **error);

/* Connect to SOCKET_DIR/ROLE. */
GuestChild *guest_child_connect(GuestRole role, const char *socket_dir, GError **error);

/* The conversation (non-blocking), and what a child complains on (-1 if there is none). */
int guest_child_socket(const GuestChild *child);
int guest_child_stderr(const GuestChild *child);
void guest_child_drain(GuestChild *child);

/* Wait until it has ended by itself, limit_ms at most (0: not at all), then kill it and all it
 * started, and wait for that.  Caller frees the text: how it ended ("was ended by signal 11: its
 * last words"), NULL if well. */
char *guest_child_end(GuestChild *child, gint64 limit_ms);

/* Run "imaged-guest OPTION ARGUMENT", which is no task, and give back what it printed and what it
 * complained of (callers free).  FALSE if it failed; error is set only if it could not run, took
 * longer than limit_ms, or *cancel was set. */
gboolean guest_child_print(const char *option, const char *argument, gint64 limit_ms,
                           const gint *cancel, char **ret_out, char **ret_words, GError **error);

void guest_child_free(GuestChild *child); /* ended at once if it still runs */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestChild, guest_child_free)
