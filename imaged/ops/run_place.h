/* run_place.h: where a desktop may run: the hosts as they are now, and what one of them is chosen
 * by.
 *
 * One thread. */
#pragma once

#include "broker/host/hosts.h"
#include "broker/host/placement.h"
#include "imaged/catalog/lookup.h"

typedef struct {
    GArray *places;  /* PlaceHost; ids and names are the rows' */
    GPtrArray *rows; /* HostRow */
} RunPlaces;
void run_places_clear(RunPlaces *places);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunPlaces, run_places_clear)

/* All hosts, with what they are known to have, and what was promised there. */
gboolean run_places_load(World *world, Db *db, RunPlaces *ret, GError **error);

/* Choose a desktop's host, and reckon with it from now on: only this one, or any but that one (ids,
 * or NULL).  NULL with UNAVAILABLE and the reason. */
const PlaceHost *run_place(World *world, Db *db, RunPlaces *places, const DesktopRow *desktop,
                           const char *only, const char *except, GError **error);
