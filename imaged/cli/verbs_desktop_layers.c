/* verbs_desktop_layers.c: imagectl desktop reset, undo-reset, move, compact and flatten: what a
 * desktop's disk consists of is replaced, brought back, moved or merged, of many in one job. */
#include "imaged/cli/verbs_desktop.h"

#include <stdio.h>

#include "imaged/base/units.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/select.h"

/* ---- reset ---- */

const Option desktop_reset_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "to", OPTION_COUNT, "VERSION", "another version of the template (the one it stands on)",
      NULL },
    { "stop", OPTION_FLAG, NULL, "those that run are switched off, and started again", NULL },
    { "keep", OPTION_LIST, "PATH", "carry this over; several with commas or --keep again", NULL },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};

/* "/a,/b" are two paths; a comma elsewhere belongs to its name. */
static json_t *kept_paths(const Args *args)
{
    json_auto_t *given = args_list(args, "keep");
    json_t *out = json_array(), *item;
    gsize i;

    json_array_foreach (given, i, item) {
        g_autoptr(GString) path = g_string_new(NULL);
        for (const char *p = json_string_value(item); *p; p++) {
            if (p[0] == ',' && p[1] == '/') {
                json_array_append_new(out, json_string(path->str));
                g_string_truncate(path, 0);
            } else {
                g_string_append_c(path, *p);
            }
        }
        json_array_append_new(out, json_string(path->str));
    }
    return out;
}

static void print_kept(const json_t *paths)
{
    const json_t *path;
    gsize i;

    json_array_foreach ((json_t *)paths, i, path)
        printf("%s%s", i ? ", " : "carries over: ", json_string_value(path));
    putchar('\n');
}

gboolean desktop_reset(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    if (!body)
        return FALSE;
    if (args_has(cli->args, "to"))
        json_object_set_new(body, "to", json_integer(args_number(cli->args, "to", 0)));
    if (args_has(cli->args, "stop"))
        json_object_set_new(body, "stop", json_true());
    if (args_has(cli->args, "keep"))
        json_object_set_new(body, "keep", kept_paths(cli->args));
    if (!select_run_destructive(cli, "/v1/desktops/reset", body, "reset", "reset", error))
        return FALSE;
    if (args_has(cli->args, "keep") && args_has(cli->args, "dry-run") &&
        cli->format == FORMAT_TABLE)
        print_kept(json_object_get(body, "keep"));
    return TRUE;
}

const Option desktop_undo_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "stop", OPTION_FLAG, NULL, "those that run are switched off, and started again", NULL },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};

gboolean desktop_undo_reset(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    if (body && args_has(cli->args, "stop"))
        json_object_set_new(body, "stop", json_true());
    return body && select_run_destructive(cli, "/v1/desktops/undo-reset", body,
                                          "bring back the former disks of",
                                          "brought back the former disks of", error);
}

/* ---- move ---- */

const Option desktop_move_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "to", OPTION_TEXT, "STORE", "the store to move to", "store" },
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};

gboolean desktop_move(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);
    json_auto_t *job = NULL;

    if (!body)
        return FALSE;
    if (!args_has(cli->args, "to")) {
        args_usage_error(cli->args, error, "--to is missing: to which store?");
        return FALSE;
    }
    json_set_text(body, "store", args_text(cli->args, "to"));
    ConfirmRequest request = { "POST", "/v1/desktops/move", body, "move", "desktop" };
    ConfirmAnswer answer = confirm_dry_run(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", "/v1/desktops/move", body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "moved", "desktop", error);
}

/* ---- compact, flatten ---- */

const Option desktop_merge_options[] = { SELECT_TEMPLATE, SELECT_PREFIX, OPTION_NO_WAIT,
                                         OPTION_END };

static gint64 count_compact_before(const json_t *result)
{
    const json_t *item;
    gint64 n = 0;
    gsize i;

    json_array_foreach (json_object_get(result, "items"), i, item)
        n += json_truth(item, "ok") && json_number(item, "n_layers") == 0;
    return n;
}

/* Which were compact already, and what the others take now. */
static void print_compact(const json_t *result)
{
    const json_t *items = json_object_get(result, "items"), *item;
    gint64 before = 0, after = 0, n_same = count_compact_before(result);
    gsize i;

    json_array_foreach (items, i, item) {
        if (!json_truth(item, "ok"))
            continue;
        before += json_number(item, "before_bytes");
        after += json_number(item, "after_bytes");
    }
    if (n_same)
        printf("nothing to free in %" G_GINT64_FORMAT " of them: left as %s\n", n_same,
               n_same == 1 ? "it is" : "they are");
    if (before > after) {
        g_autofree char *freed = units_format_size((guint64)(before - after));
        printf("%s are free once the trash is emptied\n", freed);
    }
}

gboolean desktop_compact(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);
    json_auto_t *job = NULL;

    if (!body || !job_run(cli, "POST", "/v1/desktops/compact", body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    gboolean has_same = count_compact_before(json_object_get(job, "result")) > 0;
    gboolean ok = batch_print(cli, job, has_same ? "went through" : "compacted", "desktop", error);
    if (ok && cli->format == FORMAT_TABLE)
        print_compact(json_object_get(job, "result"));
    return ok;
}

gboolean desktop_flatten(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    return body && select_run(cli, "/v1/desktops/flatten", body, "flattened", error);
}
