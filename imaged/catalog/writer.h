/* writer.h: what catalog.c (opening, reading, copies) and writer.c (the writer thread) share.
 * For those two files alone. */
#pragma once

#include "imaged/catalog/catalog.h"

typedef gboolean (*WriterTask)(Catalog *catalog, gpointer data, GError **error);

typedef struct {
    Changes *changes; /* NULL: run task alone, or stop if that is NULL too */
    WriterTask task;
    gpointer data;
    GError *error;
    gboolean failed, done;
    GMutex lock;
    GCond cond;
} Request;

struct Catalog {
    char *uri;
    Db *writer;       /* used by the writer thread once that runs */
    int reserve_fd;   /* the database's file; see catalog_reserve() */
    GThread *thread;
    GAsyncQueue *queue; /* of Request */
    gint broken;        /* atomic: no more commits */

    CatalogJournal journal; /* set before the first commit */
    gpointer journal_user;

    GMutex lock;      /* guards what follows */
    GCond changed;
    GQueue readers;   /* idle connections */
    guint n_readers;
    guint n_long; /* readers that are out for long */
    guint64 n_commits;
    gint64 last_event;
    guint n_wakes; /* catalog_wake() */
};

/* The thread's main function; data is the Catalog.  It ends when catalog_writer_stop() asks. */
gpointer catalog_writer_main(gpointer data);
void catalog_writer_stop(Catalog *catalog);
