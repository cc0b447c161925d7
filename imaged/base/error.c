/* error.c: see error.h.  The table below is the only list of the codes' names. */
#include "imaged/base/error.h"

#include <errno.h>
#include <string.h>

G_DEFINE_QUARK(imaged-error-quark, imaged_error)

static const char *const names[IMAGED_N_ERRORS] = {
    [IMAGED_ERROR_FAILED] = "failed",           [IMAGED_ERROR_INVALID] = "invalid",
    [IMAGED_ERROR_NOT_FOUND] = "not_found",     [IMAGED_ERROR_EXISTS] = "exists",
    [IMAGED_ERROR_BUSY] = "busy",               [IMAGED_ERROR_DENIED] = "denied",
    [IMAGED_ERROR_CORRUPT] = "corrupt",         [IMAGED_ERROR_UNSUPPORTED] = "unsupported",
    [IMAGED_ERROR_NO_SPACE] = "no_space",       [IMAGED_ERROR_UNAVAILABLE] = "unavailable",
    [IMAGED_ERROR_CANCELLED] = "cancelled",     [IMAGED_ERROR_RESCUE] = "rescue",
};

const char *imaged_error_name(gint code)
{
    return code >= 0 && code < IMAGED_N_ERRORS ? names[code] : "failed";
}

ImagedError imaged_error_from_name(const char *name)
{
    for (int i = 0; name && i < IMAGED_N_ERRORS; i++) {
        if (g_str_equal(name, names[i]))
            return i;
    }
    return IMAGED_ERROR_FAILED;
}

void imaged_error_hint(GError **error, const char *format, ...)
{
    va_list args;

    if (!error || !*error || strchr((*error)->message, '\n'))
        return;
    va_start(args, format);
    g_autofree char *hint = g_strdup_vprintf(format, args);
    va_end(args);
    char *message = g_strdup_printf("%s\n%s", (*error)->message, hint);
    g_free((*error)->message);
    (*error)->message = message;
}

char *imaged_error_message(const GError *error)
{
    return g_strndup(error->message, strcspn(error->message, "\n"));
}

const char *imaged_error_get_hint(const GError *error)
{
    const char *newline = strchr(error->message, '\n');

    return newline ? newline + 1 : NULL;
}

static ImagedError code_of_errno(int err)
{
    switch (err) {
    case ENOSPC:
    case EDQUOT:
        return IMAGED_ERROR_NO_SPACE;
    case ENOENT:
        return IMAGED_ERROR_NOT_FOUND;
    case EEXIST:
        return IMAGED_ERROR_EXISTS;
    case EACCES:
    case EPERM:
        return IMAGED_ERROR_DENIED;
    case EBUSY:
    case EAGAIN:
        return IMAGED_ERROR_BUSY;
    default:
        return IMAGED_ERROR_UNAVAILABLE;
    }
}

void imaged_error_set_errno(GError **error, int err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, IMAGED_ERROR, code_of_errno(err), "%s: %s", what, g_strerror(err));
}
