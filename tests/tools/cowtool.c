/* cowtool.c: the chain engine on the command line, for functional tests, benches and debugging.
 *
 * A thin front over cow/: it names files directly and trusts whoever calls it.  It is not
 * installed; people use imagectl. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/block_digest.h"
#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/coverage.h"
#include "cow/layer_check.h"
#include "cow/layer_merge.h"
#include "cow/layer_pack.h"
#include "cow/layer_stream.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "tests/tools/open_layer.h"

#define COPY_BYTES (2u << 20)

static const char help[] =
    "Usage: cowtool COMMAND [OPTIONS] FILE...\n"
    "Read qcow2 images with imaged's own engine.  A chain is given base first.\n"
    "\n"
    "  cat FILE...          write the guest's bytes to standard output; where that is a\n"
    "                       regular file, zeros become holes\n"
    "  map FILE...          one JSON object per extent: start, length, layer, kind,\n"
    "                       host_offset\n"
    "  count FILE [BELOW...]\n"
    "                       sums of FILE; BELOW is what it stands on, base first\n"
    "  check FILE           consistency: errors=N leaks=N and what was found;\n"
    "                       exit 0 clean, 2 errors, 3 leaks only\n"
    "  header FILE          the header's fields\n"
    "  merge OUT FILE...    make a new layer OUT of all but the first --below of the chain\n"
    "  pack FILE...         write the topmost layer of the chain, packed, to --out\n"
    "  stream FILE...       write the topmost layer as a stream to standard output\n"
    "  digest FILE          write the digest of FILE's blocks to --out\n"
    "\n"
    "Options:\n"
    "  --out FILE           pack, digest: the new file\n"
    "  --threads N          pack, digest: threads that compress, or hash (default 1)\n"
    "  --backing NAME       merge, pack, stream: the backing file's name in what is written\n"
    "  --budget BYTES       cat, map: memory of the map (default 64 MiB)\n"
    "  --cache BYTES        cat: memory of decoded clusters (default 16 MiB)\n"
    "  --below N            merge: so many layers lie below the run (default 0)\n"
    "  --cluster-bits N     merge: of OUT (default 17)\n"
    "  --no-subclusters     merge: OUT has none\n"
    "  --drop-equal, --drop-zeros, --reflink\n"
    "                       merge: leave out what reads the same below; find zeros; share blocks\n"
    "  --help               this text\n"
    "\n"
    "Exit: 0 done, 1 failed, 64 usage (check: see above).\n";

static gint64 opt_threads = 1, opt_budget, opt_cache, opt_below,
              opt_cluster_bits = BLANK_DEFAULT_CLUSTER_BITS;
static char *opt_out, *opt_backing;
static gboolean opt_plain, opt_drop_equal, opt_drop_zeros, opt_reflink;

typedef struct {
    guint n;
    Layer **layers;
    ChainMap *map; /* NULL until chain_open_map() */
    ChainReader *reader;
} Chain;

static void chain_clear(Chain *c)
{
    chain_reader_free(c->reader);
    chain_map_free(c->map);
    for (guint i = 0; i < c->n; i++)
        layer_free(c->layers[i]);
    g_free(c->layers);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Chain, chain_clear)

static gboolean chain_open(Chain *c, char **paths, GError **error)
{
    c->layers = g_new0(Layer *, g_strv_length(paths) + 1);
    for (; paths[c->n]; c->n++) {
        c->layers[c->n] = open_layer(paths[c->n], error);
        if (!c->layers[c->n])
            return FALSE;
    }
    return TRUE;
}

static gboolean chain_open_map(Chain *c, char **paths, GError **error)
{
    if (!chain_open(c, paths, error))
        return FALSE;
    c->map = chain_map_new(c->layers, c->n, opt_budget, error);
    if (c->map)
        c->reader = chain_reader_new(c->map, opt_cache);
    return c->map != NULL;
}

/* ---- cat ---- */

typedef struct {
    ChainReader *reader;
    guint8 *buffer; /* COPY_BYTES */
    gboolean can_seek;
} Cat;

static gboolean write_all(const void *data, gsize len, GError **error)
{
    if (fwrite(data, 1, len, stdout) == len)
        return TRUE;
    imaged_error_set_errno(error, errno, "cannot write to standard output");
    return FALSE;
}

static gboolean cat_extent(const MapExtent *e, gpointer data, GError **error)
{
    Cat *cat = data;

    if (e->kind == EXTENT_ZERO && cat->can_seek) {
        if (fseeko(stdout, (off_t)e->length, SEEK_CUR) == 0)
            return TRUE;
        imaged_error_set_errno(error, errno, "cannot seek on standard output");
        return FALSE;
    }
    for (guint64 done = 0; done < e->length;) {
        gsize len = MIN(e->length - done, COPY_BYTES);
        if (!chain_reader_pread(cat->reader, cat->buffer, len, e->start + done, error) ||
            !write_all(cat->buffer, len, error))
            return FALSE;
        done += len;
    }
    return TRUE;
}

static int cmd_cat(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };
    g_autofree guint8 *buffer = g_malloc(COPY_BYTES);
    struct stat st;

    if (!chain_open_map(&c, paths, error))
        return 1;
    /* Holes are right only where nothing stood before. */
    gboolean can_seek = fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
    Cat cat = { c.reader, buffer, can_seek };
    if (!chain_map_walk(c.map, 0, G_MAXUINT64, cat_extent, &cat, error))
        return 1;
    if (fflush(stdout) != 0 ||
        (can_seek && ftruncate(STDOUT_FILENO, (off_t)chain_map_size(c.map)) < 0)) {
        imaged_error_set_errno(error, errno, "cannot write to standard output");
        return 1;
    }
    return 0;
}

/* ---- map and count ---- */

static gboolean print_extent(const MapExtent *e, gpointer data, GError **error)
{
    static const char *const kinds[] = { "unallocated", "zero", "data", "compressed" };

    printf("{\"start\":%" G_GUINT64_FORMAT ",\"length\":%" G_GUINT64_FORMAT ",\"layer\":%u,"
           "\"kind\":\"%s\"",
           e->start, e->length, e->layer, kinds[e->kind]);
    if (e->kind == EXTENT_DATA || e->kind == EXTENT_COMPRESSED)
        printf(",\"host_offset\":%" G_GUINT64_FORMAT, e->host_offset);
    if (e->kind == EXTENT_COMPRESSED)
        printf(",\"host_length\":%u,\"skip\":%" G_GUINT64_FORMAT, e->host_length, e->skip);
    puts("}");
    return TRUE;
}

static int cmd_map(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };

    return chain_open_map(&c, paths, error) &&
                   chain_map_walk(c.map, 0, G_MAXUINT64, print_extent, NULL, error)
               ? 0
               : 1;
}

static int cmd_count(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };
    g_autoptr(Coverage) below = NULL;
    DiffCounts diff;

    if (!chain_open(&c, paths, error))
        return 1;
    for (guint i = 1; i < c.n; i++) {
        Coverage *next = coverage_of_layer(c.layers[i], below, error);
        coverage_unref(below);
        below = next;
        if (!below)
            return 1;
    }
    if (!coverage_count_diff(c.layers[0], below, &diff, error))
        return 1;
    printf("data_bytes=%" G_GUINT64_FORMAT "\nzero_bytes=%" G_GUINT64_FORMAT
           "\ncompressed_bytes=%" G_GUINT64_FORMAT "\nn_extents=%" G_GUINT64_FORMAT
           "\nflattened_bytes=%" G_GUINT64_FORMAT "\n",
           diff.own.data_bytes, diff.own.zero_bytes, diff.own.compressed_bytes, diff.own.n_extents,
           diff.flattened_bytes);
    return 0;
}

/* ---- check and header ---- */

static int cmd_check(char **paths, GError **error)
{
    g_autoptr(Layer) layer = open_layer(paths[0], error);
    g_auto(LayerCheck) check = { 0 };

    if (!layer || !layer_check(layer, NULL, NULL, NULL, &check, error))
        return 1;
    printf("errors=%" G_GUINT64_FORMAT " leaks=%" G_GUINT64_FORMAT " allocated=%" G_GUINT64_FORMAT
           " compressed=%" G_GUINT64_FORMAT " image_end_offset=%" G_GUINT64_FORMAT " dirty=%d\n",
           check.n_errors, check.n_leaks, check.n_allocated, check.n_compressed,
           check.image_end_offset, check.is_dirty);
    for (guint i = 0; check.messages && i < check.messages->len; i++)
        puts(check.messages->pdata[i]);
    return check.n_errors ? 2 : check.n_leaks ? 3 : 0;
}

static int cmd_header(char **paths, GError **error)
{
    g_autoptr(Layer) layer = open_layer(paths[0], error);

    if (!layer)
        return 1;
    const Qcow2Header *h = layer_header(layer);
    printf("version=%u\nvirtual_size=%" G_GUINT64_FORMAT "\ncluster_size=%" G_GUINT64_FORMAT "\n",
           h->version, h->virtual_size, qcow2_cluster_size(h));
    printf("extended_l2=%d\ncompression=%s\nrefcount_bits=%u\n", h->is_extended_l2,
           h->compression == QCOW2_ZSTD ? "zstd" : "zlib", 1u << h->refcount_order);
    printf("incompatible=0x%" G_GINT64_MODIFIER "x\ncompatible=0x%" G_GINT64_MODIFIER
           "x\nautoclear=0x%" G_GINT64_MODIFIER "x\n",
           h->incompatible, h->compatible, h->autoclear);
    printf("l1_offset=%" G_GUINT64_FORMAT "\nn_l1=%u\nreftable_offset=%" G_GUINT64_FORMAT
           "\nn_reftable_clusters=%u\n",
           h->l1_offset, h->n_l1, h->reftable_offset, h->n_reftable_clusters);
    printf("n_snapshots=%u\nn_bitmaps=%u\nbacking_name=%s\nbacking_format=%s\nidentity=%s\n",
           h->n_snapshots, h->n_bitmaps, h->backing_name ? h->backing_name : "",
           h->backing_format ? h->backing_format : "", h->identity ? h->identity : "");
    return 0;
}

/* ---- merge ---- */

static int cmd_merge(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };
    LayerMergeNeed need;
    LayerSummary sum;

    if (!chain_open(&c, paths + 1, error))
        return 1;
    if (opt_below >= c.n) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no layer is left to merge");
        return 1;
    }
    auto_fd to = durable_create(AT_FDCWD, paths[0], O_DIRECT, 0660, error);
    if (to < 0)
        return 1;
    BlankSpec spec = { layer_virtual_size(c.layers[c.n - 1]), (guint32)opt_cluster_bits, !opt_plain,
                       opt_backing, NULL };
    LayerMerge merge = { .run = c.layers + opt_below,
                         .n_run = c.n - (guint)opt_below,
                         .below = c.layers,
                         .n_below = (guint)opt_below,
                         .drop_equal = opt_drop_equal,
                         .drop_zeros = opt_drop_zeros,
                         .can_reflink = opt_reflink,
                         .to = to,
                         .spec = &spec };
    gint64 start = g_get_monotonic_time();
    if (!layer_merge_reckon(&merge, &need, error))
        return 1;
    gint64 reckoned = g_get_monotonic_time();
    if (!layer_merge(&merge, &sum, error))
        return 1;
    printf("data_bytes=%" G_GUINT64_FORMAT "\nfile_length=%" G_GUINT64_FORMAT "\ndigest=%s\n",
           sum.data_bytes, sum.file_length, sum.digest);
    printf("need_data=%" G_GUINT64_FORMAT "\nneed_file=%" G_GUINT64_FORMAT
           "\nneed_new=%" G_GUINT64_FORMAT "\n",
           need.data_bytes, need.file_bytes, need.new_bytes);
    printf("reckon_ms=%.1f\nmerge_ms=%.1f\n", (double)(reckoned - start) / 1000.0,
           (double)(g_get_monotonic_time() - reckoned) / 1000.0);
    return 0;
}

/* ---- pack and stream ---- */

static int cmd_pack(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };
    PackSummary sum;

    if (!opt_out) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "pack needs --out");
        return 1;
    }
    if (!chain_open(&c, paths, error))
        return 1;
    auto_fd to = durable_create(AT_FDCWD, opt_out, 0, 0600, error);
    if (to < 0)
        return 1;
    LayerPack pack = { c.layers[c.n - 1],  c.layers, c.n - 1, opt_backing, to,
                       (guint)opt_threads, NULL,     NULL,    NULL };
    gint64 start = g_get_monotonic_time();
    if (!layer_pack(&pack, &sum, error))
        return 1;
    printf("digest=%s file_length=%" G_GUINT64_FORMAT " data_bytes=%" G_GUINT64_FORMAT
           " seconds=%.3f\n",
           sum.digest, sum.file_length, sum.data_bytes,
           (double)(g_get_monotonic_time() - start) / 1e6);
    return 0;
}

static int cmd_stream(char **paths, GError **error)
{
    g_auto(Chain) c = { 0 };
    g_autofree guint8 *buffer = g_malloc(COPY_BYTES);
    gssize got;

    if (!chain_open(&c, paths, error))
        return 1;
    g_autoptr(LayerStream) stream =
        layer_stream_new(c.layers[c.n - 1], c.layers, c.n - 1, opt_backing, error);
    if (!stream)
        return 1;
    while ((got = layer_stream_read(stream, buffer, COPY_BYTES, error)) > 0)
        if (!write_all(buffer, (gsize)got, error))
            return 1;
    if (got == 0 && fflush(stdout) != 0) {
        imaged_error_set_errno(error, errno, "cannot write to standard output");
        return 1;
    }
    return got < 0 ? 1 : 0;
}

/* ---- digest ---- */

static int cmd_digest(char **paths, GError **error)
{
    g_autoptr(Layer) layer = open_layer(paths[0], error);
    auto_fd to = opt_out ? open(opt_out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    BlockDigestMake make = { .layer = layer, .id = "00000000000000000000000000000000", .to = to,
                             .n_threads = (guint)opt_threads };

    if (!layer)
        return 1;
    if (to < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "digest needs --out");
        return 1;
    }
    return block_digest_make(&make, error) ? 0 : 1;
}

/* ---- main ---- */

static const struct {
    const char *name;
    guint least, most; /* files */
    int (*run)(char **paths, GError **error);
} commands[] = {
    { "cat", 1, G_MAXUINT16, cmd_cat },     { "map", 1, G_MAXUINT16, cmd_map },
    { "count", 1, G_MAXUINT16, cmd_count }, { "check", 1, 1, cmd_check },
    { "header", 1, 1, cmd_header },         { "merge", 2, G_MAXUINT16, cmd_merge },
    { "pack", 1, G_MAXUINT16, cmd_pack },   { "stream", 1, G_MAXUINT16, cmd_stream },
    { "digest", 1, 1, cmd_digest },
};

static gboolean parse_options(int *argc, char ***argv, GError **error)
{
    GOptionEntry entries[] = {
        { "threads", 0, 0, G_OPTION_ARG_INT64, &opt_threads, NULL, NULL },
        { "budget", 0, 0, G_OPTION_ARG_INT64, &opt_budget, NULL, NULL },
        { "cache", 0, 0, G_OPTION_ARG_INT64, &opt_cache, NULL, NULL },
        { "below", 0, 0, G_OPTION_ARG_INT64, &opt_below, NULL, NULL },
        { "backing", 0, 0, G_OPTION_ARG_STRING, &opt_backing, NULL, NULL },
        { "cluster-bits", 0, 0, G_OPTION_ARG_INT64, &opt_cluster_bits, NULL, NULL },
        { "no-subclusters", 0, 0, G_OPTION_ARG_NONE, &opt_plain, NULL, NULL },
        { "drop-equal", 0, 0, G_OPTION_ARG_NONE, &opt_drop_equal, NULL, NULL },
        { "drop-zeros", 0, 0, G_OPTION_ARG_NONE, &opt_drop_zeros, NULL, NULL },
        { "reflink", 0, 0, G_OPTION_ARG_NONE, &opt_reflink, NULL, NULL },
        { "out", 0, 0, G_OPTION_ARG_FILENAME, &opt_out, NULL, NULL },
        { NULL },
    };
    GOptionContext *context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_help_enabled(context, FALSE);
    gboolean ok = g_option_context_parse(context, argc, argv, error);
    g_option_context_free(context);
    if (ok &&
        (opt_threads < 1 || opt_threads > 256 || opt_budget < 0 || opt_cache < 0 || opt_below < 0 ||
         opt_below > G_MAXUINT16 || opt_cluster_bits < 0 || opt_cluster_bits > 63)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "an option is out of range");
        return FALSE;
    }
    return ok;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
    if (!parse_options(&argc, &argv, &error)) {
        fprintf(stderr, "cowtool: %s\n", error->message);
        return 64;
    }
    guint n_files = argc > 2 ? argc - 2 : 0;
    for (guint i = 0; argc > 1 && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (n_files < commands[i].least || n_files > commands[i].most)
            break;
        int ret = commands[i].run(argv + 2, &error);
        if (error) {
            g_autofree char *message = imaged_error_message(error);
            fprintf(stderr, "cowtool: %s\n", message);
        }
        return ret;
    }
    fputs(help, stderr);
    return 64;
}
