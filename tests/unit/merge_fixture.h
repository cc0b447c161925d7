/* merge_fixture.h: chains of images l0, l1, ... made by QEMU, and runs of them merged into m: what
 * the unit tests of layer_merge.h share. */
#pragma once

#include "tests/unit/image_fixture.h"

#include <sys/stat.h>

#include "cow/digest.h"
#include "cow/layer_merge.h"
#include "imaged/base/durable.h"

#define MAX_LAYERS 5
#define EXTENDED "extended_l2=on,cluster_size="

typedef struct {
    Layer *layers[MAX_LAYERS];
    guint n;
} Chain;

static inline void chain_open(Chain *c, guint n)
{
    g_autoptr(GError) error = NULL;

    for (c->n = 0; c->n < n; c->n++) {
        g_autofree char *name = g_strdup_printf("l%u", c->n);
        c->layers[c->n] = open_image(name, &error);
        g_assert_no_error(error);
    }
}

static inline void chain_clear(Chain *c)
{
    for (guint i = 0; i < c->n; i++)
        layer_free(c->layers[i]);
    c->n = 0;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Chain, chain_clear)

typedef struct {
    guint32 cluster_bits;
    gboolean has_subclusters, drop_equal, drop_zeros, direct, can_reflink;
} Way;

static inline int new_file(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static inline char *digest_of(const char *name)
{
    g_autofree char *path = fixture_path(name);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    Digest digest;

    g_assert_true(digest_file(fd, NULL, NULL, NULL, &digest, NULL));
    return digest_to_text(&digest);
}

/* Merge layers first to last of c into m; with the base, m stands on nothing. */
static inline gboolean merge_run(const Chain *c, guint first, guint last, const Way *way,
                                 LayerSummary *sum, GError **error)
{
    g_autofree char *below = first ? g_strdup_printf("l%u", first - 1) : NULL;
    auto_fd to = new_file("m", way->direct ? O_DIRECT : 0);
    BlankSpec spec = { layer_virtual_size(c->layers[last]), way->cluster_bits, way->has_subclusters,
                       below, "{\"v\":1}" };
    LayerMerge merge = { .run = c->layers + first,
                         .n_run = last - first + 1,
                         .below = c->layers,
                         .n_below = first,
                         .drop_equal = way->drop_equal,
                         .drop_zeros = way->drop_zeros,
                         .can_reflink = way->can_reflink,
                         .to = to,
                         .spec = &spec };
    LayerMergeNeed need;
    struct stat st;

    if (!layer_merge_reckon(&merge, &need, error) || !layer_merge(&merge, sum, error))
        return FALSE;
    g_assert_cmpint(fstat(to, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_blocks * 512, <=, need.file_bytes);
    g_assert_cmpuint(sum->data_bytes, <=, need.data_bytes);
    g_assert_cmpuint(need.new_bytes, <=, need.file_bytes);
    g_assert_cmpuint(sum->file_length, ==, st.st_size);
    return TRUE;
}
