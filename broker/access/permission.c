/* permission.c: see permission.h.  Names are kept in the catalog, numbers never. */
#include "broker/access/permission.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/nearest.h"

static const char *const names[PERMISSION_N] = {
    [PERMISSION_UNSET] = "unset",
    [PERMISSION_NONE] = "none",
    [PERMISSION_ANYONE] = "anyone",
    [PERMISSION_STATUS_SEE] = "status.see",
    [PERMISSION_TEMPLATE_SEE] = "template.see",
    [PERMISSION_TEMPLATE_MAKE] = "template.make",
    [PERMISSION_TEMPLATE_CHANGE] = "template.change",
    [PERMISSION_TEMPLATE_PUBLISH] = "template.publish",
    [PERMISSION_TEMPLATE_DELETE] = "template.delete",
    [PERMISSION_DESKTOP_SEE] = "desktop.see",
    [PERMISSION_DESKTOP_CREATE] = "desktop.create",
    [PERMISSION_DESKTOP_CHANGE] = "desktop.change",
    [PERMISSION_DESKTOP_DISKS] = "desktop.disks",
    [PERMISSION_DESKTOP_DELETE] = "desktop.delete",
    [PERMISSION_DESKTOP_FILES] = "desktop.files",
    [PERMISSION_DESKTOP_START] = "desktop.start",
    [PERMISSION_DESKTOP_STOP] = "desktop.stop",
    [PERMISSION_DESKTOP_RESTART] = "desktop.restart",
    [PERMISSION_DESKTOP_RESET] = "desktop.reset",
    [PERMISSION_DESKTOP_CONSOLE] = "desktop.console",
    [PERMISSION_DESKTOP_MIGRATE] = "desktop.migrate",
    [PERMISSION_DESKTOP_ASSIGN] = "desktop.assign",
    [PERMISSION_SNAPSHOT_SEE] = "snapshot.see",
    [PERMISSION_SNAPSHOT_CREATE] = "snapshot.create",
    [PERMISSION_SNAPSHOT_REVERT] = "snapshot.revert",
    [PERMISSION_SNAPSHOT_DELETE] = "snapshot.delete",
    [PERMISSION_TRASH_SEE] = "trash.see",
    [PERMISSION_TRASH_CHANGE] = "trash.change",
    [PERMISSION_STORE_SEE] = "store.see",
    [PERMISSION_STORE_CHANGE] = "store.change",
    [PERMISSION_ARCHIVE_SEE] = "archive.see",
    [PERMISSION_ARCHIVE_CREATE] = "archive.create",
    [PERMISSION_ARCHIVE_RESTORE] = "archive.restore",
    [PERMISSION_ARCHIVE_CHANGE] = "archive.change",
    [PERMISSION_EXPORT_SEE] = "export.see",
    [PERMISSION_EXPORT_CHANGE] = "export.change",
    [PERMISSION_ROLLOUT_SEE] = "rollout.see",
    [PERMISSION_ROLLOUT_CHANGE] = "rollout.change",
    [PERMISSION_JOB_SEE] = "job.see",
    [PERMISSION_JOB_CANCEL] = "job.cancel",
    [PERMISSION_EVENT_SEE] = "event.see",
    [PERMISSION_REPORT_SEE] = "report.see",
    [PERMISSION_HOST_SEE] = "host.see",
    [PERMISSION_HOST_CHANGE] = "host.change",
    [PERMISSION_NETWORK_SEE] = "network.see",
    [PERMISSION_NETWORK_CHANGE] = "network.change",
    [PERMISSION_POOL_SEE] = "pool.see",
    [PERMISSION_POOL_CHANGE] = "pool.change",
    [PERMISSION_POOL_ASSIGN] = "pool.assign",
    [PERMISSION_SESSION_SEE] = "session.see",
    [PERMISSION_SESSION_CONNECT] = "session.connect",
    [PERMISSION_SESSION_END] = "session.end",
    [PERMISSION_SESSION_SHADOW] = "session.shadow",
    [PERMISSION_SESSION_MESSAGE] = "session.message",
    [PERMISSION_USER_SEE] = "user.see",
    [PERMISSION_USER_CHANGE] = "user.change",
    [PERMISSION_ROLE_CHANGE] = "role.change",
    [PERMISSION_TOKEN_CHANGE] = "token.change",
    [PERMISSION_DIRECTORY_SEE] = "directory.see",
    [PERMISSION_DIRECTORY_CHANGE] = "directory.change",
    [PERMISSION_SEARCH_SHARE] = "search.share",
    [PERMISSION_ALERT_SEE] = "alert.see",
    [PERMISSION_ALERT_CHANGE] = "alert.change",
    [PERMISSION_CATALOG_CHANGE] = "catalog.change",
};

#define SEE_IMAGES                                                                                 \
    "status.see template.see desktop.see snapshot.see trash.see store.see archive.see export.see"  \
    " rollout.see job.see event.see report.see host.see network.see pool.see "

const BuiltInRole permission_roles[] = {
    { "00000000000000000000000000000001", "admin", "*", "may everything", FALSE },
    { "00000000000000000000000000000002", "image-admin",
      SEE_IMAGES "template.* snapshot.* archive.* export.* rollout.* trash.change job.cancel"
                 " desktop.create desktop.change desktop.disks desktop.delete desktop.files"
                 " desktop.start desktop.stop desktop.restart desktop.reset desktop.console",
      "templates, and the disks of desktops", FALSE },
    { "00000000000000000000000000000003", "helpdesk",
      "status.see template.see desktop.see desktop.start desktop.restart desktop.reset snapshot.see"
      " host.see pool.see event.see user.see session.see session.end session.shadow"
      " session.message",
      "see, start, restart, re-image (with undo), shadow", FALSE },
    { "00000000000000000000000000000004", "user",
      "desktop.see desktop.start desktop.stop desktop.restart snapshot.see pool.see session.see"
      " session.connect session.end",
      "one's own desktops; everybody has it", TRUE },
    { "00000000000000000000000000000005", "user-reset", "desktop.see desktop.reset",
      "re-image one's own desktops", TRUE },
    { "00000000000000000000000000000006", "user-snapshot", "desktop.see snapshot.*",
      "snapshots of one's own desktops", TRUE },
    { "00000000000000000000000000000007", "auditor",
      SEE_IMAGES "session.see user.see directory.see alert.see", "read only", FALSE },
    { NULL },
};

const char *permission_name(Permission permission)
{
    return permission < PERMISSION_N ? names[permission] : "unset";
}

Permission permission_parse(const char *name)
{
    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (g_str_equal(names[i], name))
            return (Permission)i;
    }
    return PERMISSION_UNSET;
}

void permission_add(PermissionSet *set, Permission permission)
{
    set->bits[permission / 64] |= 1ull << (permission % 64);
}

gboolean permission_has(const PermissionSet *set, Permission permission)
{
    return (set->bits[permission / 64] >> (permission % 64)) & 1;
}

gboolean permission_has_all(const PermissionSet *set, const PermissionSet *others)
{
    return (others->bits[0] & ~set->bits[0]) == 0 && (others->bits[1] & ~set->bits[1]) == 0;
}

/* Add what one word stands for.  FALSE: it stands for nothing. */
static gboolean add_word(const char *word, PermissionSet *set)
{
    gboolean is_all = g_str_equal(word, "*"), found = FALSE;
    gsize len = strlen(word);
    gboolean is_kind = len > 2 && g_str_has_suffix(word, ".*");

    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (is_all || g_str_equal(names[i], word) ||
            (is_kind && strncmp(names[i], word, len - 1) == 0)) {
            permission_add(set, (Permission)i);
            found = TRUE;
        }
    }
    return found;
}

gboolean permission_parse_set(const char *text, PermissionSet *ret, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(text, " ,\n", -1);

    for (guint i = 0; words[i]; i++) {
        if (!*words[i] || add_word(words[i], ret))
            continue;
        g_autofree char *shown = text_for_message(words[i], 40);
        g_autoptr(GPtrArray) known = g_ptr_array_new();
        for (guint k = PERMISSION_FIRST; k < PERMISSION_N; k++)
            g_ptr_array_add(known, (gpointer)names[k]);
        const char *nearest = nearest_word(words[i], known);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "there is no permission '%s'",
                    shown);
        if (nearest)
            imaged_error_hint(error, "do you mean '%s'?", nearest);
        else
            imaged_error_hint(error, "all permissions: imagectl role show admin");
        return FALSE;
    }
    return TRUE;
}

PermissionSet permission_read_set(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text ? text : "", " ", -1);
    PermissionSet set = { { 0 } };

    for (guint i = 0; words[i]; i++)
        add_word(words[i], &set);
    return set;
}

char *permission_set_text(const PermissionSet *set)
{
    GString *out = g_string_new(NULL);

    for (guint i = PERMISSION_FIRST; i < PERMISSION_N; i++) {
        if (permission_has(set, (Permission)i))
            g_string_append_printf(out, "%s%s", out->len ? " " : "", names[i]);
    }
    return g_string_free(out, FALSE);
}
