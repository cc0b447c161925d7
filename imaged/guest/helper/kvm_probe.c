/* kvm_probe.c: does KVM really run a guest here?
 *
 * /dev/kvm may be there, and even run a boot sector, and yet no kernel gets past its first lines.
 * So the appliance's own kernel is started: it must come as far as the first program of its initrd.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/tasks.h"

#define SAYS "supermin:" /* that program's first word */
#define LIMIT_MS 15000   /* TCG needs 3 s */
#define MAX_TEXT (256u << 10)

static gboolean wait_for_word(int fd)
{
    gint64 end = g_get_monotonic_time() + LIMIT_MS * 1000ll;
    g_autoptr(GString) text = g_string_new(NULL);
    char bytes[4096];

    for (;;) {
        struct pollfd polled = { fd, POLLIN, 0 };
        gint64 left_ms = (end - g_get_monotonic_time()) / 1000;
        if (left_ms <= 0 || text->len > MAX_TEXT)
            return FALSE;
        if (poll(&polled, 1, (int)left_ms) <= 0)
            continue;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            return FALSE;
        g_string_append_len(text, bytes, n);
        if (strstr(text->str, SAYS))
            return TRUE;
    }
}

json_t *task_kvm_probe(Task *task, GError **error)
{
    g_autofree char *kernel = g_build_filename(task_appliance(task), "kernel", NULL);
    g_autofree char *initrd = g_build_filename(task_appliance(task), "initrd", NULL);
    gint64 begin = g_get_monotonic_time();

    task_progress(task, 0, 0, "trying whether KVM runs a guest here");
    if (access("/dev/kvm", R_OK | W_OK) < 0) { /* can be mended: no answer to be remembered */
        imaged_error_set_errno(error, errno, "cannot use /dev/kvm");
        return NULL;
    }
    g_autoptr(GSubprocess) qemu = g_subprocess_new(
        G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, error,
        "qemu-system-x86_64", "-accel", "kvm", "-nodefaults", "-no-user-config", "-display", "none",
        "-m", "512", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 panic=-1", NULL);
    if (!qemu)
        return NULL;
    GInputStream *out = g_subprocess_get_stdout_pipe(qemu);
    gboolean works = wait_for_word(g_unix_input_stream_get_fd(G_UNIX_INPUT_STREAM(out)));
    g_subprocess_force_exit(qemu);
    g_subprocess_wait(qemu, NULL, NULL);
    return json_pack("{s:b, s:I}", "works", works, "elapsed_ms",
                     (json_int_t)((g_get_monotonic_time() - begin) / 1000));
}
