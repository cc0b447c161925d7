/* limit_read.c: read all data of a file, bare.
 *
 *   limit_read FILE N_THREADS
 *
 * Pieces of 1 MiB where the file has data, past the page cache where that works, by N threads.
 * Prints milliseconds and bytes. */
#include <fcntl.h>

#include "tests/bench/bench.h"

#define PIECE (1u << 20)

typedef struct {
    int fd;
    GArray *pieces; /* guint64: offsets */
    gint next;      /* atomic */
} Work;

static gpointer read_some(gpointer data)
{
    Work *work = data;
    void *buffer = aligned_alloc(4096, PIECE);

    for (guint i; (i = (guint)g_atomic_int_add(&work->next, 1)) < work->pieces->len;)
        bench_read(work->fd, buffer, PIECE, g_array_index(work->pieces, guint64, i));
    free(buffer);
    return NULL;
}

/* Where the file has data. */
static GArray *find_pieces(int fd)
{
    GArray *pieces = g_array_new(FALSE, FALSE, sizeof(guint64));
    off_t at = 0, end;

    while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && (end = lseek(fd, at, SEEK_HOLE)) > at) {
        for (; at < end; at += PIECE) {
            guint64 offset = (guint64)at & ~(guint64)4095;
            g_array_append_val(pieces, offset);
        }
        at = end;
    }
    return pieces;
}

int main(int argc, char **argv)
{
    GThread *threads[64];

    g_set_prgname("limit_read");
    if (argc != 3)
        die("usage: limit_read FILE N_THREADS");
    guint64 n = CLAMP(bench_number(argv[2]), 1, G_N_ELEMENTS(threads));
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open '%s': %s", argv[1], g_strerror(errno));
    double start = bench_now_ms();
    Work work = { .pieces = find_pieces(fd), .fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC) };
    if (work.fd < 0)
        work.fd = fd;
    for (guint64 i = 0; i + 1 < n; i++)
        threads[i] = g_thread_new("read", read_some, &work);
    read_some(&work);
    for (guint64 i = 0; i + 1 < n; i++)
        g_thread_join(threads[i]);
    printf("%.3f %u\n", bench_now_ms() - start, work.pieces->len);
    g_array_unref(work.pieces);
    return 0;
}
