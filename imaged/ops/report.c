/* report.c: what sharing saves, per template version.
 *
 *   template_bytes   data of the template's own chain
 *   diff_bytes       data of the desktops' own layers
 *   stored_bytes     both
 *   full_copy_bytes  what the same desktops would hold, each flattened
 *   saved_bytes      full_copy_bytes - stored_bytes, saved_ratio its share of full_copy_bytes
 *
 * The same as *_disk_bytes: blocks really used.  What a full copy would use on disk is not there to
 * be measured; it is reckoned as the diff's own blocks plus the share of the template's blocks that
 * the diff leaves visible. */
#include <string.h>

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/account.h"
#include "imaged/ops/args.h"
#include "imaged/ops/counts.h"

typedef struct {
    guint64 template_bytes, diff_bytes, full_copy_bytes;
    guint64 template_disk, diff_disk, full_copy_disk;
    gint64 n_desktops, n_live, n_missing;
} Sums;

typedef struct {
    char *name;
    char *id;
    const LayerFigures *figures;
} Diff;

typedef struct {
    char *id, *name, *template;
    gint64 version;
    Sums sums;
    GArray *diffs;     /* of Diff */
    GPtrArray *deeper; /* LayerFigures of desktops with several layers of their own */
} Row;

static void free_row(gpointer data)
{
    Row *row = data;

    for (guint i = 0; i < row->diffs->len; i++) {
        g_free(g_array_index(row->diffs, Diff, i).name);
        g_free(g_array_index(row->diffs, Diff, i).id);
    }
    g_array_unref(row->diffs);
    g_clear_pointer(&row->deeper, g_ptr_array_unref);
    g_free(row->id);
    g_free(row->name);
    g_free(row->template);
    g_free(row);
}

static guint64 share(guint64 of, guint64 part, guint64 whole)
{
    return whole ? (guint64)((gdouble)of * ((gdouble)part / (gdouble)whole)) : 0;
}

static void add_desktop(Row *row, const char *id, const char *name, const LayerFigures *f,
                        const LayerFigures *base)
{
    Diff diff = { g_strdup(name), g_strdup(id), f };
    guint64 visible = f->flattened_bytes - MIN(f->flattened_bytes, f->data_bytes);

    row->sums.n_desktops++;
    row->sums.n_live += f->is_live;
    row->sums.n_missing += f->is_missing;
    row->sums.diff_bytes += f->is_missing ? 0 : f->data_bytes;
    row->sums.diff_disk += f->disk_bytes;
    if (!f->is_missing) {
        row->sums.full_copy_bytes += f->flattened_bytes;
        row->sums.full_copy_disk += f->disk_bytes + share(base->disk_bytes, visible,
                                                          base->data_bytes);
    }
    g_array_append_val(row->diffs, diff);
}

/* One row per version; template_bytes counts every copy of its layer, in whichever store. */
static GPtrArray *collect_rows(World *world, const Counts *counts, const char *template,
                               GError **error)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func(free_row);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT v.id, t.name || ':' || v.version AS name, t.name AS template,"
                        " v.version, l.id AS layer FROM version v JOIN template t ON"
                        " t.id = v.template_id JOIN layer l ON l.id IN (SELECT id FROM layer WHERE"
                        " owner_id = v.id UNION ALL SELECT c.id FROM layer p JOIN layer c ON"
                        " c.parent_id = p.id WHERE p.owner_id = v.id AND"
                        " c.owner_kind = 'stand-in') WHERE"
                        " v.is_trashed = 0 AND l.state = 'frozen' AND (?1 IS NULL OR t.name = ?1 OR"
                        " t.name || ':' || v.version = ?1) ORDER BY t.name, v.version",
                        "t", template);

    while (query_next(q)) {
        Row *row = rows->len ? rows->pdata[rows->len - 1] : NULL;
        const LayerFigures *f = counts_of(counts, query_text(q, "layer"));
        if (!row || !g_str_equal(row->id, query_text(q, "id"))) {
            row = g_new0(Row, 1);
            row->id = g_strdup(query_text(q, "id"));
            row->name = g_strdup(query_text(q, "name"));
            row->template = g_strdup(query_text(q, "template"));
            row->version = query_int(q, "version");
            row->diffs = g_array_new(FALSE, FALSE, sizeof(Diff));
            g_ptr_array_add(rows, row);
        }
        if (f) {
            row->sums.template_bytes += f->data_bytes;
            row->sums.template_disk += f->disk_bytes;
        }
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    if (ok)
        return rows;
    g_ptr_array_unref(rows);
    return NULL;
}

/* A version and a stand-in on it, as one base. */
static const LayerFigures *add_stand_in(Row *row, const LayerFigures *version,
                                        const LayerFigures *on)
{
    LayerFigures *sum = g_memdup2(on, sizeof *on);

    if (version)
        sum->disk_bytes += version->disk_bytes;
    sum->data_bytes = on->flattened_bytes;
    if (!row->deeper)
        row->deeper = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(row->deeper, sum);
    return sum;
}

/* A desktop with snapshots has several layers of its own: their sum, and what they stand on. */
static const LayerFigures *add_deeper(Db *db, const Counts *counts, Row *row,
                                      const LayerFigures *active, const char *parent_id,
                                      const LayerFigures **ret_base)
{
    LayerFigures *sum = g_memdup2(active, sizeof *active);
    const LayerFigures *on = NULL; /* the stand-in that it stands on */
    g_autofree char *next = g_strdup(parent_id);
    g_auto(LayerRow) layer = { 0 };

    while (next && lookup_layer(db, next, &layer, NULL)) {
        const LayerFigures *f = counts_of(counts, next);
        g_free(next);
        next = NULL;
        if (g_str_equal(layer.owner_kind, "template")) {
            *ret_base = on ? add_stand_in(row, f, on) : f;
        } else if (g_str_equal(layer.owner_kind, LAYER_STAND_IN)) {
            on = f;
            next = g_strdup(layer.parent_id);
        } else if (f) {
            sum->data_bytes += f->data_bytes;
            sum->disk_bytes += f->disk_bytes;
            sum->is_missing |= f->is_missing;
            next = g_strdup(layer.parent_id);
        }
        layer_row_clear(&layer);
    }
    if (!row->deeper)
        row->deeper = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(row->deeper, sum);
    return sum;
}

static gboolean collect_desktops(World *world, const Counts *counts, GPtrArray *rows,
                                 GError **error)
{
    g_autoptr(GHashTable) by_id = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < rows->len; i++)
        g_hash_table_insert(by_id, ((Row *)rows->pdata[i])->id, rows->pdata[i]);
    Db *db = catalog_read_begin(world->catalog);
    Query *q = db_query(db,
                        "SELECT d.id, d.name, d.version_id, d.layer_id, l.parent_id, p.owner_kind"
                        " FROM desktop d JOIN layer l ON l.id = d.layer_id LEFT JOIN layer p ON"
                        " p.id = l.parent_id WHERE d.is_trashed = 0",
                        "");
    while (query_next(q)) {
        sqlite3_stmt *s = query_stmt(q);
        const char *parent = (const char *)sqlite3_column_text(s, 4);
        Row *row = g_hash_table_lookup(by_id, sqlite3_column_text(s, 2));
        const LayerFigures *f = counts_of(counts, (const char *)sqlite3_column_text(s, 3));
        const LayerFigures *base = parent ? counts_of(counts, parent) : NULL;
        static const LayerFigures none;
        const char *kind = (const char *)sqlite3_column_text(s, 5);
        if (row && f && kind && !g_str_equal(kind, "template"))
            f = add_deeper(db, counts, row, f, parent, &base);
        if (row && f)
            add_desktop(row, (const char *)sqlite3_column_text(s, 0),
                        (const char *)sqlite3_column_text(s, 1), f, base ? base : &none);
    }
    gboolean ok = query_end(q, error);
    catalog_read_end(world->catalog, db);
    return ok;
}

static void put(json_t *out, const char *key, guint64 value)
{
    json_object_set_new(out, key, json_integer((json_int_t)value));
}

static void put_sums(json_t *out, const Sums *s)
{
    guint64 stored = s->template_bytes + s->diff_bytes, disk = s->template_disk + s->diff_disk;
    gint64 saved = (gint64)s->full_copy_bytes - (gint64)stored;
    gint64 saved_disk = (gint64)s->full_copy_disk - (gint64)disk;

    put(out, "n_desktops", (guint64)s->n_desktops);
    put(out, "n_live", (guint64)s->n_live);
    put(out, "n_missing", (guint64)s->n_missing);
    put(out, "template_bytes", s->template_bytes);
    put(out, "diff_bytes", s->diff_bytes);
    put(out, "stored_bytes", stored);
    put(out, "full_copy_bytes", s->full_copy_bytes);
    json_object_set_new(out, "saved_bytes", json_integer(saved));
    json_object_set_new(out, "saved_ratio",
                        json_real(s->full_copy_bytes ? (gdouble)saved / (gdouble)s->full_copy_bytes
                                                     : 0.0));
    put(out, "template_disk_bytes", s->template_disk);
    put(out, "diff_disk_bytes", s->diff_disk);
    put(out, "stored_disk_bytes", disk);
    put(out, "full_copy_disk_bytes", s->full_copy_disk);
    json_object_set_new(out, "saved_disk_bytes", json_integer(saved_disk));
    json_object_set_new(out, "saved_disk_ratio",
                        json_real(s->full_copy_disk
                                      ? (gdouble)saved_disk / (gdouble)s->full_copy_disk
                                      : 0.0));
}

static gint compare_diffs(gconstpointer a, gconstpointer b)
{
    const Diff *x = a, *y = b;

    return (y->figures->data_bytes > x->figures->data_bytes) -
           (y->figures->data_bytes < x->figures->data_bytes);
}

static json_t *row_object(Row *row, gint64 n_largest)
{
    json_t *out = json_pack("{s:s,s:s,s:s,s:I}", "id", row->id, "name", row->name, "template",
                            row->template, "version", (json_int_t)row->version);
    json_t *largest = json_array();

    put_sums(out, &row->sums);
    if (n_largest)
        g_array_sort(row->diffs, compare_diffs);
    for (guint i = 0; i < row->diffs->len && (gint64)i < n_largest; i++) {
        const Diff *d = &g_array_index(row->diffs, Diff, i);
        json_array_append_new(largest,
                              json_pack("{s:s,s:s,s:I,s:I,s:b}", "id", d->id, "name", d->name,
                                        "diff_bytes", (json_int_t)d->figures->data_bytes,
                                        "diff_disk_bytes", (json_int_t)d->figures->disk_bytes,
                                        "live", d->figures->is_live));
    }
    json_object_set_new(out, "largest", largest);
    return out;
}

static void add_sums(Sums *total, const Sums *s)
{
    total->template_bytes += s->template_bytes;
    total->diff_bytes += s->diff_bytes;
    total->full_copy_bytes += s->full_copy_bytes;
    total->template_disk += s->template_disk;
    total->diff_disk += s->diff_disk;
    total->full_copy_disk += s->full_copy_disk;
    total->n_desktops += s->n_desktops;
    total->n_live += s->n_live;
    total->n_missing += s->n_missing;
}

/* Rows for all that is neither template nor disk of a desktop, over all stores that are online.
 * Nobody shares a data disk, so there is nothing that it could save. */
static json_t *other_rows(GHashTable *accounts, guint64 *ret_used)
{
    static const AccountKind kinds[] = { ACCOUNT_DATA_DISKS, ACCOUNT_SNAPSHOTS,  ACCOUNT_TRASH,
                                         ACCOUNT_QUARANTINE, ACCOUNT_METADATA, ACCOUNT_UNKNOWN };
    guint64 bytes[ACCOUNT_N_KINDS] = { 0 };
    guint n_files[ACCOUNT_N_KINDS] = { 0 };
    json_t *out = json_array();
    GHashTableIter iter;
    gpointer account;

    *ret_used = 0;
    g_hash_table_iter_init(&iter, accounts);
    while (g_hash_table_iter_next(&iter, NULL, &account)) {
        for (guint k = 0; k < ACCOUNT_N_KINDS; k++) {
            bytes[k] += ((Account *)account)->bytes[k];
            n_files[k] += ((Account *)account)->n_files[k];
            *ret_used += ((Account *)account)->bytes[k];
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
        json_array_append_new(out, json_pack("{s:s,s:s,s:i,s:I,s:I}", "id",
                                             account_kind_name(kinds[i]), "name",
                                             account_kind_name(kinds[i]), "n_files",
                                             (int)n_files[kinds[i]], "bytes",
                                             (json_int_t)bytes[kinds[i]], "disk_bytes",
                                             (json_int_t)bytes[kinds[i]]));
    return out;
}

static void free_account(gpointer account)
{
    account_clear(account);
    g_free(account);
}

/* Every online store's files: store id -> Account. */
static GHashTable *account_stores(World *world)
{
    g_autoptr(GPtrArray) ids = store_set_ids(world->stores);
    GHashTable *accounts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_account);

    for (guint i = 0; i < ids->len; i++) {
        g_autoptr(Store) store = store_set_get(world->stores, ids->pdata[i], NULL);
        Account *account = g_new0(Account, 1);
        if (store && account_store(world, store, account, NULL))
            g_hash_table_insert(accounts, g_strdup(ids->pdata[i]), account);
        else
            free_account(account);
    }
    return accounts;
}

static json_t *make_report(GHashTable *accounts, GPtrArray *rows, gint64 n_largest,
                           gboolean is_whole)
{
    g_autofree char *now = units_format_time(units_now_ms());
    json_t *list = json_array(), *totals = json_object();
    Sums sum = { 0 };
    guint64 used = 0;

    for (guint i = 0; i < rows->len; i++) {
        Row *row = rows->pdata[i];
        json_array_append_new(list, row_object(row, n_largest));
        add_sums(&sum, &row->sums);
    }
    put_sums(totals, &sum);
    json_t *out = json_pack("{s:s,s:s,s:s,s:o,s:o}", "id", "savings", "name", "savings",
                            "created_at", now, "rows", list, "totals", totals);
    if (is_whole) {
        json_object_set_new(out, "other", other_rows(accounts, &used));
        put(out, "store_disk_bytes", used);
    } else {
        json_object_set_new(out, "other", json_array());
        json_object_set_new(out, "store_disk_bytes", json_null());
    }
    return out;
}

json_t *ops_report_savings(OpsCall *call, GError **error)
{
    gint64 n_largest;
    const char *template = args_text(call, "template", FALSE, NULL);

    if (!args_check(call, "template largest", error) ||
        !args_int(call, "largest", 0, 0, 100000, &n_largest, error))
        return NULL;
    g_autoptr(GHashTable) accounts = account_stores(call->world);
    g_autoptr(Counts) counts = counts_refresh(call->world, accounts, error);
    g_autoptr(GPtrArray) rows = counts ? collect_rows(call->world, counts, template, error) : NULL;
    if (!rows || !collect_desktops(call->world, counts, rows, error))
        return NULL;
    if (template && rows->len == 0) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_NOT_FOUND, "there is no template '%.80s'",
                    template);
        return NULL;
    }
    return make_report(accounts, rows, n_largest, template == NULL);
}
