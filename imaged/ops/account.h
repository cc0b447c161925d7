/* account.h: every file of a store held against the catalog: what is accounted, and what is not.
 *
 * The report and the check share it: bytes on storage = bytes accounted (law 3). */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/world.h"

typedef enum {
    ACCOUNT_TEMPLATES,
    ACCOUNT_DESKTOPS,
    ACCOUNT_DATA_DISKS,
    ACCOUNT_SNAPSHOTS, /* layers of desktops' trees beside their present chain */
    ACCOUNT_TRASH,
    ACCOUNT_QUARANTINE,
    ACCOUNT_METADATA, /* marker, journal, backup, folders, and layers being made right now */
    ACCOUNT_UNKNOWN,  /* what nobody accounts for */
    ACCOUNT_N_KINDS
} AccountKind;

const char *account_kind_name(AccountKind kind);

typedef struct {
    StoreStat stat;
    gboolean is_known; /* to the catalog */
} AccountFile;

typedef struct {
    guint64 bytes[ACCOUNT_N_KINDS];
    guint n_files[ACCOUNT_N_KINDS];
    GPtrArray *orphans;     /* slots in layers/ or trash/ that no row names (char *) */
    GPtrArray *foreign;     /* names beside the store's own folders (char *) */
    GHashTable *files;      /* slot -> AccountFile, of all that is in layers/ and trash/ */
} Account;

gboolean account_store(World *world, Store *store, Account *ret_account, GError **error);
void account_clear(Account *account);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Account, account_clear)
