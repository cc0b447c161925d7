/* args.h: the arguments of a call, checked: unknown ones and wrong types are errors. */
#pragma once

#include "imaged/ops/ops.h"
#include "snapshot/reimage.h"

/* allowed: the names, separated by spaces.  INVALID names the stranger. */
gboolean args_check(const OpsCall *call, const char *allowed, GError **error);

/* A text; NULL if it is not there (an error if needed is set).  Wrong types: *error and NULL. */
const char *args_text(const OpsCall *call, const char *key, gboolean needed, GError **error);

/* Is each of these (separated by spaces) absent, null or a text?  INVALID names another. */
gboolean args_are_texts(const OpsCall *call, const char *keys, GError **error);

/* A number (also as text, from a query) between min and max; fallback if it is not there. */
gboolean args_int(const OpsCall *call, const char *key, gint64 fallback, gint64 min, gint64 max,
                  gint64 *ret, GError **error);

/* true, false, "1", "0". */
gboolean args_bool(const OpsCall *call, const char *key, gboolean *ret, GError **error);

/* An array of texts with at most 20,000 elements, or NULL. */
gboolean args_texts(const OpsCall *call, const char *key, json_t **ret, GError **error);

/* The size of a disk in bytes, whole pages; 0 if it is not there. */
gboolean args_disk_size(const OpsCall *call, const char *key, guint64 *ret_size, GError **error);

/* "disk": which of a desktop's disks; all if it is not there. */
gboolean args_disks(const OpsCall *call, Disks *ret_disks, GError **error);
