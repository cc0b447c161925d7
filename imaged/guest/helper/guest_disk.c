/* guest_disk.c: see guest_disk.h. */
#include "imaged/guest/helper/guest_disk.h"

#include <stdlib.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define MAX_FSTAB_LINES 1000u

typedef struct {
    char *mountable; /* "/dev/sda1", or "btrfsvol:/dev/sda1/@home" */
    char *type;      /* ext4, ... */
    char *uuid, *label;
    gboolean is_mounted;
} GuestFs;

static void fs_free(gpointer data)
{
    GuestFs *fs = data;

    g_free(fs->mountable);
    g_free(fs->type);
    g_free(fs->uuid);
    g_free(fs->label);
    g_free(fs);
}

void guest_disk_clear(GuestDisk *disk)
{
    g_clear_pointer(&disk->systems, g_ptr_array_unref);
    g_clear_pointer(&disk->points, g_hash_table_unref);
}

static char *take(char *text)
{
    char *out = g_strdup(text ? text : "");

    free(text);
    return out;
}

/* ---- What is on it ---- */

static gboolean lies_on(const GuestDisk *disk, const char *mountable)
{
    const char *device = strstr(mountable, "/dev/");
    gsize n = strlen(disk->device);

    return device && strncmp(device, disk->device, n) == 0 &&
           (!device[n] || g_ascii_isdigit(device[n]) || device[n] == '/');
}

static gboolean list_systems(GuestDisk *disk, GError **error)
{
    char **list = guestfs_list_filesystems(disk->g); /* mountable, type, ... */

    if (!list) {
        appliance_error(disk->g, error, "the disk cannot be looked at");
        return FALSE;
    }
    disk->systems = g_ptr_array_new_with_free_func(fs_free);
    for (guint i = 0; list[i] && list[i + 1]; i += 2) {
        if (!lies_on(disk, list[i]) || strcmp(list[i + 1], "swap") == 0)
            continue;
        GuestFs *fs = g_new0(GuestFs, 1);
        fs->mountable = g_strdup(list[i]);
        fs->type = g_strdup(list[i + 1]);
        fs->uuid = take(guestfs_vfs_uuid(disk->g, list[i]));
        fs->label = take(guestfs_vfs_label(disk->g, list[i]));
        g_ptr_array_add(disk->systems, fs);
    }
    g_strfreev(list);
    return TRUE;
}

static gboolean has_type(const GuestDisk *disk, const char *type)
{
    for (guint i = 0; i < disk->systems->len; i++) {
        if (g_str_equal(((GuestFs *)disk->systems->pdata[i])->type, type))
            return TRUE;
    }
    return FALSE;
}

/* ---- Mounting ---- */

/* The codes of ntfs-3g.probe. */
static gboolean check_ntfs(GuestDisk *disk, const GuestFs *fs, GError **error)
{
    int code = guestfs_ntfs_3g_probe(disk->g, 1, fs->mountable);

    if (code == 0)
        return TRUE;
    if (code == 14)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "Windows on it is hibernated, or was shut down by \"fast startup\": its files"
                    " are not all on the disk");
    else if (code == 13 || code == 15)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "its NTFS is dirty: Windows was not shut down cleanly");
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "its NTFS cannot be used (ntfs-3g says %d)", code);
    imaged_error_hint(error, "start it and shut Windows down (shutdown /s /t 0), then try again");
    return FALSE;
}

/* Two btrfs with one UUID cannot be told apart by the kernel, which then refuses or confuses them:
 * the read-only one, whose changes stay in the appliance, gets another UUID.  That comes before
 * anything that mounts, as listing file systems does. */
static gboolean renew_btrfs(GuestDisk *disk, GError **error)
{
    char **lists[] = { guestfs_list_devices(disk->g), guestfs_list_partitions(disk->g) };
    gboolean ok = TRUE;

    for (guint k = 0; k < G_N_ELEMENTS(lists); k++) {
        for (guint i = 0; ok && disk->is_read_only && lists[k] && lists[k][i]; i++) {
            char *type = lies_on(disk, lists[k][i]) ? guestfs_vfs_type(disk->g, lists[k][i]) : NULL;
            ok =
                g_strcmp0(type, "btrfs") != 0 || guestfs_set_uuid_random(disk->g, lists[k][i]) == 0;
            free(type);
        }
        g_strfreev(lists[k]);
    }
    if (!ok)
        appliance_error(disk->g, error, "its btrfs cannot be told from its clone");
    return ok;
}

static gboolean mount_fs(GuestDisk *disk, GuestFs *fs, const char *point, GError **error)
{
    g_autofree char *where = g_strconcat(disk->at, g_str_equal(point, "/") ? "" : point, NULL);
    g_autofree char *options =
        g_strdup_printf("%s,nosuid,nodev%s", disk->is_read_only ? "ro" : "rw",
                        g_str_equal(fs->type, "xfs") ? ",nouuid" : "");

    if (fs->is_mounted)
        return TRUE;
    if (g_str_equal(fs->type, "ntfs") && !check_ntfs(disk, fs, error))
        return FALSE;
    if (guestfs_mount_options(disk->g, options, fs->mountable, where) == 0) {
        fs->is_mounted = TRUE;
        return TRUE;
    }
    appliance_error(disk->g, error, "its file system on '%s' (%s) cannot be mounted", point,
                    fs->type);
    return FALSE;
}

static gboolean is_root(GuestDisk *disk)
{
    g_autofree char *fstab = g_strconcat(disk->at, "/etc/fstab", NULL);
    g_autofree char *release = g_strconcat(disk->at, "/etc/os-release", NULL);
    g_autofree char *windows = g_strconcat(disk->at, "/Windows/System32", NULL);

    disk->is_windows = guestfs_is_dir(disk->g, windows) == 1;
    return disk->is_windows || guestfs_is_file(disk->g, fstab) == 1 ||
           guestfs_exists(disk->g, release) == 1;
}

static gboolean find_root(GuestDisk *disk, GError **error)
{
    g_autoptr(GError) first = NULL;

    for (guint i = 0; i < disk->systems->len; i++) {
        GuestFs *fs = disk->systems->pdata[i];
        if (!mount_fs(disk, fs, "/", first ? NULL : &first))
            continue;
        if (is_root(disk)) {
            g_hash_table_insert(disk->points, g_strdup("/"), fs);
            return TRUE;
        }
        fs->is_mounted = FALSE;
        if (guestfs_umount(disk->g, disk->at) < 0) {
            appliance_error(disk->g, error, "a file system cannot be unmounted");
            return FALSE;
        }
    }
    if (has_type(disk, "crypto_LUKS") || has_type(disk, "BitLocker"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED, "it is encrypted");
    else if (has_type(disk, "LVM2_member"))
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                    "it is on LVM, whose clones cannot be used side by side");
    else if (first)
        g_propagate_error(error, g_steal_pointer(&first));
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "no operating system was found on the disk");
    return FALSE;
}

/* ---- fstab ---- */

/* "/dev/vda2", "/dev/nvme0n1p2": the partition of that number, whatever the disk is called here. */
static gboolean is_same_partition(const char *spec, const char *mountable)
{
    gsize n = strlen(spec), m = strlen(mountable);

    while (n && g_ascii_isdigit(spec[n - 1]))
        n--;
    while (m && g_ascii_isdigit(mountable[m - 1]))
        m--;
    return g_str_equal(spec + n, mountable + m);
}

static gboolean is_meant(const GuestFs *fs, const char *spec, const char *options)
{
    const char *volume = strstr(options, "subvol=");

    if (volume) { /* "btrfsvol:/dev/sda1/@home" */
        g_autofree char *name = g_strndup(volume + 7, strcspn(volume + 7, ","));
        const char *plain = *name == '/' ? name + 1 : name;
        if (!g_str_has_suffix(fs->mountable, plain))
            return FALSE;
    } else if (g_str_has_prefix(fs->mountable, "btrfsvol:")) {
        return FALSE;
    }
    if (g_str_has_prefix(spec, "UUID="))
        return *fs->uuid && g_ascii_strcasecmp(fs->uuid, spec + 5) == 0;
    if (g_str_has_prefix(spec, "LABEL="))
        return *fs->label && strcmp(fs->label, spec + 6) == 0;
    return g_str_has_prefix(spec, "/dev/") && !strstr(spec, "/disk/") &&
           (volume || is_same_partition(spec, fs->mountable));
}

static void add_point(GuestDisk *disk, const char *spec, const char *point, const char *options)
{
    g_autofree char *plain = g_strdup(point);
    gsize n = strlen(plain);

    while (n > 1 && plain[n - 1] == '/')
        plain[--n] = '\0';
    if (*plain != '/' || n == 1 || strstr(plain, ".."))
        return;
    for (guint i = 0; i < disk->systems->len; i++) {
        GuestFs *fs = disk->systems->pdata[i];
        if (is_meant(fs, spec, options)) {
            g_hash_table_insert(disk->points, g_steal_pointer(&plain), fs);
            return;
        }
    }
    g_hash_table_insert(disk->points, g_steal_pointer(&plain), NULL); /* not on this disk */
}

static gboolean is_of_kernel(const char *type)
{
    static const char *const types[] = { "swap", "proc",   "sysfs",  "tmpfs", "devpts",
                                         "none", "nfs",    "nfs4",   "cifs",  "debugfs",
                                         "fuse", "cgroup", "overlay" };

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (strcmp(type, types[i]) == 0)
            return TRUE;
    }
    return FALSE;
}

static void read_fstab(GuestDisk *disk)
{
    g_autofree char *path = g_strconcat(disk->at, "/etc/fstab", NULL);
    char **lines = guestfs_is_file(disk->g, path) == 1 ? guestfs_read_lines(disk->g, path) : NULL;

    for (guint i = 0; lines && lines[i] && i < MAX_FSTAB_LINES; i++) {
        g_autoptr(GPtrArray) words = g_ptr_array_new();
        char *rest = NULL;
        for (char *word = strtok_r(lines[i], " \t", &rest); word;
             word = strtok_r(NULL, " \t", &rest))
            g_ptr_array_add(words, word);
        if (words->len < 3 || *(char *)words->pdata[0] == '#' || is_of_kernel(words->pdata[2]))
            continue;
        add_point(disk, words->pdata[0], words->pdata[1], words->len > 3 ? words->pdata[3] : "");
    }
    g_strfreev(lines);
}

/* ---- The interface ---- */

gboolean guest_disk_mount(GuestDisk *disk, GError **error)
{
    disk->points = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (guestfs_mkmountpoint(disk->g, disk->at) < 0) {
        appliance_error(disk->g, error, "no place to mount a disk");
        return FALSE;
    }
    if (!renew_btrfs(disk, error) || !list_systems(disk, error) || !find_root(disk, error))
        return FALSE;
    if (!disk->is_windows)
        read_fstab(disk);
    return TRUE;
}

gboolean guest_disk_is_mount_point(const GuestDisk *disk, const char *path)
{
    return g_hash_table_contains(disk->points, path);
}

/* Mount what belongs to this folder, if anything does. */
static gboolean enter(GuestDisk *disk, const char *folder, GError **error)
{
    gpointer fs;

    if (!g_hash_table_lookup_extended(disk->points, folder, NULL, &fs) || g_str_equal(folder, "/"))
        return TRUE;
    if (fs)
        return mount_fs(disk, fs, folder, error);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                "'%s' is a file system of its own that is not on this disk", folder);
    imaged_error_hint(error, "a data disk needs no --keep: no reset touches it");
    return FALSE;
}

char *guest_disk_path(GuestDisk *disk, const char *path, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GString) inside = g_string_new(NULL); /* in the guest */

    for (guint i = 0; parts[i]; i++) {
        if (!*parts[i])
            continue;
        g_autofree char *above = g_strconcat(disk->at, inside->str, NULL);
        /* Of all but the last part: what leads to it must be real folders. */
        if (inside->len && guestfs_is_symlink(disk->g, above) == 1) {
            g_autofree char *shown = text_for_message(inside->str, 200);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "'%s' is a symbolic link, which is not followed", shown);
            imaged_error_hint(error, "name the folder that it points to");
            return NULL;
        }
        g_string_append_printf(inside, "/%s", parts[i]);
        if (!enter(disk, inside->str, error))
            return NULL;
    }
    return g_strconcat(disk->at, inside->str, NULL);
}
