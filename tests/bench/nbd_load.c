/* nbd_load.c: so many reads at once of an NBD server, for so long, through libnbd.
 *
 * usage: nbd_load URI random|sequential DEPTH BYTES SECONDS
 * Prints the reads per second (random) or MiB per second (sequential).  One connection, so that all
 * servers have the same chance; random places are the same in every run. */
#include <libnbd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "nbd_load: %s: %s\n", what, nbd_get_error());
    exit(1);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

typedef struct {
    struct nbd_handle *nbd;
    int is_random;
    size_t bytes;
    uint64_t n_places, next, state;
} Load;

static int64_t issue(Load *l, char *buffer)
{
    uint64_t place = l->is_random ? next_random(&l->state) % l->n_places : l->next++ % l->n_places;
    int64_t cookie =
        nbd_aio_pread(l->nbd, buffer, l->bytes, place * l->bytes, NBD_NULL_COMPLETION, 0);

    if (cookie < 0)
        die("read");
    return cookie;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: nbd_load URI random|sequential DEPTH BYTES SECONDS\n");
        return 64;
    }
    Load l = { .nbd = nbd_create(),
               .is_random = strcmp(argv[2], "random") == 0,
               .bytes = strtoul(argv[4], NULL, 10) };
    int depth = atoi(argv[3]);
    double seconds = atof(argv[5]);
    uint64_t n_done = 0;

    if (!l.nbd || nbd_connect_uri(l.nbd, argv[1]) < 0)
        die("connect");
    int64_t size = nbd_get_size(l.nbd);
    if (size < (int64_t)l.bytes || depth < 1 || depth > 1024)
        die("size");
    l.n_places = (uint64_t)size / l.bytes;
    char *buffers = malloc(l.bytes * (size_t)depth);
    int64_t *cookies = calloc((size_t)depth, sizeof *cookies);
    double begin = now(), end = begin + seconds;
    for (int i = 0; i < depth; i++)
        cookies[i] = issue(&l, buffers + (size_t)i * l.bytes);
    while (now() < end) {
        if (nbd_poll(l.nbd, -1) < 0)
            die("poll");
        for (int i = 0; i < depth; i++) {
            int done = nbd_aio_command_completed(l.nbd, (uint64_t)cookies[i]);
            if (done < 0)
                die("read");
            if (done) {
                n_done++;
                cookies[i] = issue(&l, buffers + (size_t)i * l.bytes);
            }
        }
    }
    double rate = (double)n_done / (now() - begin);
    /* Some servers end altogether when a client goes away in the middle of its requests. */
    for (int i = 0; i < depth; i++) {
        while (!nbd_aio_command_completed(l.nbd, (uint64_t)cookies[i])) {
            if (nbd_poll(l.nbd, -1) < 0)
                die("poll");
        }
    }
    nbd_shutdown(l.nbd, 0);
    printf("%.0f\n", l.is_random ? rate : rate * (double)l.bytes / 1048576);
    nbd_close(l.nbd);
    free(buffers);
    free(cookies);
    return 0;
}
