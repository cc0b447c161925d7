/* limit_merge.c: the least that a merge by copying must do.
 *
 *   limit_merge OUT FILE...
 *
 * Copies the data (not the holes) of each FILE behind that of the one before into the new file OUT
 * by copy_file_range(), as large as the kernel takes it, then one fdatasync().  What it writes is
 * no image.  Prints the milliseconds it took. */
#include <fcntl.h>

#include "tests/bench/bench.h"

static void copy(int from, int to, off_t *out)
{
    off_t at = 0, hole;

    while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
        if ((hole = lseek(from, at, SEEK_HOLE)) < 0)
            die("cannot read: %s", g_strerror(errno));
        while (at < hole) {
            ssize_t n = copy_file_range(from, &at, to, out, (size_t)(hole - at), 0);
            if (n <= 0)
                die("cannot copy: %s", g_strerror(errno));
        }
    }
}

int main(int argc, char **argv)
{
    off_t out = 0;

    g_set_prgname("limit_merge");
    if (argc < 3)
        die("usage: limit_merge OUT FILE...");
    int to = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        die("cannot create '%s': %s", argv[1], g_strerror(errno));
    double start = bench_now_ms();
    for (int i = 2; i < argc; i++) {
        int from = open(argv[i], O_RDONLY | O_CLOEXEC);
        if (from < 0)
            die("cannot open '%s': %s", argv[i], g_strerror(errno));
        copy(from, to, &out);
        close(from);
    }
    if (fdatasync(to) < 0)
        die("cannot flush: %s", g_strerror(errno));
    printf("%.3f\n", bench_now_ms() - start);
    return 0;
}
