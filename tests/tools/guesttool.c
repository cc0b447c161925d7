/* guesttool.c: one run of the helper without a daemon, for the tests.
 *
 *   guesttool STATE ROLE TASK [REQUEST [LIMIT_MS [r|w:FILE[,FILE...]]...]]
 *
 * Files of one disk are its layers, the base first.  IMAGED_TEST_GUEST_SOCKET is a folder with the
 * sockets of units; IMAGED_TEST_APPLIANCE an appliance; IMAGED_TEST_FOLDER a folder to write to, or
 * "make" for one as builds have it; IMAGED_TEST_STREAM makes it a stream; with IMAGED_TEST_SWEEP it
 * stays until what a former run left is removed.  Prints the result, or the error on standard
 * error; progress, log lines and warnings go there too, data to descriptor 3.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/guest/guest.h"

static void on_progress(gpointer user, guint64 done, guint64 total, const char *message)
{
    fprintf(stderr, "progress %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " %s\n", done, total,
            message ? message : "");
}

static void on_log(gpointer user, const char *text)
{
    fprintf(stderr, "%s %s\n", (const char *)"log", text);
}

static void on_warning(gpointer user, const char *text)
{
    fprintf(stderr, "warning %s\n", text);
}

static gboolean on_data(gpointer user, const void *bytes, gsize n, GError **error)
{
    if (write(3, bytes, n) == (gssize)n)
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "cannot write to descriptor 3");
    return FALSE;
}

/* Not longer than a minute. */
static void wait_for_sweep(const char *state)
{
    g_autofree char *path = g_build_filename(state, "guest", NULL);

    for (guint i = 0; i < 1200; i++) {
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        if (!dir || !g_dir_read_name(dir))
            return;
        g_usleep(50000);
    }
}

static GArray *open_disk(const char *text, GuestDisk *ret)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_auto(GStrv) names = g_strsplit(text + 2, ",", -1);

    ret->is_read_write = text[0] == 'w';
    for (guint i = 0; names[i]; i++) {
        gboolean is_written = ret->is_read_write && !names[i + 1];
        int fd = open(names[i], (is_written ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        if (fd < 0) {
            perror(names[i]);
            exit(2);
        }
        g_array_append_val(fds, fd);
    }
    ret->fds = (const int *)fds->data;
    ret->n_fds = fds->len;
    return fds;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    GuestSettings settings = { .socket_dir = getenv("IMAGED_TEST_GUEST_SOCKET"),
                               .appliance = getenv("IMAGED_TEST_APPLIANCE"),
                               .user = getenv("IMAGED_TEST_GUEST_USER"),
                               .accelerator = getenv("IMAGED_TEST_AUTO") ? GUEST_ACCEL_AUTO
                                                                         : GUEST_ACCEL_TCG };
    GuestDisk disks[4] = { 0 };
    GuestRun run = { .what = "the test",
                     .limit_ms = 120000,
                     .is_stream = getenv("IMAGED_TEST_STREAM") != NULL,
                     .disks = disks,
                     .events = { on_progress, on_log, on_warning, on_data, NULL } };

    if (argc < 4 || argc > 10 || sodium_init() < 0)
        return 2;
    while (run.role < GUEST_N_ROLES && strcmp(guest_role_name(run.role), argv[2]) != 0)
        run.role++;
    run.task = argv[3];
    json_t *request = argc > 4 ? json_loads(argv[4], 0, NULL) : NULL;
    run.request = request;
    run.needs_appliance = getenv("IMAGED_TEST_NEEDS_APPLIANCE") || settings.appliance;
    if (argc > 5)
        run.limit_ms = g_ascii_strtoll(argv[5], NULL, 10);
    for (int i = 6; i < argc; i++)
        open_disk(argv[i], &disks[run.n_disks++]);
    umask(0007);
    g_autoptr(Guest) guest = guest_new(argv[1], &settings);
    const char *folder = getenv("IMAGED_TEST_FOLDER");
    gboolean is_made = guest && folder && strcmp(folder, "make") == 0;
    g_autofree char *made = is_made ? guest_folder_make(guest, &error) : NULL;
    run.folder = is_made ? made : folder;
    json_t *result = guest && !error ? guest_run(guest, &run, &error) : NULL;
    if (getenv("IMAGED_TEST_SWEEP"))
        wait_for_sweep(argv[1]);
    if (made && !guest_folder_remove(guest, made, NULL))
        fputs("the folder is left\n", stderr);
    if (result) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        puts("");
        json_decref(result);
        json_decref(request);
        return 0;
    }
    fprintf(stderr, "%s: %s\n", imaged_error_name(error->code), error->message);
    json_decref(request);
    return 1;
}
