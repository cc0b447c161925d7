/* inspection.c: see inspection.h.  A set of applications has the hash of its text as its name: the
 * five thousand desktops whose applications are their template's share its rows. */
#include "templates/inspection.h"

#include <sodium.h>
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define HASH_BYTES 20u

/* ---- Putting ---- */

static char *hash_of(const char *text)
{
    unsigned char raw[HASH_BYTES];
    char *hex = g_malloc(2 * HASH_BYTES + 1);

    crypto_generichash(raw, sizeof raw, (const unsigned char *)text, strlen(text), NULL, 0);
    return sodium_bin2hex(hex, 2 * HASH_BYTES + 1, raw, sizeof raw);
}

/* The set of this text (a JSON array of [name, version, arch]), if it is not there yet. */
static void put_set(Changes *changes, const char *hash, const char *text, gsize n, gboolean is_cut)
{
    changes_sql(changes,
                "INSERT OR IGNORE INTO application (name, version, arch) SELECT value ->> 0,"
                " value ->> 1, value ->> 2 FROM json_each(?1) WHERE NOT EXISTS (SELECT 1 FROM"
                " application_set WHERE hash = ?2)",
                "tt", text, hash);
    changes_sql(changes,
                "INSERT OR IGNORE INTO application_set (hash, n_applications, is_cut)"
                " VALUES (?1, ?2, ?3)",
                "tii", hash, (gint64)n, (gint64)is_cut);
    changes_sql(changes,
                "INSERT OR IGNORE INTO application_in (set_id, application_id) SELECT s.id, a.id"
                " FROM application_set s, json_each(?1) j CROSS JOIN application a WHERE s.hash ="
                " ?2 AND NOT EXISTS (SELECT 1 FROM application_in m WHERE m.set_id = s.id) AND"
                " a.name = j.value ->> 0 AND a.version = j.value ->> 1 AND a.arch = j.value ->> 2",
                "tt", text, hash);
}

/* A row of inspection, without its set. */
static void put_row(Changes *changes, const InspectionOf *of, const char *same_as,
                    const char *result, const char *ranges, const GError *why)
{
    g_autofree char *message = why ? imaged_error_message(why) : NULL;

    changes_sql(changes,
                "INSERT INTO inspection (layer_id, inode, length, mtime_ns, disk_bytes,"
                " inspected_at, method, same_as, result, ranges, error_code, error_message,"
                " error_hint) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)"
                " ON CONFLICT (layer_id) DO UPDATE SET inode=?2, length=?3, mtime_ns=?4,"
                " disk_bytes=?5, inspected_at=?6, method=?7, same_as=?8, result=?9, ranges=?10,"
                " error_code=?11, error_message=?12, error_hint=?13",
                "tiiiiittttttt", of->layer_id, (gint64)of->stat.inode, (gint64)of->stat.length,
                of->stat.mtime_ns, (gint64)of->stat.disk_bytes, units_now_ms(), of->method, same_as,
                result, ranges, why ? imaged_error_name(why->code) : NULL, message,
                why ? imaged_error_get_hint(why) : NULL);
}

gboolean inspection_put(Changes *changes, const InspectionOf *of, const json_t *found,
                        GError **error)
{
    json_t *result, *applications, *ranges;

    if (!inspection_check(found, &result, &applications, &ranges, error))
        return FALSE;
    char *list = json_dumps(applications, JSON_COMPACT), *body = json_dumps(result, JSON_COMPACT);
    char *range_text = json_is_null(ranges) ? NULL : json_dumps(ranges, JSON_COMPACT);
    g_autofree char *hash = hash_of(list);

    put_set(changes, hash, list, json_array_size(applications),
            json_is_true(json_object_get(result, "applications_cut")));
    put_row(changes, of, NULL, body, range_text, NULL);
    changes_sql(changes,
                "UPDATE inspection SET set_id = (SELECT id FROM application_set WHERE hash = ?2)"
                " WHERE layer_id = ?1",
                "tt", of->layer_id, hash);
    free(list);
    free(body);
    free(range_text);
    json_decref(result);
    json_decref(applications);
    json_decref(ranges);
    return TRUE;
}

void inspection_put_same(Changes *changes, const InspectionOf *of, const char *same_as)
{
    put_row(changes, of, same_as, NULL, NULL, NULL);
    changes_sql(changes,
                "UPDATE inspection SET set_id = (SELECT set_id FROM inspection WHERE layer_id = ?2)"
                " WHERE layer_id = ?1",
                "tt", of->layer_id, same_as);
}

void inspection_put_failure(Changes *changes, const InspectionOf *of, const GError *why)
{
    put_row(changes, of, NULL, NULL, NULL, why);
    changes_sql(changes, "UPDATE inspection SET set_id = NULL WHERE layer_id = ?1", "t",
                of->layer_id);
}

/* ---- Looking up ---- */

gboolean inspection_is_same_file(const StoreStat *a, const StoreStat *b)
{
    return a->inode == b->inode && a->length == b->length && a->mtime_ns == b->mtime_ns &&
           a->disk_bytes == b->disk_bytes;
}

json_t *inspection_of_layer(Db *db, const char *layer_id, StoreStat *ret_stat)
{
    Query *q = db_query(db,
                        "SELECT i.*, coalesce(i.result, o.result) AS found, s.n_applications FROM"
                        " inspection i LEFT JOIN inspection o ON o.layer_id = i.same_as LEFT JOIN"
                        " application_set s ON s.id = i.set_id WHERE i.layer_id = ?1",
                        "t", layer_id);
    json_t *out = NULL;

    if (query_next(q)) {
        const char *found = query_text(q, "found"), *code = query_text(q, "error_code");
        g_autofree char *as_of = units_format_time(query_int(q, "inspected_at"));
        out = json_pack("{s:s,s:s,s:s}", "state", code ? "failed" : "ok", "as_of", as_of, "method",
                        query_text(q, "method"));
        json_t *body = found && !code ? json_loads(found, 0, NULL) : NULL;
        json_object_update(out, body);
        json_decref(body);
        if (code)
            json_object_set_new(out, "error",
                                json_pack("{s:s,s:s?,s:s?}", "code", code, "message",
                                          query_text(q, "error_message"), "hint",
                                          query_text(q, "error_hint")));
        else
            json_object_set_new(out, "n_applications",
                                json_integer(query_int(q, "n_applications")));
        if (ret_stat)
            *ret_stat = (StoreStat){ .inode = (guint64)query_int(q, "inode"),
                                     .length = (guint64)query_int(q, "length"),
                                     .mtime_ns = query_int(q, "mtime_ns"),
                                     .disk_bytes = (guint64)query_int(q, "disk_bytes") };
    }
    query_end(q, NULL);
    return out;
}

/* *ret_set is 0 if this layer has no successful inspection. */
static gint64 set_of(Db *db, const char *layer_id)
{
    return lookup_int(db, "SELECT coalesce(set_id, 0) FROM inspection WHERE layer_id = ?1", "t",
                      layer_id);
}

json_t *inspection_applications(Db *db, const char *layer_id, const char *glob)
{
    gint64 set = set_of(db, layer_id);
    json_t *out = set ? json_array() : NULL;

    if (!set)
        return NULL;
    Query *q = db_query(db,
                        "SELECT a.name, a.version, a.arch FROM application_in m JOIN application a"
                        " ON a.id = m.application_id WHERE m.set_id = ?1 AND (?2 IS NULL OR"
                        " lower(a.name) GLOB lower(?2)) ORDER BY a.name, a.arch, a.version",
                        "it", set, glob);
    while (query_next(q))
        json_array_append_new(out,
                              json_pack("{s:s,s:s,s:s}", "name", query_text(q, "name"), "version",
                                        query_text(q, "version"), "arch", query_text(q, "arch")));
    query_end(q, NULL);
    return out;
}

char *inspection_why_not_known(Db *db, const char *layer_id)
{
    json_t *found = inspection_of_layer(db, layer_id, NULL);
    const char *type = json_string_value(json_object_get(found, "type"));
    const char *failure =
        json_string_value(json_object_get(json_object_get(found, "error"), "message"));
    char *why = NULL;

    if (!found)
        why = g_strdup("nobody has looked into it yet");
    else if (failure)
        why = g_strdup_printf("it could not be inspected: %s", failure);
    else if (g_strcmp0(type, "unknown") == 0 &&
             json_integer_value(json_object_get(found, "n_applications")) == 0)
        why = g_strdup("no system that imaged knows was found in it");
    json_decref(found);
    return why;
}

/* ---- Two of them ---- */

static const char *text_at(const json_t *list, gsize i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(list, i), key));
}

/* By name and architecture: several versions of one may be installed side by side (kernels). */
static gint compare_at(const json_t *a, gsize i, const json_t *b, gsize k)
{
    if (i >= json_array_size(a) || k >= json_array_size(b))
        return i >= json_array_size(a) ? 1 : -1;
    gint by_name = strcmp(text_at(a, i, "name"), text_at(b, k, "name"));
    return by_name ? by_name : strcmp(text_at(a, i, "arch"), text_at(b, k, "arch"));
}

/* Both are sorted alike: one pass over the two. */
static json_t *merge_lists(json_t *a, json_t *b)
{
    json_t *added = json_array(), *removed = json_array(), *upgraded = json_array();
    gsize i = 0, k = 0;

    while (i < json_array_size(a) || k < json_array_size(b)) {
        gint order = compare_at(a, i, b, k);
        if (order < 0) {
            json_array_append(removed, json_array_get(a, i++));
        } else if (order > 0) {
            json_array_append(added, json_array_get(b, k++));
        } else {
            if (strcmp(text_at(a, i, "version"), text_at(b, k, "version")) != 0)
                json_array_append_new(
                    upgraded, json_pack("{s:s,s:s,s:s,s:s}", "name", text_at(a, i, "name"), "arch",
                                        text_at(a, i, "arch"), "from", text_at(a, i, "version"),
                                        "to", text_at(b, k, "version")));
            i++;
            k++;
        }
    }
    return json_pack("{s:o,s:o,s:o}", "added", added, "removed", removed, "upgraded", upgraded);
}

json_t *inspection_diff(Db *db, const char *from_layer, const char *to_layer)
{
    g_autofree char *why_from = inspection_why_not_known(db, from_layer);
    g_autofree char *why_to = inspection_why_not_known(db, to_layer);
    gboolean is_known = !why_from && !why_to;
    json_t *a = is_known ? inspection_applications(db, from_layer, NULL) : NULL;
    json_t *b = is_known ? inspection_applications(db, to_layer, NULL) : NULL;
    json_t *out = a && b ? merge_lists(a, b) : NULL;

    json_decref(a);
    json_decref(b);
    return out;
}
