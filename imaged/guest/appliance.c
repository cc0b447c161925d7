/* appliance.c: imaged-guest makes the appliance and knows which one fits; asked each time, which
 * costs a few milliseconds beside the seconds that an appliance takes to start. */
#include "imaged/guest/appliance.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/guest/child.h"

#define MARK "README.fixed"
#define MAKE_LIMIT_MS 600000
#define FILE_NAME "accelerator"
#define MAX_FILE 256

static char *appliance_dir(const char *state_dir, const GuestSettings *settings)
{
    return settings->appliance ? g_strdup(settings->appliance)
                               : g_build_filename(state_dir, "appliance", NULL);
}

/* "message" or "message\nhint" of the program, as an error. */
static void set_complaint(char *words, GError **error)
{
    char *hint = strchr(g_strstrip(words), '\n');

    if (hint)
        *hint++ = '\0';
    g_autofree char *message = text_for_message(words, 500);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "%s",
                *message ? message : "libguestfs' appliance cannot be made");
    if (hint && *hint) {
        g_autofree char *shown = text_for_message(hint, 300);
        imaged_error_hint(error, "%s", shown);
    }
}

char *guest_appliance_get(const char *state_dir, const GuestSettings *settings, const GuestRun *run,
                          GError **error)
{
    g_autofree char *dir = appliance_dir(state_dir, settings);
    /* As a unit's child the daemon may not make it: a unit of its own does. */
    const char *option = settings->socket_dir ? "--find-appliance" : "--make-appliance";
    g_autofree char *out = NULL;
    g_autofree char *words = NULL;

    if (run->events.progress)
        run->events.progress(run->events.user, 0, 0, "looking for libguestfs' appliance");
    if (!guest_child_print(option, dir, MAKE_LIMIT_MS, run->cancel, &out, &words, error)) {
        if (words && !*error)
            set_complaint(words, error);
        return NULL;
    }
    g_strchomp(out);
    if (g_path_is_absolute(out))
        return g_steal_pointer(&out);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "the appliance has no path");
    return NULL;
}

/* By its looks: asking the program would cost a process for each look at the daemon's state. */
char *guest_appliance_find(const char *state_dir, const GuestSettings *settings)
{
    g_autofree char *dir = appliance_dir(state_dir, settings);
    g_autoptr(GDir) list = g_dir_open(dir, 0, NULL);
    g_autofree char *given = g_build_filename(dir, MARK, NULL);
    char *newest = NULL;
    gint64 newest_time = G_MININT64;
    const char *name;
    struct stat st;

    if (stat(given, &st) == 0)
        return g_steal_pointer(&dir);
    while (list && (name = g_dir_read_name(list))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_autofree char *mark = g_build_filename(path, MARK, NULL);
        if (stat(mark, &st) < 0 || st.st_mtime < newest_time)
            continue;
        newest_time = st.st_mtime;
        g_free(newest);
        newest = g_steal_pointer(&path);
    }
    return newest;
}

/* ---- What it runs on ---- */

/* A new kernel may do what the last one could not. */
static char *remembered_text(gboolean is_kvm)
{
    struct utsname machine;

    uname(&machine);
    return g_strdup_printf("%s %s\n", is_kvm ? "kvm" : "tcg", machine.release);
}

const char *guest_accelerator_known(const char *state_dir, const GuestSettings *settings)
{
    auto_fd fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autofree char *text = NULL;
    g_autofree char *yes = remembered_text(TRUE);
    g_autofree char *no = remembered_text(FALSE);

    if (settings->accelerator != GUEST_ACCEL_AUTO)
        return settings->accelerator == GUEST_ACCEL_KVM ? "kvm" : "tcg";
    if (access("/dev/kvm", F_OK) < 0)
        return "tcg";
    if (fd < 0 || !durable_read(fd, FILE_NAME, MAX_FILE, &text, NULL, NULL))
        return NULL;
    return strcmp(text, yes) == 0 ? "kvm" : strcmp(text, no) == 0 ? "tcg" : NULL;
}

gboolean guest_accelerator_remember(const char *state_dir, gboolean is_kvm, GError **error)
{
    auto_fd fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autofree char *text = remembered_text(is_kvm);

    return fd >= 0 && durable_replace(fd, FILE_NAME, text, strlen(text), 0640, error);
}
