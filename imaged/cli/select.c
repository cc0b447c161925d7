/* select.c: see select.h. */
#include "imaged/cli/select.h"

#include "imaged/cli/batch.h"
#include "imaged/cli/confirm.h"
#include "imaged/cli/job.h"

static json_t *make_body(const Args *args, guint first, guint n_names, GError **error)
{
    const char *template = args_text(args, "template"), *prefix = args_text(args, "all-of-prefix");
    const char *search = args_text(args, "search");
    guint n_ways = (n_names > 0) + (template != NULL) + (prefix != NULL) + (search != NULL);
    gboolean takes_all = args->command && commands_find_option(args->command->options, "all");

    if (n_ways != 1) {
        args_usage_error(args, error,
                         n_ways      ? "give only one of names, --template, --all-of-prefix and "
                                       "--search"
                         : takes_all ? "which desktops? give names, --template, --all-of-prefix, "
                                       "--search or --all"
                                     : "which desktops? give names, --template, "
                                       "--all-of-prefix or --search");
        return NULL;
    }
    json_t *body = json_object();
    if (n_names) {
        json_t *names = json_array();
        for (guint i = first; i < first + n_names; i++)
            json_array_append_new(names, json_string(args->words->pdata[i]));
        json_object_set_new(body, "names", names);
    }
    json_set_text(body, "template", template);
    json_set_text(body, "prefix", prefix);
    json_set_text(body, "search", search);
    return body;
}

json_t *select_body(const Args *args, guint n_names, GError **error)
{
    return make_body(args, 0, n_names, error);
}

json_t *select_body_from(const Args *args, guint first, GError **error)
{
    return make_body(args, first, args->words->len - MIN(first, args->words->len), error);
}

gboolean select_run(Cli *cli, const char *path, const json_t *body, const char *done,
                    GError **error)
{
    json_auto_t *job = NULL;

    if (!job_run(cli, "POST", path, body, &job, error))
        return FALSE;
    return !job || batch_print(cli, job, done, "desktop", error);
}

gboolean select_run_destructive(Cli *cli, const char *path, const json_t *body,
                                const char *question, const char *done, GError **error)
{
    ConfirmRequest request = { "POST", path, body, question, "desktop" };

    ConfirmAnswer answer = confirm(cli, &request, error);
    if (answer != CONFIRM_GO)
        return answer == CONFIRM_TOLD;
    return select_run(cli, path, body, done, error);
}
