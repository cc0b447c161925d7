/* store_dir.h: what store_dir.c (the folder as a whole), store_dir_probe.c (a folder that is to
 * become a store), store_dir_layers.c (the slots in it), store_dir_switch.c (slots whose content
 * changes), store_dir_files.c and store_dir_config.c (what is no layer) share.  For those files
 * alone. */
#pragma once

#include <sys/stat.h>

#include "cow/store.h"

typedef struct {
    Store base;
    int root;                    /* the store's folder, held open */
    int place[STORE_N_PLACES];   /* its four folders */
    int owner;                   /* holds the owner lock */
    dev_t root_dev;              /* what location must still be */
    ino_t root_ino, marker_ino;
} DirStore;

#define MARKER_NAME "imaged-store.json"
#define OWNER_NAME "owner"
#define JOURNAL_NAME "journal"
#define CONFIG_NAME "config"

StoreStat store_dir_stat_of(const struct stat *st);

/* The slot functions of StoreOps. */
gboolean store_dir_create_overlays(Store *store, const StoreOverlay *overlays, guint n,
                                   GError **error);
int store_dir_create_tmp(Store *store, const char *slot, GError **error);
gboolean store_dir_publish_tmp(Store *store, const char *slot, gboolean is_frozen, GError **error);
gboolean store_dir_switch_slot(Store *store, const char *slot, StorePlace from,
                               const char *content, const char *former, gboolean is_frozen,
                               GError **error);
gboolean store_dir_freeze(Store *store, const char *slot, gboolean is_frozen, GError **error);
gboolean store_dir_move(Store *store, const char *const *slots, guint n, StorePlace from,
                        StorePlace to, gboolean durable, GError **errors, GError **error);
gboolean store_dir_discard(Store *store, StorePlace place, const char *const *slots, guint n,
                           GError **error);
gboolean store_dir_reclaim_step(Store *store, StorePlace place, const char *slot,
                                guint64 *ret_freed, gboolean *ret_gone, GError **error);
gboolean store_dir_stat(Store *store, StorePlace place, const char *slot, StoreStat *ret_stat,
                        GError **error);
gboolean store_dir_list(Store *store, StorePlace place, StoreVisit visit, gpointer user,
                        GError **error);
int store_dir_open_slot(Store *store, StorePlace place, const char *slot, gboolean *ret_is_live,
                        GError **error);
gboolean store_dir_lock(Store *store, StorePlace place, const char *slot, ImageLock *ret_lock,
                        GError **error);
char *store_dir_path(Store *store, const char *slot, GError **error);

/* store_dir_files.c: metadata_bytes and put_file of StoreOps. */
gboolean store_dir_metadata_bytes(Store *store, guint64 *ret_bytes, guint *ret_n_files,
                                  StoreVisit visit, gpointer user, GError **error);
gboolean store_dir_put_file(Store *store, const char *name, int fd, GError **error);

/* store_dir_config.c */
gboolean store_dir_put_config(Store *store, const char *name, const void *data, gsize len,
                              GError **error);
gboolean store_dir_get_config(Store *store, const char *name, char **ret_data, gsize *ret_len,
                              GError **error);
gboolean store_dir_rename_config(Store *store, const char *from, const char *to, GError **error);
gboolean store_dir_remove_config(Store *store, const char *name, GError **error);
gboolean store_dir_list_config(Store *store, StoreVisit visit, gpointer user, GError **error);
char *store_dir_config_path(Store *store, const char *name, GError **error);

/* store_dir_probe.c */

/* Is there anything in the folder that a store cannot be made over: what is not ours, or a layer?
 * What a stopped making of a store left (empty folders, the owner file) is no hindrance. */
gboolean store_dir_look_for_content(DirStore *s, gboolean *ret_is_used, GError **error);

/* Find out by trying what the file system under the store's places can do, into its features.
 * UNSUPPORTED if it cannot rename from place to place, or has no locks (with force they may lack).
 */
gboolean store_dir_probe(DirStore *s, gboolean force, GError **error);

/* Visit every entry of the folder dirfd but "." and "..". */
gboolean store_dir_visit_folder(int dirfd, StoreVisit visit, gpointer user, GError **error);
