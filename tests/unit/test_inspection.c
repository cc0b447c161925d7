/* test_inspection.c: what the helper says is checked; partition tables of hostile disks; and when a
 * diff is as good as its template. */
#include <string.h>

#include "imaged/guest/helper/disk_view.h"
#include "imaged/guest/helper/partitions.h"
#include "templates/inspection.h"

static const char good[] =
    "{'type':'linux','distribution':'debian','product_name':'D','version':'12','architecture':'x',"
    "'hostname':'h','package_format':'deb','partition_table':'gpt','boot':['bios'],'agents':[],"
    "'file_systems':[{'device':'/dev/sda1','type':'ext4','label':'','uuid':'','size':1,'used':null,"
    "'mount':null}],'users':[{'name':'root','uid':0,'home':'/root'}],"
    "'applications':[['a','1','x']],'applications_cut':false,'ranges':[['d',0,512]],'method':'fast'"
    "}";

/* TRUE if the result with this member (JSON in single quotes; NULL: without it) is taken. */
static gboolean takes(const char *key, const char *value)
{
    g_autofree char *text = g_strdelimit(g_strdup(good), "'", '"');
    g_autofree char *part = value ? g_strdelimit(g_strdup(value), "'", '"') : NULL;
    json_t *object = json_loads(text, 0, NULL), *result, *applications, *ranges;
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(object);
    if (key && part)
        json_object_set_new(object, key, json_loads(part, JSON_DECODE_ANY, NULL));
    else if (key)
        json_object_del(object, key);
    gboolean ok = inspection_check(object, &result, &applications, &ranges, &error);
    g_assert_true(ok == !error);
    if (ok) {
        json_decref(result);
        json_decref(applications);
        json_decref(ranges);
    }
    json_decref(object);
    return ok;
}

static void test_check(void)
{
    static const char *const bad[][2] = {
        { "type", NULL },
        { "type", "7" },
        { "hostname", "null" },
        { "hostname", "'a\\nb'" },
        { "users", "[{'name':'x'}]" },
        { "users", "{}" },
        { "users", "[{'name':'x','uid':-1,'home':''}]" },
        { "boot", "[1]" },
        { "applications", "[['a','1']]" },
        { "applications", "[['a','1',2]]" },
        { "applications", "{}" },
        { "ranges", "[['q',0,1]]" },
        { "ranges", "[['d',-1,1]]" },
        { "ranges", "[['d',9223372036854775807,1]]" },
        { "ranges", "[['d',0]]" },
        { "ranges", "[['d',0,268435457]]" },
        { "ranges", "[['d',0,200000000],['d',0,200000000]]" },
        { "file_systems", "[7]" },
    };

    g_assert_true(takes(NULL, NULL));
    g_assert_true(takes("ranges", "null"));
    g_assert_true(takes("ranges", NULL));
    g_assert_true(takes("stranger", "'is dropped'"));
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        if (takes(bad[i][0], bad[i][1]))
            g_error("%s = %s was taken", bad[i][0], bad[i][1]);
    }
    g_autofree char *filler = g_strnfill(300, 'x');
    g_autofree char *quoted = g_strdup_printf("'%s'", filler);
    g_assert_false(takes("hostname", quoted));
}

/* ---- Partition tables ---- */

static gboolean read_memory(gpointer source, void *buffer, gsize len, guint64 offset,
                            GError **error)
{
    memcpy(buffer, (const guint8 *)source + offset, len);
    return TRUE;
}

#define DISK (64u << 10)

static void put32(guint8 *at, guint32 value)
{
    for (guint i = 0; i < 4; i++)
        at[i] = (guint8)(value >> 8 * i);
}

static void put_entry(guint8 *sector, guint i, guint8 type, guint32 first, guint32 n)
{
    guint8 *e = sector + 446 + 16 * i;

    e[4] = type;
    put32(e + 8, first);
    put32(e + 12, n);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void test_mbr(void)
{
    g_autofree guint8 *disk = g_malloc0(DISK);
    g_autoptr(Block) block = block_new(DISK, read_memory, disk, NULL);

    put_entry(disk, 0, 0x83, 8, 8);
    put_entry(disk, 1, 0x83, 100, 0xffffffff); /* beyond the end */
    put_entry(disk, 2, 0x83, 0xfffffff0, 8);
    put_entry(disk, 3, 0x05, 64, 32);
    put_entry(disk + 64 * 512, 0, 0x83, 2, 4);
    put_entry(disk + 64 * 512, 1, 0x05, 0, 32); /* the next table is this one again */
    g_autoptr(PartitionTable) t = partitions_read(block, NULL);
    g_assert_cmpstr(t->kind, ==, "mbr");
    g_assert_cmpuint(t->parts->len, >=, 2);
    g_assert_cmpuint(t->parts->len, <=, PARTITIONS_MAX);
    const Partition *first = &g_array_index(t->parts, Partition, 0);
    g_assert_cmpuint(first->start, ==, 8 * 512);
    g_assert_cmpuint(first->number, ==, 1);
    g_assert_cmpuint(g_array_index(t->parts, Partition, 1).number, ==, 5);
    for (guint i = 0; i < t->parts->len; i++) {
        const Partition *p = &g_array_index(t->parts, Partition, i);
        g_assert_cmpuint(p->start + p->length, <=, DISK);
    }
}

static void test_gpt(void)
{
    static const guint32 bad[][2] = { { 72, 0xffffffff }, { 72, 0 }, { 84, 0 },
                                      { 84, 0xffffffff }, { 80, 0 }, { 0, 0 } };
    g_autofree guint8 *disk = g_malloc0(DISK);

    for (guint i = 0; i <= G_N_ELEMENTS(bad); i++) {
        g_autoptr(Block) block = block_new(DISK, read_memory, disk, NULL);
        g_autoptr(GError) error = NULL;
        memset(disk, 0, DISK);
        put_entry(disk, 0, 0xee, 1, 127);
        memcpy(disk + 512, "EFI PART", 8);
        put32(disk + 512 + 72, 2);
        put32(disk + 512 + 80, 0xffffffff); /* entries: only so many are looked at */
        put32(disk + 512 + 84, 128);
        disk[1024] = 1;
        put32(disk + 1024 + 32, 40);
        put32(disk + 1024 + 40, 47);
        if (i < G_N_ELEMENTS(bad))
            put32(disk + 512 + bad[i][0], bad[i][1]);
        g_autoptr(PartitionTable) t = partitions_read(block, &error);
        g_assert_true((t != NULL) == (i == G_N_ELEMENTS(bad)));
        g_assert_true((error != NULL) == (t == NULL));
        if (t)
            g_assert_cmpuint(g_array_index(t->parts, Partition, 0).length, ==, 8 * 512);
    }
}

/* A partition that holds something else tomorrow is another answer. */
static void test_probe_is_traced(void)
{
    g_autofree guint8 *disk = g_malloc0(DISK);
    g_autoptr(Block) block = block_new(DISK, read_memory, disk, NULL);
    g_autoptr(Trace) trace = trace_new();
    gboolean has_magic = FALSE, has_label = FALSE;
    size_t i;
    json_t *range;

    put_entry(disk, 0, 0x0b, 8, 100);
    memcpy(disk + 8 * 512 + 82, "FAT32   ", 8);
    g_autoptr(DiskView) view = disk_view_open(block, trace, NULL);
    g_assert_cmpstr(((DiskFs *)view->file_systems->pdata[0])->type, ==, "vfat");
    json_t *ranges = trace_to_json(trace);
    json_array_foreach (ranges, i, range) {
        json_int_t at = json_integer_value(json_array_get(range, 1));
        json_int_t end = at + json_integer_value(json_array_get(range, 2));
        has_magic = has_magic || (at <= 8 * 512 + 82 && end >= 8 * 512 + 90);
        has_label = has_label || (at <= 8 * 512 + 71 && end >= 8 * 512 + 82);
    }
    json_decref(ranges);
    g_assert_true(has_magic);
    g_assert_true(has_label);
}

/* Too much to be compared for each desktop is no answer. */
static void test_trace_is_bounded(void)
{
    g_autoptr(Trace) small = trace_new(), large = trace_new();

    trace_add(small, 'd', 0, TRACE_BYTES_MAX);
    trace_add(large, 'd', 0, TRACE_BYTES_MAX);
    trace_add(large, 'd', 2 * TRACE_BYTES_MAX, 1);
    json_t *known = trace_to_json(small), *unknown = trace_to_json(large);
    g_assert_true(json_is_array(known));
    g_assert_true(json_is_null(unknown));
    json_decref(known);
    json_decref(unknown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inspection/check", test_check);
    g_test_add_func("/inspection/mbr", test_mbr);
    g_test_add_func("/inspection/gpt", test_gpt);
    g_test_add_func("/inspection/probe-is-traced", test_probe_is_traced);
    g_test_add_func("/inspection/trace-is-bounded", test_trace_is_bounded);
    return g_test_run();
}
