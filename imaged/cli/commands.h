/* commands.h: the table of nouns and verbs.
 *
 * The one list from which arguments are parsed, help is written and shell completion is made.  Each
 * noun's verbs stand in their own file, next to the functions that do them. */
#pragma once

#include <glib.h>

struct Cli;

typedef enum {
    OPTION_FLAG,   /* no value */
    OPTION_TEXT,   /* any text */
    OPTION_LIST,   /* the same, any number of times: args_list() */
    OPTION_COUNT,  /* a whole number, 0 or more */
    OPTION_SIZE,   /* bytes, written like 512M */
    OPTION_CHOICE, /* one of the words in metavar, "a|b|c" */
} OptionKind;

typedef struct {
    const char *name; /* without the dashes */
    OptionKind kind;
    const char *metavar;   /* NULL for a flag */
    const char *help;      /* one line */
    const char *completes; /* "template", "store"... : what a shell may offer; NULL for nothing */
} Option;

#define OPTION_END                                                                                 \
    {                                                                                              \
        NULL, OPTION_FLAG, NULL, NULL, NULL                                                        \
    }
#define OPTION_NO_WAIT                                                                             \
    {                                                                                              \
        "no-wait", OPTION_FLAG, NULL, "print the job instead of waiting for it", NULL              \
    }
#define OPTION_YES                                                                                 \
    {                                                                                              \
        "yes", OPTION_FLAG, NULL, "do not ask", NULL                                               \
    }
#define OPTION_DRY_RUN                                                                             \
    {                                                                                              \
        "dry-run", OPTION_FLAG, NULL, "tell what it would free and break, and change nothing",     \
            NULL                                                                                   \
    }
#define OPTION_SEARCH                                                                              \
    {                                                                                              \
        "search", OPTION_TEXT, "TEXT",                                                             \
            "only those that fit: words, or conditions ('owner = ann')",                           \
            "search"                                                                               \
    }

typedef gboolean (*CommandRun)(struct Cli *cli, GError **error);

typedef struct {
    const char *verb;      /* NULL: the noun alone is the command */
    const char *arguments; /* as help shows them, "NAME SOURCE"; "" for none */
    guint min_args, max_args;
    const char *completes; /* what the arguments are: "template", "desktop", "file"...; or NULL */
    const char *summary;   /* one line, begins with a verb */
    const char *details;   /* more, or NULL */
    const char *examples;  /* lines, each without the leading "imagectl " */
    const Option *options; /* ends with OPTION_END; NULL for none */
    CommandRun run;        /* NULL ends a list of commands */
} Command;

#define COMMAND_MANY G_MAXUINT /* as max_args: any number */

typedef struct {
    const char *name;
    const char *summary;
    const Command *commands;
} Noun;

extern const Noun noun_template, noun_desktop, noun_snapshot, noun_trash, noun_store, noun_job,
    noun_event, noun_report, noun_catalog, noun_status, noun_completion, noun_version;
extern const Noun noun_alert;
extern const Noun noun_archive, noun_export, noun_host, noun_host_group, noun_network;
extern const Noun noun_connect, noun_session, noun_pool;
extern const Noun noun_rollout, noun_search;
extern const Noun noun_user, noun_group, noun_role, noun_token, noun_login, noun_logout,
    noun_whoami, noun_directory;

/* All nouns, NULL at the end. */
const Noun *const *commands_nouns(void);

/* Options that every command takes, OPTION_END at the end. */
const Option *commands_global_options(void);

const Noun *commands_find_noun(const char *name);
const Command *commands_find_verb(const Noun *noun, const char *verb);

/* The command that stands for a noun where no verb is given (the last in its list), or NULL. */
const Command *commands_find_default(const Noun *noun);

/* The option called name in the list (NULL allowed), or NULL. */
const Option *commands_find_option(const Option *options, const char *name);

/* TRUE if the noun is a command by itself, without a verb. */
gboolean commands_is_plain(const Noun *noun);

/* What to offer somebody who typed word: all names of nouns, of the verbs of noun, or of the
 * options that command (or NULL) takes.  Caller frees the array; the words are static. */
GPtrArray *commands_noun_names(void);
GPtrArray *commands_verb_names(const Noun *noun);
GPtrArray *commands_option_names(const Command *command);
