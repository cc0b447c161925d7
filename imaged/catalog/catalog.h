/* catalog.h: the working truth: one SQLite database, one writer thread, a pool of readers.
 *
 * Changes that wait are committed together (group commit: one flush of the journal and one of the
 * database, however many wait).  Facts are in the stores' journals before they are committed here,
 * so a catalog that is older than its store is noticed by the sequence numbers and brought up to
 * date from the journal, never the other way round.
 *
 * Any thread may call these functions.  No caller holds a lock across catalog_commit(). */
#pragma once

#include <glib.h>

#include "imaged/catalog/changes.h"
#include "imaged/catalog/db.h"

typedef struct Catalog Catalog;

/* Where facts are recorded outside of the database; called by the writer thread alone. */
typedef struct {
    guint64 (*last_seq)(gpointer user, const char *store_id);
    gboolean (*append)(gpointer user, const char *store_id, guint64 seq, const char *data,
                       gsize len, GError **error);
    /* After a failed append: may the record be there all the same?  Then failed() is called. */
    gboolean (*is_unknown)(gpointer user, const char *store_id);
    gboolean (*wants_compaction)(gpointer user, const char *store_id);
    gboolean (*compact)(gpointer user, const char *store_id, guint64 seq, const char *data,
                        gsize len, GError **error);
    /* The catalog can't go on (a commit failed after its facts were journaled): the process must
     * end at once and start anew, which repairs it. */
    void (*failed)(gpointer user, const char *why);
} CatalogJournal;

/* Open the catalog at uri, or make one.  UNSUPPORTED if it is newer than this program. */
Catalog *catalog_open(const char *uri, GError **error);
void catalog_close(Catalog *catalog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Catalog, catalog_close)

void catalog_set_journal(Catalog *catalog, const CatalogJournal *journal, gpointer user);

/* Borrow a reading connection, in a transaction: it sees one state of the catalog, of its first
 * question.  Give it back soon. */
Db *catalog_read_begin(Catalog *catalog);
void catalog_read_end(Catalog *catalog, Db *db);

/* The same for a question that may take long: one reader is always left to the others. */
Db *catalog_read_begin_long(Catalog *catalog);
void catalog_read_end_long(Catalog *catalog, Db *db);

/* Make changes durable (taken over).  Returns when they are.  EXISTS, INVALID, NO_SPACE,
 * UNAVAILABLE (a store's journal cannot be written: nothing of this set was done). */
gboolean catalog_commit(Catalog *catalog, Changes *changes, GError **error);

/* Apply one record of store_id's journal, and note its sequence number. */
gboolean catalog_replay(Catalog *catalog, const char *store_id, guint64 seq, const char *data,
                        gsize len, GError **error);

/* Write a fresh snapshot of store_id's facts as its journal's only record. */
gboolean catalog_compact(Catalog *catalog, const char *store_id, GError **error);

/* Drop all facts (for a rebuild): templates, versions, layers, desktops, trash.  The setting
 * "rebuild" is there from then on, until whoever has made them anew deletes it. */
gboolean catalog_forget_facts(Catalog *catalog, GError **error);

/* What the catalog holds must not be used any more: no commits from now on, and the process ends
 * (CatalogJournal's failed). */
void catalog_abandon(Catalog *catalog, const char *why);

/* Write a consistent copy of the database to path (replaced). */
gboolean catalog_backup(Catalog *catalog, const char *path, GError **error);

/* Keep some space allocated behind the database's files, so that deleting works on a full disk. */
void catalog_reserve(Catalog *catalog);

/* Small settings.  Caller frees; NULL if there is none. */
char *catalog_get_meta(Catalog *catalog, const char *key);
void changes_set_meta(Changes *changes, const char *key, const char *value);

/* Facts committed since the catalog was opened: to see whether a backup is due. */
guint64 catalog_n_commits(Catalog *catalog);

/* Wait (at most ms) until an event newer than id was committed.  Returns the newest event's id. */
gint64 catalog_wait_event(Catalog *catalog, gint64 after, gint64 ms);

/* Who waits for an event goes on at once: for those that are to end. */
void catalog_wake(Catalog *catalog);
