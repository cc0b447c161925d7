/* fuzz_guest.c: libFuzzer target: what a guest's disk says of itself: partition tables, and the
 * files that name its system, packages, people and mounts. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "imaged/base/escape.h"
#include "imaged/guest/helper/fs_probe.h"
#include "imaged/guest/helper/partitions.h"
#include "imaged/guest/helper/texts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gboolean read_memory(gpointer source, void *buffer, gsize len, guint64 offset,
                            GError **error)
{
    memcpy(buffer, (const guint8 *)source + offset, len);
    return TRUE;
}

static void check_text(const char *text)
{
    g_assert_true(g_utf8_validate(text, -1, NULL) && strlen(text) <= TEXT_MAX);
}

static void try_packages(const char *text, gsize len)
{
    g_auto(Packages) packages;

    packages_init(&packages);
    dpkg_status_parse(text, len, &packages);
    apk_installed_parse(text, len, &packages);
    g_assert_cmpuint(packages.list->len, <=, PACKAGES_MAX);
    for (guint i = 0; i < packages.list->len; i++) {
        const Package *p = packages.list->pdata[i];
        check_text(p->name);
        check_text(p->version);
        check_text(p->arch);
    }
}

static void try_system(const char *text, gsize len)
{
    g_autoptr(GPtrArray) users = passwd_parse(text, len);
    g_autoptr(GPtrArray) mounts = fstab_parse(text, len);
    g_autofree char *id = os_release_get(text, len, "ID");
    g_autofree char *host = hostname_parse(text, len);
    g_autofree char *owner = id_name_parse(text, len, 0);

    g_assert_cmpuint(users->len, <=, USERS_MAX);
    g_assert_cmpuint(mounts->len, <=, MOUNTS_MAX);
    if (id)
        check_text(id);
    if (host)
        check_text(host);
    if (owner)
        check_text(owner);
}

static void try_disk(const uint8_t *data, size_t size)
{
    g_autoptr(Block) disk = block_new(size, read_memory, (gpointer)data, NULL);
    g_autoptr(PartitionTable) table = partitions_read(disk, NULL);

    for (guint i = 0; table && i < table->parts->len; i++) {
        const Partition *p = &g_array_index(table->parts, Partition, i);
        g_assert_true(p->start <= size && p->length <= size - p->start);
        g_autoptr(Block) part = block_part(disk, p->start, p->length);
        FsProbe probe;
        fs_probe(part, NULL, &probe);
    }
}

static void try_escape(const char *bytes, gsize len)
{
    g_autofree char *text = escape_bytes(bytes, strnlen(bytes, len));
    g_autofree char *back = escape_undo(text, NULL);
    g_autofree char *other = escape_undo(bytes, NULL);

    g_assert_true(g_utf8_validate(text, -1, NULL));
    g_assert_cmpstr(back, ==, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    try_packages((const char *)data, size);
    try_system((const char *)data, size);
    try_disk(data, size);
    try_escape(text, strlen(text));
    return 0;
}
