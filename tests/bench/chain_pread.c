/* chain_pread.c: random reads of a chain through our own reader.
 *
 *   chain_pread COUNT FILE...      the base first
 *
 * COUNT reads of 4 KiB, aligned, anywhere in the disk.  Prints microseconds per read, without what
 * it takes to open the chain and make its map. */
#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "tests/bench/bench.h"
#include "tests/tools/open_layer.h"

#define READ_BYTES 4096u

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
    g_autoptr(GError) error = NULL;
    guint8 buffer[READ_BYTES];
    guint64 state = 1;

    g_set_prgname("chain_pread");
    if (argc < 3)
        die("usage: chain_pread COUNT FILE...");
    guint64 count = bench_number(argv[1]);
    for (int i = 2; i < argc; i++) {
        Layer *layer = open_layer(argv[i], &error);
        if (!layer)
            die("%s", error->message);
        g_ptr_array_add(layers, layer);
    }
    g_autoptr(ChainMap) map = chain_map_new((Layer *const *)layers->pdata, layers->len, 0, &error);
    if (!map)
        die("%s", error->message);
    guint64 n_blocks = chain_map_size(map) / READ_BYTES;
    if (!n_blocks || !count)
        die("nothing to read");
    g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
    double start = bench_now_ms();
    for (guint64 i = 0; i < count; i++) {
        guint64 at = bench_random(&state) % n_blocks * READ_BYTES;
        if (!chain_reader_pread(reader, buffer, READ_BYTES, at, &error))
            die("%s", error->message);
    }
    printf("%.4f\n", (bench_now_ms() - start) * 1000 / (double)count);
    return 0;
}
