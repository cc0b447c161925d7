/* journal.h: a store's append-only journal: checksummed records with ascending sequence numbers.
 *
 * What the records mean is the catalog's affair; here they are bytes.  A record is
 * durable when journal_append() returns.  A torn last record (power failure) is cut off at the next
 * open; damage before the end is reported, never passed over in silence.  Some space behind the end
 * is kept allocated, so that deleting works on a full file system.  Appending and compacting: one
 * thread at a time (the catalog's writer); reading: before anybody appends. */
#pragma once

#include <glib.h>

typedef struct Journal Journal;

/* Open the journal name below dirfd (borrowed, must stay open), making an empty one if create is
 * set.  NOT_FOUND, CORRUPT (damage before the end), UNAVAILABLE. */
Journal *journal_open(int dirfd, const char *name, gboolean create, GError **error);
void journal_free(Journal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Journal, journal_free)

guint64 journal_last_seq(const Journal *journal);  /* 0 for an empty one */
gboolean journal_is_broken(const Journal *journal); /* what is on disk is not known any more */
guint64 journal_size(const Journal *journal);      /* bytes of records */
guint64 journal_base_size(const Journal *journal); /* of the first record: the last snapshot */

/* Append one record and make it durable.  seq must be above the last one.  When it fails the record
 * is not there, and will not be after a power failure either; unless the journal is broken then
 * (journal_is_broken): it may be there, and everything is refused until it is opened anew. */
gboolean journal_append(Journal *journal, guint64 seq, const void *data, gsize len, GError **error);

/* Replace the whole journal by one record (a snapshot of the state up to seq). */
gboolean journal_compact(Journal *journal, guint64 seq, const void *data, gsize len,
                         GError **error);

/* Hand every record with a sequence number above after to visit, in order; if the first record is
 * itself above after, it is a snapshot that stands for all before it.  visit returning FALSE (with
 * *error set) stops.  CORRUPT on damage. */
typedef gboolean (*JournalVisit)(guint64 seq, const char *data, gsize len, gpointer user,
                                 GError **error);
gboolean journal_read(Journal *journal, guint64 after, JournalVisit visit, gpointer user,
                      GError **error);
