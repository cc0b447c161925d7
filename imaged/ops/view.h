/* view.h: rows of the catalog as the JSON objects of the API.
 *
 * A statement names its columns as the API does; "__time" behind a name makes an RFC 3339 time of
 * milliseconds, "__bool" a boolean, "__lines" an array of lines. */
#pragma once

#include "imaged/ops/ops.h"

/* The current row as an object. */
json_t *view_object(Query *query);

/* All rows (query is ended).  search: words that must all appear in a text field, or NULL; at most
 * limit rows. */
json_t *view_array(Query *query, const char *search, gint64 limit, GError **error);

/* The paging arguments of a list: search, limit, after. */
typedef struct {
    const char *search, *after;
    gint64 limit;
} ViewPage;
gboolean view_page(OpsCall *call, ViewPage *ret_page, GError **error);
