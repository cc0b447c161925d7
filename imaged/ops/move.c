/* move.c: a desktop's layers (its disk's, and those of its snapshots) are copied to another store
 * under new identities, on copies of their template versions there; then desktop and snapshots are
 * switched and the former disk goes to the trash, from where it can be brought back.  One desktop
 * is one step: each is durable by itself. */
#include "imaged/ops/move.h"

#include "cow/identity.h"
#include "cow/layer_copy.h"
#include "cow/store_nvram.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"
#include "imaged/base/units.h"
#include "imaged/job/each.h"
#include "snapshot/merge_runs.h"
#include "snapshot/stand_in.h"
#include "templates/template.h"

static const char *plan_text(const json_t *plan, const char *key)
{
    return json_string_value(json_object_get(plan, key));
}

/* One layer on its way. */
typedef struct {
    LayerRow *from; /* in the list of rows */
    LayerRow to;    /* its texts are borrowed or in the list of texts; id NULL until it is known */
    Id id;
} Copy;

typedef struct {
    Job *job;
    World *world;
    Store *to;
    DesktopRow desktop;
    LookupRows rows;  /* the desktop's live layers that lie elsewhere */
    GArray *copies;   /* of Copy, a layer before those that stand on it */
    GPtrArray *bases; /* LayerRow of template versions in the target store */
    gint64 now;
} Move;

static void free_base(gpointer row)
{
    row_free(ROW_LAYER, row);
}

static void move_clear(Move *m)
{
    desktop_row_clear(&m->desktop);
    lookup_rows_clear(&m->rows);
    g_clear_pointer(&m->copies, g_array_unref);
    g_clear_pointer(&m->bases, g_ptr_array_unref);
    g_clear_pointer(&m->to, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Move, move_clear)

static Copy *find_copy(const Move *m, const char *layer_id)
{
    for (guint i = 0; i < m->copies->len; i++) {
        Copy *copy = &g_array_index(m->copies, Copy, i);
        if (g_str_equal(copy->from->id, layer_id))
            return copy;
    }
    return NULL;
}

/* The live layers of the desktop that lie in other stores, parents first. */
static gboolean collect(Move *m, Db *db, GError **error)
{
    g_autoptr(GHashTable) live = runs_live_layers(db, m->desktop.id, NULL);

    if (!lookup_rows(db, ROW_LAYER, &m->rows, error,
                     "SELECT * FROM layer WHERE owner_kind IN ('desktop', 'data') AND"
                     " owner_id = ?1 AND store_id <> ?2 AND state IN ('active', 'frozen')",
                     "tt", m->desktop.id, m->to->id))
        return FALSE;
    for (gboolean any = TRUE; any;) {
        any = FALSE;
        for (guint i = 0; i < m->rows.rows->len; i++) {
            LayerRow *row = m->rows.rows->pdata[i];
            gboolean waits = FALSE;
            for (guint k = 0; k < m->rows.rows->len; k++) {
                const LayerRow *other = m->rows.rows->pdata[k];
                waits |= g_strcmp0(row->parent_id, other->id) == 0 && !find_copy(m, other->id);
            }
            if (waits || find_copy(m, row->id) || !g_hash_table_contains(live, row->id))
                continue;
            Copy copy = { .from = row, .id = id_derive(job_id(m->job), row->id, m->to->id) };
            g_array_append_val(m->copies, copy);
            any = TRUE;
        }
    }
    return TRUE;
}

/* The copy, in the target store, of a layer that is none of the desktop's own. */
static gboolean replicate_base(Move *m, const LayerRow *from, LayerRow *ret, GError **error)
{
    g_auto(LayerRow) version = { 0 }, copy = { 0 };

    if (!g_str_equal(from->owner_kind, LAYER_STAND_IN))
        return template_replicate(m->job, m->world, from->owner_id, m->to->id, ret, error);
    Db *db = catalog_read_begin(m->world->catalog);
    gboolean ok = lookup_layer(db, from->parent_id, &version, error);
    catalog_read_end(m->world->catalog, db);
    return ok &&
           template_replicate(m->job, m->world, version.owner_id, m->to->id, &copy, error) &&
           stand_in_copy(m->job, m->world, from, &copy, ret, error);
}

/* What a copy will stand on: *ret_id and *ret_slot stay NULL for a flat layer. */
static gboolean find_parent(Move *m, const Copy *copy, const char **ret_id, const char **ret_slot,
                            GError **error)
{
    g_auto(LayerRow) parent = { 0 };
    const Copy *below = copy->from->parent_id ? find_copy(m, copy->from->parent_id) : NULL;

    if (!copy->from->parent_id)
        return TRUE;
    if (below) {
        *ret_id = *ret_slot = below->id.s;
        return TRUE;
    }
    Db *db = catalog_read_begin(m->world->catalog);
    gboolean ok = lookup_layer(db, copy->from->parent_id, &parent, error);
    catalog_read_end(m->world->catalog, db);
    LayerRow *base = g_new0(LayerRow, 1);
    g_ptr_array_add(m->bases, base);
    if (!ok || !replicate_base(m, &parent, base, error))
        return FALSE;
    *ret_id = base->id;
    *ret_slot = base->slot;
    return TRUE;
}

/* Of its copy: the disk that is written to is of the desktop's next one. */
static gint64 generation_of(const Move *m, const LayerRow *from)
{
    if (g_str_equal(from->state, "frozen"))
        return from->generation;
    return layer_row_is_data(from) ? from->generation + 1 : m->desktop.generation + 1;
}

static gboolean write_copy(Move *m, Copy *copy, const char *parent_id, const char *parent_slot,
                           GError **error)
{
    g_autoptr(Store) from = store_set_get(m->world->stores, copy->from->store_id, error);
    g_autoptr(Layer) layer = from ? store_open_layer(from, copy->from->slot, NULL, error) : NULL;
    g_autofree char *backing = parent_slot ? g_strdup_printf("../layers/%s", parent_slot) : NULL;
    gboolean is_frozen = g_str_equal(copy->from->state, "frozen");
    Identity identity = { .id = copy->id.s,
                          .parent = (char *)parent_id,
                          .owner_kind = copy->from->owner_kind,
                          .owner_id = m->desktop.id,
                          .owner_name = m->desktop.name,
                          .generation = generation_of(m, copy->from),
                          .created_at = m->now };
    g_autofree char *text = identity_to_json(&identity);
    const char *slot = copy->id.s;
    char checksum[33];

    if (!layer || !world_check_space(m->world, m->to, layer_file_size(layer), error))
        return FALSE;
    auto_fd fd = m->to->ops->create_tmp(m->to, slot, error);
    if (fd < 0)
        return FALSE;
    LayerCopy work = { .from = layer_fd(layer),
                       .to = fd,
                       .identity = text,
                       .checksum = copy->from->checksum,
                       .backing_name = backing,
                       .cancel = job_cancel_flag(m->job) };
    if (layer_copy(&work, checksum, error) &&
        m->to->ops->publish_tmp(m->to, slot, is_frozen, error))
        return TRUE;
    m->to->ops->discard(m->to, STORE_TMP, &slot, 1, NULL);
    return FALSE;
}

static void discard_copies(const Move *m)
{
    for (guint i = 0; i < m->copies->len; i++) {
        const char *slot = g_array_index(m->copies, Copy, i).id.s;
        m->to->ops->discard(m->to, STORE_LAYERS, &slot, 1, NULL);
    }
    if (m->desktop.id && !g_str_equal(m->desktop.store_id, m->to->id))
        store_nvram_remove(m->to, m->desktop.id, m->desktop.generation + 1);
}


static gboolean copy_all(Move *m, Changes *changes, GError **error)
{
    discard_copies(m); /* of a stopped try */
    for (guint i = 0; i < m->copies->len; i++) {
        Copy *copy = &g_array_index(m->copies, Copy, i);
        const char *parent_id = NULL, *parent_slot = NULL;
        if (!find_parent(m, copy, &parent_id, &parent_slot, error) ||
            !write_copy(m, copy, parent_id, parent_slot, error))
            return FALSE;
        LayerRow row = *copy->from;
        row.id = row.slot = copy->id.s;
        row.store_id = m->to->id;
        row.parent_id = (char *)parent_id;
        row.checksum = NULL; /* its header differs from the source's: made at the next check */
        row.generation = generation_of(m, copy->from);
        row.created_at = m->now;
        changes_put(changes, ROW_LAYER, &row, row.store_id);
    }
    return TRUE;
}

/* One of the disks, if it is among what was copied. */
typedef struct {
    Copy *copy; /* NULL: it is not */
    Store *from;
    ImageLock lock;
    StoreStat stat;
} Disk;

static void disk_clear(Disk *d)
{
    image_lock_release(&d->lock);
    g_clear_pointer(&d->from, store_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Disk, disk_clear)

static gboolean find_disk(Move *m, const char *layer_id, Disk *d, GError **error)
{
    d->copy = layer_id ? find_copy(m, layer_id) : NULL;
    if (!d->copy)
        return TRUE;
    d->from = store_set_get(m->world->stores, d->copy->from->store_id, error);
    return d->from && store_lock_layer(d->from, d->copy->from->slot, &d->lock, error);
}

/* What its firmware keeps goes along with the disk. */
static gboolean copy_nvram(const Move *m, const Disk *disk, GError **error)
{
    return !disk->copy ||
           store_nvram_copy(disk->from, m->desktop.id, m->desktop.generation,
                            disk->copy->from->generation, m->to, m->desktop.generation + 1, error);
}

/* The former layer of a disk goes to the trash, each as an entry of its own: they may lie in
 * different stores. */
static void put_old(Move *m, Disk *d, const char *trash_id, Changes *changes)
{
    LayerRow old = *d->copy->from;

    store_stat_layer(d->from, old.slot, &d->stat, NULL);
    old.state = "trashed";
    old.place = "trash";
    TrashRow trash = { .id = (char *)trash_id,
                       .kind = layer_row_is_data(&old) ? "data" : "disk",
                       .reason = "moved",
                       .name = m->desktop.name,
                       .desktop_id = m->desktop.id,
                       .version_id = m->desktop.version_id,
                       .layer_id = old.id,
                       .store_id = old.store_id,
                       .generation = m->desktop.generation,
                       .disk_bytes = (gint64)d->stat.disk_bytes,
                       .trashed_at = m->now,
                       .expires_at = m->now + m->world->settings.trash_keep_ms };
    changes_put(changes, ROW_LAYER, &old, old.store_id);
    changes_put(changes, ROW_TRASH, &trash, old.store_id);
}

static void switch_disks(Move *m, const json_t *item, Disk *disk, Disk *data, Changes *changes)
{
    DesktopRow desktop = m->desktop;
    const char *trash = plan_text(item, "trash");
    Id data_trash = id_derive("data", trash, "");

    if (disk->copy) {
        desktop.layer_id = disk->copy->id.s;
        desktop.store_id = m->to->id;
        desktop.generation++;
    }
    if (data->copy)
        desktop.data_layer_id = data->copy->id.s;
    desktop.changed_at = m->now;
    changes_put(changes, ROW_DESKTOP, &desktop, desktop.store_id);
    if (disk->copy)
        put_old(m, disk, trash, changes);
    if (data->copy)
        put_old(m, data, data_trash.s, changes);
}

static gboolean switch_snapshots(Move *m, Changes *changes, GError **error)
{
    g_auto(LookupRows) rows = { 0 };
    Db *db = catalog_read_begin(m->world->catalog);
    gboolean ok = lookup_rows(db, ROW_SNAPSHOT, &rows, error,
                              "SELECT * FROM snapshot WHERE desktop_id = ?1 AND is_trashed = 0",
                              "t", m->desktop.id);

    catalog_read_end(m->world->catalog, db);
    for (guint i = 0; ok && i < rows.rows->len; i++) {
        SnapshotRow row = *(SnapshotRow *)rows.rows->pdata[i];
        Copy *copy = find_copy(m, row.layer_id);
        Copy *data = row.data_layer_id ? find_copy(m, row.data_layer_id) : NULL;
        if (!copy && !data)
            continue;
        if (copy) {
            row.layer_id = copy->id.s;
            row.store_id = m->to->id;
        }
        if (data)
            row.data_layer_id = data->id.s;
        row.changed_at = m->now;
        changes_put(changes, ROW_SNAPSHOT, &row, row.store_id);
    }
    return ok;
}

static void move_old(const Disk *d)
{
    const char *slot = d->copy ? d->copy->from->slot : NULL;

    if (d->copy)
        d->from->ops->move(d->from, &slot, 1, STORE_LAYERS, STORE_TRASH, FALSE, NULL, NULL);
}

static gboolean move_layers(Move *m, const json_t *item, gint64 step, GError **error)
{
    g_auto(Disk) disk = { .lock = IMAGE_LOCK_INIT };
    g_auto(Disk) data = { .lock = IMAGE_LOCK_INIT };
    Changes *changes = changes_new();

    if (!find_disk(m, m->desktop.layer_id, &disk, error) ||
        !find_disk(m, m->desktop.data_layer_id, &data, error) || !copy_all(m, changes, error) ||
        !switch_snapshots(m, changes, error) || !copy_nvram(m, &disk, error)) {
        discard_copies(m);
        changes_free(changes);
        return FALSE;
    }
    if (disk.copy || data.copy)
        switch_disks(m, item, &disk, &data, changes);
    changes_event(changes, "desktop.move", "info", m->desktop.name, job_owner(m->job),
                  "disk moved to another store");
    if (!job_commit(m->job, changes, step, error)) {
        discard_copies(m);
        return FALSE;
    }
    move_old(&disk);
    move_old(&data);
    return TRUE;
}

static gboolean move_one(Job *job, World *world, const json_t *item, const char *store_id,
                         gint64 step, GError **error)
{
    g_auto(Move) m = { .job = job,
                       .world = world,
                       .now = units_now_ms(),
                       .copies = g_array_new(FALSE, TRUE, sizeof(Copy)),
                       .bases = g_ptr_array_new_with_free_func(free_base) };

    m.to = store_set_get(world->stores, store_id, error);
    if (!m.to)
        return FALSE;
    Db *db = catalog_read_begin(world->catalog);
    gboolean ok = lookup_desktop_by_id(db, plan_text(item, "id"), &m.desktop, error) &&
                  collect(&m, db, error);
    catalog_read_end(world->catalog, db);
    if (!ok || m.copies->len == 0)
        return ok;
    return move_layers(&m, item, step, error);
}

gboolean move_desktop(Job *job, World *world, const DesktopRow *desktop, const char *store_id,
                      GError **error)
{
    Id trash = id_derive(job_id(job), desktop->id, "trash");
    json_t *item =
        json_pack("{s:s,s:s,s:s}", "id", desktop->id, "name", desktop->name, "trash", trash.s);
    json_t *keys = move_claims(desktop);
    gboolean ok = FALSE;

    if (claims_take(world->claims, keys, job_type_kind(job), error)) {
        ok = move_one(job, world, item, store_id, job_step(job) + 1, error);
        claims_release(world->claims, keys);
    }
    json_decref(keys);
    json_decref(item);
    return ok;
}

static gboolean move_item(Job *job, World *world, json_t *item, GError **error)
{
    return move_one(job, world, item, plan_text(job_plan(job), "store_id"), job_step(job) + 1,
                    error);
}

static gboolean run_move(Job *job, gpointer world, GError **error)
{
    return job_each(job, world, move_item, error);
}

const JobType move_job = { "desktop.move", JOB_BULK, "desktops", run_move };
