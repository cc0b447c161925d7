/* guest_parts.c: see guest_parts.h.  Nothing of the guest is run to install the files: a unit is
 * enabled by the link that its [Install] section asks for. */
#include "templates/guest_parts.h"

#include <string.h>

#include "imaged/base/error.h"

#define MAX_FILE (1u << 20)

/* ---- Packages ---- */

static const char *const system_packages[] = { "init",
                                               "systemd-sysv",
                                               "udev",
                                               "dbus",
                                               "tzdata",
                                               "kmod",
                                               "e2fsprogs",
                                               "iproute2",
                                               "netbase",
                                               "initramfs-tools",
                                               "zstd",
                                               "grub-pc-bin",
                                               "grub-efi-amd64-bin",
                                               "grub2-common",
                                               "systemd-resolved",
                                               NULL };
static const char *const x_packages[] = { "xserver-xorg-core",
                                          "xserver-xorg-input-libinput",
                                          "xserver-xorg-legacy",
                                          "x11-xserver-utils",
                                          "dbus-x11",
                                          "lightdm",
                                          "fonts-dejavu-core",
                                          "libpam-systemd",
                                          "policykit-1",
                                          "libgl1-mesa-dri",
                                          NULL };
static const char *const xfce_packages[] = { "xfce4-session",
                                             "xfwm4",
                                             "xfdesktop4",
                                             "xfce4-panel",
                                             "xfce4-settings",
                                             "xfce4-terminal",
                                             "thunar",
                                             "xfce4-appfinder",
                                             "lightdm-gtk-greeter",
                                             "adwaita-icon-theme",
                                             "mousepad",
                                             "at-spi2-core",
                                             "pulseaudio",
                                             "xfce4-pulseaudio-plugin",
                                             "desktop-base",
                                             "xdg-user-dirs",
                                             NULL };
static const char *const kiosk_packages[] = { "openbox", "lightdm-gtk-greeter", NULL };

/* Of a desktop that joins a domain: recipes cannot say more of it than the domain's name. */
static const char *const domain_packages[] = { "adcli",      "sssd-ad",    "sssd-tools",
                                               "libnss-sss", "libpam-sss", NULL };

static void add(json_t *list, const char *name)
{
    size_t i;
    json_t *have;

    json_array_foreach (list, i, have) {
        if (g_str_equal(json_string_value(have), name))
            return;
    }
    json_array_append_new(list, json_string(name));
}

static void add_all(json_t *list, const char *const *names)
{
    for (; *names; names++)
        add(list, *names);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static gboolean is_on(const json_t *recipe, const char *key)
{
    return json_is_true(json_object_get(json_object_get(recipe, "guest"), key));
}

static void add_domain(const json_t *recipe, json_t *list)
{
    const char *domain = text_of(json_object_get(recipe, "identity"), "domain");

    if (domain && *domain)
        add_all(list, domain_packages);
}

static void add_desktop(const json_t *recipe, json_t *list)
{
    const json_t *desktop = json_object_get(recipe, "desktop");
    const char *browser = text_of(desktop, "browser");
    const char *video = text_of(json_object_get(recipe, "hardware"), "video");

    add_all(list, x_packages);
    add_all(list,
            g_str_equal(text_of(desktop, "environment"), "kiosk") ? kiosk_packages : xfce_packages);
    if (!g_str_equal(browser, "none"))
        add(list, browser);
    if (is_on(recipe, "spice_agent"))
        add(list, "spice-vdagent");
    if (is_on(recipe, "webdav"))
        add(list, "spice-webdavd");
    /* For virtio, X has its driver in itself ("modesetting"). */
    if (is_on(recipe, "display_driver") && g_strcmp0(video, "virtio") != 0)
        add(list, "xserver-xorg-video-qxl");
}

json_t *guest_parts_packages(const json_t *recipe)
{
    gboolean has_desktop = json_is_object(json_object_get(recipe, "desktop"));
    gboolean has_kernel = FALSE, has_sudo = FALSE;
    json_t *list = json_array(), *item;
    size_t i;

    add_all(list, system_packages);
    if (is_on(recipe, "agent"))
        add(list, "qemu-guest-agent");
    if (has_desktop)
        add_desktop(recipe, list);
    add_domain(recipe, list);
    json_array_foreach (json_object_get(recipe, "users"), i, item)
        has_sudo = has_sudo || json_is_true(json_object_get(item, "sudo"));
    if (has_sudo)
        add(list, "sudo");
    if (!g_str_has_prefix(text_of(recipe, "locale"), "C"))
        add(list, "locales");
    json_array_foreach (json_object_get(recipe, "packages"), i, item) {
        add(list, json_string_value(item));
        has_kernel = has_kernel || g_str_has_prefix(json_string_value(item), "linux-image-");
    }
    /* The small kernel has no graphics and no sound. */
    if (!has_kernel)
        add(list, has_desktop ? "linux-image-amd64" : "linux-image-cloud-amd64");
    return list;
}

json_t *guest_parts_more_packages(const json_t *recipe)
{
    json_t *list = json_array(), *item;
    size_t i;

    if (json_is_object(json_object_get(recipe, "desktop")))
        add_desktop(recipe, list);
    add_domain(recipe, list);
    json_array_foreach (json_object_get(recipe, "packages"), i, item)
        add(list, json_string_value(item));
    return list;
}

/* ---- Files ---- */

char *guest_parts_folder(const char *name)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self ? self : "/");
    char *places[] = {
        g_build_filename(dir, "..", "templates", name, NULL),       /* build/imaged */
        g_build_filename(dir, "..", "..", "templates", name, NULL), /* build/asan/imaged */
        g_build_filename(dir, "..", "..", "..", "templates", name, NULL), /* ... and its tests */
        g_build_filename(dir, "..", "share", "imaged", name, NULL),
        g_build_filename("/usr/share/imaged", name, NULL),
    };
    char *found = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!found && g_file_test(places[i], G_FILE_TEST_IS_DIR))
            found = g_steal_pointer(&places[i]);
        g_free(places[i]);
    }
    return found;
}

static void add_file(json_t *files, const char *path, const char *content, int mode)
{
    json_array_append_new(
        files, json_pack("{s:s, s:s, s:i}", "path", path, "content", content, "mode", mode));
}

static void add_link(json_t *links, const char *path, const char *target)
{
    json_array_append_new(links, json_pack("{s:s, s:s}", "path", path, "target", target));
}

/* "WantedBy=multi-user.target", "RequiredBy=display-manager.service": one unit a line, as many
 * lines as there are. */
static void enable_unit(json_t *links, const char *name, const char *content)
{
    static const struct {
        const char *key, *folder;
    } kinds[] = { { "WantedBy=", "wants" }, { "RequiredBy=", "requires" } };
    g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
    g_autofree char *unit = g_strdup_printf("/usr/lib/systemd/system/%s", name);

    for (guint i = 0; lines[i]; i++) {
        for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
            if (!g_str_has_prefix(lines[i], kinds[k].key))
                continue;
            g_autofree char *path =
                g_strdup_printf("/etc/systemd/system/%s.%s/%s", lines[i] + strlen(kinds[k].key),
                                kinds[k].folder, name);
            add_link(links, path, unit);
        }
    }
}

/* A file's name says where it belongs. */
static void place(const char *name, const char *content, json_t *files, json_t *links)
{
    static const struct {
        const char *end, *folder;
        int mode;
    } places[] = { { ".service", "/usr/lib/systemd/system", 0644 },
                   { ".rules", "/etc/udev/rules.d", 0644 },
                   { ".network", "/etc/systemd/network", 0644 } };

    if (g_str_equal(name, "getty-autologin.conf")) {
        add_file(files, "/etc/systemd/system/getty@tty1.service.d/imaged.conf", content, 0644);
        return;
    }
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        if (g_str_has_suffix(name, places[i].end)) {
            g_autofree char *path = g_build_filename(places[i].folder, name, NULL);
            add_file(files, path, content, places[i].mode);
            if (i == 0)
                enable_unit(links, name, content);
            return;
        }
    }
    if (!strchr(name, '.')) {
        g_autofree char *path = g_build_filename("/usr/lib/imaged", name, NULL);
        add_file(files, path, content, 0755);
    }
}

/* A screen that is looked at over a network: nothing is drawn twice, and it never goes blank
 * (whoever looks at it has a screen of his own that does). */
static void add_screen(const char *environment, json_t *files)
{
    add_file(files, "/etc/X11/xorg.conf.d/50-imaged.conf",
             "Section \"ServerFlags\"\n    Option \"BlankTime\" \"0\"\n"
             "    Option \"StandbyTime\" \"0\"\n    Option \"SuspendTime\" \"0\"\n"
             "    Option \"OffTime\" \"0\"\nEndSection\n",
             0644);
    if (g_str_equal(environment, "xfce"))
        add_file(files, "/etc/xdg/xfce4/xfconf/xfce-perchannel-xml/xfwm4.xml",
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                 "<channel name=\"xfwm4\" version=\"1.0\">\n"
                 "  <property name=\"general\" type=\"empty\">\n"
                 "    <property name=\"use_compositing\" type=\"bool\" value=\"false\"/>\n"
                 "  </property>\n</channel>\n",
                 0644);
}

static void add_kiosk(const json_t *desktop, json_t *files)
{
    gboolean is_firefox = g_str_equal(text_of(desktop, "browser"), "firefox-esr");
    g_autofree char *config = g_strdup_printf("BROWSER='%s'\nURL='%s'\n",
                                              is_firefox ? "firefox-esr --kiosk"
                                                         : "chromium --kiosk --no-first-run"
                                                           " --password-store=basic",
                                              text_of(desktop, "url"));

    add_file(files, "/etc/imaged/kiosk.conf", config, 0644);
    add_file(files, "/usr/share/xsessions/imaged-kiosk.desktop",
             "[Desktop Entry]\nType=Application\nName=Kiosk\nExec=/usr/lib/imaged/imaged-kiosk\n",
             0644);
    add_file(files, "/etc/lightdm/lightdm.conf.d/40-kiosk.conf",
             "[Seat:*]\nuser-session=imaged-kiosk\nautologin-session=imaged-kiosk\n"
             "xserver-command=X -s 0 -dpms\n",
             0644);
}

gboolean guest_parts_files(const json_t *recipe, json_t **ret_files, json_t **ret_links,
                           GError **error)
{
    const json_t *desktop = json_object_get(recipe, "desktop");
    g_autofree char *folder = guest_parts_folder("guest");
    g_autoptr(GDir) dir = folder ? g_dir_open(folder, 0, NULL) : NULL;
    json_t *files = json_array(), *links = json_array();
    const char *name;

    if (!dir) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the guest's parts (share/imaged/guest) are not installed");
        json_decref(files);
        json_decref(links);
        return FALSE;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autofree char *content = NULL;
        gsize n = 0;
        gboolean is_kiosk = g_str_equal(name, "imaged-kiosk");
        if (is_kiosk && g_strcmp0(text_of(desktop, "environment"), "kiosk") != 0)
            continue;
        if (!g_file_get_contents(path, &content, &n, NULL) || n > MAX_FILE ||
            !g_utf8_validate(content, (gssize)n, NULL)) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                        "cannot read the guest's part '%s'", path);
            json_decref(files);
            json_decref(links);
            return FALSE;
        }
        place(name, content, files, links);
    }
    add_link(links, "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
             "/lib/systemd/system/systemd-networkd.service");
    if (json_is_object(desktop))
        add_screen(text_of(desktop, "environment"), files);
    if (g_strcmp0(text_of(desktop, "environment"), "kiosk") == 0)
        add_kiosk(desktop, files);
    *ret_files = files;
    *ret_links = links;
    return TRUE;
}
