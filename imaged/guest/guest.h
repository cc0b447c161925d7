/* guest.h: have the helper imaged-guest do one task, from a job's thread.
 *
 * guest_run() serves the disks (cow/export_child.h) on sockets that only the helper's user reaches,
 * starts the helper or connects to its systemd unit, passes on what it reports, and returns its
 * result; whatever happens, helper, servers and sockets are gone when it returns.  A helper that
 * hangs, dies, or talks nonsense is an error like any other: what it says is not trusted.
 *
 * The process dies with the calling thread, which is the one that waits for it.  Any thread; runs
 * beyond what the machine bears wait for each other (gate.h).  It knows no catalog: who calls it
 * finds and opens the layers. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <sys/types.h>

typedef struct Guest Guest;

typedef enum {
    GUEST_ROLE_GUEST, /* disks, no network, no user namespaces */
    GUEST_ROLE_FETCH, /* network, no disk */
    GUEST_ROLE_BUILD, /* user namespaces, no network */
    GUEST_N_ROLES
} GuestRole;

const char *guest_role_name(GuestRole role);

typedef enum { GUEST_ACCEL_AUTO, GUEST_ACCEL_KVM, GUEST_ACCEL_TCG } GuestAccelerator;

/* "auto", "kvm", "tcg".  INVALID. */
gboolean guest_accelerator_parse(const char *text, GuestAccelerator *ret, GError **error);

/* What the configuration says; NULL is the default. */
typedef struct {
    char *user;       /* whom the helper becomes if imaged is root: imaged-guest, else nobody */
    char *socket_dir; /* of imaged-guest@ROLE.socket: DIR/ROLE; NULL: start the program ourselves */
    char *appliance;  /* folder of libguestfs' fixed appliance; STATE/appliance */
    GuestAccelerator accelerator;
} GuestSettings;

/* settings are borrowed for the Guest's life.  What a former daemon left is removed meanwhile. */
Guest *guest_new(const char *state_dir, const GuestSettings *settings);
void guest_free(Guest *guest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guest, guest_free)

/* One disk: open layers, the base first (borrowed; they may be closed once guest_run() returns). */
typedef struct {
    const int *fds;
    guint n_fds;
    gboolean is_read_write; /* the last layer is written; the caller flushes it afterwards */
} GuestDisk;

/* What the helper reports; every member may be NULL.  Texts are valid UTF-8 without control
 * characters.  data() may fail: that ends the run with its error. */
typedef struct {
    void (*progress)(gpointer user, guint64 done, guint64 total, const char *message);
    void (*log)(gpointer user, const char *text);     /* one line */
    void (*warning)(gpointer user, const char *text); /* one line, for the result or an event */
    gboolean (*data)(gpointer user, const void *bytes, gsize n, GError **error);
    gpointer user;
} GuestEvents;

typedef struct {
    GuestRole role;
    const char *task;      /* "ping", "inspect", ... (imaged/guest/helper/tasks.c) */
    const char *what;      /* for messages: "lab-1", "the build of golden" */
    const json_t *request; /* members of the task's own (borrowed), or NULL */
    const GuestDisk *disks;
    guint n_disks;
    const char *folder;       /* a guest_folder_make() that the helper may write to, or NULL */
    gboolean needs_appliance; /* libguestfs: it is made first if there is none */
    gint64 limit_ms;          /* then it is killed */
    gboolean is_stream;       /* limit_ms is of its silence; what data() takes does not count */
    const gint *cancel;       /* job_cancel_flag(), or NULL */
    GuestEvents events;
    /* Asked every 100 ms or so; FALSE (an error is set) ends the run at once.  May be NULL. */
    gboolean (*look)(gpointer look_user, GError **error);
    gpointer look_user;
} GuestRun;

/* The result's object (caller unrefs), or NULL with
 *   the helper's own error, its code, message and hint
 *   UNAVAILABLE  killed after limit_ms, killed by a signal, spoke nonsense; no helper
 *   CANCELLED    *cancel was set
 *   look's own error
 *   BUSY         a disk is in use by QEMU; too many helpers are at work (gate.h) */
json_t *guest_run(Guest *guest, const GuestRun *run, GError **error);

/* Whom the helper becomes, which owns the sockets of its disks; FALSE if that is nobody but us. */
gboolean guest_user(const Guest *guest, uid_t *ret);

/* For "imagectl status": the appliance's folder and the accelerator, where known.  Caller unrefs.
 */
json_t *guest_status(Guest *guest);

/* Make an empty folder that helpers of all roles can fill, for several runs after each other.
 * Caller frees the path, and removes it with all that lies in it.  A folder that a stop left behind
 * is removed by guest_new(). */
char *guest_folder_make(Guest *guest, GError **error);
gboolean guest_folder_remove(Guest *guest, const char *path, GError **error);

/* The folder STATE/guest-cache/NAME, which is kept from one run to the next; helpers bound it
 * themselves.  What lies in it is trusted by nobody.  Caller frees the path. */
char *guest_cache_folder(Guest *guest, const char *name, GError **error);
