/* verbs_desktop.c: imagectl desktop ...
 *
 * Most verbs work on many desktops at once: a selection of names, of a template's desktops, or of
 * those whose name begins with a prefix; the daemon does it as one job. */
#include "imaged/cli/commands.h"

#include <stdio.h>

#include "imaged/cli/batch.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/hardware.h"
#include "imaged/cli/identity.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/select.h"
#include "imaged/cli/verbs_inside.h"
#include "imaged/cli/verbs_desktop.h"

static const Column desktop_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TEMPLATE", "template", CELL_TEXT, 0 },
    { "VERSION", "version", CELL_COUNT, 0 },
    { "USERS", "users", CELL_LIST, 0 },
    { "POOL", "pool", CELL_TEXT, 0 },
    { "OWNER", "owner", CELL_TEXT, COLUMN_CSV },
    { "DRAFT OF", "draft_of", CELL_TEXT, COLUMN_SHOW },
    { "GENERATION", "generation", CELL_COUNT, 0 },
    { "STORE", "store", CELL_TEXT, 0 },
    { "LAYER", "layer", CELL_TEXT, COLUMN_CSV },
    { "STATE", "state", CELL_STATE, 0 },
    { "HOST NAME", "hostname", CELL_TEXT, COLUMN_SHOW },
    IDENTITY_COLUMNS,
    { "CPUS", "hardware.cpus", CELL_COUNT, COLUMN_SHOW },
    { "MEMORY", "hardware.memory_bytes", CELL_SIZE, COLUMN_SHOW },
    { "FIRMWARE", "hardware.firmware", CELL_TEXT, COLUMN_SHOW },
    { "VIDEO", "hardware.video", CELL_TEXT, COLUMN_SHOW },
    HARDWARE_COLUMNS,
    { "MAC", "mac", CELL_TEXT, COLUMN_CSV },
    { "UUID", "uuid", CELL_TEXT, COLUMN_CSV },
    { "SIZE", "virtual_size", CELL_SIZE, 0 },
    { "ON DISK", "disk_bytes", CELL_SIZE, COLUMN_SHOW },
    { "DATA DISK", "data_disk_size", CELL_SIZE, 0 },
    { "DATA LAYER", "data_layer", CELL_TEXT, COLUMN_CSV },
    { "DATA ON DISK", "data_disk_bytes", CELL_SIZE, COLUMN_SHOW },
    { "SNAPSHOTS", "n_snapshots", CELL_COUNT, 0 },
    { "CHAIN DEPTH", "chain_depth", CELL_COUNT, COLUMN_SHOW },
    { "STAND-IN", "stand_in", CELL_TEXT, COLUMN_SHOW },
    { "RUN", "run", CELL_STATE, 0 },
    { "HOST", "host", CELL_TEXT, 0 },
    { "WHY", "run_reason", CELL_TEXT, COLUMN_CSV },
    { "LIVE", "live", CELL_TRUTH, COLUMN_SHOW },
    { "ADDRESSES", "addresses", CELL_LIST, COLUMN_SHOW },
    { "CPU USE", "cpu_usage", CELL_PERCENT, COLUMN_SHOW },
    { "UNDO", "undo_available", CELL_TRUTH, 0 },
    { "SYSTEM", "inspection.product_name", CELL_TEXT, COLUMN_SHOW },
    { "HOST NAME FOUND", "inspection.hostname", CELL_TEXT, COLUMN_SHOW },
    { "APPLICATIONS", "inspection.n_applications", CELL_COUNT, COLUMN_SHOW },
    { "AGENTS", "inspection.agents", CELL_LIST, COLUMN_SHOW },
    { "PENDING", "pending", CELL_LIST, COLUMN_SHOW },
    { "INSPECTED", "inspection.as_of", CELL_TIME, COLUMN_SHOW },
    { "STILL AS INSPECTED", "inspection.is_current", CELL_TRUTH, COLUMN_SHOW },
    { "NOT INSPECTED", "inspection.error.message", CELL_TEXT, COLUMN_SHOW },
    { "LAST ARCHIVE", "last_archive_at", CELL_TIME, COLUMN_SHOW },
    { "CREATED", "created_at", CELL_TIME, COLUMN_CSV },
    { "CHANGED", "changed_at", CELL_TIME, 0 },
    COLUMN_END,
};

static const Column path_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    { "PATH", "path", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column set_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, 0 },
    { "USER", "identity.user", CELL_TEXT, 0 },
    { "DOMAIN", "identity.domain", CELL_TEXT, 0 },
    COLUMN_END,
};

static json_t *names_of(const Args *args)
{
    json_t *names = json_array();

    for (guint i = 0; i < args->words->len; i++)
        json_array_append_new(names, json_string(args->words->pdata[i]));
    return names;
}

/* ---- create ---- */

static json_t *create_body(const Args *args, GError **error)
{
    const char *prefix = args_text(args, "prefix");
    gint64 count = args_number(args, "count", -1);

    if (!args_has(args, "template")) {
        args_usage_error(args, error, "--template is missing: from which template?");
        return NULL;
    }
    if ((args->words->len > 0) == (prefix || count >= 0) || (prefix != NULL) != (count >= 0)) {
        args_usage_error(args, error, "give either names, or --prefix and --count");
        return NULL;
    }
    json_t *body = json_object();
    if (args->words->len)
        json_object_set_new(body, "names", names_of(args));
    json_set_text(body, "prefix", prefix);
    if (count >= 0)
        json_object_set_new(body, "count", json_integer(count));
    json_set_text(body, "template", args_text(args, "template"));
    json_set_text(body, "owner", args_text(args, "owner"));
    json_set_text(body, "store", args_text(args, "store"));
    if (args_has(args, "cluster-size"))
        json_object_set_new(body, "cluster_size",
                            json_integer(args_number(args, "cluster-size", 0)));
    if (args_has(args, "disk-size"))
        json_object_set_new(body, "disk_size", json_integer(args_number(args, "disk-size", 0)));
    if (args_has(args, "data-disk"))
        json_object_set_new(body, "data_disk_size",
                            json_integer(args_number(args, "data-disk", 0)));
    json_t *hardware = hardware_from_args(args);
    if (hardware)
        json_object_set_new(body, "hardware", hardware);
    if (args_has(args, "no-subclusters"))
        json_object_set_new(body, "subclusters", json_false());
    return body;
}

/* One desktop by name: what a program wants to see is the desktop, not how the batch went. */
static gboolean print_single(Cli *cli, const json_t *job, const char *name, GError **error)
{
    const json_t *result = json_object_get(job, "result");

    if (!batch_tell_failures(cli, result))
        return TRUE;
    if (!job_check(job, error))
        return FALSE;
    g_autoptr(GString) path = client_path("/v1/desktops", "desktop", name, NULL, error);
    return path && list_show(cli, path->str, desktop_columns, error);
}

static gboolean desktop_create(Cli *cli, GError **error)
{
    json_auto_t *body = create_body(cli->args, error);
    json_auto_t *job = NULL;

    if (!body || !job_run(cli, "POST", "/v1/desktops", body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    if (cli->args->words->len == 1 && cli->format != FORMAT_TABLE)
        return print_single(cli, job, args_word(cli->args, 0), error);
    return batch_print(cli, job, "created", "desktop", error);
}

/* ---- Reading ---- */

static gboolean desktop_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/desktops");

    client_query(path, "template", args_text(cli->args, "template"));
    client_query(path, "prefix", args_text(cli->args, "prefix"));
    client_query(path, "search", args_text(cli->args, "search"));
    client_query(path, "app", args_text(cli->args, "app"));
    return list_print(cli, path->str, "name", 0, desktop_columns, error);
}

static gboolean desktop_show(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), NULL, error);

    return path && list_show(cli, path->str, desktop_columns, error);
}

/* Only the path, so that it can be used as $(imagectl desktop path NAME). */
static gboolean print_path(Cli *cli, const json_t *answer)
{
    if (!answer)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s\n", json_text(answer, "path"));
    else
        list_print_object(cli, answer, path_columns);
    return TRUE;
}

static gboolean desktop_path(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "path", error);
    if (path && args_has(cli->args, "data"))
        client_query(path, "data", "1");
    json_auto_t *answer = path ? client_get(cli->client, path->str, error) : NULL;

    return print_path(cli, answer);
}

static gboolean desktop_config_disk(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "config-disk", error);
    json_auto_t *answer =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, NULL, error) : NULL;

    return print_path(cli, answer);
}

/* ---- Changing ---- */

static gboolean desktop_rename(Cli *cli, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/desktops", "desktop", args_word(cli->args, 0), "rename", error);
    const char *new_name = args_word(cli->args, 1);
    json_auto_t *body = json_pack("{s:s}", "new_name", new_name);

    if (!path)
        return FALSE;
    json_auto_t *desktop =
        client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error);
    if (!desktop)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("renamed %s to %s\n", args_word(cli->args, 0), new_name);
    else
        list_print_object(cli, desktop, desktop_columns);
    return TRUE;
}

static gboolean desktop_set(Cli *cli, GError **error)
{
    if (args_has(cli->args, "disk-size"))
        return desktop_set_disk_size(cli, error);
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);
    if (!body || !identity_put_settings(cli->args, body, error))
        return FALSE;
    gboolean is_identity = json_object_get(body, "identity") != NULL;
    json_auto_t *answer =
        client_request(cli->client, CLIENT_CHANGE, "POST", "/v1/desktops/set", body, error);
    if (!answer)
        return FALSE;
    g_autofree char *count = output_count_text((gint64)json_array_size(answer), "desktop");
    identity_print_warnings(cli, answer);
    if (cli->format == FORMAT_TABLE)
        printf("set for %s; %s\n", count,
               is_identity ? "told at the first boot after the next reset"
                           : "it holds from the next start on");
    else
        list_print_array(cli, answer, set_columns);
    return TRUE;
}

static gboolean desktop_delete(Cli *cli, GError **error)
{
    json_auto_t *body = select_body(cli->args, cli->args->words->len, error);

    return body &&
           select_run_destructive(cli, "/v1/desktops/delete", body, "delete", "deleted", error);
}

/* ---- The table ---- */

static const Option create_options[] = {
    { "template", OPTION_TEXT, "T[:VERSION]", "the template to stand on (its newest version)",
      "template" },
    { "prefix", OPTION_TEXT, "P", "with --count: the names are P and a number, P-001", NULL },
    { "count", OPTION_COUNT, "N", "with --prefix: how many", NULL },
    { "owner", OPTION_TEXT, "USER", "whose they are", NULL },
    { "store", OPTION_TEXT, "S", "where their layers live (the default store)", "store" },
    { "disk-size", OPTION_SIZE, "SIZE", "a disk larger than the template's; it stays so", NULL },
    { "data-disk", OPTION_SIZE, "SIZE", "a data disk too, which no re-image touches", NULL },
    { "cluster-size", OPTION_SIZE, "SIZE", "the layers' cluster size (as the store has it)", NULL },
    { "no-subclusters", OPTION_FLAG, NULL, "layers without extended L2 entries", NULL },
    HARDWARE_OPTIONS,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option path_options[] = {
    { "data", OPTION_FLAG, NULL, "of its data disk", NULL },
    OPTION_END,
};
static const Option list_options[] = {
    { "template", OPTION_TEXT, "T", "only desktops of this template (or T:VERSION)", "template" },
    { "prefix", OPTION_TEXT, "P", "only desktops whose name begins with P", NULL },
    OPTION_SEARCH,
    OPTION_APP,
    OPTION_END,
};
static const Option delete_options[] = {
    SELECT_TEMPLATE, SELECT_PREFIX, OPTION_YES, OPTION_DRY_RUN, OPTION_NO_WAIT, OPTION_END,
};
static const Option set_options[] = {
    SELECT_TEMPLATE,
    SELECT_PREFIX,
    { "disk-size", OPTION_SIZE, "SIZE", "alone: bytes that the disk has from now on", NULL },
    { "hostname", OPTION_TEXT, "NAME", "its host name (the desktop's name)", NULL },
    IDENTITY_OPTIONS,
    HARDWARE_OPTIONS,
    OPTION_END,
};
static const Command commands[] = {
    { "create", "(NAME... | --prefix P --count N) --template T[:VERSION]", 0, COMMAND_MANY, NULL,
      "Create desktops from a template",
      "Each desktop is one small layer on top of the template. A batch is one job; each desktop of "
      "it\n"
      "succeeds or fails by itself, with a reason.",
      "desktop create alice --template win11\n"
      "desktop create --prefix lab --count 5000 --template win11:3\n"
      "desktop create bob --template debian --disk-size 60G --data-disk 20G\n",
      create_options, desktop_create },
    { "list", "", 0, 0, NULL, "List desktops", NULL,
      "desktop list --template win11\ndesktop list --prefix lab -o json\n", list_options,
      desktop_list },
    { "show", "NAME", 1, 1, "desktop", "Show one desktop", NULL, "desktop show alice\n", NULL,
      desktop_show },
    { "inspect", "(NAME... | --template T | --all-of-prefix P | --all)", 0, COMMAND_MANY, "desktop",
      "Look into desktops: system, applications",
      "Desktops at rest.  One whose disk differs from its template's in nothing that tells is not\n"
      "read at all: it has its template's applications.",
      "desktop inspect alice\ndesktop inspect --template win11\n", inside_desktop_inspect_options,
      inside_desktop_inspect },
    { "apps", "NAME", 1, 1, "desktop", "List the applications that a desktop has",
      "As of its last inspection; until then, its template's.",
      "desktop apps alice --app '*office*'\n", inside_apps_options, inside_desktop_apps },
    { "files", "(ls DISK [PATH] | get DISK PATH [FILE])", 2, 4, "file",
      "Look at the files of a disk, or take one out of it",
      "DISK is a desktop at rest, DESKTOP@SNAPSHOT or archive:POINT, each of these with /data\n"
      "behind it for the data disk (with paths of its own), or TEMPLATE[:VERSION].\n"
      "It is only read.  Without FILE the bytes go to standard output; a FILE that is there is\n"
      "replaced and keeps its mode, a folder gets the file by its own name, a device or a pipe is\n"
      "written to.  Bytes of names that are no text are shown as \\xHH.",
      "desktop files ls alice@monday /home/alice\n"
      "desktop files get alice@monday /home/alice/thesis.odt thesis.odt\n"
      "desktop files get archive:0192f1/data /alice/thesis.odt thesis.odt\n",
      NULL, inside_desktop_files },
    { "path", "NAME", 1, 1, "desktop", "Print the path of the desktop's active layer", NULL,
      "desktop path alice\ndesktop path alice --data\n", path_options, desktop_path },
    { "rename", "NAME NEW-NAME", 2, 2, "desktop", "Give a desktop another name",
      "Its id, MAC, UUID and disk stay what they are.", "desktop rename alice alice-old\n", NULL,
      desktop_rename },
    { "set", "(NAME... | --template T | --all-of-prefix P) OPTION...", 0, COMMAND_MANY, "desktop",
      "Set what desktops are told at their first boot, their hardware, or the size of their disks",
      "Host name, user, domain: over what their template's version says ('template set').\n"
      "A guest with imaged's guest parts, cloud-init or Windows reads it from the config disk,\n"
      "once for each generation of its disk.  An empty text means none, whatever the version\n"
      "says.  --disk-size makes the disk larger at once, by a larger layer on top; the guest sees\n"
      "it at its next start, and a re-image or roll-out keeps the size.  A disk never shrinks.",
      "desktop set alice --auto-login alice\n"
      "desktop set --all-of-prefix lab --domain ad.example.org --join-user joiner \\\n"
      "    --join-password-file secret --account renew\n"
      "desktop set alice --unset user,auto_login\n"
      "desktop set alice --disk-size 80G\n"
      "desktop set alice --cpus 4 --memory 8G --heads 2 --cpu-limit 50\n",
      set_options, desktop_set },
    { "config-disk", "NAME", 1, 1, "desktop", "Make the desktop's config disk and print its path",
      "A small CD-ROM image for its virtual machine, from which the guest learns who it is.",
      "desktop config-disk alice\n", NULL, desktop_config_disk },
    { "data-disk",
      "add NAME... (--size SIZE | --disk ENTRY) | resize NAME... --size SIZE | "
      "detach NAME...",
      1, COMMAND_MANY, "desktop", "Add, grow or detach the data disk of desktops",
      "A data disk is what no re-image and no roll-out touches.  It is part of the desktop's\n"
      "snapshots and archives.  One that is detached goes to the trash; --disk gives it back, or\n"
      "to another desktop.  Instead of names: --template T or --all-of-prefix P.",
      "desktop data-disk add alice --size 20G\ndesktop data-disk resize alice --size 40G\n"
      "desktop data-disk detach alice --yes\ndesktop data-disk add bob --disk 019ab3f0...\n",
      desktop_data_disk_options, desktop_data_disk },
    { "assign", "NAME USER", 2, 2, "desktop", "Make a desktop a user's own",
      "One that another user has is refused.  With --until he has it until then: he is told\n"
      "before (--warn), may save his work (--grace), and then it is shut down and nobody's.  With\n"
      "--end-action its memory is kept, or it is archived, or laid fresh on its template.",
      "desktop assign fin-01 alice\n"
      "desktop assign fin-01 alice --until 2027-01-31 --end-action suspend\n",
      desktop_assign_options, desktop_assign },
    { "share", "NAME USER", 2, 2, "desktop", "Let several users have a desktop, one at a time",
      NULL, "desktop share desk-1 alice\ndesktop share desk-1 bob --may-take-over\n",
      desktop_share_options, desktop_share },
    { "unassign", "NAME [USER]", 1, 2, "desktop", "Take a desktop from a user, or from all",
      "Its disk stays as it is.", "desktop unassign fin-01\n", NULL, desktop_unassign },
    { "assignments", "[NAME]", 0, 1, "desktop", "List whose desktops are", NULL,
      "desktop assignments\n", NULL, desktop_assignments },
    { "extend", "NAME", 1, 1, "desktop", "Extend the lease on a desktop",
      "As often and as long as its pool, or who assigned it, allows.",
      "desktop extend desk-007\n", desktop_extend_options, desktop_extend },
    { "start", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Start desktops on hosts that have room for them",
      "One that is suspended goes on with its memory.",
      "desktop start alice\ndesktop start --all-of-prefix lab\n", desktop_start_options,
      desktop_start },
    { "stop", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Shut desktops down",
      "The guest is asked.  If it does not listen it stays on, unless --force is given.",
      "desktop stop alice\ndesktop stop alice --force\n", desktop_stop_options, desktop_stop },
    { "restart", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Ask guests to restart", NULL, "desktop restart alice\n", desktop_run_options,
      desktop_restart },
    { "pause", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Let desktops stand still", NULL, "desktop pause alice\n", desktop_run_options,
      desktop_pause },
    { "suspend", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Save what desktops have in their memory, and switch them off",
      "'resume' or 'start' lets them go on.  What replaces the disk throws the memory away.",
      "desktop suspend alice\n", desktop_run_options, desktop_suspend },
    { "screenshot", "NAME FILE", 2, 2, "desktop", "Write a picture of a desktop's display",
      "A PNG of its first monitor.",
      "desktop screenshot alice alice.png\n", NULL, desktop_screenshot },
    { "console", "NAME", 1, 1, "desktop", "Be at a desktop's serial console",
      "Ctrl-] leaves it.  Without a terminal: until the standard input ends.",
      "desktop console alice\n", desktop_console_options, desktop_console },
    { "resume", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Let desktops that are paused or suspended go on", NULL, "desktop resume alice\n",
      desktop_run_options,
      desktop_resume },
    { "migrate", "(NAME... | --template T | --all-of-prefix P) [--to HOST]", 0, COMMAND_MANY,
      "desktop", "Move desktops to another host while they run",
      "They go on there, with the session of their users.  One that cannot be moved stays.",
      "desktop migrate alice\ndesktop migrate alice --to vs-b\n", desktop_migrate_options,
      desktop_migrate },
    { "reset", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Re-image desktops: back to their template",
      "Each gets a fresh layer; the former one goes to the trash, from where 'desktop undo-reset'\n"
      "brings it back.  A data disk stays what it is.\n"
      "With --keep, files are carried from the former disk into the new one, with owners, modes,\n"
      "attributes and ACLs.  That starts an appliance for each desktop: half a minute without KVM.",
      "desktop reset alice\ndesktop reset --all-of-prefix lab --yes\n"
      "desktop reset --template win11 --to 4\n"
      "desktop reset alice --keep /home/alice --keep /etc/cups/ppd\n",
      desktop_reset_options, desktop_reset },
    { "undo-reset", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Bring back what the last reset or revert replaced",
      "The disk, the data disk or both, as the last reset, revert, roll-out or restore in place\n"
      "took them.  What is there now goes to the trash.  The next undo goes one further back.",
      "desktop undo-reset alice\n", desktop_undo_options, desktop_undo_reset },
    { "move", "(NAME... | --template T | --all-of-prefix P) --to STORE", 0, COMMAND_MANY, "desktop",
      "Move desktops to another store", "What they stand on is copied there once.",
      "desktop move alice --to fast\n", desktop_move_options, desktop_move },
    { "compact", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Merge a desktop's own layers; drop what it holds for nothing",
      "The layers between two snapshots become one.  What reads the same in the layers below, and\n"
      "zeros, are left out.  The guest reads the same bytes as before.",
      "desktop compact alice\n", desktop_merge_options, desktop_compact },
    { "flatten", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Make a desktop's disk stand on nothing",
      "The whole chain, the template's data too, becomes one layer.  Snapshots stay as they are.",
      "desktop flatten alice\n", desktop_merge_options, desktop_flatten },
    { "delete", "(NAME... | --template T | --all-of-prefix P)", 0, COMMAND_MANY, "desktop",
      "Delete desktops: their disks and data disks go to the trash", NULL,
      "desktop delete alice --dry-run\ndesktop delete --all-of-prefix lab --yes\n", delete_options,
      desktop_delete },
    { NULL },
};

const Noun noun_desktop = { "desktop", "an identity with a disk of its own on top of a template",
                            commands };
