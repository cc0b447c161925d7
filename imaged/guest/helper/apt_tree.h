/* apt_tree.h: an apt of our own, below one folder: its sources, lists, status and archives.
 *
 * It reads of the machine's apt only where packages come from (sources, keys, proxies), runs none
 * of its hooks, and writes nothing outside the folder.  One thread. */
#pragma once

#include <jansson.h>

#include "imaged/guest/helper/task.h"

typedef struct {
    Task *task;         /* for its log; lines of apt go there */
    const char *folder; /* FOLDER/apt is the tree, FOLDER/packages gets the archives */
    const char *suite;
    const char *mirror;       /* NULL: the machine's own sources of this suite */
    const json_t *components; /* of the mirror; none: main */
    const char *status;       /* what is installed, as dpkg's status file; NULL: nothing */
    gboolean has_recommends;
    char *config;       /* made by apt_tree_make(): the path for APT_CONFIG */
    GPtrArray *sources; /* likewise: apt_source_for_guest(), for the guest's own sources.list */
} AptTree;

/* NOT_FOUND if the machine's sources don't have that suite. */
gboolean apt_tree_make(AptTree *tree, GError **error);
void apt_tree_clear(AptTree *tree);

/* FOLDER/apt: it has this machine's sources and proxies, with their passwords, and who works in the
 * folder next runs what packages bring. */
gboolean apt_tree_remove(const AptTree *tree, GError **error);

/* "deb URI RELEASE COMPONENT" as all of a template's desktops may read it: without the password of
 * this machine.  NULL for what is no http(s) address: a folder of this machine is not in the guest.
 * Caller frees. */
char *apt_source_for_guest(const char *uri, const char *release, const char *component);

/* apt-get update. */
gboolean apt_tree_update(AptTree *tree, GError **error);

typedef struct {
    char *name; /* of the file */
    char *sha256;
    guint64 bytes;
} AptFile;

/* What has to be fetched so that packages can be installed.  NOT_FOUND names a package that there
 * is none of.  Caller unrefs the array of AptFile. */
GPtrArray *apt_tree_resolve(AptTree *tree, const json_t *packages, GError **error);

/* Fetch them into FOLDER/packages; those that are there already are taken as they are. */
gboolean apt_tree_fetch(AptTree *tree, const json_t *packages, guint n_files, GError **error);
