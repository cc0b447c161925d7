/* differential.c: images damaged at random, judged by us and by qemu-img.
 *
 *   differential FOLDER N SEED        FOLDER holds the sound images (*.qcow2) that are damaged
 *
 * What must hold: an image that we accept (header, check for images from outside, no errors in the
 * consistency check) is one that `qemu-img check` accepts, with leaks where we see leaks; and then
 * both read the same bytes from it, or both fail to.  The reverse need not hold: we are stricter.
 * An image that breaks a rule is kept as FOLDER/failed-SEED-NUMBER. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cow/chain_map.h"
#include "cow/chain_reader.h"
#include "cow/layer_check.h"
#include "imaged/base/units.h"

#define MAX_COMPARE (64 * MIB) /* of virtual size */
#define PIECE (256 * KIB)

typedef struct {
    guint8 *bytes;
    gsize len;
    GArray *entries; /* offsets of 64-bit entries worth changing (guint64) */
    Qcow2Header h;
} Victim;

typedef struct {
    const char *folder;
    guint64 seed, state;
    char *path, *raw; /* the damaged image, and qemu-img's reading of it */
    guint n_accepted, n_compared, n_stricter, n_failed;
} Fuzz;

static guint64 next_random(Fuzz *f)
{
    guint64 z = f->state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static guint64 below(Fuzz *f, guint64 n)
{
    return n ? next_random(f) % n : 0;
}

/* ---- Damage ---- */

static void add_entries(Victim *v, guint64 offset, guint64 len, gboolean only_used)
{
    for (guint64 at = offset; at + 8 <= v->len && at < offset + len; at += 8) {
        if (!only_used || be64_at(v->bytes + at))
            g_array_append_val(v->entries, at);
    }
}

/* Find the entries of all tables.  Empty entries of a table are mostly left out: there are too many
 * of them. */
static void find_entries(Victim *v)
{
    const Qcow2Header *h = &v->h;
    guint64 cluster = qcow2_cluster_size(h);

    add_entries(v, 0, 256, FALSE);
    add_entries(v, 0, 112, FALSE);
    add_entries(v, h->l1_offset, MIN(8ull * h->n_l1, 64), FALSE);
    add_entries(v, h->reftable_offset, 32, FALSE);
    for (guint64 at = h->l1_offset; at < h->l1_offset + 8ull * h->n_l1 && at + 8 <= v->len;
         at += 8) {
        guint64 l2 = be64_at(v->bytes + at) & QCOW2_OFFSET_MASK;
        if (l2) {
            add_entries(v, l2, cluster, TRUE);
            add_entries(v, l2, 64, FALSE);
        }
    }
    add_entries(v, be64_at(v->bytes + h->reftable_offset), cluster, TRUE);
    if (h->n_snapshots) {
        add_entries(v, h->snapshots_offset, 160, FALSE);
        add_entries(v, be64_at(v->bytes + h->snapshots_offset), 32, FALSE);
    }
    if (h->n_bitmaps) {
        add_entries(v, h->bitmap_directory_offset, 64, FALSE);
        add_entries(v, be64_at(v->bytes + h->bitmap_directory_offset), 32, FALSE);
    }
}

static void change_bits(Fuzz *f, Victim *v, guint64 at)
{
    static const guint8 favourites[] = { 0, 1, 3, 8, 9, 12, 15, 16, 17, 54, 55, 56, 61, 62, 63 };
    guint bit = below(f, 2) ? favourites[below(f, G_N_ELEMENTS(favourites))] : below(f, 64);

    v->bytes[at + 7 - bit / 8] ^= (guint8)(1u << (bit % 8));
}

/* Change the refcount of the cluster at offset by one; 16-bit refcounts alone. */
static void change_refcount(Victim *v, guint64 offset, int by)
{
    guint64 at = be64_at(v->bytes + v->h.reftable_offset) + 2 * (offset >> v->h.cluster_bits);

    if (v->h.refcount_order == 4 && at + 2 <= v->len)
        put_be16(v->bytes + at, (guint16)(be16_at(v->bytes + at) + by));
}

/* Let an entry name another place of the file, and make the refcounts agree: the damage that simple
 * comparing of refcounts does not see. */
static void redirect(Fuzz *f, Victim *v, guint64 at)
{
    guint64 cluster = qcow2_cluster_size(&v->h), old = be64_at(v->bytes + at);
    guint64 target = below(f, v->len / cluster + 1) * cluster;

    put_be64(v->bytes + at, target | (below(f, 3) ? 0 : QCOW2_OFLAG_COPIED));
    change_refcount(v, old & QCOW2_OFFSET_MASK, -1);
    change_refcount(v, target, 1);
}

static void change_entry(Fuzz *f, Victim *v)
{
    guint64 at = g_array_index(v->entries, guint64, below(f, v->entries->len));
    guint64 other = g_array_index(v->entries, guint64, below(f, v->entries->len));
    guint64 cluster = qcow2_cluster_size(&v->h);

    if (at + 8 > v->len || other + 8 > v->len)
        return;
    switch (below(f, 9)) {
    case 0:
        put_be64(v->bytes + at, 0);
        break;
    case 1:
        memmove(v->bytes + at, v->bytes + other, 8);
        break;
    case 2:
        put_be64(v->bytes + at, be64_at(v->bytes + at) + cluster * (1 + below(f, 3)));
        break;
    case 3:
        put_be64(v->bytes + at, be64_at(v->bytes + at) - cluster);
        break;
    case 4:
        v->bytes[at + below(f, 8)] = (guint8)next_random(f);
        break;
    case 5:
        put_be64(v->bytes + at, (v->len & ~(cluster - 1)) | (be64_at(v->bytes + at) & 1ull << 63));
        break;
    case 6:
        redirect(f, v, at);
        break;
    default:
        change_bits(f, v, at);
    }
}

static void damage(Fuzz *f, Victim *v)
{
    for (guint64 n = 1 + below(f, 3); n > 0; n--) {
        guint64 what = below(f, 20);

        if (what == 0) {
            v->len -= below(f, MIN(v->len / 2, 3 * qcow2_cluster_size(&v->h)));
        } else if (what == 1) {
            v->bytes[below(f, v->len)] ^= (guint8)(1u << below(f, 8));
        } else if (what == 2) {
            change_refcount(v, below(f, v->len), below(f, 2) ? 1 : -1);
        } else {
            change_entry(f, v);
        }
    }
}

/* ---- Judgement ---- */

/* Run a program with its output thrown away; its exit status, or 128 if it was killed. */
static int run(const char *const *argv)
{
    int status = 0;

    if (!g_spawn_sync(NULL, (char **)argv, NULL,
                      G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                      NULL, NULL, NULL, NULL, &status, NULL))
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Read the image by our reader and compare with qemu-img's reading (ret_fd < 0: it failed). */
static const char *compare_bytes(Layer *layer, int raw)
{
    guint64 size = layer_virtual_size(layer);
    g_autoptr(ChainMap) map = chain_map_new(&layer, 1, 0, NULL);
    g_autoptr(ChainReader) reader = chain_reader_new(map, 0);
    g_autofree guint8 *ours = g_malloc(PIECE), *theirs = g_malloc0(PIECE);
    const char *differs = NULL;
    gboolean is_readable = TRUE;

    for (guint64 at = 0; at < size && is_readable; at += PIECE) {
        gsize len = MIN(PIECE, size - at);
        is_readable = chain_reader_pread(reader, ours, len, at, NULL);
        if (is_readable && raw >= 0 &&
            (pread(raw, theirs, len, (off_t)at) != (gssize)len || memcmp(ours, theirs, len)))
            differs = "we read other bytes than qemu-img";
    }
    if (is_readable != (raw >= 0))
        return is_readable ? "we read what qemu-img cannot read"
                           : "qemu-img reads what we cannot read";
    return differs;
}

static const char *compare_contents(Fuzz *f, Layer *layer)
{
    const char *argv[] = {
        "qemu-img", "convert", "-f", "qcow2", "-O", "raw", f->path, f->raw, NULL
    };
    int status = run(argv);
    int raw = status == 0 ? open(f->raw, O_RDONLY | O_CLOEXEC) : -1;
    const char *why = compare_bytes(layer, raw);

    f->n_compared++;
    if (raw >= 0)
        close(raw);
    unlink(f->raw);
    return why;
}

/* Judge the image at f->path; NULL, or the rule that it breaks. */
static const char *judge(Fuzz *f, gboolean must_ask)
{
    const char *argv[] = { "qemu-img", "check", "--output=json", "-f", "qcow2", f->path, NULL };
    g_autoptr(Layer) layer = layer_open_fd(open(f->path, O_RDONLY | O_CLOEXEC), "image", NULL);
    g_auto(LayerCheck) check = { 0 };

    if (layer && !layer_check(layer, NULL, NULL, NULL, &check, NULL))
        return "the check could not be done";
    if (!layer || check.n_errors || !qcow2_header_check_foreign(layer_header(layer), NULL)) {
        int status = must_ask ? run(argv) : 1;
        f->n_stricter += status == 0 || status == 3;
        return NULL;
    }
    f->n_accepted++;
    int status = run(argv);
    if (check.is_dirty && check.n_leaks)
        return NULL; /* stale refcounts: qemu-img calls them corrupt before a repair */
    if (status != 0 && status != 3)
        return status == 2 ? "we accept what qemu-img calls corrupt"
                           : "we accept what qemu-img refuses to check";
    if ((status == 3) != (check.n_leaks > 0))
        return "we do not agree about leaks";
    if (layer_virtual_size(layer) <= MAX_COMPARE)
        return compare_contents(f, layer);
    return NULL;
}

static gboolean load(Victim *v, const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    gsize need = 0;

    v->entries = g_array_new(FALSE, FALSE, sizeof(guint64));
    if (!g_file_get_contents(path, (char **)&v->bytes, &v->len, NULL) ||
        !qcow2_header_parse(v->bytes, v->len, v->len, &v->h, &need, NULL))
        return FALSE;
    find_entries(v);
    return TRUE;
}

static void iterate(Fuzz *f, const Victim *original, const char *name, guint64 i)
{
    Victim v = *original;

    f->state = f->seed * 1000003 + i;
    v.bytes = g_memdup2(original->bytes, original->len);
    next_random(f);
    damage(f, &v);
    unlink(f->path);
    if (!g_file_set_contents_full(f->path, (char *)v.bytes, (gssize)v.len, G_FILE_SET_CONTENTS_NONE,
                                  0600, NULL))
        g_error("cannot write %s", f->path);
    g_free(v.bytes);
    const char *why = judge(f, i % 16 == 0);
    if (why) {
        g_autofree char *kept = g_strdup_printf(
            "%s/failed-%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, f->folder, f->seed, i);
        g_assert_cmpint(rename(f->path, kept), ==, 0);
        printf("FAILED: %s: %s (from %s)\n", kept, why, name);
        fflush(stdout);
        f->n_failed++;
    }
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: differential FOLDER N SEED\n", stderr);
        return 2;
    }
    Fuzz f = { .folder = argv[1], .seed = g_ascii_strtoull(argv[3], NULL, 10) };
    guint64 n = g_ascii_strtoull(argv[2], NULL, 10), n_victims = 0;
    g_autoptr(GDir) dir = g_dir_open(argv[1], 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, ".qcow2"))
            g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_names);
    f.path = g_build_filename(f.folder, "damaged", NULL);
    f.raw = g_build_filename(f.folder, "damaged.raw", NULL);
    Victim *victims = g_new0(Victim, names->len + 1);
    for (; n_victims < names->len; n_victims++) {
        if (!load(&victims[n_victims], f.folder, g_ptr_array_index(names, n_victims)))
            g_error("%s is not a sound image", (char *)g_ptr_array_index(names, n_victims));
    }
    if (n_victims == 0)
        g_error("no images in %s", f.folder);
    printf("seed %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " images to damage\n", f.seed,
           n_victims);
    fflush(stdout);
    for (guint64 i = 0; i < n; i++)
        iterate(&f, &victims[i % n_victims], g_ptr_array_index(names, i % n_victims), i);
    printf("%" G_GUINT64_FORMAT " damaged images: %u accepted, %u compared, stricter than qemu-img "
           "in %u of a sample of 1/16, %u failed\n",
           n, f.n_accepted, f.n_compared, f.n_stricter, f.n_failed);
    return f.n_failed ? 1 : 0;
}
