/* digesttool.c: a layer's digest (cow/block_digest.h) forged as no accident would make it: sound by
 * its checksums, and wrong.
 *
 *     digesttool same FILE    every block of data that is not zeros gets the same hash
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/block_digest_file.h"

static int complain(const char *what)
{
    fprintf(stderr, "digesttool: %s\n", what);
    return 1;
}

static void forge(guint8 *data, gsize len)
{
    DigestRecord r;

    for (gsize at = sizeof(DigestHeader); at + sizeof r <= len;) {
        memcpy(&r, data + at, sizeof r);
        at += sizeof r;
        for (guint32 i = 0; r.kind == BLOCK_DATA && i < r.n; i++, at += sizeof(BlockHash)) {
            BlockHash hash;
            memcpy(&hash, data + at, sizeof hash);
            if (!block_hash_is_zero(&hash))
                memcpy(data + at, &(BlockHash){ 1, 2 }, sizeof hash);
        }
    }
}

int main(int argc, char **argv)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) error = NULL;
    DigestHeader h;
    gsize len;

    if (argc != 3 || strcmp(argv[1], "same") != 0)
        return complain("usage: digesttool same FILE");
    if (!g_file_get_contents(argv[2], &data, &len, &error) || len < sizeof h)
        return complain(error ? error->message : "it is too short");
    memcpy(&h, data, sizeof h);
    forge((guint8 *)data, len);
    int fd = open(argv[2], O_RDWR | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, data, len, 0) != (gssize)len)
        return complain("it can't be written");
    if (!digest_file_finish(fd, h.id, &h.stamp, &h.counts, len, &error))
        return complain(error->message);
    return 0;
}
