/* cli.h: what the parts of imagectl share: the request as it was typed, and the connection.
 *
 * imagectl is a plain client of the API: it knows nothing of catalog, jobs or stores but what the
 * daemon answers.  It is one process with one thread. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "imaged/cli/args.h"
#include "imaged/cli/client.h"

/* The exit codes of the contract; job and batch failures map to them as errors do. */
enum {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_BUSY = 4,
    CLI_DENIED = 5,
};

typedef enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_HTML } Format;

typedef struct Cli {
    const Args *args;
    Client *client;
    Format format;
    gboolean shows_log; /* of the job that is waited for */
    gboolean is_quiet;  /* nor its progress */
    int exit_code; /* what a command that told of its failures itself wants to end with */
} Cli;

/* The exit code for an error code of imaged/base/error.h. */
int cli_exit_code(gint error_code);

/* "desktop reset": what is being done, for messages.  Caller frees. */
char *cli_what(const Cli *cli);

/* One failure on standard error: "imagectl: WHAT: MESSAGE", and "hint: HINT" unless hint is NULL.
 */
void cli_complain(const char *what, const char *message, const char *hint);

/* The API's words for what the command's options say, as the options: "'disk_size' is ..." becomes
 * "'--disk-size' is ...".  is_given: only options that were typed.  Caller frees. */
char *cli_name_options(const Args *args, const char *text, gboolean is_given);

/* Make an error of an Error object of the API.  Returns its code. */
gint cli_error_from_json(const json_t *object, GError **error);

/* The text, number or truth below key, or "" / 0 / FALSE. */
const char *json_text(const json_t *object, const char *key);
gint64 json_number(const json_t *object, const char *key);
gboolean json_truth(const json_t *object, const char *key);

/* Set key to text unless text is NULL. */
void json_set_text(json_t *object, const char *key, const char *text);
