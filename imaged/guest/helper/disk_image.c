/* disk_image.c: see disk_image.h.
 *
 * GRUB for a BIOS is two pieces that name each other by their sectors: boot.img (the first sector
 * of the disk) has the sector of core.img at 0x5c; core.img's own first sector has at 0x1f4 where
 * the rest of it lies (start, length, the address to load it to).  grub-bios-setup writes the same,
 * but wants devices.  Source: GRUB 2.06, grub-core/boot/i386/pc/boot.S and diskboot.S. */
#include "imaged/guest/helper/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/guest/helper/boot_files.h"
#include "imaged/guest/helper/program.h"

#define SECTOR 512u
#define BIOS_START (1 * MIB)
#define BIOS_LEN (1 * MIB)
#define ESP_START (2 * MIB)
#define ESP_LEN (64 * MIB)
#define TABLE_END (1 * MIB) /* the table's copy at the end of the disk, and alignment */
#define BOOT_CODE_LEN 440   /* before the disk's signature and its first table */
#define PIECE (1u << 20)
#define BLOCK 65536u /* of zeros that are left out */

static void log_line(const char *text, gpointer task)
{
    task_log(task, text);
}

static char *read_file(const char *root, const char *name, gsize max, gsize *ret_len,
                       GError **error)
{
    g_autofree char *path = g_build_filename(root, name, NULL);
    char *data = NULL;

    if (!durable_read(AT_FDCWD, path, max, &data, ret_len, error)) {
        g_prefix_error(error, "the boot loader: ");
        return NULL;
    }
    return data;
}

static gboolean make_table(const char *path, guint64 size, GError **error)
{
    guint64 root_len = size - DISK_IMAGE_ROOT_START - TABLE_END;
    g_autofree char *script = g_strdup_printf(
        "label: gpt\nfirst-lba: 2048\n"
        "start=%u, size=%u, type=21686148-6449-6E6F-744E-656564454649, name=bios\n"
        "start=%u, size=%u, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=esp\n"
        "start=%u, size=%" G_GUINT64_FORMAT
        ", type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n",
        (guint)(BIOS_START / SECTOR), (guint)(BIOS_LEN / SECTOR), (guint)(ESP_START / SECTOR),
        (guint)(ESP_LEN / SECTOR), (guint)(DISK_IMAGE_ROOT_START / SECTOR), root_len / SECTOR);
    const char *const argv[] = { "sfdisk", "-q", "--no-reread", "--no-tell-kernel", path, NULL };
    const Program program = { .argv = argv, .input = script };

    return program_run(&program, error);
}

static gboolean make_root(Task *task, const char *root, const char *path, guint64 size,
                          const char *uuid, GError **error)
{
    g_autofree char *place = g_strdup_printf("offset=%" G_GUINT64_FORMAT ",root_owner=0:0",
                                             (guint64)DISK_IMAGE_ROOT_START);
    g_autofree char *blocks = g_strdup_printf(
        "%" G_GUINT64_FORMAT "k", (guint64)((size - DISK_IMAGE_ROOT_START - TABLE_END) / KIB));
    const char *const argv[] = { "mke2fs", "-q", "-F",  "-t", "ext4", "-L", "root", "-U",
                                 uuid,     "-E", place, "-d", root,   path, blocks, NULL };
    const Program program = { .argv = argv, .line = log_line, .data = task };
    g_autoptr(GError) local = NULL;

    if (program_run(&program, &local))
        return TRUE;
    const char *said = imaged_error_get_hint(local);
    if (said && strstr(said, "Could not allocate block")) {
        g_autofree char *text = units_format_size(size);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "what is installed does not fit on a disk of %s", text);
        imaged_error_hint(error, "make 'size' in the recipe larger");
        return FALSE;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean make_esp(const char *root, const char *path, GError **error)
{
    g_autofree char *efi = g_build_filename(root, BOOT_EFI, NULL);
    g_autofree char *sector = g_strdup_printf("%u", (guint)(ESP_START / SECTOR));
    g_autofree char *blocks = g_strdup_printf("%u", (guint)(ESP_LEN / KIB));
    g_autofree char *place = g_strdup_printf("%s@@%u", path, (guint)ESP_START);

    return program_run_args(NULL, error, "mkfs.vfat", "-F", "16", "-n", "ESP", "--offset", sector,
                            path, blocks, NULL) &&
           program_run_args(NULL, error, "mmd", "-i", place, "::EFI", "::EFI/BOOT", NULL) &&
           program_run_args(NULL, error, "mcopy", "-i", place, efi, "::EFI/BOOT/BOOTX64.EFI", NULL);
}

static void put_le(guint8 *at, guint64 value, guint n)
{
    for (guint i = 0; i < n; i++)
        at[i] = (guint8)(value >> (8 * i));
}

static gboolean make_bios_boot(const char *root, int fd, GError **error)
{
    gsize sector_len = 0, core_len = 0;
    g_autofree char *sector = read_file(root, BOOT_SECTOR, SECTOR, &sector_len, error);
    g_autofree char *core = sector ? read_file(root, BOOT_CORE, BIOS_LEN, &core_len, error) : NULL;
    guint64 at = BIOS_START / SECTOR;

    if (!core)
        return FALSE;
    if (sector_len != SECTOR || core_len < 2 * SECTOR) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT, "GRUB's images are too short");
        return FALSE;
    }
    guint64 n_sectors = (core_len + SECTOR - 1) / SECTOR;
    put_le((guint8 *)sector + 0x5c, at, 8);
    put_le((guint8 *)sector + 0x66, 0x9090,
           2); /* no guess at the drive: a BIOS tells the right one */
    put_le((guint8 *)core + 0x1f4, at + 1, 8);
    put_le((guint8 *)core + 0x1fc, n_sectors - 1, 2);
    put_le((guint8 *)core + 0x1fe, 0x820, 2);
    return durable_write(fd, sector, BOOT_CODE_LEN, 0, error) &&
           durable_write(fd, core, core_len, BIOS_START, error);
}

gboolean disk_image_make(Task *task, const char *root, const char *path, guint64 size_bytes,
                         const char *root_uuid, GError **error)
{
    auto_fd fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot make the disk");
        return FALSE;
    }
    return durable_truncate(fd, size_bytes, error) && make_table(path, size_bytes, error) &&
           make_root(task, root, path, size_bytes, root_uuid, error) &&
           make_esp(root, path, error) && make_bios_boot(root, fd, error);
}

/* ---- Sending ---- */

typedef struct {
    Task *task;
    int fd;
    guint64 size, sent;
    guint8 *buffer;
} Sender;

static gboolean send_piece(Sender *s, guint64 offset, const guint8 *data, gsize n, GError **error)
{
    guint8 head[16];

    put_le(head, offset, 8);
    put_le(head + 8, n, 8);
    return task_data(s->task, head, sizeof head, error) &&
           (!n || task_data(s->task, data, n, error));
}

static gboolean is_zero(const guint8 *data, gsize n)
{
    return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

/* What is not zeros, in runs as long as can be. */
static gboolean send_part(Sender *s, guint64 offset, gsize n, GError **error)
{
    gsize begin = 0;

    for (gsize at = 0; at <= n; at += BLOCK) {
        gsize len = at < n ? MIN(BLOCK, n - at) : 0;
        if (len && !is_zero(s->buffer + at, len))
            continue;
        gsize end = MIN(at, n);
        if (end > begin && !send_piece(s, offset + begin, s->buffer + begin, end - begin, error))
            return FALSE;
        begin = at + BLOCK;
    }
    return begin >= n || send_piece(s, offset + begin, s->buffer + begin, n - begin, error);
}

static gboolean send_range(Sender *s, guint64 offset, guint64 end, GError **error)
{
    gsize n;

    for (; offset < end; offset += n) {
        gsize wanted = (gsize)MIN(PIECE, end - offset);
        if (!durable_pread(s->fd, s->buffer, wanted, offset, &n) || n == 0) {
            imaged_error_set_errno(error, errno, "cannot read the disk that was made");
            return FALSE;
        }
        if (!send_part(s, offset, n, error))
            return FALSE;
        task_progress(s->task, offset + n, s->size, "storing the disk");
    }
    return TRUE;
}

static gboolean send_all(Sender *s, GError **error)
{
    off_t at = 0, hole = 0;

    while ((at = lseek(s->fd, hole, SEEK_DATA)) >= 0 &&
           (hole = lseek(s->fd, at, SEEK_HOLE)) >= 0) {
        if (!send_range(s, (guint64)at, (guint64)hole, error))
            return FALSE;
    }
    /* ENXIO: there are no more data. */
    if (at < 0 && errno == ENXIO)
        return send_piece(s, s->size, NULL, 0, error);
    imaged_error_set_errno(error, errno, "cannot read the disk that was made");
    return FALSE;
}

gboolean disk_image_send(Task *task, const char *path, GError **error)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read the disk that was made");
        return FALSE;
    }
    g_autofree guint8 *buffer = g_malloc(PIECE);
    Sender s = { .task = task, .fd = fd, .size = (guint64)st.st_size, .buffer = buffer };
    return send_all(&s, error);
}
