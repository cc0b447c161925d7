/* fuzz_header.c: libFuzzer target: the header parser and the check for images from outside.
 *
 * The input is the start of a file.  It is parsed three times: as the whole file, in a file that is
 * longer than any offset (so that the checks behind "lies in the file" are reached), and in pieces,
 * as layer.c does. */
#include <stddef.h>
#include <stdint.h>

#include "cow/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const guint8 *data, gsize len, guint64 file_size, gsize *ret_need)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) foreign = NULL;
    g_auto(Qcow2Header) header = { 0 };

    if (qcow2_header_parse(data, len, file_size, &header, ret_need, &error)) {
        g_assert_no_error(error);
        qcow2_header_check_foreign(&header, &foreign);
        g_assert_cmpuint(qcow2_n_l2(&header), >, 0);
    } else {
        /* Either it asks for more, or it says why not: never both, never neither. */
        g_assert_true((*ret_need > 0) != (error != NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gsize need = 0;

    parse(data, size, size, &need);
    parse(data, size, 1ull << 62, &need);
    parse(data, MIN(size, 104), size, &need);
    if (need > 104 && need <= size)
        parse(data, need, size, &need);
    return 0;
}
