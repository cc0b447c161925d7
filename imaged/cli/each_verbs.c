/* each_verbs.c: which verbs these are. */
#include "imaged/cli/each.h"

static const EachVerb verbs[] = {
    { "alert", "remove", "/v1/alerts", "name", 0, FALSE, FALSE },
    { "alert", "set", "/v1/alerts", "name", 0, FALSE, FALSE },
    { "alert", "show", "/v1/alerts", "name", 0, FALSE, TRUE },
    { "alert", "test", "/v1/alerts", "name", 0, FALSE, FALSE },
    { "archive", "delete", "archives", "id", 0, TRUE, FALSE },
    { "archive", "show", "archives", "id", 0, FALSE, TRUE },
    { "archive", "undelete", "/v1/archive/points?deleted=1", "id", 0, TRUE, FALSE },
    { "archive", "verify", "archives", "id", 0, TRUE, TRUE },
    { "desktop", "assign", "desktops", "name", 0, FALSE, FALSE },
    { "desktop", "config-disk", "desktops", "name", 0, FALSE, TRUE },
    { "desktop", "extend", "desktops", "name", 0, FALSE, FALSE },
    { "desktop", "path", "desktops", "name", 0, FALSE, TRUE },
    { "desktop", "share", "desktops", "name", 0, FALSE, FALSE },
    { "desktop", "show", "desktops", "name", 0, FALSE, TRUE },
    { "desktop", "unassign", "desktops", "name", 0, FALSE, FALSE },
    { "directory", "refresh", "/v1/directories", "name", 0, FALSE, FALSE },
    { "directory", "remove", "/v1/directories", "name", 0, FALSE, FALSE },
    { "directory", "set", "/v1/directories", "name", 0, FALSE, FALSE },
    { "directory", "test", "/v1/directories", "name", 0, FALSE, TRUE },
    { "export", "show", "/v1/exports", "id", 0, FALSE, TRUE },
    { "export", "stop", "/v1/exports", "id", 0, FALSE, FALSE },
    { "group", "add-member", "users", "name", 1, TRUE, FALSE },
    { "group", "channels", "groups", "name", 0, FALSE, FALSE },
    { "group", "delete", "groups", "name", 0, FALSE, FALSE },
    { "group", "remove-member", "users", "name", 1, TRUE, FALSE },
    { "group", "set", "groups", "name", 0, FALSE, FALSE },
    { "group", "show", "groups", "name", 0, FALSE, TRUE },
    { "host", "activate", "hosts", "name", 0, FALSE, FALSE },
    { "host", "maintenance", "hosts", "name", 0, FALSE, FALSE },
    { "host", "remove", "hosts", "name", 0, FALSE, FALSE },
    { "host", "set", "hosts", "name", 0, FALSE, FALSE },
    { "host", "show", "hosts", "name", 0, FALSE, TRUE },
    { "job", "cancel", "jobs", "id", 0, FALSE, FALSE },
    { "job", "show", "jobs", "id", 0, FALSE, TRUE },
    { "network", "remove", "networks", "name", 0, FALSE, FALSE },
    { "pool", "channels", "pools", "name", 0, FALSE, FALSE },
    { "pool", "delete", "pools", "name", 0, FALSE, FALSE },
    { "pool", "grant", "pools", "name", 0, FALSE, FALSE },
    { "pool", "hardware", "pools", "name", 0, FALSE, FALSE },
    { "pool", "resize", "pools", "name", 0, FALSE, FALSE },
    { "pool", "return", "desktops", "name", 1, TRUE, FALSE },
    { "pool", "revoke", "pools", "name", 0, FALSE, FALSE },
    { "pool", "set", "pools", "name", 0, FALSE, FALSE },
    { "pool", "show", "pools", "name", 0, FALSE, TRUE },
    { "role", "delete", "roles", "name", 0, FALSE, FALSE },
    { "role", "show", "roles", "name", 0, FALSE, TRUE },
    { "rollout", "cancel", "/v1/rollouts", "id", 0, FALSE, FALSE },
    { "rollout", "delete", "/v1/rollouts", "id", 0, FALSE, FALSE },
    { "rollout", "pause", "/v1/rollouts", "id", 0, FALSE, FALSE },
    { "rollout", "resume", "/v1/rollouts", "id", 0, FALSE, FALSE },
    { "rollout", "rollback", "/v1/rollouts", "id", 0, FALSE, FALSE },
    { "rollout", "show", "/v1/rollouts", "id", 0, FALSE, TRUE },
    { "session", "end", "sessions", "id", 0, FALSE, FALSE },
    { "session", "message", "sessions", "id", 0, FALSE, FALSE },
    { "session", "show", "sessions", "id", 0, FALSE, TRUE },
    { "snapshot", "delete", "snapshots", "desktop,name", 0, FALSE, FALSE },
    { "snapshot", "show", "snapshots", "desktop,name", 0, FALSE, TRUE },
    { "template", "delete", "templates", "name", 0, FALSE, FALSE },
    { "template", "inspect", "templates", "name", 0, FALSE, TRUE },
    { "template", "publish", "templates", "name", 0, FALSE, FALSE },
    { "template", "retire", "templates", "name", 0, FALSE, FALSE },
    { "template", "set", "templates", "name", 0, FALSE, FALSE },
    { "template", "show", "templates", "name", 0, FALSE, TRUE },
    { "token", "revoke", "/v1/tokens", "id", 0, FALSE, FALSE },
    { "trash", "empty", "/v1/trash", "id", 0, TRUE, FALSE },
    { "trash", "restore", "/v1/trash", "id", 0, TRUE, FALSE },
    { "user", "delete", "users", "name", 0, FALSE, FALSE },
    { "user", "set", "users", "name", 0, FALSE, FALSE },
    { "user", "show", "users", "name", 0, FALSE, TRUE },
};

static const Option with_yes[] = {
    OPTION_YES,
    { "search", OPTION_TEXT, "SEARCH", "in place of names: each that a search finds", "search" },
    OPTION_END,
};

const EachVerb *each_find(const Noun *noun, const Command *command)
{
    for (guint i = 0; noun && command && command->verb && i < G_N_ELEMENTS(verbs); i++) {
        if (g_str_equal(verbs[i].noun, noun->name) && g_str_equal(verbs[i].verb, command->verb))
            return &verbs[i];
    }
    return NULL;
}

const Option *each_options(const Noun *noun, const Command *command)
{
    const EachVerb *verb = each_find(noun, command);

    return !verb ? NULL : verb->reads ? with_yes + 1 : with_yes;
}

gboolean each_is_wanted(const Args *args)
{
    return each_find(args->noun, args->command) && args_has(args, "search");
}
