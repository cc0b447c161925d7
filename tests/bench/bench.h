/* bench.h: what the programs of the benchmark share: a clock, an end with a message, lines of
 * standard input, and exact reads.  The limit_*.c are the bare loops that imaged is measured
 * against: they do the same system calls on the same bytes and nothing else. */
#pragma once

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define die(...)                                                                                   \
    do {                                                                                           \
        fprintf(stderr, "%s: ", g_get_prgname() ? g_get_prgname() : "bench");                      \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

static inline double bench_now_ms(void)
{
    return (double)g_get_monotonic_time() / 1000.0;
}

static inline guint64 bench_number(const char *text)
{
    guint64 n = 0;
    g_autoptr(GError) error = NULL;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &n, &error))
        die("'%s' is not a number", text ? text : "(nothing)");
    return n;
}

/* The lines of standard input.  The caller frees them with g_ptr_array_unref(). */
static inline GPtrArray *bench_lines(void)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(free);
    char *line = NULL;
    size_t room = 0;

    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0; line = NULL, room = 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = 0;
        g_ptr_array_add(lines, line);
    }
    free(line);
    return lines;
}

/* splitmix64: the same seed gives the same numbers everywhere. */
static inline guint64 bench_random(guint64 *state)
{
    guint64 z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline void bench_read(int fd, void *buffer, gsize len, guint64 offset)
{
    gssize n = pread(fd, buffer, len, (off_t)offset);

    if (n < 0)
        die("cannot read: %s", g_strerror(errno));
    memset((char *)buffer + n, 0, len - (gsize)n);
}

static inline void bench_write(int fd, const void *data, gsize len, guint64 offset)
{
    if (pwrite(fd, data, len, (off_t)offset) != (gssize)len)
        die("cannot write: %s", g_strerror(errno));
}
