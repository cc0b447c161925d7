/* build.c: recipes: checked, and built into template versions; and what jobs say meanwhile. */
#include <string.h>

#include "broker/identity_merge.h"
#include "broker/identity_settings.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/job/job_log.h"
#include "imaged/ops/args.h"
#include "imaged/ops/build_on.h"
#include "imaged/ops/jobs.h"
#include "imaged/ops/submit.h"
#include "templates/build.h"
#include "templates/guest_parts.h"
#include "templates/recipe.h"

#define LOG_PART 65536

/* ---- The recipe ---- */

static gboolean check_setting(const char *key, const json_t *value, GError **error)
{
    json_t *one = json_pack("{s:O}", key, value);
    gboolean ok = identity_settings_check(one, IDENTITY_OF_RECIPE, error);

    json_decref(one);
    return ok;
}

static json_t *parse(OpsCall *call, json_t *problems, const char **ret_text, GError **error)
{
    const char *text = args_text(call, "recipe", TRUE, error);

    *ret_text = text;
    return text ? recipe_parse(text, strlen(text), check_setting, problems, error) : NULL;
}

/* "a suite", and what the client has to send beside the text. */
static json_t *describe(const json_t *recipe)
{
    static const char *const kinds[] = { "suite", "template", "image" };
    json_t *base = json_object_get(recipe, "base"), *sources = json_array(), *file;
    json_t *out = json_object();
    size_t i;

    json_array_foreach (json_object_get(recipe, "files"), i, file) {
        if (json_is_string(json_object_get(file, "source")))
            json_array_append(sources, json_object_get(file, "source"));
    }
    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (json_is_string(json_object_get(base, kinds[i]))) {
            json_object_set_new(out, "base_kind", json_string(kinds[i]));
            json_object_set(out, "base", json_object_get(base, kinds[i]));
        }
    }
    json_object_set(out, "base_format", json_object_get(base, "format"));
    json_object_set_new(out, "sources", sources);
    json_object_set(out, "name", json_object_get(recipe, "name"));
    json_int_t size = json_integer_value(json_object_get(recipe, "size_bytes"));
    json_object_set_new(out, "size_bytes", size ? json_integer(size) : json_null());
    json_object_set_new(out, "packages",
                        json_is_string(json_object_get(base, "suite"))
                            ? guest_parts_packages(recipe)
                            : json_incref(json_object_get(recipe, "packages")));
    return out;
}

/* ---- Building ---- */

static const char *content_of(const json_t *files, const char *source)
{
    size_t i;
    json_t *file;

    json_array_foreach ((json_t *)files, i, file) {
        const char *name = json_string_value(json_object_get(file, "source"));
        const char *content = json_string_value(json_object_get(file, "content_base64"));
        if (name && content && g_str_equal(name, source))
            return content;
    }
    return NULL;
}

/* The files that the client has read take the place of their names. */
static gboolean fill_files(OpsCall *call, json_t *recipe, GError **error)
{
    const json_t *sent = json_object_get(call->args, "files");
    gsize total = 0;
    size_t i;
    json_t *file;

    json_array_foreach (json_object_get(recipe, "files"), i, file) {
        const char *source = json_string_value(json_object_get(file, "source"));
        const char *content = source ? content_of(sent, source) : NULL;
        if (source && !content) {
            g_autofree char *shown = text_for_message(source, 60);
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "the content of '%s' (line %d of the recipe) was not sent", shown,
                        (int)json_integer_value(json_object_get(file, "line")));
            return FALSE;
        }
        total += content ? strlen(content) / 4 * 3 : 0;
        if (total > RECIPE_MAX_CONTENT) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                        "the recipe's files are larger than 5 MiB together");
            return FALSE;
        }
        if (content) {
            json_object_set_new(file, "content_base64", json_string(content));
            json_object_del(file, "source");
        }
    }
    return TRUE;
}

/* Where the daemon looks before it makes a build's job; also all of a check. */
static gboolean plan(OpsCall *call, json_t *recipe, TemplateBuild *build, JobRequest *request,
                     GError **error)
{
    const char *name = args_text(call, "name", FALSE, NULL);
    BuildBase base = { .source = args_text(call, "source", FALSE, NULL) };
    gboolean is_unsealed;

    build->name = name ? name : json_string_value(json_object_get(recipe, "name"));
    build->store = args_text(call, "store", FALSE, NULL);
    build->recipe = recipe;
    if (!build->name) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the template needs a name");
        imaged_error_hint(error, "give 'name' in the recipe, or --name");
        return FALSE;
    }
    if (!args_bool(call, "draft", &build->is_draft, error) ||
        !args_bool(call, "unsealed", &is_unsealed, error) ||
        !args_bool(call, "flat", &base.is_flat, error) || !fill_files(call, recipe, error))
        return FALSE;
    /* What is not sealed is published only by somebody who says so: see publish.c. */
    if (!json_is_true(json_object_get(recipe, "seal")) && !is_unsealed)
        build->is_draft = TRUE;
    g_autofree char *identity = NULL;
    const json_t *settings = json_object_get(recipe, "identity");
    if (json_is_object(settings) && !identity_merge_apply(NULL, NULL, settings, &identity, error))
        return FALSE;
    build->identity = identity;
    gboolean is_fresh = json_is_string(json_object_get(json_object_get(recipe, "base"), "suite"));
    if (is_fresh && base.is_flat) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "'flat' is for a base that is a version: what a suite makes stands on nothing");
        return FALSE;
    }
    gboolean ok = is_fresh ? template_plan_build(call->world, build, request, error)
                           : build_on_plan(call, build, &base, request, error);
    build->identity = NULL;
    if (ok && is_fresh)
        request->type = &jobs_build; /* and then it is inspected */
    return ok;
}

#define BUILD_ARGS "recipe name files source draft unsealed flat store"

static gboolean plan_recipe(OpsCall *call, json_t *recipe, TemplateBuild *build,
                            JobRequest *request, GError **error)
{
    return args_are_texts(call, "name store source", error) &&
           plan(call, recipe, build, request, error);
}

json_t *ops_template_build(OpsCall *call, GError **error)
{
    TemplateBuild build = { 0 };
    JobRequest request = { 0 };

    if (!args_check(call, BUILD_ARGS, error) || submit_is_repeat(call, error))
        return NULL;
    json_t *recipe = parse(call, NULL, &build.text, error);
    gboolean ok = recipe && plan_recipe(call, recipe, &build, &request, error);
    json_decref(recipe);
    return ok ? submit_request(call, &request, error) : NULL;
}

/* ---- Checking ---- */

/* What a build would make now. */
static void describe_plan(World *world, const json_t *plan, json_t *out)
{
    g_auto(StoreEntry) store = { 0 };
    json_t *depth = json_object_get(plan, "chain_depth");
    const char *store_id = json_string_value(json_object_get(plan, "store_id"));

    json_object_set(out, "name", json_object_get(plan, "name"));
    json_object_set(out, "version", json_object_get(plan, "number"));
    json_object_set(out, "state", json_object_get(plan, "state"));
    if (store_set_describe(world->stores, store_id, &store))
        json_object_set_new(out, "store", json_string(store.name));
    if (json_object_get(plan, "virtual_size"))
        json_object_set(out, "size_bytes", json_object_get(plan, "virtual_size"));
    json_object_set_new(out, "chain_depth", depth ? json_incref(depth) : json_integer(1));
}

/* With "plan" all that ops_template_build() does before it makes its job, and its errors. */
static json_t *check_recipe(OpsCall *call, json_t *recipe, const char *text, gboolean has_plan,
                            GError **error)
{
    TemplateBuild build = { .text = text, .is_check = TRUE };
    JobRequest request = { 0 };
    json_t *out = describe(recipe);

    if (has_plan) {
        if (plan_recipe(call, recipe, &build, &request, error))
            describe_plan(call->world, request.plan, out);
        else
            g_clear_pointer(&out, json_decref);
    }
    json_decref(request.plan);
    return out;
}

json_t *ops_template_build_check(OpsCall *call, GError **error)
{
    g_autoptr(GError) local = NULL;
    const char *text = NULL;
    gboolean has_plan;

    if (!args_check(call, BUILD_ARGS " plan", error) || !args_bool(call, "plan", &has_plan, error))
        return NULL;
    json_t *problems = json_array();
    json_t *recipe = parse(call, problems, &text, &local);
    json_t *out = NULL;
    if (!text)
        g_propagate_error(error, g_steal_pointer(&local));
    else
        out = recipe ? check_recipe(call, recipe, text, has_plan, error) : json_object();
    if (out) {
        json_object_set_new(out, "is_sound", json_boolean(recipe != NULL));
        json_object_set(out, "problems", problems);
    }
    json_decref(problems);
    json_decref(recipe);
    return out;
}

/* ---- A job's log ---- */

json_t *ops_job_log(OpsCall *call, GError **error)
{
    const char *id = args_text(call, "job", TRUE, error);
    gint64 offset;
    guint64 next;

    if (!id || !args_check(call, "job offset", error) ||
        !args_int(call, "offset", 0, 0, G_MAXINT64, &offset, error))
        return NULL;
    /* First the job, then its log: so a log that ended is read to its end. */
    json_t *job = job_to_json(call->world->jobs, id, FALSE, error);
    if (!job)
        return NULL;
    const char *state = json_string_value(json_object_get(job, "state"));
    gboolean is_over = !g_str_equal(state, "queued") && !g_str_equal(state, "running");
    g_autofree char *text =
        job_log_read(call->world->state_dir, id, (guint64)offset, LOG_PART, &next);
    json_t *out =
        json_pack("{s:s, s:I, s:s, s:I, s:b}", "id", id, "offset", (json_int_t)offset, "text", text,
                  "next_offset", (json_int_t)next, "is_complete", is_over && !*text);
    json_decref(job);
    return out;
}
