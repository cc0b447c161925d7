/* export_child.h: one server process of an export: nbdkit with our plugin, or qemu-storage-daemon.
 *
 * It gets open descriptors (layers, the listening socket) and dies with the thread that started
 * it: so that must be a thread that lives as long as the daemon.  All but starting may be done by
 * any thread, one at a time for each child. */
#pragma once

#include <glib.h>
#include <sys/types.h>

typedef struct ExportChild ExportChild;

typedef enum { EXPORT_TLS_NONE, EXPORT_TLS_PSK, EXPORT_TLS_CERTS } ExportTls;

typedef struct {
    gboolean is_read_write; /* qemu-storage-daemon, writing the last layer */
    const int *fds;         /* of the layers, the base first */
    guint n_fds;
    int listen_fd;
    const char *const *names; /* what clients may ask for, NULL at the end; the first is listed */
    ExportTls tls;
    const char *tls_dir; /* keys.psk, or ca-cert.pem, server-cert.pem, server-key.pem */
} ExportChildSpec;

/* Start it; everything in spec is borrowed and may be closed afterwards.  FAILED. */
ExportChild *export_child_start(const ExportChildSpec *spec, GError **error);

/* Wait until it serves.  BUSY if QEMU has the image open, FAILED with what it complained of,
 * UNAVAILABLE after limit_ms. */
gboolean export_child_wait_ready(ExportChild *child, gint64 limit_ms, GError **error);

pid_t export_child_pid(const ExportChild *child);
int export_child_pidfd(const ExportChild *child);  /* readable once it has ended */
int export_child_stderr(const ExportChild *child); /* readable when it said something */

/* Take over what it said; the last words are kept. */
void export_child_drain(ExportChild *child);
const char *export_child_last_words(const ExportChild *child);

gboolean export_child_has_ended(ExportChild *child);

/* Connections it has now (being negotiated or in use), and a number that changes whenever one came
 * since.  FALSE if that cannot be told. */
gboolean export_child_activity(const ExportChild *child, guint *ret_n_clients, guint64 *ret_stamp);

gboolean export_child_is_writer(const ExportChild *child);

/* It has ended, and said that all went well (a writer: what it had is written). */
gboolean export_child_ended_well(const ExportChild *child);

/* Ask it to end; kill it after limit_ms, whatever its clients do.  Reaps it. */
void export_child_ask(ExportChild *child);
void export_child_stop(ExportChild *child, gint64 limit_ms);

/* Ends it at once if it still runs. */
void export_child_free(ExportChild *child);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExportChild, export_child_free)

/* ---- one that a killed daemon left behind ---- */

/* A line that tells a process from every other one, also from a later one with the same number.
 * Caller frees; NULL if there is no such process. */
char *export_child_mark(pid_t pid);

/* End the process that the line tells, if it still runs, and wait for that (UNAVAILABLE). */
gboolean export_child_end_marked(const char *mark, gint64 limit_ms, GError **error);
