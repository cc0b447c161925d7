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
    /* of view_page_of() */
    GPtrArray *found;   /* ids that search found, or NULL: there was no search */
    gboolean is_sorted; /* in its own order */
    const char *resume; /* then, after */
} ViewPage;
gboolean view_page(OpsCall *call, ViewPage *ret_page, GError **error);

/* The same where search is one of the search language, for this object (broker/search).  To be the
 * last check before view_found(), which frees what was found. */
gboolean view_page_of(OpsCall *call, const char *object, ViewPage *ret_page, GError **error);

/* The rows of query (ended) whose column id was found, or all if there was no search. */
json_t *view_found(Query *query, ViewPage *page, GError **error);

/* What was found as a JSON array for json_each(), or NULL.  Caller frees. */
char *view_found_ids(const ViewPage *page);
