/* output.h: JSON objects as a table for people, as JSON, or as CSV.
 *
 * Nothing here asks the daemon.  Functions that end in _text build text and are what the tests look
 * at; the others print to standard output. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef enum {
    CELL_TEXT,
    CELL_STATE,   /* a text that has a colour */
    CELL_COUNT,   /* a whole number */
    CELL_SIZE,    /* bytes */
    CELL_TIME,    /* RFC 3339, shown in local time */
    CELL_PERCENT, /* a fraction */
    CELL_TRUTH,   /* yes or no */
    CELL_SECRET,  /* a truth: there is one */
    CELL_LIST,    /* of texts */
} CellKind;

enum {
    COLUMN_CSV = 1 << 0,  /* not in a table with one line per object */
    COLUMN_SHOW = 1 << 1, /* only where one object is shown (and never in a list's CSV) */
};

typedef struct {
    const char *title; /* in a table */
    const char *key;   /* in the object and in CSV; "error.message" looks inside */
    CellKind kind;
    guint flags;
} Column;

/* jansson's flags for what we print: 0.89 is not to come out as 0.89000000000000001. */
#define OUTPUT_JSON JSON_REAL_PRECISION(15)

#define COLUMN_END                                                                                 \
    {                                                                                              \
        NULL, NULL, CELL_TEXT, 0                                                                   \
    }

/* One cell: for people, or as raw for CSV.  Caller frees. */
char *output_cell_text(const json_t *object, const Column *column, gboolean raw);

/* Append text as one CSV field: quoted where RFC 4180 wants it. */
void output_csv_field(GString *out, const char *text);

/* A header line of the keys; one line per object. */
void output_csv_header(GString *out, const Column *columns, guint hidden_flags);
void output_csv_row(GString *out, const json_t *object, const Column *columns, guint hidden_flags);

/* The objects of the array as lines below a header, columns aligned. */
void output_table_text(GString *out, const json_t *array, const Column *columns, gboolean colour);

/* One object as "title  value" lines; what it has not is left out. */
void output_object_text(GString *out, const json_t *object, const Column *columns, gboolean colour);

/* Bytes as people read them, aligned on nothing; "5 desktops", "1 desktop".  Caller frees. */
char *output_count_text(gint64 n, const char *noun);

/* Rows of what a store holds ("trash", "metadata" ...), as a table names them: what stands at key
 * in the API's words becomes what a person understands.  A new reference. */
json_t *output_account_rows(const json_t *rows, const char *key);

/* TRUE if the stream is a terminal that wants colour (NO_COLOR is not set). */
gboolean output_wants_colour(int fd);

/* Print what was built, and free it. */
void output_print(GString *text);

/* Print one object, or an array with one object per line, as JSON. */
void output_json(const json_t *json);

/* From now on output_json() keeps what it gets (an array's items one by one), until that is printed
 * as one array. */
void output_gather(void);
void output_gathered(void);
