/* archtool.c: an archive target on the command line, for functional tests and the bench.
 *
 * A thin front over snapshot/archive_target.h; it trusts whoever calls it, and is not installed:
 * people use imagectl. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "snapshot/archive_point.h"
#include "snapshot/archive_target.h"
#include "tests/tools/open_layer.h"

static const char help[] =
    "Usage: archtool [OPTIONS] KIND LOCATION COMMAND [ARGS]\n"
    "\n"
    "  open                    print the target's id (with --create: make it)\n"
    "  put ID FILE [BELOW...]  store the layer FILE; BELOW is what it stands on, base first, as\n"
    "                          ID=FILE; prints the object's name and its bytes\n"
    "  has OBJECT              yes or no\n"
    "  get OBJECT OUT          read an object into the new file OUT\n"
    "  verify OBJECT           read it as a whole\n"
    "  objects                 list them\n"
    "  collect OBJECT...       delete these, under the exclusive lock; prints the bytes freed\n"
    "  put-point ID NAME SIZE OBJECT...  store a point with this chain\n"
    "  get-point|get-deleted ID          print its manifest\n"
    "  points|deleted          list them\n"
    "  delete-point|undelete-point|forget-point ID\n"
    "  purge MS                forget those deleted before\n"
    "  hold                    take the lock, say so, and wait for the end of standard input\n"
    "\n"
    "Options: --create --passphrase P --encryption E --state-dir D --expect ID --cancel-after "
    "BYTES\n"
    "Exit: 0 done, 1 failed (\"CODE: message\" on standard error), 64 usage.\n";

static gboolean opt_create;
static char *opt_passphrase, *opt_encryption, *opt_state, *opt_expect;
static gint64 opt_cancel_after = -1;
static gint cancel;

static void progress(guint64 done, guint64 total, gpointer data)
{
    if (opt_cancel_after >= 0 && done >= (guint64)opt_cancel_after)
        g_atomic_int_set(&cancel, TRUE);
}

static gboolean put(ArchiveTarget *t, char **args, GError **error)
{
    g_autoptr(GPtrArray) below = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
    g_autofree char *parent = NULL;
    g_autoptr(Layer) layer = open_layer(args[1], error);
    ArchiveObject object = { "", 0 };

    for (char **arg = args + 2; layer && *arg; arg++) {
        const char *file = strchr(*arg, '=') + 1;
        Layer *one = open_layer(file, error);
        if (!one)
            return FALSE;
        g_ptr_array_add(below, one);
        g_free(parent);
        parent = g_strdup_printf("layer-%.*s", (int)(file - *arg - 1), *arg);
    }
    ArchivePut p = { .layer_id = args[0],
                     .layer = layer,
                     .parent = parent,
                     .cancel = &cancel,
                     .below = (Layer *const *)below->pdata,
                     .n_below = below->len,
                     .progress = progress };
    if (!layer || !t->ops->put_layer(t, &p, &object, error))
        return FALSE;
    printf("%s %" G_GUINT64_FORMAT "\n", object.name, object.bytes);
    return TRUE;
}

static gboolean get(ArchiveTarget *t, char **args, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(args[1]);
    auto_fd scratch = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_fd from = t->ops->open_object(t, args[0], scratch, &cancel, progress, NULL, error);
    auto_fd to = from < 0 ? -1 : open(args[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char bytes[65536];
    gssize n;
    off_t at = 0;

    if (from < 0)
        return FALSE;
    while ((n = pread(from, bytes, sizeof bytes, at)) > 0) {
        if (write(to, bytes, (gsize)n) != n)
            break;
        at += n;
    }
    if (n != 0)
        imaged_error_set_errno(error, errno, "cannot copy to '%s'", args[1]);
    return n == 0;
}

static gboolean print_name(const char *name, guint64 bytes, gpointer user, GError **error)
{
    puts(name);
    return TRUE;
}

static gboolean put_point(ArchiveTarget *t, char **args, GError **error)
{
    g_autoptr(ArchivePoint) p = archive_point_new();

    p->id = g_strdup(args[0]);
    p->name = g_strdup(args[1]);
    p->is_template = TRUE;
    p->version = 1;
    p->created_at = 1795227840000;
    p->manager_id = g_strdup(args[0]);
    p->template_id = g_strdup(args[0]);
    p->template_name = g_strdup(args[1]);
    p->version_id = g_strdup(args[0]);
    p->description = g_strdup("");
    p->version_description = g_strdup("");
    p->source = g_strdup("");
    p->notes = g_strdup("");
    p->os = g_strdup("");
    p->cpus = 1;
    p->memory_bytes = 1 << 30;
    p->virtual_size = g_ascii_strtoull(args[2], NULL, 10);
    for (char **object = args + 3; *object; object++)
        archive_point_add_layer(p, *object, *object + strlen("layer-"), 1, TRUE);
    g_autofree char *text = archive_point_to_text(p);
    return t->ops->put_point(t, args[0], text, error);
}

static gboolean get_point(ArchiveTarget *t, const char *id, gboolean deleted, GError **error)
{
    g_autofree char *text = t->ops->get_point(t, id, deleted, error);

    if (text)
        fputs(text, stdout);
    return text != NULL;
}

static gboolean hold(void)
{
    char byte;

    puts("held");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return TRUE;
}

static gboolean run(ArchiveTarget *t, const char *command, char **args, GError **error)
{
    const ArchiveTargetOps *ops = t->ops;
    guint n = g_strv_length(args);
    gboolean has = FALSE;
    guint64 freed = 0;

#define IS(word, least) (g_str_equal(command, word) && n + 1 > (least))
    if (IS("open", 0))
        return puts(t->id) >= 0;
    if (IS("put", 2))
        return put(t, args, error);
    if (IS("has", 1))
        return ops->has_object(t, args[0], &has, error) && puts(has ? "yes" : "no") >= 0;
    if (IS("get", 2))
        return get(t, args, error);
    if (IS("verify", 1))
        return ops->verify_object(t, args[0], &cancel, error);
    if (IS("objects", 0))
        return ops->list_objects(t, print_name, NULL, error);
    if (IS("collect", 0))
        return ops->delete_objects(t, (const char *const *)args, n, &freed, error) &&
               printf("%" G_GUINT64_FORMAT "\n", freed) > 0;
    if (IS("put-point", 4))
        return put_point(t, args, error);
    if (IS("get-point", 1) || IS("get-deleted", 1))
        return get_point(t, args[0], g_str_equal(command, "get-deleted"), error);
    if (IS("points", 0) || IS("deleted", 0))
        return ops->list_points(t, g_str_equal(command, "deleted"), print_name, NULL, error);
    if (IS("delete-point", 1))
        return ops->delete_point(t, args[0], error);
    if (IS("undelete-point", 1))
        return ops->undelete_point(t, args[0], error);
    if (IS("forget-point", 1))
        return ops->forget_point(t, args[0], error);
    if (IS("purge", 1))
        return ops->purge_points(t, g_ascii_strtoll(args[0], NULL, 10), error);
    if (IS("hold", 0))
        return hold();
#undef IS
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "no such command: %s", command);
    return FALSE;
}

int main(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "create", 0, 0, G_OPTION_ARG_NONE, &opt_create, NULL, NULL },
        { "passphrase", 0, 0, G_OPTION_ARG_STRING, &opt_passphrase, NULL, NULL },
        { "encryption", 0, 0, G_OPTION_ARG_STRING, &opt_encryption, NULL, NULL },
        { "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &opt_state, NULL, NULL },
        { "expect", 0, 0, G_OPTION_ARG_STRING, &opt_expect, NULL, NULL },
        { "cancel-after", 0, 0, G_OPTION_ARG_INT64, &opt_cancel_after, NULL, NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, NULL) || argc < 4) {
        fputs(help, stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    const ArchiveTargetOptions options = {
        .kind = argv[1],
        .location = argv[2],
        .expect_id = opt_expect,
        .create = opt_create,
        .passphrase = opt_passphrase,
        .encryption = opt_encryption,
        .state_dir = opt_state,
    };
    gboolean is_exclusive = g_str_equal(argv[3], "collect"), is_open = g_str_equal(argv[3], "open");
    g_autoptr(ArchiveTarget) target = archive_target_open(&options, &error);
    gboolean ok = target && (is_open || target->ops->lock(target, is_exclusive, &error));
    if (ok) {
        ok = run(target, argv[3], argv + 4, &error);
        if (!is_open)
            target->ops->unlock(target);
    }
    if (!ok)
        fprintf(stderr, "%s: %s\n", imaged_error_name(error->code), error->message);
    return ok ? 0 : 1;
}
