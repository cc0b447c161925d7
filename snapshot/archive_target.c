/* archive_target.c: see archive_target.h. */
#include "snapshot/archive_target.h"

#include "imaged/base/error.h"
#include "imaged/base/ident.h"

ArchiveTarget *archive_target_open(const ArchiveTargetOptions *options, GError **error)
{
    static const struct {
        const char *kind;
        ArchiveTarget *(*open)(const ArchiveTargetOptions *options, GError **error);
    } kinds[] = {
        { "dir", archive_dir_open },
        { "borg", archive_borg_open },
    };

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_equal(kinds[i].kind, options->kind))
            return kinds[i].open(options, error);
    }
    g_autofree char *shown = text_for_message(options->kind, 40);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "archive targets of kind '%s' are not known", shown);
    imaged_error_hint(error, "the kinds are dir and borg");
    return NULL;
}

void archive_target_free(ArchiveTarget *target)
{
    if (!target)
        return;
    g_clear_pointer(&target->name, g_free);
    target->ops->free(target);
}
