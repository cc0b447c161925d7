/* template_make.c: verbs that make the next version of a template out of a disk, and publish it.
 *
 * What was not sealed is published only after a question, or with --unsealed. */
#include "imaged/cli/template_make.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/error.h"
#include "imaged/cli/batch.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/hardware.h"
#include "imaged/cli/identity.h"
#include "imaged/cli/import.h"
#include "imaged/cli/job.h"
#include "imaged/cli/list.h"

/* The list's table fits a terminal; 'template show NAME:VERSION', JSON and CSV have all. */
const Column template_version_columns[] = {
    { "NAME", "name", CELL_TEXT, 0 },
    { "ID", "id", CELL_TEXT, COLUMN_CSV },
    { "TEMPLATE", "template", CELL_TEXT, COLUMN_CSV },
    { "VERSION", "version", CELL_COUNT, COLUMN_CSV },
    { "STATE", "state", CELL_STATE, 0 },
    { "DESKTOPS", "n_desktops", CELL_COUNT, 0 },
    { "SIZE", "virtual_size", CELL_SIZE, 0 },
    { "DATA", "data_bytes", CELL_SIZE, COLUMN_CSV },
    { "ON DISK", "disk_bytes", CELL_SIZE, 0 },
    { "CPUS", "cpus", CELL_COUNT, COLUMN_CSV },
    { "MEMORY", "memory_bytes", CELL_SIZE, COLUMN_CSV },
    { "OS", "os", CELL_TEXT, COLUMN_CSV },
    { "FIRMWARE", "firmware", CELL_TEXT, COLUMN_CSV },
    { "VIDEO", "video", CELL_TEXT, COLUMN_CSV },
    { "SEALED", "sealed_at", CELL_TIME, COLUMN_CSV },
    { "SYSTEM TYPE", "inspection.type", CELL_TEXT, COLUMN_SHOW },
    { "SYSTEM", "inspection.product_name", CELL_TEXT, 0 },
    { "ARCHITECTURE", "inspection.architecture", CELL_TEXT, COLUMN_SHOW },
    { "BOOTS WITH", "inspection.boot", CELL_LIST, COLUMN_SHOW },
    { "APPLICATIONS", "inspection.n_applications", CELL_COUNT, COLUMN_CSV },
    { "AGENTS", "inspection.agents", CELL_LIST, COLUMN_CSV },
    { "NOT INSPECTED", "inspection.error.message", CELL_TEXT, COLUMN_SHOW },
    IDENTITY_COLUMNS,
    HARDWARE_COLUMNS,
    { "STORES", "stores", CELL_LIST, COLUMN_CSV },
    { "LAYER", "layer", CELL_TEXT, COLUMN_CSV },
    { "CHECKSUM", "checksum", CELL_TEXT, COLUMN_CSV },
    { "CREATED", "created_at", CELL_TIME, 0 },
    { "DESCRIPTION", "description", CELL_TEXT, 0 },
    { "NOTES", "notes", CELL_LIST, COLUMN_CSV },
    COLUMN_END,
};

GString *template_path(const Cli *cli, const char *suffix, GError **error)
{
    return client_path("/v1/templates", "template", args_word(cli->args, 0), suffix, error);
}

/* The job's result is the new version; if a daemon tells only its id, look it up. */
static json_t *new_version(Cli *cli, const json_t *job, GError **error)
{
    const json_t *result = json_object_get(job, "result");
    const char *id = json_text(result, "id");

    if (json_object_get(result, "version") && json_object_get(result, "state"))
        return json_incref((json_t *)result);
    const char *template = json_text(result, "template");
    g_autoptr(GString) path =
        *template ? client_path("/v1/templates", "template", template, "versions", error)
                  : template_path(cli, "versions", error);
    json_auto_t *versions = path ? client_get(cli->client, path->str, error) : NULL;
    if (!versions)
        return NULL;
    for (gsize i = json_array_size(versions); i > 0; i--) {
        json_t *version = json_array_get(versions, i - 1);
        if (!*id || g_str_equal(id, json_text(version, "id")))
            return json_incref(version);
    }
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "the new version is not in the list");
    return NULL;
}

static const Column removed_columns[] = {
    { "OPERATION", "name", CELL_TEXT, 0 },
    { "REMOVED", "n_removed", CELL_COUNT, 0 },
    { "BYTES", "bytes", CELL_SIZE, 0 },
    COLUMN_END,
};

/* What sealing removed, by operation; those that found nothing only by their number. */
static void add_sealed_text(GString *text, const json_t *sealed)
{
    const json_t *operations = json_object_get(sealed, "operations");
    json_auto_t *rows = json_array();

    for (gsize i = 0; i < json_array_size(operations); i++) {
        json_t *operation = json_array_get(operations, i);
        if (json_number(operation, "n_removed") > 0)
            json_array_append(rows, operation);
    }
    gsize n_idle = json_array_size(operations) - json_array_size(rows);
    g_string_append_c(text, '\n');
    if (json_array_size(rows))
        output_table_text(text, rows, removed_columns, output_wants_colour(STDOUT_FILENO));
    g_string_append_printf(text, "sealed: %zu operation%s found nothing to remove\n", n_idle,
                           n_idle == 1 ? "" : "s");
}

/* Tell of the version that a job made; done is "imported". */
gboolean template_print_made(Cli *cli, const json_t *job, const char *done, GError **error)
{
    json_auto_t *version = job && job_check(job, error) ? new_version(cli, job, error) : NULL;
    json_t *sealed = json_object_get(json_object_get(job, "result"), "sealed");

    if (!version)
        return FALSE;
    if (cli->format == FORMAT_TABLE) {
        GString *text = g_string_new(NULL);
        g_string_append_printf(text, "%s %s\n", done, json_text(version, "name"));
        output_object_text(text, version, template_version_columns,
                           output_wants_colour(STDOUT_FILENO));
        if (sealed)
            add_sealed_text(text, sealed);
        output_print(text);
    } else {
        if (sealed)
            json_object_set(version, "sealed", sealed);
        list_print_object(cli, version, template_version_columns);
    }
    return TRUE;
}

/* What all verbs here may be told. */
static json_t *make_body(const Args *args)
{
    static const char *const flags[] = { "flat", "draft", "seal", "unsealed" };
    json_t *body = json_object();

    for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (args_has(args, flags[i]))
            json_object_set_new(body, flags[i], json_true());
    }
    if (args_has(args, "root-password"))
        json_object_set_new(body, "root_password", json_string(args_text(args, "root-password")));
    import_put_machine(args, body);
    return body;
}

#define UNSEALED                                                                                   \
    "not sealed, so that its desktops share one machine-id and SSH host keys: publish all the "    \
    "same?"

static gboolean make_version(Cli *cli, const char *path, json_t *body, const char *done,
                             GError **error)
{
    json_auto_t *job = NULL;

    if (!job_run(cli, "POST", path, body, &job, error))
        return FALSE;
    return !job || template_print_made(cli, job, done, error);
}

gboolean template_create_from(Cli *cli, GError **error)
{
    const Args *args = cli->args;
    json_auto_t *body = make_body(args);

    json_object_set_new(body, "desktop", json_string(args_word(args, 0)));
    json_object_set_new(body, "name", json_string(args_word(args, 1)));
    if (!args_has(args, "draft") && !args_has(args, "seal")) {
        if (!confirm_question(cli, UNSEALED, "unsealed", error))
            return FALSE;
        json_object_set_new(body, "unsealed", json_true());
    }
    return make_version(cli, "/v1/templates/create-from", body, "made", error);
}

gboolean template_seal(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, "seal", error);
    json_auto_t *body = make_body(cli->args);

    return path && make_version(cli, path->str, body, "sealed as", error);
}

gboolean template_edit(Cli *cli, GError **error)
{
    g_autoptr(GString) path = template_path(cli, "edit", error);
    json_auto_t *body = json_object(), *job = NULL;

    if (!path)
        return FALSE;
    if (args_has(cli->args, "name"))
        json_object_set_new(body, "name", json_string(args_text(cli->args, "name")));
    if (!job_run(cli, "POST", path->str, body, &job, error))
        return FALSE;
    if (!job)
        return TRUE;
    if (!batch_print(cli, job, "created", "draft", error))
        return FALSE;
    const json_t *items = json_object_get(json_object_get(job, "result"), "items");
    const char *name = json_text(json_array_get(items, 0), "name");
    if (cli->format == FORMAT_TABLE && *name)
        printf("boot the desktop %s, change it, shut it down; then: imagectl template publish %s\n",
               name, name);
    return TRUE;
}

/* ---- publish ---- */

/* Is ref a version that was not sealed and is not published yet?  A draft desktop is sealed as it
 * is published; what is not known at all the daemon shall refuse. */
static gboolean is_unsealed_version(Cli *cli, const char *ref)
{
    g_autofree char *name = g_strndup(ref, strcspn(ref, ":"));
    g_autoptr(GString) path = client_path("/v1/templates", "template", name, "versions", NULL);
    json_auto_t *versions = path ? client_get(cli->client, path->str, NULL) : NULL;
    gsize n = json_array_size(versions);
    const json_t *version = strchr(ref, ':') || !n ? NULL : json_array_get(versions, n - 1);

    for (gsize i = 0; !version && i < n; i++) {
        if (g_str_equal(json_text(json_array_get(versions, i), "name"), ref))
            version = json_array_get(versions, i);
    }
    return version && !*json_text(version, "sealed_at") &&
           !g_str_equal(json_text(version, "state"), "published");
}

static gboolean is_draft_desktop(Cli *cli, const char *ref)
{
    g_autoptr(GString) path =
        strchr(ref, ':') ? NULL : client_path("/v1/desktops", "desktop", ref, NULL, NULL);
    json_auto_t *desktop = path ? client_get(cli->client, path->str, NULL) : NULL;

    return desktop && *json_text(desktop, "draft_of");
}

/* A version that exists stays what it is: only its state changes. */
static gboolean check_publish(Cli *cli, const char *ref, GError **error)
{
    static const char *const names[] = { "flat", "root-password", "cpus", "memory",
                                         "os",   "description" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!args_has(cli->args, names[i]))
            continue;
        if (is_draft_desktop(cli, ref))
            return TRUE;
        args_usage_error(cli->args, error, "--%s is for a draft desktop, which '%s' is not",
                         names[i], ref);
        return FALSE;
    }
    return TRUE;
}

gboolean template_publish(Cli *cli, GError **error)
{
    const char *ref = args_word(cli->args, 0);
    g_autoptr(GString) path = template_path(cli, "publish", error);
    json_auto_t *body = make_body(cli->args), *answer = NULL;

    if (!path || !check_publish(cli, ref, error))
        return FALSE;
    if (!is_draft_desktop(cli, ref) && is_unsealed_version(cli, ref)) {
        if (!confirm_question(cli, UNSEALED, "unsealed", error))
            return FALSE;
        json_object_set_new(body, "unsealed", json_true());
    }
    if (!job_run(cli, "POST", path->str, body, &answer, error))
        return FALSE;
    if (!answer)
        return TRUE;
    if (job_is_job(answer))
        return template_print_made(cli, answer, "published", error);
    if (cli->format == FORMAT_TABLE)
        printf("published %s\n", json_text(answer, "name"));
    else
        list_print_object(cli, answer, template_version_columns);
    return TRUE;
}
