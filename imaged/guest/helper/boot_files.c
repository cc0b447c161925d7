/* boot_files.c: GRUB's images are made by the guest's own grub-mkimage from its own modules, so
 * they fit together.  Both find the root file system by its UUID and read /boot/grub/grub.cfg
 * there, which update-grub makes anew in the guest whenever a kernel is installed. */
#include "imaged/guest/helper/boot_files.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/guest/helper/customize.h"
#include "imaged/guest/helper/program.h"

/* no_timer_check: a kernel that is emulated on a busy machine waits too short for its timer, takes
 * it for broken and panics; under KVM and Hyper-V it leaves the check out by itself. */
#define COMMAND_LINE "console=tty0 console=ttyS0,115200 no_timer_check"

static const char default_grub[] =
    "# Read by update-grub.\n"
    "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_TIMEOUT_STYLE=hidden\nGRUB_DISTRIBUTOR=Debian\n"
    "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"" COMMAND_LINE "\"\n"
    "GRUB_TERMINAL=\"console serial\"\nGRUB_SERIAL_COMMAND=\"serial --unit=0 --speed=115200\"\n"
    "GRUB_DISABLE_OS_PROBER=true\n";

/* The root partition takes what the disk has, at every boot; then its file system does (fstab). */
static const char repart[] = "[Partition]\nType=root\n";

static gboolean put_texts(const BootFiles *boot, GError **error)
{
    g_autofree char *fstab = g_strdup_printf(
        "UUID=%s / ext4 errors=remount-ro,discard,x-systemd.growfs 0 1\n", boot->root_uuid);
    g_autofree char *config =
        g_strdup_printf("# Made when the template was built; update-grub makes it anew.\n"
                        "serial --unit=0 --speed=115200\nterminal_input console serial\n"
                        "terminal_output console serial\n"
                        "search --no-floppy --fs-uuid --set=root %s\nset timeout=0\n"
                        "menuentry 'Debian GNU/Linux' {\n"
                        "    linux /vmlinuz root=UUID=%s ro " COMMAND_LINE " quiet\n"
                        "    initrd /initrd.img\n}\n",
                        boot->root_uuid, boot->root_uuid);
    g_autofree char *early = g_strdup_printf("search.fs_uuid %s root\n"
                                             "set prefix=($root)/boot/grub\n",
                                             boot->root_uuid);

    return customize_put_text("/etc/fstab", fstab, 0644, error) &&
           customize_put_text("/etc/repart.d/50-root.conf", repart, 0644, error) &&
           customize_put_text("/etc/default/grub", default_grub, 0644, error) &&
           customize_put_text("/boot/grub/grub.cfg", config, 0644, error) &&
           customize_put_text("/boot/grub/early.cfg", early, 0644, error);
}

static gboolean copy_modules(const char *format, GError **error)
{
    g_autofree char *from = g_strconcat("/usr/lib/grub/", format, NULL);

    if (!g_file_test(from, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the template has no boot loader: '%s' is missing", from);
        return FALSE;
    }
    return program_run_args(NULL, error, "cp", "-r", "--", from, "/boot/grub/", NULL);
}

gboolean boot_files_install(gpointer data, GError **error)
{
    if (access("/vmlinuz", R_OK) < 0 || access("/initrd.img", R_OK) < 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                    "the template has no kernel: '/vmlinuz' or '/initrd.img' is missing");
        imaged_error_hint(error, "did a command of the recipe remove it?");
        return FALSE;
    }
    return put_texts(data, error) && copy_modules("i386-pc", error) &&
           copy_modules("x86_64-efi", error) &&
           program_run_args(NULL, error, "grub-mkimage", "-O", "i386-pc", "-o", BOOT_CORE, "-c",
                            "/boot/grub/early.cfg", "-p", "/boot/grub", "biosdisk", "part_gpt",
                            "ext2", "search_fs_uuid", "normal", "configfile", "linux", NULL) &&
           program_run_args(NULL, error, "grub-mkimage", "-O", "x86_64-efi", "-o", BOOT_EFI, "-c",
                            "/boot/grub/early.cfg", "-p", "/boot/grub", "part_gpt", "ext2", "fat",
                            "search_fs_uuid", "search", "normal", "configfile", "linux", "serial",
                            "echo", "test", "all_video", "gzio", NULL);
}
