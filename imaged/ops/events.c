/* events.c: what has happened, listed: the newest first. */
#include "broker/alert/event_filter.h"
#include "imaged/catalog/lookup.h"
#include "imaged/ops/args.h"
#include "imaged/ops/view.h"

#define FEW 1000   /* as many of each kind are found at once, whatever there is */
#define RARE 20000 /* as many are a small part of all */

typedef struct {
    EventFilter filter;
    ViewPage page;
    gint64 since, before;
    char *visible, *found; /* NULL: all */
} Listing;

static void listing_clear(Listing *l)
{
    event_filter_clear(&l->filter);
    g_free(l->visible);
    g_free(l->found);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Listing, listing_clear)

static gboolean take_args(OpsCall *call, Listing *l, GError **error)
{
    if (!args_check(call, "search limit after since severity kind", error) ||
        !args_are_texts(call, "severity kind", error) ||
        !args_int(call, "since", 0, 0, G_MAXINT64, &l->since, error) ||
        !event_filter_init(&l->filter, args_text(call, "severity", FALSE, NULL),
                           args_text(call, "kind", FALSE, NULL), error) ||
        !view_page_of(call, "events", &l->page, error))
        return FALSE;
    gint64 before = l->page.after ? g_ascii_strtoll(l->page.after, NULL, 10) : 0;
    l->before = before ? before : G_MAXINT64;
    l->visible = access_visible_sql(call->caller, "event", "event");
    l->found = view_found_ids(&l->page);
    return TRUE;
}

/* Those that are wanted may be few and far apart: then they are found by their kinds.  Where more
 * is asked of each event, or there are many, all are looked at. */
static gboolean is_by_kind(const Listing *l, Db *db)
{
    if (l->visible || l->found || l->page.search || (!l->filter.severities && !l->filter.kinds))
        return FALSE;
    return l->page.limit <= FEW ||
           lookup_int(db, EVENT_COUNT_SQL, "ttiii", l->filter.severities, l->filter.kinds, l->since,
                      l->before, (gint64)RARE) < RARE;
}

static Query *query_by_kind(const Listing *l, Db *db)
{
    return db_query(db, EVENT_FIND_SQL(EVENT_COLUMNS_SQL, "DESC"), "ttiii", l->filter.severities,
                    l->filter.kinds, l->since, l->before, l->page.limit);
}

static Query *query_all(const Listing *l, Db *db)
{
    g_autofree char *sql = g_strdup_printf(
        "SELECT " EVENT_COLUMNS_SQL " FROM event WHERE event.id > ?3 AND event.id < ?4"
        " AND " EVENT_FILTER_SQL " AND %s AND %s ORDER BY event.id DESC",
        l->visible ? l->visible : "1",
        l->found ? "event.id IN (SELECT CAST(value AS INTEGER) FROM json_each(?5))" : "?5 IS NULL");

    return db_query_once(db, sql, "ttiit", l->filter.severities, l->filter.kinds, l->since,
                         l->before, l->found);
}

json_t *ops_event_list(OpsCall *call, GError **error)
{
    g_auto(Listing) l = { 0 };

    if (!take_args(call, &l, error))
        return NULL;
    Db *db = catalog_read_begin(call->world->catalog);
    Query *query = is_by_kind(&l, db) ? query_by_kind(&l, db) : query_all(&l, db);
    json_t *out = view_found(query, &l.page, error);
    catalog_read_end(call->world->catalog, db);
    return out;
}
