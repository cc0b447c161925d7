/* spot.h: what is due where the cursor of a search stands.  For this folder; pure. */
#pragma once

#include <jansson.h>

#include "broker/search/resolve.h"

typedef struct {
    json_t *words;    /* of the language, and fields, that can stand here: [{text, kind}] */
    gsize begin, end; /* bytes: what a word takes the place of */
    char *typed;      /* of it, up to the cursor, without its quotes */
    const SearchObject *object; /* what is searched; NULL: there is no such */
    gboolean is_term;           /* a saved search can stand here */
    gboolean is_value;          /* a value of this field can */
    SearchPath path;
} Spot;

/* cursor: bytes from the text's begin; a negative one: the end.  object may be NULL. */
void spot_find(const char *text, gssize cursor, const char *object, Spot *ret);
void spot_clear(Spot *spot);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Spot, spot_clear)
