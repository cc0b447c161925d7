/* objects.h: what can be searched: the one table of objects, their fields, and how they hang
 * together.
 *
 * Texts of SQL are templates: $ is the row's alias ($$ the sign itself), % the alias of the row
 * that a link leads to, # a number that makes an alias unique, @ the present time in ms, {desktop
 * d} that the caller may see the desktop d: what is counted is what he sees.  All static; any
 * thread. */
#pragma once

#include <glib.h>

typedef enum {
    TYPE_NAME,  /* ASCII: compared without regard to case by indexes */
    TYPE_TEXT,  /* any text: folded to be compared */
    TYPE_WORDS, /* several, spaces between them: one of them is enough */
    TYPE_NUMBER,
    TYPE_SIZE,    /* bytes: 20G */
    TYPE_PERCENT, /* a fraction; written as 90 or 90% */
    TYPE_TIME,    /* ms of the epoch: now-2h, today, 2026-11-22 */
    TYPE_AGE,     /* ms: 7d */
    TYPE_BOOL,    /* yes or no */
} SearchType;

enum {
    FIELD_FREE = 1 << 0,  /* free text looks here */
    FIELD_SHOW = 1 << 1,  /* an answer's rows have it */
    FIELD_TABLE = 1 << 2, /* a table for people has it */
    FIELD_FTS = 1 << 3,   /* the object's full-text index has it */
    FIELD_LIVE = 1 << 4,  /* from memory: never in the catalog */
};

typedef struct {
    const char *name;     /* NULL ends */
    const char *synonyms; /* separated by spaces, or NULL */
    SearchType type;
    const char *sql;
    guint flags;
    const char *folded; /* the same text, folded and indexed, or NULL */
} SearchField;

/* One way from a row to others: rows of from (which has % in it) whose outer equals the row's key,
 * if guard (NULL: always) holds for the row.  near, or NULL: the part of from that tells already
 * whether there is one, because a foreign key holds. */
typedef struct {
    const char *key, *from, *outer, *guard, *near;
} SearchWay;

#define SEARCH_MAX_WAYS 3

typedef struct {
    const char *name, *synonyms, *object; /* name NULL ends */
    SearchWay ways[SEARCH_MAX_WAYS];      /* key NULL ends */
    guint flags;                          /* FIELD_SHOW, FIELD_TABLE: names in the answer's rows */
    gboolean is_many;
} SearchLink;

typedef struct {
    const char *name; /* desktops */
    const char *one;  /* desktop: access_visible_sql()'s word; NULL: seen with what has it */
    const char *synonyms;
    const char *table, *base; /* base: a condition of $, or NULL */
    const char *main;         /* the field that is meant where only the object is named */
    const char *order;        /* by which rows come if nothing is said; a field */
    gboolean is_newest_first;
    const char *text_index; /* its full-text index, whose rowid is $.id, or NULL */
    const SearchField *fields;
    const SearchLink *links;
    gboolean is_inner; /* only reached by links */
} SearchObject;

/* The objects, NULL at the end. */
extern const SearchObject *const search_objects[];

/* By name or synonym, in any case, with or without _ and -; NULL. */
const SearchObject *objects_find(const char *name);
const SearchField *objects_field(const SearchObject *object, const char *name);
const SearchLink *objects_link(const SearchObject *object, const char *name);
