/* main.c: the daemon's command line. */
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "imaged/base/error.h"
#include "imaged/daemon.h"

/* Batches hold thousands of locked images open. */
static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

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

    mallopt(M_ARENA_MAX, 4); /* threads come and go; an arena for each would keep what they freed */
    /* Or the first big buffer that is freed makes malloc keep all later ones of its size. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    umask(0007);
    raise_open_files();
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
    return daemon_run(&config, &error) ? 0 : fail(error);
}
