/* inspect_out.c: see inspect_out.h. */
#include "imaged/guest/helper/inspect_out.h"

#include <string.h>

static gint compare(gconstpointer a, gconstpointer b)
{
    const Package *x = *(Package *const *)a, *y = *(Package *const *)b;
    gint by_name = strcmp(x->name, y->name);

    return by_name ? by_name : strcmp(x->arch, y->arch);
}

void inspect_out_packages(json_t *out, const Packages *packages)
{
    json_t *list = json_array();

    g_ptr_array_sort(packages->list, compare);
    for (guint i = 0; i < packages->list->len; i++) {
        const Package *p = packages->list->pdata[i];
        json_array_append_new(list, json_pack("[s,s,s]", p->name, p->version, p->arch));
    }
    json_object_set_new(out, "applications", list);
    json_object_set_new(out, "applications_cut", json_boolean(packages->is_cut));
}

void inspect_out_disk(json_t *out, const DiskView *view)
{
    json_t *list = json_array(), *boot = json_array();
    gboolean is_bios = view->table->has_boot_code, is_uefi = FALSE;

    for (guint i = 0; i < view->file_systems->len; i++) {
        const DiskFs *f = view->file_systems->pdata[i];
        is_bios |= f->part->is_bios_boot;
        is_uefi |= f->part->is_esp;
        if (f->part->is_bios_boot)
            continue; /* a boot loader's own space is no file system */
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:s,s:I,s:o,s:s?}", "device", f->device, "type", f->type,
                            "label", f->label ? f->label : "", "uuid", f->uuid ? f->uuid : "",
                            "size", (json_int_t)f->size, "used",
                            f->used < 0 ? json_null() : json_integer(f->used), "mount", f->where));
    }
    if (is_bios)
        json_array_append_new(boot, json_string("bios"));
    if (is_uefi)
        json_array_append_new(boot, json_string("uefi"));
    json_object_set_new(out, "partition_table", json_string(view->table->kind));
    json_object_set_new(out, "boot", boot);
    json_object_set_new(out, "file_systems", list);
}

/* How packages and Windows' list of programs call the parts that desktops need. */
static const struct {
    const char *agent, *name;
    gboolean is_prefix;
} agents[] = {
    { "qemu-guest-agent", "qemu-guest-agent", FALSE },
    { "qemu-guest-agent", "qemu-ga", FALSE },
    { "qemu-guest-agent", "QEMU guest agent", TRUE },
    { "spice-vdagent", "spice-vdagent", FALSE },
    { "spice-vdagent", "SPICE Guest Tools", TRUE },
    { "spice-vdagent", "Spice Agent", TRUE },
    { "spice-webdavd", "spice-webdavd", FALSE },
    { "spice-webdavd", "Spice WebDAV", TRUE },
    { "cloud-init", "cloud-init", FALSE },
    { "cloud-init", "Cloudbase-Init", TRUE },
    { "qxl", "xserver-xorg-video-qxl", FALSE },
    { "qxl", "xorg-x11-drv-qxl", FALSE },
    { "qxl", "xf86-video-qxl", FALSE },
    { "qxl", "Red Hat QXL", TRUE },
};

static gboolean is_named(const Package *p, const char *name, gboolean is_prefix)
{
    return is_prefix ? g_ascii_strncasecmp(p->name, name, strlen(name)) == 0
                     : strcmp(p->name, name) == 0;
}

void inspect_out_agents(json_t *out, const Packages *packages)
{
    json_t *list = json_array();
    const char *last = "";

    for (guint a = 0; a < G_N_ELEMENTS(agents); a++) {
        gboolean is_there = FALSE;
        for (guint i = 0; !is_there && i < packages->list->len; i++)
            is_there = is_named(packages->list->pdata[i], agents[a].name, agents[a].is_prefix);
        if (is_there && strcmp(last, agents[a].agent) != 0)
            json_array_append_new(list, json_string(last = agents[a].agent));
    }
    json_object_set_new(out, "agents", list);
}

const char *inspect_arch(const char *name)
{
    static const char *const names[][2] = {
        { "amd64", "x86_64" }, { "arm64", "aarch64" },   { "armhf", "armv7l" },
        { "x86", "i386" },     { "ppc64el", "ppc64le" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i][0]) == 0)
            return names[i][1];
    }
    return name;
}

void inspect_out_users(json_t *list, const GByteArray *passwd)
{
    g_autoptr(GPtrArray) users = passwd_parse((const char *)passwd->data, passwd->len);

    for (guint i = 0; i < users->len; i++) {
        const GuestUser *u = users->pdata[i];
        json_array_append_new(list, json_pack("{s:s,s:I,s:s}", "name", u->name, "uid",
                                              (json_int_t)u->uid, "home", u->home));
    }
}
