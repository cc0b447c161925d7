/* fuzz_image.c: libFuzzer target: a whole image.  Everything that reads one runs over it: the
 * extents, the sums, the consistency check and the reader of chains.  The work per input is
 * bounded, since a small file may describe a very large disk. */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/layer.h"
#include "cow/layer_check.h"
#include "imaged/base/units.h"

#define MAX_EXTENTS 20000u
#define MAX_READ (1u * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_extents(const Layer *layer)
{
    g_autoptr(LayerExtents) extents = layer_extents_new(layer, 0, G_MAXUINT64);
    g_autoptr(GError) error = NULL;
    guint64 at = 0;
    Extent extent;

    for (guint n = 0; n < MAX_EXTENTS && layer_extents_next(extents, &extent, &error); n++) {
        /* Without gaps, in order, within the disk. */
        g_assert_cmpuint(extent.start, ==, at);
        g_assert_cmpuint(extent.length, >, 0);
        g_assert_cmpuint(extent.length, <=, layer_virtual_size(layer) - at);
        at += extent.length;
    }
}

static void read_some(Layer *layer)
{
    g_autoptr(ChainMap) map = chain_map_new(&layer, 1, 0, NULL);
    g_autofree guint8 *buffer = g_malloc(64 * KIB);
    guint64 size = MIN(layer_virtual_size(layer), MAX_READ);

    if (!map)
        return;
    g_autoptr(ChainReader) reader = chain_reader_new(map, 4 * MIB);
    for (guint64 at = 0; at < size; at += 64 * KIB) {
        g_autoptr(GError) error = NULL;
        if (!chain_reader_pread(reader, buffer, MIN(64 * KIB, size - at), at, &error))
            g_assert_nonnull(error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    g_autoptr(GError) error = NULL;
    g_auto(LayerCheck) check = { 0 };
    LayerCounts counts;

    g_assert_cmpint(write(fd, data, size), ==, (gssize)size);
    g_autoptr(Layer) layer = layer_open_fd(fd, "fuzz", &error);
    if (!layer)
        return 0;
    walk_extents(layer);
    if (!layer_count(layer, &counts, &error))
        g_clear_error(&error);
    g_assert_true(layer_check(layer, NULL, NULL, NULL, &check, &error));
    g_assert_cmpuint(check.messages->len, <=, 100);
    read_some(layer);
    return 0;
}
