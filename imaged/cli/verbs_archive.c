/* verbs_archive.c: imagectl archive ...: points made, shown, verified, restored, deleted.
 *
 * The verbs about targets and schedules are in verbs_archive_more.c. */
#include "imaged/cli/verbs_archive.h"

#include <stdio.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"

static const Column point_columns[] = {
    { "ID", "id", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, 0 },
    { "KIND", "kind", CELL_TEXT, COLUMN_CSV },
    { "TARGET", "target", CELL_TEXT, 0 },
    { "TEMPLATE", "version", CELL_TEXT, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "BYTES", "bytes", CELL_SIZE, 0 },
    { "NEW", "new_bytes", CELL_SIZE, 0 },
    { "DELETED", "deleted_at", CELL_TIME, COLUMN_CSV },
    { "DESCRIPTION", "description", CELL_TEXT, COLUMN_CSV },
    { "LAYERS", "n_layers", CELL_COUNT, COLUMN_SHOW },
    { "DATA DISK", "data_disk_size", CELL_SIZE, COLUMN_SHOW },
    { "FILE", "file", CELL_TEXT, COLUMN_SHOW },
    COLUMN_END,
};

static const Column verdict_columns[] = {
    { "ID", "id", CELL_TEXT, 0 },
    { "NAME", "name", CELL_TEXT, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "BYTES", "bytes", CELL_SIZE, COLUMN_CSV },
    { "STAYS", "keep", CELL_TRUTH, 0 },
    { "WHY", "why", CELL_TEXT, 0 },
    COLUMN_END,
};

json_t *archive_words(const Args *args, guint from)
{
    json_t *list = json_array();

    for (guint i = from; i < args->words->len; i++)
        json_array_append_new(list, json_string(args->words->pdata[i]));
    return list;
}

json_t *archive_selection(const Args *args, guint from, GError **error)
{
    const char *prefix = args_text(args, "prefix"), *template = args_text(args, "template");
    const char *search = args_text(args, "search"); /* a schedule has none */
    gboolean has_words = args->words->len > from;

    if (has_words + (prefix != NULL) + (template != NULL) + (search != NULL) != 1) {
        args_usage_error(args, error,
                         has_words || prefix || template
                             ? "give only one of names, --prefix and --template"
                             : "what? give names, --prefix or --template");
        return NULL;
    }
    if (!args_has(args, "to")) {
        args_usage_error(args, error, "--to is missing: to which archive target?");
        return NULL;
    }
    json_t *body = json_object();
    if (has_words)
        json_object_set_new(body, "names", archive_words(args, from));
    json_set_text(body, "prefix", prefix);
    json_set_text(body, "template", template);
    json_set_text(body, "search", search);
    json_set_text(body, "target", args_text(args, "to"));
    return body;
}

static gboolean archive_create(Cli *cli, GError **error)
{
    json_auto_t *body = archive_selection(cli->args, 0, error);
    json_auto_t *job = NULL;

    if (!body)
        return FALSE;
    json_set_text(body, "description", args_text(cli->args, "description"));
    if (!job_run(cli, "POST", "/v1/archive/points", body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "made", "archive point", error);
}

static gboolean archive_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/archive/points");

    client_query(path, "target", args_text(cli->args, "target"));
    client_query(path, "of", args_text(cli->args, "of"));
    client_query(path, "search", args_text(cli->args, "search"));
    client_query(path, "deleted", args_has(cli->args, "deleted") ? "1" : NULL);
    client_query(path, "refresh", args_has(cli->args, "refresh") ? "1" : NULL);
    return list_print(cli, path->str, "id", 0, point_columns, error);
}

static gboolean archive_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/archive/points", "archive point", args_word(cli->args, 0), NULL, error);

    return path && list_show(cli, path->str, point_columns, error);
}

/* ---- Verify ---- */

static void print_findings(const json_t *result)
{
    gsize i;
    json_t *finding;

    json_array_foreach (json_object_get(result, "findings"), i, finding) {
        Column affects = { "", "affects", CELL_LIST, 0 };
        g_autofree char *points = output_cell_text(finding, &affects, FALSE);
        g_autofree char *line =
            g_strdup_printf("damaged %s %s: %s; it touches %s", json_text(finding, "kind"),
                            json_text(finding, "name"), json_text(finding, "message"),
                            *points ? points : "no point");
        g_strdelimit(line, "\r\n\t\033", ' ');
        printf("%s\n", line);
    }
}

static gboolean archive_verify(Cli *cli, GError **error)
{
    json_auto_t *body = json_object(), *result = NULL;

    json_set_text(body, "target", args_text(cli->args, "target"));
    if (cli->args->words->len)
        json_object_set_new(body, "points", archive_words(cli->args, 0));
    else if (!args_has(cli->args, "target")) {
        args_usage_error(cli->args, error, "verify what? give points, or --target");
        return FALSE;
    }
    if (!job_run_result(cli, "/v1/archive/points/verify", body, &result, error))
        return FALSE;
    if (!result)
        return TRUE;
    gboolean is_ok = json_truth(result, "ok");
    if (cli->format == FORMAT_JSON) {
        output_json(result);
    } else {
        g_autofree char *size = units_format_size((guint64)json_number(result, "bytes"));
        print_findings(result);
        g_autofree char *points = output_count_text(json_number(result, "n_points"), "point");
        g_autofree char *layers = output_count_text(json_number(result, "n_objects"), "layer");
        printf("read %s and %s, %s: %s\n", points, layers, size,
               is_ok ? "all is well" : "NOT well");
    }
    if (is_ok)
        return TRUE;
    fflush(stdout);
    cli->exit_code = CLI_FAILED;
    g_autofree char *why = g_strdup_printf("damaged points: %" G_GINT64_FORMAT,
                                           json_number(result, "n_damaged"));
    cli_complain("archive verify", why,
                 "what is damaged is stored again by the next archive of it");
    return TRUE;
}

/* ---- Restore ---- */

static gboolean print_restored(Cli *cli, const json_t *job, GError **error)
{
    const json_t *result = json_object_get(job, "result");

    if (!job_check(job, error))
        return FALSE;
    if (cli->format != FORMAT_TABLE) {
        output_json(result);
        return TRUE;
    }
    printf("restored %s %s\n", json_text(result, "kind"), json_text(result, "name"));
    if (*json_text(result, "template_made"))
        printf("with it came the template version %s (retired)\n",
               json_text(result, "template_made"));
    return TRUE;
}

static gboolean archive_restore(Cli *cli, GError **error)
{
    g_autoptr(GString) path = client_path("/v1/archive/points", "archive point",
                                          args_word(cli->args, 0), "restore", error);
    json_auto_t *body = json_object(), *job = NULL;

    if (!path)
        return FALSE;
    if (args_has(cli->args, "as") && args_has(cli->args, "in-place")) {
        args_usage_error(cli->args, error, "give only one of --as and --in-place");
        return FALSE;
    }
    json_set_text(body, "as", args_text(cli->args, "as"));
    json_set_text(body, "store", args_text(cli->args, "store"));
    if (args_has(cli->args, "in-place"))
        json_object_set_new(body, "in_place", json_true());
    json_set_text(body, "disk", args_text(cli->args, "disk"));
    ConfirmRequest request = { "POST", path->str, body, "restore in place", "desktop" };
    ConfirmAnswer answer = args_has(cli->args, "in-place")
                               ? confirm(cli, &request, error)
                               : confirm_dry_run(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", path->str, body, &job, error))
        return FALSE;
    return !job || print_restored(cli, job, error);
}

/* ---- Deleting ---- */

static gboolean archive_delete(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:o}", "points", archive_words(cli->args, 0)), *job = NULL;
    ConfirmRequest request = { "POST", "/v1/archive/points/delete", body, "delete",
                               "archive point" };

    if (args_has(cli->args, "now"))
        json_object_set_new(body, "now", json_true());
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", request.path, body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "deleted", "archive point", error);
}

static gboolean archive_undelete(Cli *cli, GError **error)
{
    json_auto_t *body = json_pack("{s:o}", "points", archive_words(cli->args, 0)), *job = NULL;

    if (!job_run(cli, "POST", "/v1/archive/points/undelete", body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "brought back", "archive point", error);
}

static char *keep_text(const Args *args)
{
    static const char *const rules[] = { "last", "daily", "weekly", "monthly", "yearly" };
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
        g_autofree char *option = g_strdup_printf("keep-%s", rules[i]);
        if (args_has(args, option))
            g_string_append_printf(text, "%s%s %" G_GINT64_FORMAT, text->len ? " " : "", rules[i],
                                   args_number(args, option, 0));
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* A dry run tells of every point why it stays or goes. */
static gboolean show_verdicts(Cli *cli, const json_t *body, GError **error)
{
    json_auto_t *asked = json_deep_copy(body);

    json_object_set_new(asked, "dry_run", json_true());
    json_auto_t *told = client_request(cli->client, CLIENT_READ, "POST",
                                       "/v1/archive/points/prune", asked, error);
    if (!told)
        return FALSE;
    if (cli->format == FORMAT_JSON)
        output_json(told);
    else
        list_print_array(cli, json_object_get(told, "points"), verdict_columns);
    return TRUE;
}

static gboolean archive_prune(Cli *cli, GError **error)
{
    g_autofree char *keep = keep_text(cli->args);
    json_auto_t *body = json_pack("{s:s}", "keep", keep), *job = NULL;
    ConfirmRequest request = { "POST", "/v1/archive/points/prune", body, "delete",
                               "archive point" };

    if (!*keep || !args_has(cli->args, "target")) {
        args_usage_error(cli->args, error,
                         *keep ? "--target is missing" : "nothing is kept: give --keep-last N or "
                                                         "another of the --keep options");
        return FALSE;
    }
    json_set_text(body, "target", args_text(cli->args, "target"));
    json_set_text(body, "of", args_text(cli->args, "of"));
    if (args_has(cli->args, "dry-run"))
        return show_verdicts(cli, body, error);
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "POST", request.path, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    if (job_is_job(job))
        return batch_print(cli, job, "deleted", "archive point", error);
    json_auto_t *nothing = json_pack("{s:s,s:O}", "state", "done", "result", job);
    return batch_print(cli, nothing, "deleted", "archive point", error);
}

static gboolean archive_gc(Cli *cli, GError **error)
{
    g_autoptr(GString) path = client_path("/v1/archive/targets", "archive target",
                                          args_word(cli->args, 0), "collect", error);
    json_auto_t *result = NULL;

    gboolean is_dry = args_has(cli->args, "dry-run");
    json_auto_t *body = is_dry ? json_pack("{s:b}", "dry_run", 1) : NULL;

    if (!path || !job_run_result(cli, path->str, body, &result, error))
        return FALSE;
    if (!result)
        return TRUE;
    if (cli->format != FORMAT_TABLE) {
        output_json(result);
        return TRUE;
    }
    g_autofree char *freed = units_format_size((guint64)json_number(result, "freed_bytes"));
    g_autofree char *layers = output_count_text(json_number(result, "n_objects"), "layer");
    printf(is_dry ? "would delete %s that no point names, and free %s\n"
                  : "deleted %s that no point names, freed %s\n", layers, freed);
    return TRUE;
}

/* ---- The table ---- */

#define TO                                                                                         \
    {                                                                                              \
        "to", OPTION_TEXT, "TARGET", "the archive target", NULL                                    \
    }
#define PREFIX                                                                                     \
    {                                                                                              \
        "prefix", OPTION_TEXT, "P", "all desktops whose name begins with P", NULL                  \
    }
#define TARGET                                                                                     \
    {                                                                                              \
        "target", OPTION_TEXT, "TARGET", "only this archive target", NULL                          \
    }
#define OF                                                                                         \
    {                                                                                              \
        "of", OPTION_TEXT, "NAME", "only points of this desktop or template", NULL                 \
    }
#define KEEP(rule, what)                                                                           \
    {                                                                                              \
        "keep-" rule, OPTION_COUNT, "N", what, NULL                                                \
    }

static const Option create_options[] = {
    TO,
    PREFIX,
    SELECT_TEMPLATE,
    SELECT_SEARCH,
    { "description", OPTION_TEXT, "TEXT", "what the points are for", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option list_options[] = {
    TARGET,
    OF,
    { "deleted", OPTION_FLAG, NULL, "those that were deleted and can be brought back", NULL },
    { "refresh", OPTION_FLAG, NULL, "look into the targets, where others may have archived", NULL },
    OPTION_SEARCH,
    OPTION_END,
};
static const Option verify_options[] = { TARGET, OPTION_NO_WAIT, OPTION_END };
static const Option restore_options[] = {
    { "as", OPTION_TEXT, "NAME", "as a new desktop (or template) of this name", NULL },
    { "in-place", OPTION_FLAG, NULL, "as the desktop that it was; its disk goes to the trash",
      NULL },
    { "disk", OPTION_CHOICE, "all|system|data", "which disk is brought back (all)", NULL },
    { "store", OPTION_TEXT, "S", "where its layers go (where its template is)", "store" },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option delete_options[] = {
    { "now", OPTION_FLAG, NULL, "for good, not kept for the trash's time", NULL },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option gc_options[] = { OPTION_DRY_RUN, OPTION_NO_WAIT, OPTION_END };
static const Option wait_options[] = { OPTION_NO_WAIT, OPTION_END };
static const Option prune_options[] = {
    TARGET,
    OF,
    KEEP("last", "the N newest points"),
    KEEP("daily", "the newest of each of N days"),
    KEEP("weekly", "the newest of each of N weeks"),
    KEEP("monthly", "the newest of each of N months"),
    KEEP("yearly", "the newest of each of N years"),
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option target_options[] = {
    { "kind", OPTION_CHOICE, "dir|borg", "a folder on a mounted share, or a borg repository",
      NULL },
    { "encryption", OPTION_CHOICE, "none|repokey-blake2",
      "of a new borg repository (none, with a passphrase repokey-blake2)", NULL },
    { "passphrase-file", OPTION_TEXT, "FILE", "its first line opens the repository", "file" },
    OPTION_YES,
    OPTION_DRY_RUN,
    OPTION_END,
};
static const Option schedule_options[] = { TO, PREFIX, SELECT_TEMPLATE, OPTION_END };

static const Command archive_commands[] = {
    { "target", "add NAME LOCATION | list | remove NAME", 1, 3, NULL,
      "Add, list or forget places where archives lie",
      "LOCATION is an empty folder on a mounted share, or a borg repository (made if there is\n"
      "none).  One that holds archives already is taken with all its points.",
      "archive target add nas /mnt/backup/imaged\n"
      "archive target add vault --kind borg backup@host:imaged --passphrase-file key\n"
      "archive target list\narchive target remove nas\n",
      target_options, archive_target },
    { "create", "(DESKTOP[@SNAPSHOT]... | TEMPLATE[:VERSION]... | --prefix P | --template T) "
                "--to TARGET",
      0, COMMAND_MANY, "desktop", "Archive desktops and templates as they are now",
      "A layer that the target has already costs nothing.  A desktop has to be shut down for the\n"
      "moment in which its disk is frozen; a snapshot or a template need not wait for that.",
      "archive create alice --to nas\narchive create --prefix lab --to nas\n"
      "archive create alice@monday win11:3 --to nas\n",
      create_options, archive_create },
    { "list", "", 0, 0, NULL, "List archive points, newest first", NULL,
      "archive list --of alice\narchive list --target nas --refresh\n", list_options,
      archive_list },
    { "show", "POINT", 1, 1, NULL, "Show one point, with the file that qemu-img can convert", NULL,
      "archive show 019ab3f0 -o json\n", NULL, archive_show },
    { "verify", "(POINT... | --target TARGET)", 0, COMMAND_MANY, NULL,
      "Read points as a whole and compare",
      "Exit code 0 only if all is well; else it says which points each damaged layer touches.",
      "archive verify --target nas\narchive verify 019ab3f0\n", verify_options, archive_verify },
    { "restore", "POINT (--as NAME | --in-place)", 1, 1, NULL, "Bring a point back",
      "What the desktop stands on comes along if it is not here.  In place, the present disk\n"
      "goes to the trash, from where 'desktop undo-reset' brings it back.",
      "archive restore 019ab3f0 --as alice-monday\narchive restore 019ab3f0 --in-place --yes\n",
      restore_options, archive_restore },
    { "delete", "POINT...", 1, COMMAND_MANY, NULL, "Delete points",
      "Until the trash's time is up 'archive undelete' brings them back, unless --now is given.",
      "archive delete 019ab3f0 --dry-run\n", delete_options, archive_delete },
    { "undelete", "POINT...", 1, COMMAND_MANY, NULL, "Bring deleted points back", NULL,
      "archive undelete 019ab3f0\n", wait_options, archive_undelete },
    { "prune", "--target TARGET --keep-last N ...", 0, 0, NULL,
      "Delete the points that no retention rule keeps",
      "For each desktop, each snapshot and each template by itself.  A point\n"
      "stays if one of the rules keeps it; --dry-run says of each why it stays or goes.",
      "archive prune --target nas --keep-last 3 --keep-daily 7 --keep-monthly 6 --dry-run\n",
      prune_options, archive_prune },
    { "gc", "TARGET", 1, 1, NULL, "Free what no point of the target needs any more", NULL,
      "archive gc nas --dry-run\n", gc_options, archive_gc },
    { "schedule", "add NAME TIMING (DESKTOP... | --prefix P | --template T) --to TARGET | list | "
                  "remove NAME",
      1, COMMAND_MANY, NULL, "Archive by the clock",
      "TIMING is one of\n"
      "  every day 02:00               every weekday 02:00 (Monday to Friday)\n"
      "  every monday,thursday 03:30   every month 1 04:00 (the 1st)\n"
      "  every hour                    every 6 hours (or 2, 3, 4, 8, 12)\n"
      "and after it, if wanted, what a prune keeps: ', keep last 3 daily 7 weekly 4 monthly 6'.\n"
      "A run that was missed is caught up once.",
      "archive schedule add nightly 'every day 02:00, keep last 3 daily 7' --prefix lab --to nas\n"
      "archive schedule list\narchive schedule remove nightly\n",
      schedule_options, archive_schedule },
    { NULL },
};

const Noun noun_archive = { "archive", "points in time, stored elsewhere",
                            archive_commands };
