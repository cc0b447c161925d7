/* guest.c: one run, from the folder to the last server's end; to be read from guest_run() upwards.
 */
#include "imaged/guest/guest.h"

#include <pwd.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/appliance.h"
#include "imaged/guest/child.h"
#include "imaged/guest/converse.h"
#include "imaged/guest/folder.h"
#include "imaged/guest/gate.h"
#include "imaged/guest/serve.h"

#define HELPER_USER "imaged-guest"
#define FOLDER_GROUP "imaged-work" /* of units: all helpers and imaged are in it */
#define CLEAN_LIMIT_MS 600000
#define REMOVE_TRIES 20
#define REMOVE_WAIT_US 50000
#define PROBE_LIMIT_MS 30000
#define PROBE_AGAIN_US (600 * G_USEC_PER_SEC) /* after one that came to no answer */
#define MAX_RUNS 32
#define MAX_OF_JOBS 6
#define MAX_OF_OTHERS 4

struct Guest {
    char *state_dir;
    const GuestSettings *settings;
    GuestGate *gate;
    GPtrArray *left; /* folders of a former daemon, which the sweeper removes */
    GThread *sweeper;
    gint is_ending; /* atomic: the sweeper stops */
    GMutex probe_lock;
    gint64 probe_again_us; /* not before; guarded by probe_lock */
};

const char *guest_role_name(GuestRole role)
{
    static const char *const names[GUEST_N_ROLES] = { "guest", "fetch", "build" };

    return names[role];
}

gboolean guest_accelerator_parse(const char *text, GuestAccelerator *ret, GError **error)
{
    static const char *const names[] = { "auto", "kvm", "tcg" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_str_equal(text, names[i])) {
            *ret = (GuestAccelerator)i;
            return TRUE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "'%.40s' is not auto, kvm or tcg", text);
    return FALSE;
}

void guest_free(Guest *guest)
{
    if (!guest)
        return;
    g_atomic_int_set(&guest->is_ending, 1);
    if (guest->sweeper)
        g_thread_join(guest->sweeper);
    g_ptr_array_unref(guest->left);
    g_mutex_clear(&guest->probe_lock);
    guest_gate_free(guest->gate);
    g_free(guest->state_dir);
    g_free(guest);
}

/* ---- Whose the helper is ---- */

/* As root: whom it becomes, and to whom its sockets belong.  Else it is us; but a unit's helper is
 * another user, whose group we are in. */
static gboolean find_owner(const Guest *guest, GuestOwner *ret, char **ret_user, GError **error)
{
    const char *wanted = guest->settings->user;
    const char *names[] = { wanted ? wanted : HELPER_USER, wanted ? NULL : "nobody" };
    char buffer[4096];
    struct group entry, *group = NULL;

    if (guest->settings->socket_dir)
        getgrnam_r(HELPER_USER, &entry, buffer, sizeof buffer, &group);
    *ret = (GuestOwner){ .is_root = geteuid() == 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
    if (!ret->is_root) {
        if (group)
            ret->gid = group->gr_gid;
        return TRUE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(names) && names[i]; i++) {
        struct passwd user, *found = NULL;
        if (getpwnam_r(names[i], &user, buffer, sizeof buffer, &found) == 0 && found &&
            found->pw_uid != 0) {
            ret->uid = found->pw_uid;
            ret->gid = found->pw_gid;
            *ret_user = g_strdup(names[i]);
            return TRUE;
        }
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                "there is no unprivileged user '%s' for the helper", names[0]);
    imaged_error_hint(error, "make one, or name another with guest_user in imaged.conf");
    return FALSE;
}

/* Folders that helpers hand on to each other.  As units they are users of their own, who have no
 * other group in common: that of the disks' sockets is imaged-guest's alone. */
static gboolean find_folder_owner(const Guest *guest, GuestOwner *ret, char **ret_user,
                                  GError **error)
{
    char buffer[4096];
    struct group entry, *group = NULL;

    if (!find_owner(guest, ret, ret_user, error))
        return FALSE;
    if (guest->settings->socket_dir)
        getgrnam_r(FOLDER_GROUP, &entry, buffer, sizeof buffer, &group);
    if (group)
        ret->gid = group->gr_gid;
    return TRUE;
}

gboolean guest_user(const Guest *guest, uid_t *ret)
{
    GuestOwner owner;
    g_autofree char *user = NULL;

    if (!find_owner(guest, &owner, &user, NULL) || !owner.is_root)
        return FALSE;
    *ret = owner.uid;
    return TRUE;
}

char *guest_folder_make(Guest *guest, GError **error)
{
    GuestOwner owner;
    g_autofree char *user = NULL;

    return find_folder_owner(guest, &owner, &user, error)
               ? guest_run_folder_make(guest->state_dir, &owner, TRUE, error)
               : NULL;
}

char *guest_cache_folder(Guest *guest, const char *name, GError **error)
{
    GuestOwner owner;
    g_autofree char *user = NULL;

    return find_folder_owner(guest, &owner, &user, error)
               ? guest_kept_folder_make(guest->state_dir, name, &owner, error)
               : NULL;
}

/* ---- A run ---- */

/* The servers, the helper, and their ends. */
static json_t *run_at(Guest *guest, const GuestRun *run, const GuestPlace *place,
                      const GuestOwner *owner, const char *user, GError **error)
{
    const char *socket_dir = guest->settings->socket_dir;
    json_t *disks = NULL, *result = NULL;
    g_autoptr(GuestServers) servers = guest_servers_start(run, place->folder, owner, &disks, error);
    g_autoptr(GuestChild) child = !servers     ? NULL
                                  : socket_dir ? guest_child_connect(run->role, socket_dir, error)
                                               : guest_child_spawn(run->role, user, error);

    if (child)
        result = guest_converse(run, place, child, disks, error);
    else
        json_decref(disks);
    if (result && !guest_servers_stop(servers, error))
        g_clear_pointer(&result, json_decref);
    return result;
}

static json_t *run_with(Guest *guest, const GuestRun *run, const char *appliance,
                        const char *accelerator, GError **error)
{
    GuestOwner owner;
    g_autofree char *user = NULL;

    if (!find_owner(guest, &owner, &user, error))
        return NULL;
    g_autofree char *folder = guest_run_folder_make(guest->state_dir, &owner, FALSE, error);
    if (!folder)
        return NULL;
    GuestPlace place = { folder, appliance, accelerator };
    json_t *result = run_at(guest, run, &place, &owner, user, error);
    guest_run_folder_remove(folder, NULL, NULL); /* else the next start's sweep does */
    return result;
}

/* "kvm" or "tcg"; NULL with CANCELLED alone. */
static const char *find_accelerator(Guest *guest, const GuestRun *asker, const char *appliance,
                                    GError **error)
{
    const char *known;

    g_mutex_lock(&guest->probe_lock); /* one probe, the others wait for its answer */
    known = guest_accelerator_known(guest->state_dir, guest->settings);
    if (!known && g_get_monotonic_time() < guest->probe_again_us)
        known = "tcg";
    if (!known) {
        GuestRun probe = { .role = GUEST_ROLE_GUEST,
                           .task = "kvm-probe",
                           .what = "the probe of KVM",
                           .limit_ms = PROBE_LIMIT_MS,
                           .cancel = asker->cancel,
                           .events = { .progress = asker->events.progress,
                                       .user = asker->events.user } };
        g_autoptr(GError) local = NULL;
        json_t *result = run_with(guest, &probe, appliance, "kvm", &local);
        known = json_is_true(json_object_get(result, "works")) ? "kvm" : "tcg";
        if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            known = NULL;
        } else if (result) {
            guest_accelerator_remember(guest->state_dir, strcmp(known, "kvm") == 0, NULL);
        } else { /* no space, no process, no access: that passes, a file would stay */
            guest->probe_again_us = g_get_monotonic_time() + PROBE_AGAIN_US;
        }
        json_decref(result);
    }
    g_mutex_unlock(&guest->probe_lock);
    return known;
}

static json_t *run_inside(Guest *guest, const GuestRun *run, GError **error)
{
    g_autofree char *appliance = NULL;
    const char *accelerator = NULL;

    if (run->needs_appliance) {
        appliance = guest_appliance_get(guest->state_dir, guest->settings, run, error);
        accelerator = appliance ? find_accelerator(guest, run, appliance, error) : NULL;
        if (!accelerator)
            return NULL;
    }
    return run_with(guest, run, appliance, accelerator, error);
}

json_t *guest_run(Guest *guest, const GuestRun *run, GError **error)
{
    if (!guest_gate_enter(guest->gate, run, error))
        return NULL;
    json_t *result = run_inside(guest, run, error);
    guest_gate_leave(guest->gate, run);
    return result;
}

json_t *guest_status(Guest *guest)
{
    const char *known = guest_accelerator_known(guest->state_dir, guest->settings);
    g_autofree char *appliance = guest_appliance_find(guest->state_dir, guest->settings);

    return json_pack("{s:s?, s:s?, s:b}", "appliance", appliance, "accelerator", known,
                     "is_service", guest->settings->socket_dir != NULL);
}

/* ---- Folders that helpers filled ---- */

/* What a build's namespaces left may belong to numbers that only such namespaces can use, or lie
 * too deep. */
static gboolean clean_by_helper(Guest *guest, const char *path)
{
    GuestRun run = { .role = GUEST_ROLE_BUILD,
                     .task = "clean",
                     .what = "what a build left",
                     .folder = path,
                     .limit_ms = CLEAN_LIMIT_MS,
                     .cancel = &guest->is_ending };
    json_t *result = guest_run(guest, &run, NULL);

    json_decref(result);
    if (guest->settings->socket_dir) { /* another user's */
        run.role = GUEST_ROLE_FETCH;
        json_decref(guest_run(guest, &run, NULL));
    }
    return result != NULL;
}

gboolean guest_folder_remove(Guest *guest, const char *path, GError **error)
{
    g_autofree char *run = g_path_get_dirname(path); /* of STATE/guest/RUN/work */

    /* Processes of a helper that was killed may take a moment to be gone. */
    for (guint i = 0; i < REMOVE_TRIES && !g_atomic_int_get(&guest->is_ending); i++) {
        if (guest_run_folder_remove(run, &guest->is_ending, NULL))
            return TRUE;
        /* Root gets everywhere; but not deeper than it has descriptors. */
        if ((geteuid() != 0 || i == REMOVE_TRIES / 2) && clean_by_helper(guest, path))
            break;
        g_usleep(REMOVE_WAIT_US);
    }
    return guest_run_folder_remove(run, &guest->is_ending, error);
}

/* What a former daemon left may be 200,000 files of a build: nobody waits for that.  If it cannot
 * be removed that costs space, and not the start. */
static gpointer sweep(gpointer data)
{
    Guest *guest = data;

    for (guint i = 0; i < guest->left->len; i++) {
        const char *path = guest->left->pdata[i];
        g_autofree char *work = g_build_filename(path, GUEST_RUN_WORK, NULL);
        g_autofree char *tmp = g_build_filename(path, GUEST_RUN_TMP, NULL);
        gboolean has_work = g_file_test(work, G_FILE_TEST_IS_DIR);
        if (!guest_run_folder_remove(path, &guest->is_ending, NULL))
            guest_folder_remove(guest, has_work ? work : tmp, NULL);
    }
    return NULL;
}

Guest *guest_new(const char *state_dir, const GuestSettings *settings)
{
    Guest *guest = g_new0(Guest, 1);

    guest->state_dir = g_strdup(state_dir);
    guest->settings = settings;
    guest->gate = guest_gate_new(MAX_RUNS, CLAMP(g_get_num_processors(), 3, MAX_OF_JOBS),
                                 CLAMP(g_get_num_processors(), 2, MAX_OF_OTHERS));
    g_mutex_init(&guest->probe_lock);
    /* Before there is any of ours; new ones have other names. */
    guest->left = guest_run_folders_list(state_dir);
    if (guest->left->len)
        guest->sweeper = g_thread_new("sweeper", sweep, guest);
    return guest;
}
