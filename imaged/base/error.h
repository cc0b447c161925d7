/* error.h: the one error domain of imaged, and how an error carries a hint.
 *
 * A message says what failed and why, lower case, no full stop.  A hint (what the
 * user can do about it) is appended behind a newline, so that it survives
 * g_prefix_error() and g_propagate_error().  Safe from any thread. */
#pragma once

#include <glib.h>

#define IMAGED_ERROR imaged_error_quark()
GQuark imaged_error_quark(void);

typedef enum {
    IMAGED_ERROR_FAILED,      /* anything that fits nowhere else */
    IMAGED_ERROR_INVALID,     /* the request makes no sense as it stands */
    IMAGED_ERROR_NOT_FOUND,   /* a thing that was named does not exist */
    IMAGED_ERROR_EXISTS,      /* a name or id is taken */
    IMAGED_ERROR_BUSY,        /* in use by QEMU or by another job */
    IMAGED_ERROR_DENIED,      /* the asker may not do this */
    IMAGED_ERROR_CORRUPT,     /* an image or a record is not sound */
    IMAGED_ERROR_UNSUPPORTED, /* sound, but of a kind that we refuse */
    IMAGED_ERROR_NO_SPACE,    /* a file system is full, or below its watermark */
    IMAGED_ERROR_UNAVAILABLE, /* a store is offline, a peer is gone, I/O failed */
    IMAGED_ERROR_CANCELLED,   /* somebody cancelled the job */
    IMAGED_ERROR_RESCUE,      /* the daemon is in rescue mode */
    IMAGED_N_ERRORS
} ImagedError;

/* The code's name in the API, e.g. "not_found".  Static storage. */
const char *imaged_error_name(gint code);

/* The code with this API name, or IMAGED_ERROR_FAILED. */
ImagedError imaged_error_from_name(const char *name);

/* Append a hint to *error, if there is one.  Only the first hint is kept. */
void imaged_error_hint(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The message without its hint (caller frees), and the hint or NULL (points into error). */
char *imaged_error_message(const GError *error);
const char *imaged_error_get_hint(const GError *error);

/* Set *error from errno: ENOSPC/EDQUOT become NO_SPACE, ENOENT NOT_FOUND, EEXIST EXISTS,
 * EACCES/EPERM DENIED, EBUSY/EAGAIN BUSY, everything else UNAVAILABLE.  The message gets
 * ": strerror". */
void imaged_error_set_errno(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);
