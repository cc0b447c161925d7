/* limit_pread.c: random reads of a file with pread() alone.
 *
 *   limit_pread FILE SIZE COUNT SEED
 *
 * COUNT reads of 4 KiB, aligned, below SIZE bytes.  Prints microseconds per read. */
#include <fcntl.h>

#include "tests/bench/bench.h"

#define READ_BYTES 4096u

int main(int argc, char **argv)
{
    guint8 buffer[READ_BYTES];

    g_set_prgname("limit_pread");
    if (argc != 5)
        die("usage: limit_pread FILE SIZE COUNT SEED");
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    guint64 n_blocks = bench_number(argv[2]) / READ_BYTES, count = bench_number(argv[3]);
    guint64 state = bench_number(argv[4]);
    if (fd < 0 || !n_blocks || !count)
        die("nothing to read from '%s'", argv[1]);
    double start = bench_now_ms();
    for (guint64 i = 0; i < count; i++)
        bench_read(fd, buffer, READ_BYTES, bench_random(&state) % n_blocks * READ_BYTES);
    printf("%.4f\n", (bench_now_ms() - start) * 1000 / (double)count);
    close(fd);
    return 0;
}
