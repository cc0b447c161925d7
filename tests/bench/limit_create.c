/* limit_create.c: the least that any program must do to make, or re-image, N desktops.
 *
 *   limit_create DIR N GENERATION
 *
 * DIR has the folders tmp/, layers/ and trash/.  Generation 1 makes N overlays: the three pieces
 * and the length that blank_build() gives, under tmp/, one syncfs() for each 2,048 of them, renamed
 * to layers/, and that folder flushed.  A later generation first renames those of the generation
 * before to trash/ and flushes it.  No catalog, no locks, no checks.  Prints the milliseconds it
 * took. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cow/blank.h"
#include "cow/identity.h"
#include "imaged/base/units.h"
#include "tests/bench/bench.h"

#define BATCH 2048u
#define DISK_BYTES (10 * GIB)
#define NAME_SIZE 33

static int open_folder(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        die("cannot open '%s': %s", name, g_strerror(errno));
    return fd;
}

static void make_name(char *name, guint64 generation, guint64 i)
{
    guint64 spread = (i + 1) * 0x9e3779b97f4a7c15u; /* as random as our ids */

    snprintf(name, NAME_SIZE, "%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x", spread,
             generation << 32 | i);
}

static void move(int from, int to, guint64 generation, guint64 i)
{
    char name[NAME_SIZE];

    make_name(name, generation, i);
    if (renameat(from, name, to, name) < 0)
        die("cannot rename '%s': %s", name, g_strerror(errno));
}

static int create(int tmp, const Blank *blank, guint64 generation, guint64 i)
{
    char name[NAME_SIZE];

    make_name(name, generation, i);
    int fd = openat(tmp, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (fd < 0)
        die("cannot create '%s': %s", name, g_strerror(errno));
    bench_write(fd, blank->header->data, blank->header->len, 0);
    bench_write(fd, blank->reftable, sizeof blank->reftable, blank->reftable_offset);
    bench_write(fd, blank->refblock->data, blank->refblock->len, blank->refblock_offset);
    if (ftruncate(fd, (off_t)blank->file_length) < 0)
        die("cannot extend '%s': %s", name, g_strerror(errno));
    return fd;
}

/* The content differs from file to file only in digits. */
static void build(Blank *blank)
{
    static char id[] = "0123456789abcdef0123456789abcdef";
    static char kind[] = "desktop", name[] = "a-0001";
    const Identity identity = { id, id, kind, id, name, 1, 1700000000000 };
    g_autofree char *json = identity_to_json(&identity);
    const BlankSpec spec = { DISK_BYTES, BLANK_DEFAULT_CLUSTER_BITS, TRUE,
                             "../layers/0123456789abcdef0123456789abcdef", json };

    if (!blank_build(&spec, blank, NULL))
        die("cannot build an overlay");
}

int main(int argc, char **argv)
{
    struct rlimit files = { 4096, 4096 };
    g_auto(Blank) blank = { 0 };
    int fds[BATCH];

    g_set_prgname("limit_create");
    if (argc != 4)
        die("usage: limit_create DIR N GENERATION");
    guint64 n = bench_number(argv[2]), generation = bench_number(argv[3]);
    int top = open_folder(AT_FDCWD, argv[1]);
    int tmp = open_folder(top, "tmp"), layers = open_folder(top, "layers");
    int trash = open_folder(top, "trash");
    umask(0);
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("cannot have %u open files: %s", BATCH, g_strerror(errno));
    build(&blank);

    double start = bench_now_ms();
    for (guint64 done = 0; done < n; done += BATCH) {
        guint64 end = MIN(done + BATCH, n);
        for (guint64 i = done; i < end; i++)
            fds[i - done] = create(tmp, &blank, generation, i);
        if (syncfs(tmp) < 0)
            die("cannot flush: %s", g_strerror(errno));
        for (guint64 i = done; i < end; i++) {
            if (generation > 1)
                move(layers, trash, generation - 1, i);
            move(tmp, layers, generation, i);
        }
        if (fsync(layers) < 0 || (generation > 1 && fsync(trash) < 0))
            die("cannot flush: %s", g_strerror(errno));
        for (guint64 i = done; i < end; i++)
            close(fds[i - done]);
    }
    printf("%.3f\n", bench_now_ms() - start);
    return 0;
}
