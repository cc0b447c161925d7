/* store.h: where layers live, behind one struct of functions.
 *
 * A store keeps layers in slots, in one of four places; it knows nothing of templates or desktops.
 * Nothing above may assume paths: the dir store (store_dir.c) has files, the rbd store will have
 * images.  Every store carries a marker with its own id and its owner's, holds an owner
 * lock while it is open, and is "offline" (UNAVAILABLE) whenever that marker is not what it was:
 * an empty mount point, another disk, a share that has gone.  Nothing is created, trashed or
 * called lost then.
 *
 * Batches share flushes.  All functions may be called from any thread, except that the journal has
 * one writer (the catalog's).  What changes something returns when the change is durable. */
#pragma once

#include <glib.h>

#include "cow/digest.h"
#include "cow/image_lock.h"
#include "cow/journal.h"
#include "cow/layer.h"
#include "cow/layer_writer.h"

typedef struct Store Store;

typedef enum {
    STORE_LAYERS,     /* slots in use: all chains lie here */
    STORE_TRASH,      /* replaced and deleted layers that nothing stands on */
    STORE_TMP,        /* being written; swept at start */
    STORE_QUARANTINE, /* what nobody accounts for */
    STORE_N_PLACES
} StorePlace;

const char *store_place_name(StorePlace place); /* "layers", ... */

typedef enum { STORE_EXTENDED, STORE_COMPATIBLE } StoreLayerFormat;

/* Of one stored thing. */
typedef struct {
    guint64 length;     /* bytes */
    guint64 disk_bytes; /* blocks really used */
    guint64 inode;      /* with the times: changes whenever the content may have changed */
    gint64 mtime_ns, ctime_ns;
    gboolean is_writable; /* not frozen */
} StoreStat;

typedef struct {
    guint64 total_bytes, free_bytes, free_inodes; /* free for us, not for root */
} StoreSpace;

typedef struct {
    gboolean has_locks, has_reflink, has_direct_io, has_rename;
} StoreFeatures;

/* One new overlay of a batch. */
typedef struct {
    const char *slot;         /* 32 hexadecimal digits, new */
    const char *backing_slot; /* of the parent, in STORE_LAYERS of the same store; NULL: a base */
    const char *identity;     /* JSON */
    guint64 virtual_size;     /* bytes */
    guint32 cluster_bits;     /* 0: the store's default */
    gboolean has_subclusters; /* looked at if cluster_bits is given */
} StoreOverlay;

typedef gboolean (*StoreVisit)(const char *name, const StoreStat *stat, gpointer user,
                               GError **error);

typedef struct {
    const char *kind; /* "dir" */

    /* Is it still the store that was opened, and writable?  UNAVAILABLE with the reason. */
    gboolean (*check_online)(Store *store, GError **error);
    gboolean (*space)(Store *store, StoreSpace *ret_space, GError **error);
    void (*free)(Store *store);

    /* Make empty overlays, all or none.  A slot that exists already and is complete
     * (from before a crash) is left as it is. */
    gboolean (*create_overlays)(Store *store, const StoreOverlay *overlays, guint n,
                                GError **error);
    /* A new file in STORE_TMP for a LayerWriter; an older one of that name is removed. */
    int (*create_tmp)(Store *store, const char *slot, GError **error);
    /* Freeze it (read-only) and move it to its slot in STORE_LAYERS. */
    gboolean (*publish_tmp)(Store *store, const char *slot, gboolean is_frozen, GError **error);

    /* Let content take over a slot that is in use: the slot's file gets the name former in
     * STORE_TRASH as well, then the file content of the place from (STORE_TMP, STORE_TRASH) is
     * renamed over the slot, and the folders are flushed.  What stands on the slot reads the same
     * before and after.  The id in the slot's header tells the caller whether it was done before;
     * and after an error whether all of it was but the last flush. */
    gboolean (*switch_slot)(Store *store, const char *slot, StorePlace from, const char *content,
                            const char *former, gboolean is_frozen, GError **error);
    /* Make layers read-only, or writable again for QEMU; their data is flushed first. */
    gboolean (*freeze)(Store *store, const char *slot, gboolean is_frozen, GError **error);

    /* Move slots between places (flushed if durable is set); one that is there already counts as
     * moved, one that is in neither place gets NOT_FOUND in errors[i] (may be NULL).  Returns FALSE
     * if nothing could be done. */
    gboolean (*move)(Store *store, const char *const *slots, guint n, StorePlace from,
                     StorePlace to, gboolean durable, GError **errors, GError **error);
    /* Unlink for good, at once: only for what was never acknowledged. Missing ones are no error. */
    gboolean (*discard)(Store *store, StorePlace place, const char *const *slots, guint n,
                        GError **error);
    /* Give back a part of a slot's space; *ret_gone when the slot is gone.  *ret_freed in bytes. */
    gboolean (*reclaim_step)(Store *store, StorePlace place, const char *slot, guint64 *ret_freed,
                             gboolean *ret_gone, GError **error);

    gboolean (*stat)(Store *store, StorePlace place, const char *slot, StoreStat *ret_stat,
                     GError **error);
    /* Visit everything in a place, in no order. */
    gboolean (*list)(Store *store, StorePlace place, StoreVisit visit, gpointer user,
                     GError **error);
    /* Bytes of all that is neither in a place nor a slot: marker, journal, backup, folders; and
     * names of files that do not belong to a store (through visit, may be NULL). */
    gboolean (*metadata_bytes)(Store *store, guint64 *ret_bytes, guint *ret_n_files,
                               StoreVisit visit_foreign, gpointer user, GError **error);
    /* Open for reading; *ret_is_live (may be NULL) tells whether QEMU has it open for writing. */
    int (*open)(Store *store, StorePlace place, const char *slot, gboolean *ret_is_live,
                GError **error);
    /* Take QEMU's writer lock.  BUSY, NOT_FOUND. */
    gboolean (*lock)(Store *store, StorePlace place, const char *slot, ImageLock *ret_lock,
                     GError **error);
    /* A path that QEMU can open, or NULL and UNSUPPORTED.  Caller frees. */
    char *(*path)(Store *store, const char *slot, GError **error);
    /* Small named files beside the layers (the catalog's backup): replaced as a whole from fd. */
    gboolean (*put_file)(Store *store, const char *name, int fd, GError **error);

    /* Config disks: small files that QEMU reads, named as store_config_name_parse() takes it;
     * memory of desktops that are suspended, which hosts write; and what firmware keeps, which QEMU
     * writes.  Nothing is written if what is there says the same; a missing one is no error to
     * remove.  One to read has at most STORE_CONFIG_MAX bytes; NOT_FOUND; caller frees.  A renamed
     * one replaces none: EXISTS. */
    gboolean (*put_config)(Store *store, const char *name, const void *data, gsize len,
                           GError **error);
    gboolean (*get_config)(Store *store, const char *name, char **ret_data, gsize *ret_len,
                           GError **error);
    gboolean (*rename_config)(Store *store, const char *from, const char *to, GError **error);
    gboolean (*remove_config)(Store *store, const char *name, GError **error);
    gboolean (*list_config)(Store *store, StoreVisit visit, gpointer user, GError **error);
    char *(*config_path)(Store *store, const char *name, GError **error); /* as path */
} StoreOps;

struct Store {
    const StoreOps *ops;
    char *id;         /* the marker's */
    char *owner_id;   /* of the manager that owns it */
    char *location;   /* for people */
    StoreLayerFormat layer_format;
    StoreFeatures features;
    Journal *journal; /* used by the catalog's writer alone, once open */
    gint refs;        /* atomic */
};

typedef struct {
    gboolean create;        /* make a store if the place is empty */
    const char *owner_id;   /* the manager's id; NULL: take over the marker's (rescue) */
    const char *expect_id;  /* the store's id that the catalog knows, or NULL */
    StoreLayerFormat layer_format; /* when created */
    const char *group;      /* group of its folders and layers, or NULL */
    gboolean force;         /* accept a share without working locks; adopt a foreign store */
} StoreOpenOptions;

/* Open the dir store at location.  UNAVAILABLE if it is not what is expected (empty, foreign,
 * read-only, missing, in use by another daemon), UNSUPPORTED if its file system lacks what we
 * need. */
Store *store_dir_open(const char *location, const StoreOpenOptions *options, GError **error);

Store *store_ref(Store *store);
void store_unref(Store *store); /* the last one closes it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_unref)

/* The layer in a slot, opened and its header checked.  It is looked for in layers and in trash: a
 * layer that was trashed is moved there afterwards, so a stop can leave it in either. */
Layer *store_open_layer(Store *store, const char *slot, gboolean *ret_is_live, GError **error);

/* The same for its figures, and for QEMU's lock. */
gboolean store_stat_layer(Store *store, const char *slot, StoreStat *ret_stat, GError **error);
gboolean store_lock_layer(Store *store, const char *slot, ImageLock *ret_lock, GError **error);

/* Both, for a layer that is to be replaced or deleted.  Its file may be missing: *ret_is_there is
 * FALSE then.  Only NOT_FOUND says that: any other error is one, for QEMU may have the file. */
gboolean store_hold_layer(Store *store, const char *slot, ImageLock *ret_lock, StoreStat *ret_stat,
                          gboolean *ret_is_there, GError **error);

#define STORE_CONFIG_MAX (4 << 20)
typedef enum { CONFIG_DISK, CONFIG_MEMORY, CONFIG_NVRAM } StoreConfigKind;

/* Take apart "DESKTOP-GENERATION.iso", or ".mem", or ".nvram"; ret_id has room for an id.  FALSE if
 * it is another name. */
gboolean store_config_name_parse(const char *name, char *ret_id, gint64 *ret_generation,
                                 StoreConfigKind *ret_kind);

/* The geometry of this store's layers. */
void store_geometry(const Store *store, guint32 *ret_cluster_bits, gboolean *ret_has_subclusters);

const char *store_layer_format_name(StoreLayerFormat format);
gboolean store_layer_format_parse(const char *text, StoreLayerFormat *ret_format, GError **error);
