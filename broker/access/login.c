/* login.c: see login.h. */
#include "broker/access/login.h"

#include <string.h>

#include "broker/access/directory.h"
#include "broker/access/password.h"
#include "broker/access/slow.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"

#define FAILED_AFTER_MS 400 /* no failure is told sooner: what a directory takes tells nothing */

struct Logins {
    Slow *slow;
};

Logins *logins_new(void)
{
    Logins *logins = g_new0(Logins, 1);

    logins->slow = slow_new();
    return logins;
}

void logins_free(Logins *logins)
{
    if (!logins)
        return;
    slow_free(logins->slow);
    g_free(logins);
}

static gboolean set_wrong(GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the name or the password is not right");
    return FALSE;
}

/* Local users are asked here; all other names are the directories' to know. */
static gboolean check(World *world, const char *name, const char *password, UserRow *ret,
                      GError **error)
{
    g_auto(UserRow) row = { 0 };
    Db *db = catalog_read_begin(world->catalog);
    gboolean found = user_lookup(db, name, &row, NULL);

    catalog_read_end(world->catalog, db);
    gboolean is_local = found && !row.directory_id;
    gboolean is_right = password_verify(is_local ? row.password_hash : NULL, password);
    if (is_local && !is_right)
        return set_wrong(error);
    if (!is_local) {
        g_autoptr(GError) local = NULL;
        const char *refusal = NULL;
        user_row_clear(&row);
        if (!directory_log_in(world, name, password, &row, &refusal, &local)) {
            if (refusal) { /* he has the password, so he may know */
                g_autofree char *shown = text_for_message(name, 64);
                g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED,
                            "the directory does not let '%s' in: %s", shown, refusal);
                return FALSE;
            }
            if (!g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_DENIED)) {
                g_propagate_error(error, g_steal_pointer(&local));
                return FALSE;
            }
            return set_wrong(error);
        }
    }
    if (row.is_disabled) { /* he has the password, so he may know */
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_DENIED, "the user '%s' is disabled",
                    row.name);
        return FALSE;
    }
    *ret = row;
    row = (UserRow){ 0 };
    return TRUE;
}

static void note_failure(World *world, const char *name, const char *address, const GError *why)
{
    g_autofree char *shown = text_for_message(name, 64);
    g_autofree char *who =
        address ? g_strdup_printf("%s from %s", shown, address) : g_strdup(shown);
    Changes *changes = changes_new();

    changes_event(changes, "user.login-failed", "warning", shown, who, "%s", why->message);
    catalog_commit(world->catalog, changes, NULL);
}

gboolean login_check(World *world, const char *name, const char *password, const char *address,
                     UserRow *ret, GError **error)
{
    Slow *slow = world->logins->slow;
    g_autofree char *key = user_name_key(name);
    const char *from = address ? address : "";
    gint64 start = units_boottime_ms();
    gint64 wait = slow_begin(slow, key, from, start);
    g_autoptr(GError) local = NULL;

    if (wait > 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY,
                    "too many log-ins have failed; try again in %" G_GINT64_FORMAT " s",
                    wait / 1000 + 1);
        return FALSE;
    }
    /* An empty password would be taken by some directories for a log-in as nobody. */
    if (!*password || strlen(name) > 256 || strlen(password) > 1024)
        set_wrong(&local);
    else if (check(world, name, password, ret, &local)) {
        slow_worked(slow, key, from);
        return TRUE;
    }
    if (g_error_matches(local, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE)) {
        slow_untried(slow, key, from);
    } else {
        slow_failed(slow, key, from, units_boottime_ms());
        note_failure(world, name, address, local);
    }
    gint64 left = start + FAILED_AFTER_MS - units_boottime_ms();
    if (left > 0)
        g_usleep((gulong)left * 1000);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}
