/* fuzz_manifest.c: libFuzzer target: the manifests of archive points.
 *
 * What is accepted must come out as it went in, and hold to the limits that a restore counts on. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "snapshot/archive_point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ArchivePoint) point = archive_point_parse((const char *)data, size, NULL, &error);

    g_assert_true((point != NULL) != (error != NULL));
    if (!point)
        return 0;
    g_autofree char *text = archive_point_to_text(point);
    g_assert_cmpuint(strlen(text), ==, size);
    g_assert_true(memcmp(text, data, size) == 0);
    g_assert_cmpuint(point->layers->len, >, 0);
    g_assert_cmpuint(point->layers->len, <=, ARCHIVE_CHAIN_MAX);
    for (guint i = 0; i < point->layers->len; i++)
        g_assert_true(
            archive_object_is_valid(g_array_index(point->layers, ArchiveLayer, i).object));
    return 0;
}
