/* list.h: collections and single objects, asked for and printed. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/cli.h"
#include "imaged/cli/output.h"

/* Get the collection at path (with its query) page by page and print it.  key is what `after`
 * takes: "name" or "id"; NULL if the collection has no pages.  limit 0: all of it. */
gboolean list_print(Cli *cli, const char *path, const char *key, gint64 limit,
                    const Column *columns, GError **error);

/* Print one object, or a whole array, in the format that was asked for. */
void list_print_object(const Cli *cli, const json_t *object, const Column *columns);
void list_print_array(const Cli *cli, const json_t *array, const Column *columns);

/* Get the object at path and print it. */
gboolean list_show(Cli *cli, const char *path, const Column *columns, GError **error);
