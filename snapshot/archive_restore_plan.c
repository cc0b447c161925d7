/* archive_restore_plan.c: what a restore will make, decided before it begins: which version it
 * stands on, the ids and names of all that is new, the claims. */
#include "snapshot/archive_restore.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/plan.h"
#include "snapshot/archive.h"

typedef struct {
    World *world;
    Db *db;
    const ArchiveRestore *ask;
    ArchivePointRow row;
    ArchivePoint *point;
    json_t *plan, *claims;
} Plan;

static void set_text(Plan *p, const char *key, const char *text)
{
    json_object_set_new(p->plan, key, text ? json_string(text) : json_null());
}

static gboolean exists(Db *db, const char *sql, const char *id)
{
    return lookup_int(db, sql, "t", id) != 0;
}

/* ---- The version that it stands on ---- */

static gboolean is_usable(Db *db, const char *version_id)
{
    return exists(db,
                  "SELECT EXISTS (SELECT 1 FROM version v JOIN layer l ON l.owner_id = v.id WHERE"
                  " v.id = ?1 AND v.is_trashed = 0 AND l.state = 'frozen')",
                  version_id);
}

/* A version here that has what the point stands on: the same one, or one with the same bytes.
 * ret_n: so many of the point's layers are in it.  A flattened desktop stands on nothing, unless a
 * version was made of it before. */
static char *find_version(Plan *p, guint *ret_n)
{
    guint n = archive_point_n_template(p->point);

    *ret_n = n;
    if (is_usable(p->db, p->point->version_id))
        return g_strdup(p->point->version_id);
    if (n == 0)
        *ret_n = n = p->point->layers->len;
    Query *q = db_query(p->db,
                        "SELECT v.id AS id FROM archive_object o JOIN layer l ON"
                        " l.id = o.layer_id JOIN version v ON v.id = l.owner_id WHERE"
                        " o.target_id = ?1 AND o.object = ?2 AND l.owner_kind = 'template' AND"
                        " l.state = 'frozen' AND v.is_trashed = 0 LIMIT 1",
                        "tt", p->row.target_id,
                        g_array_index(p->point->layers, ArchiveLayer, n - 1).object);
    char *id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;
    query_end(q, NULL);
    return id;
}

/* The desktop that is restored takes its name at the end of the job. */
static gboolean is_free_name(const Plan *p, const char *name)
{
    return g_strcmp0(name, p->ask->as) != 0 && lookup_check_new_name(p->db, "template", name, NULL);
}

/* A free name like the wanted one: "win11-archive", "win11-archive-2"... */
static char *free_name(const Plan *p, const char *wanted)
{
    g_autofree char *stem = g_strndup(wanted, NAME_MAX_LEN - 16);

    for (guint i = 1;; i++) {
        g_autofree char *name = i == 1 ? g_strdup_printf("%s-archive", stem)
                                       : g_strdup_printf("%s-archive-%u", stem, i);
        if (is_free_name(p, name))
            return g_steal_pointer(&name);
    }
}

/* A flattened desktop's content is nobody's version but its own: it must never pass for the version
 * that the desktop once stood on, which other points stand on. */
static void choose_own_template(Plan *p)
{
    g_autofree char *name = free_name(p, p->point->name);
    g_autofree char *title = archive_point_title(p->point);
    g_autofree char *source = g_strdup_printf("archive of %s, which was flattened", title);
    Id template = id_new(), version = id_new();

    set_text(p, "template_id", template.s);
    set_text(p, "template_name", name);
    set_text(p, "version_id", version.s);
    set_text(p, "source", source);
    json_object_set_new(p->plan, "number", json_integer(1));
    json_object_set_new(p->plan, "last_version", json_integer(1));
    json_object_set_new(p->plan, "template_created", json_integer(units_now_ms()));
}

/* The template that gets the new version, and the version's number. */
static void choose_template(Plan *p, const char *as)
{
    g_auto(TemplateRow) row = { 0 };
    const ArchivePoint *point = p->point;
    Id fresh = id_new();
    gboolean has =
        as ? lookup_template(p->db, as, &row, NULL)
           : lookup_template_by_id(p->db, point->template_id, &row, NULL) && !row.is_trashed;

    if (has) {
        gboolean is_taken =
            !g_str_equal(row.id, point->template_id) ||
            lookup_int(p->db,
                       "SELECT EXISTS (SELECT 1 FROM version WHERE template_id = ?1 AND"
                       " version = ?2)",
                       "ti", row.id, point->version);
        gint64 number = is_taken ? row.last_version + 1 : point->version;
        set_text(p, "template_id", row.id);
        set_text(p, "template_name", row.name);
        json_object_set_new(p->plan, "number", json_integer(number));
        json_object_set_new(p->plan, "last_version", json_integer(MAX(number, row.last_version)));
        json_object_set_new(p->plan, "template_created", json_integer(row.created_at));
        return;
    }
    g_autofree char *name = as ? g_strdup(as)
                            : is_free_name(p, point->template_name)
                                ? g_strdup(point->template_name)
                                : free_name(p, point->template_name);
    gboolean id_taken =
        exists(p->db, "SELECT EXISTS (SELECT 1 FROM template WHERE id = ?1)", point->template_id);
    set_text(p, "template_id", id_taken ? fresh.s : point->template_id);
    set_text(p, "template_name", name);
    json_object_set_new(p->plan, "number", json_integer(point->version));
    json_object_set_new(p->plan, "last_version", json_integer(point->version));
    json_object_set_new(p->plan, "template_created", json_integer(units_now_ms()));
}

/* Its id, where that is free. */
static void choose_version(Plan *p)
{
    Id version = id_new();
    gboolean is_taken =
        exists(p->db, "SELECT EXISTS (SELECT 1 FROM version WHERE id = ?1)", p->point->version_id);

    set_text(p, "version_id", is_taken ? version.s : p->point->version_id);
    set_text(p, "source", p->point->source);
}

/* Plan to make the version from the first n layers of the point. */
static void plan_version(Plan *p, guint n, const char *state, const char *as)
{
    Id layer = id_new();

    if (p->point->is_template || archive_point_n_template(p->point) > 0) {
        choose_template(p, as);
        choose_version(p);
    } else {
        choose_own_template(p);
    }
    json_object_set_new(p->plan, "make_version", json_true());
    json_object_set_new(p->plan, "n_template", json_integer(n));
    set_text(p, "version_layer", layer.s);
    set_text(p, "version_state", state);
    claims_add(p->claims, 'x', "version",
               json_string_value(json_object_get(p->plan, "version_id")));
    claims_add(p->claims, 'x', "template",
               json_string_value(json_object_get(p->plan, "template_id")));
    claims_add(p->claims, 'x', "name",
               json_string_value(json_object_get(p->plan, "template_name")));
}

/* ---- The desktop ---- */

static gboolean find_desktop(Plan *p, DesktopRow *ret, GError **error)
{
    if (lookup_desktop_by_id(p->db, p->point->desktop_id, ret, NULL) && !ret->is_trashed)
        return TRUE;
    desktop_row_clear(ret);
    *ret = (DesktopRow){ 0 };
    if (lookup_desktop(p->db, p->point->name, ret, NULL))
        return TRUE;
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND,
                "there is no desktop '%s' to restore in place", p->point->name);
    imaged_error_hint(error, "restore it as a new one: imagectl archive restore %s --as NAME",
                      p->point->id);
    return FALSE;
}

static gboolean choose_store(Plan *p, const char *version_id, const char *desktops, GError **error)
{
    g_auto(StoreEntry) entry = { 0 };
    g_autofree char *id = NULL;

    if (desktops && p->ask->store) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "in place means in the store where the desktop is");
        return FALSE;
    }
    if (desktops) {
        id = g_strdup(desktops);
    } else if (version_id && !p->ask->store) {
        Query *q = db_query(p->db,
                            "SELECT l.store_id AS id FROM version v JOIN layer l ON"
                            " l.id = v.layer_id WHERE v.id = ?1",
                            "t", version_id);
        id = query_next(q) ? g_strdup(query_text(q, "id")) : NULL;
        query_end(q, NULL);
    }
    if (!id && !(id = store_set_find(p->world->stores, p->ask->store, error)))
        return FALSE;
    if (store_set_describe(p->world->stores, id, &entry) && entry.is_draining && !desktops) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the store '%s' is being drained",
                    entry.name);
        return FALSE;
    }
    set_text(p, "store_id", id);
    claims_add(p->claims, 's', "store", id);
    claims_add(p->claims, 's', "making", id);
    return TRUE;
}

static gboolean name_desktop(Plan *p, const DesktopRow *row, GError **error)
{
    Id id = id_new(), layer = id_new(), data = id_new(), trash = id_new();

    if (p->ask->disks != DISKS_DATA)
        set_text(p, "layer", layer.s);
    if (p->ask->disks != DISKS_SYSTEM && p->point->data_layers->len)
        set_text(p, "data_layer", data.s);
    set_text(p, "trash", trash.s);
    json_object_set_new(p->plan, "in_place", json_boolean(p->ask->in_place));
    set_text(p, "desktop_id", row->id ? row->id : id.s);
    set_text(p, "name", row->id ? row->name : p->ask->as);
    if (row->id)
        claims_add(p->claims, 'x', "desktop", row->id);
    else
        claims_add(p->claims, 'x', "name", p->ask->as);
    return row->id || lookup_check_new_name(p->db, "desktop", p->ask->as, error);
}

static gboolean plan_desktop(Plan *p, GError **error)
{
    g_auto(DesktopRow) row = { 0 };
    guint n;

    if (p->ask->in_place == (p->ask->as != NULL)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a desktop is restored in place, or as a new one: one of the two");
        imaged_error_hint(error, "--in-place, or --as NAME");
        return FALSE;
    }
    if (p->ask->disks == DISKS_DATA && (!p->ask->in_place || p->point->data_layers->len == 0)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    p->ask->in_place ? "the point has no data disk"
                                     : "a data disk alone is restored in place");
        return FALSE;
    }
    if (p->ask->in_place && !find_desktop(p, &row, error))
        return FALSE;
    if (p->ask->disks == DISKS_DATA) /* the disk, and what it stands on, stay what they are */
        return name_desktop(p, &row, error) && choose_store(p, NULL, row.store_id, error);
    g_autofree char *version_id = find_version(p, &n);
    if (!name_desktop(p, &row, error) || !choose_store(p, version_id, row.store_id, error))
        return FALSE;
    if (version_id) {
        set_text(p, "version_id", version_id);
        json_object_set_new(p->plan, "n_template", json_integer(n));
        claims_add(p->claims, 's', "version", version_id);
    } else { /* a flattened desktop becomes an empty overlay on a version with its content */
        plan_version(p, n, "retired", NULL);
    }
    return TRUE;
}

static gboolean plan_template(Plan *p, GError **error)
{
    if (p->ask->in_place) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID,
                    "a template version is not restored in place: it never changes");
        return FALSE;
    }
    if (!p->ask->as && is_usable(p->db, p->point->version_id)) {
        g_autofree char *name = lookup_version_name(p->db, p->point->version_id);
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_EXISTS, "the version %s is still there",
                    name);
        imaged_error_hint(error, "for a copy of it: imagectl archive restore %s --as NAME",
                          p->point->id);
        return FALSE;
    }
    g_auto(TemplateRow) there = { 0 };
    if (p->ask->as && !lookup_template(p->db, p->ask->as, &there, NULL) &&
        !lookup_check_new_name(p->db, "template", p->ask->as, error))
        return FALSE;
    if (!choose_store(p, NULL, NULL, error))
        return FALSE;
    plan_version(p, p->point->layers->len, "published", p->ask->as);
    set_text(p, "name", json_string_value(json_object_get(p->plan, "template_name")));
    return TRUE;
}

static gboolean load_point(Plan *p, GError **error)
{
    if (!archive_lookup_point(p->db, p->ask->point, &p->row, error))
        return FALSE;
    if (p->row.deleted_at) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "the point %s was deleted",
                    p->row.id);
        imaged_error_hint(error, "bring it back first: imagectl archive undelete %s", p->row.id);
        return FALSE;
    }
    p->point = archive_point_parse(p->row.manifest, strlen(p->row.manifest), p->row.id, error);
    return p->point != NULL;
}

typedef struct {
    const ArchiveRestore *restore;
    guint64 total;
} Asked;

static json_t *make_plan(World *world, Db *db, json_t *claims, gpointer data, GError **error)
{
    Asked *asked = data;
    Plan p = {
        .world = world, .db = db, .ask = asked->restore, .plan = json_object(), .claims = claims
    };

    if (load_point(&p, error) &&
        (p.point->is_template ? plan_template(&p, error) : plan_desktop(&p, error))) {
        set_text(&p, "target", p.row.target_id);
        set_text(&p, "point", p.row.id);
        set_text(&p, "manifest", p.row.manifest);
        claims_add(p.claims, 's', "archive-target", p.row.target_id);
        asked->total = 2 * archive_point_bytes(p.point);
    } else {
        g_clear_pointer(&p.plan, json_decref);
    }
    archive_point_free(p.point);
    archive_point_row_clear(&p.row);
    return p.plan;
}

gboolean archive_plan_restore(World *world, const JobType *type, const ArchiveRestore *restore,
                              JobRequest *ret, GError **error)
{
    Asked asked = { restore, 0 };

    if (!plan_make(world, type, make_plan, &asked, ret, error))
        return FALSE;
    ret->total = asked.total;
    return TRUE;
}
