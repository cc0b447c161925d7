/* main.c: the daemon's command line. */
#include <sodium.h>
#include <stdio.h>

#include "broker/host/driver_libvirt.h"
#include "imaged/base/error.h"
#include "imaged/daemon.h"

static int fail(const GError *error)
{
    g_autofree char *message = imaged_error_message(error);
    const char *hint = imaged_error_get_hint(error);

    fprintf(stderr, "imaged: %s\n", message);
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return 1;
}

int main(int argc, char **argv)
{
    g_auto(Config) config = { 0 };
    g_autoptr(GError) error = NULL;
    gboolean is_over = FALSE;

    daemon_prepare();
    if (sodium_init() < 0) {
        fputs("imaged: no source of random numbers\n", stderr);
        return 1;
    }
    if (!config_load(&argc, &argv, &config, &is_over, &error)) {
        fail(error);
        return 2;
    }
    if (is_over)
        return 0;
    return daemon_run(&config, &driver_libvirt, &error) ? 0 : fail(error);
}
