/* visible.c: which rows a caller may see, or do something with, as a condition in SQL.
 *
 * Each grant becomes one condition, and they are joined by OR; that of a token goes before them by
 * AND.  Only ids, which are hexadecimal digits, get into the text; the name that events and jobs
 * hold is written in hexadecimal digits too. */
#include <string.h>

#include "broker/access/caller.h"
#include "imaged/base/error.h"

/* How a kind of rows hangs together with desktops, templates, pools and users: expressions with
 * the alias for %s, or NULL: it does not. */
typedef struct {
    const char *object;
    Permission see;
    const char *desktop, *template, *pool;
    const char *own; /* the condition for one's own, with the alias and user_id */
} Object;

#define MY_DESKTOPS                                                                                \
    "(SELECT desktop_id FROM assignment WHERE user_id = '%2$s' UNION ALL SELECT desktop_id FROM"   \
    " pool_desktop WHERE user_id = '%2$s')"
#define TEMPLATE_OF                                                                                \
    "(SELECT gv.template_id FROM version gv JOIN desktop gd ON gd.version_id = gv.id WHERE gd.id " \
    "= "

static const Object objects[] = {
    { "desktop", PERMISSION_DESKTOP_SEE, "%1$s.id", NULL, NULL, "%1$s.id IN " MY_DESKTOPS },
    { "template", PERMISSION_TEMPLATE_SEE, NULL, "%1$s.id", NULL,
      "%1$s.id IN (SELECT gv.template_id FROM version gv JOIN desktop gd ON gd.version_id = gv.id"
      " WHERE gd.id IN " MY_DESKTOPS ")" },
    { "version", PERMISSION_TEMPLATE_SEE, NULL, "%1$s.template_id", NULL,
      "%1$s.id IN (SELECT gd.version_id FROM desktop gd WHERE gd.id IN " MY_DESKTOPS ")" },
    { "pool", PERMISSION_POOL_SEE, NULL, "%1$s.template_id", "%1$s.id",
      "%1$s.id IN (SELECT pool_id FROM pool_grant WHERE subject_id = '%2$s' OR subject_id IN"
      " (SELECT group_id FROM group_member WHERE user_id = '%2$s'))" },
    { "session", PERMISSION_SESSION_SEE, "%1$s.desktop_id", NULL, "%1$s.pool_id",
      "%1$s.user_id = '%2$s'" },
    { "user", PERMISSION_USER_SEE, NULL, NULL, NULL, "%1$s.id = '%2$s'" },
    { "group", PERMISSION_USER_SEE, NULL, NULL, NULL,
      "%1$s.id IN (SELECT group_id FROM group_member WHERE user_id = '%2$s')" },
    { "snapshot", PERMISSION_SNAPSHOT_SEE, "%1$s.desktop_id", NULL, NULL,
      "%1$s.desktop_id IN " MY_DESKTOPS },
    { "trash", PERMISSION_TRASH_SEE, "%1$s.desktop_id", NULL, NULL,
      "%1$s.desktop_id IN " MY_DESKTOPS },
    { "archive", PERMISSION_ARCHIVE_SEE, "%1$s.desktop_id", NULL, NULL,
      "%1$s.desktop_id IN " MY_DESKTOPS },
    { "token", PERMISSION_TOKEN_CHANGE, NULL, NULL, NULL, "%1$s.user_id = '%2$s'" },
    /* Events name things; a name that was another desktop's before is not this one's. */
    { "event", PERMISSION_EVENT_SEE,
      "(SELECT ge.id FROM desktop ge WHERE ge.name = %1$s.object AND ge.is_trashed = 0 AND"
      " ge.created_at <= %1$s.time)",
      NULL, NULL, NULL },
    { "job", PERMISSION_JOB_SEE, NULL, NULL, NULL, NULL },
    { "host", PERMISSION_HOST_SEE, NULL, NULL, NULL, NULL },
    { "network", PERMISSION_NETWORK_SEE, NULL, NULL, NULL, NULL },
    { "store", PERMISSION_STORE_SEE, NULL, NULL, NULL, NULL },
    { "layer", PERMISSION_STORE_SEE, NULL, NULL, NULL, NULL },
    { "rollout", PERMISSION_ROLLOUT_SEE, NULL, NULL, NULL, NULL },
    { "export", PERMISSION_EXPORT_SEE, NULL, NULL, NULL, NULL },
    { "role", PERMISSION_USER_SEE, NULL, NULL, NULL, NULL },
    { "directory", PERMISSION_DIRECTORY_SEE, NULL, NULL, NULL, NULL },
    { "alert", PERMISSION_ALERT_SEE, NULL, NULL, NULL, NULL },
};

static const Object *find_object(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(objects); i++) {
        if (g_str_equal(objects[i].object, name))
            return &objects[i];
    }
    g_error("access knows no '%s'", name); /* a programmer's mistake */
}

/* pattern with the alias for %1$s and the id for %2$s. */
static void append(GString *out, const char *pattern, const char *alias, const char *id)
{
    for (const char *p = pattern; *p; p++) {
        if (g_str_has_prefix(p, "%1$s") || g_str_has_prefix(p, "%2$s")) {
            g_string_append(out, p[1] == '1' ? alias : id);
            p += 3;
        } else {
            g_string_append_c(out, *p);
        }
    }
}

/* What of the rows lies in the grant's scope; FALSE: nothing of this kind.  looks_up: what a pool
 * or a desktop is made of, too: its template is seen with it, but is not in its scope, and nor are
 * the template's other pools. */
static gboolean append_scope(GString *out, const Object *o, const char *alias, const Grant *g,
                             gboolean looks_up)
{
    static const char *const of_template[] = {
        "%s IN (SELECT gd.id FROM desktop gd JOIN version gv ON gv.id = gd.version_id WHERE"
        " gv.template_id = '%s')",
        "%s = '%s'", "%s IN (SELECT gp.id FROM pool gp WHERE gp.template_id = '%s')"
    };
    static const char *const of_pool[] = {
        "%s IN (SELECT gp.desktop_id FROM pool_desktop gp WHERE gp.pool_id = '%s')",
        "%s IN (SELECT gp.template_id FROM pool gp WHERE gp.id = '%s')", "%s = '%s'"
    };
    static const char *const of_desktop[] = { "%s = '%s'", "%s IN " TEMPLATE_OF "'%s')", NULL };
    static const char *const *const patterns[] = { NULL, of_template, of_pool, of_desktop };
    const char *columns[] = { o->desktop, o->template, o->pool };
    gboolean found = FALSE;

    g_string_append_c(out, '(');
    for (guint i = 0; i < G_N_ELEMENTS(columns); i++) {
        const char *pattern = patterns[g->kind][i];
        if (!columns[i] || !pattern ||
            (columns[i] == o->template && g->kind != SCOPE_TEMPLATE && !looks_up))
            continue;
        g_autoptr(GString) column = g_string_new(NULL);
        append(column, columns[i], alias, "");
        g_string_append(out, found ? " OR " : "");
        const char *at = strstr(pattern, "%s"), *id_at = strstr(at + 2, "%s");
        g_string_append(out, column->str);
        g_string_append_len(out, at + 2, id_at - at - 2);
        g_string_append(out, g->scope_id);
        g_string_append(out, id_at + 2);
        found = TRUE;
    }
    g_string_append_c(out, ')');
    return found;
}

static void append_name(GString *out, const char *name)
{
    g_string_append(out, "CAST(x'");
    for (const char *p = name; *p; p++)
        g_string_append_printf(out, "%02x", (guchar)*p);
    g_string_append(out, "' AS TEXT)");
}

/* Jobs and events hold the name of who made them; jobs the address behind it. */
static void append_mine(GString *out, const Caller *caller, const Object *o, const char *alias)
{
    gboolean is_job = g_str_equal(o->object, "job");

    g_string_append_printf(out, "%s.%s = ", alias, is_job ? "owner" : "who");
    append_name(out, caller->name);
    if (!is_job)
        return;
    g_autofree char *from = g_strconcat(caller->name, " from ", NULL);
    g_string_append_printf(out, " OR substr(%s.owner, 1, length(", alias);
    append_name(out, from);
    g_string_append(out, ")) = ");
    append_name(out, from);
}

/* One grant's rows.  FALSE: none. */
static gboolean append_grant(GString *out, const Caller *caller, Permission permission,
                             const Object *o, const char *alias, const Grant *g)
{
    gboolean looks_up = permission == PERMISSION_TEMPLATE_SEE && o->see == permission;
    gsize start = out->len;
    gboolean is_ours = g_str_equal(o->object, "event") || g_str_equal(o->object, "job");

    g_string_append_c(out, '(');
    if (g->is_own) {
        if (!caller->user_id || (!o->own && !is_ours)) {
            g_string_truncate(out, start);
            return FALSE;
        }
        if (o->own)
            append(out, o->own, alias, caller->user_id);
        else
            append_mine(out, caller, o, alias);
    }
    if (g->kind != SCOPE_ALL) {
        g_string_append(out, g->is_own ? " AND " : "");
        if (!append_scope(out, o, alias, g, looks_up)) {
            g_string_truncate(out, start);
            return FALSE;
        }
    }
    g_string_append(out, !g->is_own && g->kind == SCOPE_ALL ? "1)" : ")");
    return TRUE;
}

/* What is a user's own whatever his grants and tokens are: himself, his groups, jobs, events. */
static gboolean is_always_own(const Object *o, Permission permission)
{
    static const char *const own[] = { "user", "group", "token", "job", "event", NULL };

    return g_strv_contains(own, o->object) &&
           (permission == o->see || permission == PERMISSION_JOB_CANCEL);
}

/* The rows of any of his grants, within what his token is good for.  FALSE: none. */
static gboolean append_grants(GString *out, const Caller *caller, Permission permission,
                              const Object *o, const char *alias)
{
    gsize start = out->len, n = 0;

    if (caller->limit) {
        if (!permission_has(&caller->limit->permissions, permission) ||
            !append_grant(out, caller, permission, o, alias, caller->limit))
            return FALSE;
        g_string_append(out, " AND ");
    }
    g_string_append_c(out, '(');
    for (guint i = 0; i < caller->grants->len; i++) {
        const Grant *grant = &g_array_index(caller->grants, Grant, i);
        gsize before = out->len;
        if (!permission_has(&grant->permissions, permission))
            continue;
        g_string_append(out, n ? " OR " : "");
        if (append_grant(out, caller, permission, o, alias, grant))
            n++;
        else
            g_string_truncate(out, before);
    }
    g_string_append_c(out, ')');
    if (n == 0)
        g_string_truncate(out, start);
    return n > 0;
}

char *access_sql(const Caller *caller, Permission permission, const char *object, const char *alias)
{
    const Object *o = find_object(object);
    const Grant self = { .is_own = TRUE };
    g_autoptr(GString) out = g_string_new("(");

    if (caller_may_everywhere(caller, permission))
        return NULL;
    if (!caller)
        return g_strdup("0");
    gboolean found = append_grants(out, caller, permission, o, alias);
    if (is_always_own(o, permission) && caller->user_id) {
        g_string_append(out, found ? " OR " : "");
        found |= append_grant(out, caller, permission, o, alias, &self);
    }
    g_string_append_c(out, ')');
    return g_strdup(found ? out->str : "0");
}

char *access_visible_sql(const Caller *caller, const char *object, const char *alias)
{
    return access_sql(caller, find_object(object)->see, object, alias);
}

char *access_visible_ids(Db *db, const Caller *caller, const char *object)
{
    g_autofree char *condition = access_visible_sql(caller, object, "x");

    if (!condition)
        return NULL;
    /* object is a table's name: find_object() knows it. */
    g_autofree char *sql = g_strdup_printf("SELECT json_group_array(x.id) AS ids FROM \"%s\" x"
                                           " WHERE %s",
                                           object, condition);
    Query *q = db_query_once(db, sql, "");
    char *ids = query_next(q) ? g_strdup(query_text(q, "ids")) : NULL;
    query_end(q, NULL);
    return ids ? ids : g_strdup("[]");
}
