/* routes.h: which request is which operation.  docs/openapi.yaml describes the same list; a test
 * compares the two. */
#pragma once

#include "imaged/ops/ops.h"

typedef struct {
    const char *method;
    const char *path;      /* "/v1/desktops/{desktop}": the part in braces becomes an argument */
    OpsFunction function;  /* NULL: a stream or text that server.c makes itself */
    gboolean in_rescue;    /* served in rescue mode too */
    Permission permission; /* that the caller needs; a test fails if none is said */
    AccessOn on;           /* and for what: checked before function is called */
} Route;

extern const Route routes[];

/* The route for a request; its path's arguments are put into args.  NULL: none with this path (then
 * *ret_path_exists says whether another method has it). */
const Route *route_find(const char *method, const char *path, json_t *args,
                        gboolean *ret_path_exists);
