/* verbs_template.c: imagectl template ... ; the import's own work is in import.c. */
#include "imaged/cli/commands.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/build.h"
#include "imaged/cli/cli.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/hardware.h"
#include "imaged/cli/identity.h"
#include "imaged/cli/import.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"
#include "imaged/cli/verbs_inside.h"
#include "imaged/cli/verbs_advice.h"
#include "imaged/cli/template_make.h"

static const Column template_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "VERSIONS", "n_versions", CELL_COUNT, 0 },
    { "LATEST", "latest", CELL_COUNT, 0 },
    { "STATE", "state", CELL_STATE, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "SIZE", "virtual_size", CELL_SIZE, 0 },
    { "OS", "os", CELL_TEXT, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "DESCRIPTION", "description", CELL_TEXT, 0 },
    COLUMN_END,
};

/* ---- import ---- */

static gboolean template_import(Cli *cli, GError **error)
{
    json_auto_t *job = import_run(cli, error);

    if (!template_print_made(cli, job, "imported", error))
        return FALSE;
    const char *made = json_text(json_object_get(job, "result"), "name");
    if (cli->format == FORMAT_TABLE && !args_has(cli->args, "draft"))
        fprintf(stderr,
                "note: an image is published as it is, not sealed. Unless its maker sealed it, its"
                " desktops share its machine-id and SSH host keys: imagectl template seal %s\n",
                *made ? made : args_word(cli->args, 0));
    return TRUE;
}

/* ---- build ---- */

static gboolean template_build(Cli *cli, GError **error)
{
    GError *local = NULL;
    json_auto_t *job = build_run(cli, &local);

    if (local)
        g_propagate_error(error, local);
    else if (job)
        return template_print_made(cli, job, "built", error);
    return local == NULL; /* checked, or --no-wait: printed already */
}

/* ---- Reading ---- */

static gboolean template_list(Cli *cli, GError **error)
{
    g_autoptr(GString) path = g_string_new("/v1/templates");

    client_query(path, "search", args_text(cli->args, "search"));
    client_query(path, "app", args_text(cli->args, "app"));
    return list_print(cli, path->str, "name", 0, template_columns, error);
}

static const Column user_columns[] = {
    { "USER", "name", CELL_TEXT, 0 },
    { "UID", "uid", CELL_COUNT, 0 },
    { "HOME", "home", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column file_system_columns[] = {
    { "DEVICE", "device", CELL_TEXT, 0 },
    { "TYPE", "type", CELL_TEXT, 0 },
    { "LABEL", "label", CELL_TEXT, 0 },
    { "SIZE", "size", CELL_SIZE, 0 },
    { "USED", "used", CELL_SIZE, 0 },
    { "MOUNTED AT", "mount", CELL_TEXT, 0 },
    COLUMN_END,
};

static const Column stand_in_columns[] = {
    { "STAND-IN", "id", CELL_TEXT, 0 },
    { "STORE", "store", CELL_TEXT, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "ON DISK", "disk_bytes", CELL_SIZE, 0 },
    { "CREATED", "created_at", CELL_TIME, 0 },
    COLUMN_END,
};

/* The stand-in bases between a version and desktops of it, if there are any: for people. */
static void print_stand_ins(Cli *cli, const json_t *version)
{
    const json_t *list = json_object_get(version, "stand_ins");

    if (cli->format != FORMAT_TABLE || json_array_size(list) == 0)
        return;
    printf("\nstand-in bases under desktops of %s:\n", json_text(version, "name"));
    list_print_array(cli, list, stand_in_columns);
}

/* One version, with what was found in it.  number is of "NAME:NUMBER". */
static gboolean show_version(Cli *cli, const char *name, const char *number, GError **error)
{
    g_autoptr(GString) path =
        client_path("/v1/templates", "template", name, "versions", error);
    json_auto_t *versions = path ? client_get(cli->client, path->str, error) : NULL;
    const json_t *version;
    gsize i;

    if (!versions)
        return FALSE;
    json_array_foreach (versions, i, version) {
        g_autofree char *is = g_strdup_printf("%" G_GINT64_FORMAT, json_number(version, "version"));
        if (!g_str_equal(is, number))
            continue;
        list_print_object(cli, version, template_version_columns);
        print_stand_ins(cli, version);
        const json_t *found = json_object_get(version, "inspection");
        const json_t *users = json_object_get(found, "users");
        const json_t *systems = json_object_get(found, "file_systems");
        if (cli->format == FORMAT_TABLE && json_array_size(systems)) {
            putchar('\n');
            list_print_array(cli, systems, file_system_columns);
        }
        if (cli->format == FORMAT_TABLE && json_array_size(users)) {
            putchar('\n');
            list_print_array(cli, users, user_columns);
        }
        return TRUE;
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "template '%s' has no version %s",
                name, number);
    imaged_error_hint(error, "its versions: imagectl template versions %s", name);
    return FALSE;
}

static gboolean template_show(Cli *cli, GError **error)
{
    const char *word = args_word(cli->args, 0), *colon = strrchr(word, ':');

    if (colon) {
        g_autofree char *name = g_strndup(word, (gsize)(colon - word));
        return show_version(cli, name, colon + 1, error);
    }
    g_autoptr(GString) path = template_path(cli, NULL, error);
    json_auto_t *template = path ? client_get(cli->client, path->str, error) : NULL;

    if (!template)
        return FALSE;
    const json_t *versions = json_object_get(template, "versions"), *version;
    gsize i;

    list_print_object(cli, template, template_columns);
    if (cli->format == FORMAT_TABLE && json_array_size(versions)) {
        putchar('\n');
        list_print_array(cli, versions, template_version_columns);
    }
    json_array_foreach (versions, i, version)
        print_stand_ins(cli, version);
    return TRUE;
}

static gboolean template_versions(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, "versions", error);

    return path && list_print(cli, path->str, NULL, 0, template_version_columns, error);
}

/* ---- Changing ---- */

static gboolean change_state(Cli *cli, const char *verb, const char *done, GError **error)
{
    g_autoptr(GString) path = template_path(cli, verb, error);
    json_auto_t *version =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, NULL, error) : NULL;

    if (!version)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("%s %s\n", done, json_text(version, "name"));
    else
        list_print_object(cli, version, template_version_columns);
    return TRUE;
}

static gboolean template_retire(Cli *cli, GError **error)
{
    return change_state(cli, "retire", "retired", error);
}

static gboolean template_rename(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, "rename", error);
    const char *new_name = args_word(cli->args, 1);
    json_auto_t *body = json_pack("{s:s}", "new_name", new_name);
    json_auto_t *template =
        path ? client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error) : NULL;

    if (!template)
        return FALSE;
    if (cli->format == FORMAT_TABLE)
        printf("renamed %s to %s\n", args_word(cli->args, 0), new_name);
    else
        list_print_object(cli, template, template_columns);
    return TRUE;
}

static gboolean template_set(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, "set", error);
    json_auto_t *body = json_object();

    if (!path || !identity_put_settings(cli->args, body, error))
        return FALSE;
    json_auto_t *version =
        client_request(cli->client, CLIENT_CHANGE, "POST", path->str, body, error);
    if (!version)
        return FALSE;
    json_auto_t *both = json_pack("[O]", version);
    identity_print_warnings(cli, both);
    if (cli->format == FORMAT_TABLE)
        printf("set for %s\n", json_text(version, "name"));
    else
        list_print_object(cli, version, template_version_columns);
    return TRUE;
}

static gboolean template_delete(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, NULL, error);
    json_auto_t *job = NULL;

    if (!path)
        return FALSE;
    g_autofree char *question = g_strdup_printf("delete template %s:", args_word(cli->args, 0));
    ConfirmRequest request = { "DELETE", path->str, NULL, question, "object" };
    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    if (!job_run(cli, "DELETE", path->str, NULL, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, "deleted", "template version", error);
}

/* ---- The table ---- */

static const Option import_options[] = {
    { "format", OPTION_CHOICE, "raw|qcow2|vmdk|vdi|vhdx", "what the file is; never guessed", NULL },
    { "cpus", OPTION_COUNT, "N", "processors of its desktops", NULL },
    { "memory", OPTION_SIZE, "SIZE", "memory of its desktops, like 4G", NULL },
    { "os", OPTION_TEXT, "TEXT", "what system it is", NULL },
    { "description", OPTION_TEXT, "TEXT", "what it is for", NULL },
    { "firmware", OPTION_CHOICE, "bios|uefi", "how it starts (else what is found on its disk)",
      NULL },
    { "store", OPTION_TEXT, "S", "where to put it (the default store)", "store" },
    { "draft", OPTION_FLAG, NULL, "do not publish it yet", NULL },
    { "tls-psk", OPTION_TEXT, "FILE", "for nbds://: a file with our pre-shared key", "file" },
    { "tls-user", OPTION_TEXT, "USER", "for nbds://: which key of it (the URI's user)", NULL },
    { "tls-certs", OPTION_TEXT, "DIR",
      "for nbds://: folder of ca-cert.pem, client-cert.pem, client-key.pem", "folder" },
    OPTION_END,
};
#define OPTIONS_MACHINE                                                                            \
    { "cpus", OPTION_COUNT, "N", "processors of its desktops (as its source's)", NULL },           \
    { "memory", OPTION_SIZE, "SIZE", "memory of its desktops, like 4G", NULL },                    \
    { "os", OPTION_TEXT, "TEXT", "what system it is", NULL },                                      \
    { "description", OPTION_TEXT, "TEXT", "what it is for", NULL }
#define OPTION_FLAT                                                                                \
    { "flat", OPTION_FLAG, NULL, "a version that stands on nothing: copies the template too", NULL }
#define OPTION_ROOT_PASSWORD                                                                       \
    { "root-password", OPTION_CHOICE, "keep|lock", "when sealing: root's password (keep)", NULL }
#define OPTION_UNSEALED(words) { "unsealed", OPTION_FLAG, NULL, words, NULL }

static const Option build_options[] = {
    { "check", OPTION_FLAG, NULL, "only say whether it could be built, and as what", NULL },
    { "name", OPTION_TEXT, "NAME", "of the template (else the recipe's)", NULL },
    { "draft", OPTION_FLAG, NULL, "do not publish it yet", NULL },
    OPTION_UNSEALED("publish it although the recipe says 'seal: no'"),
    { "flat", OPTION_FLAG, NULL, "on a template: copy it, so that the version stands on nothing",
      NULL },
    { "store", OPTION_TEXT, "NAME", "where to put it (else the default store)", "store" },
    { "quiet", OPTION_FLAG, NULL, "show neither the build's log nor its progress", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option create_from_options[] = {
    OPTION_FLAT,
    { "draft", OPTION_FLAG, NULL, "do not publish it yet", NULL },
    { "seal", OPTION_FLAG, NULL, "remove what belongs to one machine: ids, keys, logs", NULL },
    OPTION_UNSEALED("publish it with the machine's ids, keys and logs"),
    OPTION_ROOT_PASSWORD,
    OPTIONS_MACHINE,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option edit_options[] = {
    { "name", OPTION_TEXT, "NAME", "of the draft desktop (NAME-draft)", NULL },
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option seal_options[] = {
    OPTION_FLAT,
    { "draft", OPTION_FLAG, NULL, "do not publish it yet", NULL },
    OPTION_ROOT_PASSWORD,
    OPTIONS_MACHINE,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option publish_options[] = {
    OPTION_UNSEALED("publish without removing the machine's ids, keys and logs; do not ask"),
    OPTION_FLAT, /* from here on: of a draft desktop */
    OPTION_ROOT_PASSWORD,
    OPTIONS_MACHINE,
    OPTION_NO_WAIT,
    OPTION_END,
};
static const Option set_options[] = { IDENTITY_OPTIONS, HARDWARE_OPTIONS, OPTION_END };
static const Option list_options[] = { OPTION_SEARCH, OPTION_APP, OPTION_END };
static const Option delete_options[] = { OPTION_YES, OPTION_DRY_RUN, OPTION_NO_WAIT, OPTION_END };

static const Command commands[] = {
    { "import", "NAME SOURCE", 2, 2, "file", "Make a template version of an image",
      "SOURCE is a file, a block device (--format raw), or an nbd://, nbds:// or nbd+unix:// URI,\n"
      "for example of another imaged's export.  It is read\n"
      "with your own rights: imagectl checks it and serves it to the daemon until the import has\n"
      "ended, so it always waits; Ctrl-C cancels.  An existing NAME gets its next version.",
      "template import win11 golden.qcow2 --format qcow2 --cpus 2 --memory 4G\n"
      "template import debian nbd://builder/export --os 'Debian 12' --draft\n"
      "template import win11 nbds://alice@other:10809/win11 --tls-psk alice.psk\n",
      import_options, template_import },
    { "build", "RECIPE", 1, 1, NULL, "Build a template version from a recipe",
      "RECIPE is a YAML file, see imaged-recipe(5), or the name of one that imaged comes with:\n"
      "minimal, debian-xfce, kiosk.  Packages come from this machine's own sources.  Nothing of\n"
      "the recipe or its packages runs with imaged's rights or with a network.  What the recipe\n"
      "does not seal ('seal: no') is made a draft, unless --unsealed says to publish it.",
      "template build minimal\n"
      "template build lab.yaml --name lab --draft\n"
      "template build lab.yaml --check\n",
      build_options, template_build },
    { "create-from", "DESKTOP[@SNAPSHOT] NAME", 2, 2, "desktop",
      "Make a template version of a desktop's disk",
      "Copies only what the desktop has of its own: the version stands on the one that the "
      "desktop\n"
      "stands on.  The desktop stays as it is.  An existing NAME gets its next version.  What is\n"
      "neither a draft nor sealed is published only after a question.",
      "template create-from alice@clean win11 --draft\n"
      "template create-from alice win11-office --flat --seal\n",
      create_from_options, template_create_from },
    { "list", "", 0, 0, NULL, "List templates", NULL, "template list\n", list_options,
      template_list },
    { "show", "NAME[:VERSION]", 1, 1, "template", "Show a template and its versions, or a version",
      "With VERSION, what was found in it, too: its file systems and users.",
      "template show win11\ntemplate show win11:3\n", NULL, template_show },
    { "versions", "NAME", 1, 1, "template", "List the versions of a template", NULL,
      "template versions win11 -o json\n", NULL, template_versions },
    { "edit", "NAME[:VERSION]", 1, 1, "template", "Make a draft, a desktop to change a template in",
      "Boot the draft, change it, shut it down, and publish it as the next version.  The template\n"
      "and its desktops stay as they are until then.",
      "template edit win11\ntemplate publish win11-draft\n", edit_options, template_edit },
    { "seal", "NAME[:VERSION]", 1, 1, "template",
      "Make a version without what belongs to one machine",
      "The next version stands on this one, without machine-id, SSH host keys, logs, leases,\n"
      "caches and histories; what was removed is told.",
      "template seal debian:2 --root-password lock\n", seal_options, template_seal },
    { "inspect", "NAME[:VERSION]", 1, 1, "template", "Look into a version: system, applications",
      "Without VERSION, its newest one.  That happens by itself when a version is made; 'template\n"
      "show', 'template apps' and 'template diff' tell what was found.",
      "template inspect win11:4\n", inside_inspect_options, inside_template_inspect },
    { "apps", "NAME[:VERSION]", 1, 1, "template", "List the applications that a version has", NULL,
      "template apps win11:4\ntemplate apps debian --app '*office*'\n", inside_apps_options,
      inside_template_apps },
    { "diff", "NAME[:VERSION] NAME[:VERSION]", 2, 2, "template",
      "Compare two versions: applications and bytes",
      "What was added, removed and upgraded from the first one to the second one, and how many\n"
      "bytes of the disk differ.",
      "template diff win11:3 win11:4\n", inside_inspect_options, inside_template_diff },
    { "publish", "NAME[:VERSION]|DRAFT", 1, 1, "template",
      "Let desktops be created from a version, or from a draft",
      "Without VERSION, its newest one.  A draft desktop (template edit) is sealed, becomes the\n"
      "next version of its template, and stays, to be edited on or deleted.  A version that was\n"
      "not sealed is published only after a question; it stays what it is, so the other options\n"
      "are for a draft desktop.",
      "template publish win11:4\ntemplate publish win11-draft\n", publish_options,
      template_publish },
    { "stand-in", "NAME[:VERSION]", 1, 1, "template",
      "Put what many desktops have in common into a base below them",
      "For diffs that have grown alike: see 'report advice'.  Blocks that are equal at the same\n"
      "offset in at least the share of the version's desktops go into one frozen layer, and each\n"
      "desktop at rest is written anew on top of it; its guest reads the same to the last byte,\n"
      "which is compared before the switch.  Nothing is created from a stand-in, and a reset goes\n"
      "to the version.  Desktops with snapshots stay as they are.",
      "template stand-in win11 --dry-run\ntemplate stand-in win11:3 --share 80%\n",
      template_stand_in_options, template_stand_in },
    { "propose", "NAME", 1, 1, "template", "Make a draft of the next version from a desktop",
      "For diffs that have grown alike: a real next version, made of one of them and sealed, as a\n"
      "draft to be looked at.  Tells how to publish it and to move the desktops to it.",
      "template propose win11 --donor lab-0007\n", template_propose_options, template_propose },
    { "retire", "NAME[:VERSION]", 1, 1, "template", "Let no new desktops be created from a version",
      "Those that stand on it stay.", "template retire win11:3\n", NULL, template_retire },
    { "rename", "NAME NEW-NAME", 2, 2, "template", "Give a template another name", NULL,
      "template rename win11 win11-office\n", NULL, template_rename },
    { "set", "NAME[:VERSION] OPTION...", 1, 1, "template",
      "Set what desktops of a version are told at their first boot",
      "User, domain and so on, and their hardware; 'desktop set' goes before it.\n"
      "Without VERSION, its newest one.\n"
      "The template's next versions take it over.",
      "template set win11 --domain ad.example.org --join-user joiner --join-password-file secret\n"
      "template set kiosk --auto-login guest\n"
      "template set win11 --cpus 4 --memory 8G --heads 2 --network office --usb storage,printer\n",
      set_options, template_set },
    { "delete", "NAME[:VERSION]", 1, 1, "template", "Delete a template, or one version of it",
      "Refused while desktops stand on it.  Its layers go to the trash.",
      "template delete win11:2 --dry-run\n", delete_options, template_delete },
    { NULL },
};

const Noun noun_template = { "template", "a golden image that desktops stand on", commands };
