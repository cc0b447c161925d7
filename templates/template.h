/* template.h: golden templates: versions imported, published, retired, renamed, deleted, copied.
 *
 * A template is a name; what desktops stand on is one of its versions: a flat, frozen, checksummed
 * layer with hardware defaults.  Version numbers are never used twice.  A version may have copies
 * of its layer in several stores, since chains never cross stores.  Any thread. */
#pragma once

#include "imaged/catalog/lookup.h"
#include "imaged/job/batch.h"

extern const JobType template_import_job;
extern const JobType template_delete_job;

typedef struct {
    const char *name, *source, *source_name, *os, *description, *store; /* source: an NBD URI */
    const char *firmware; /* bios, uefi, or NULL: not known */
    gint64 cpus, memory_bytes;
    gboolean is_draft;
    const json_t *notes; /* array of texts, or NULL */
} TemplateImport;

/* Plan an import as the next version of a new or existing template. */
gboolean template_plan_import(World *world, const TemplateImport *import, JobRequest *ret_request,
                              GError **error);

/* Plan the deletion of one version (NAME:VERSION) or all of them (NAME).  Refused (BUSY, with
 * the list and the way out) while desktops stand on it. */
gboolean template_plan_delete(World *world, const char *ref, BatchPlan *plan, GError **error);

/* "2 desktops, 1 snapshot stand on win11:1: ...", or NULL if nothing does.  with_all: versions of
 * the same template don't count, since they go with it.  Caller frees. */
char *template_version_standing(Db *db, const char *version_id, gboolean with_all);

/* Put version ref (NAME: its newest) into state "published" or "retired". Returns "NAME:VERSION",
 * which the caller frees, or NULL. */
char *template_set_state(World *world, const char *ref, const char *state, const char *who,
                         GError **error);

gboolean template_rename(World *world, const char *name, const char *new_name, const char *who,
                         GError **error);

/* Is it the URI of an NBD server?  INVALID. */
gboolean template_check_source(const char *uri, GError **error);

/* Read all of the NBD server at uri into the new, empty file fd of store, as a layer of spec, whose
 * virtual_size becomes the source's.  Stops before the store is full.  UNAVAILABLE, NO_SPACE. */
gboolean template_read_source(Job *job, World *world, Store *store, const char *uri,
                              BlankSpec *spec, int fd, LayerSummary *ret_summary, GError **error);

/* See that store_id has a copy of this version's layer, copying it if need be (a long operation;
 * the caller holds a claim on the version).  *ret_layer gets the copy's row. */
gboolean template_replicate(Job *job, World *world, const char *version_id, const char *store_id,
                            LayerRow *ret_layer, GError **error);

/* Put a template's or a version's row into the journal of every store that holds a layer of it. */
void template_put_version(Db *db, Changes *changes, const TemplateRow *template,
                          const VersionRow *version);
