/* each.h: --search of verbs that name one thing, or several of a kind: the verb is done for each
 * that the search finds.  (Verbs over desktops send the search to the daemon: select.h.) */
#pragma once

#include "imaged/cli/args.h"

struct Cli;

typedef struct {
    const char *noun, *verb;
    /* what is searched, and which of its fields are the words; the path of a list that the language
     * does not know, which is searched for words */
    const char *object, *fields;
    guint at;                    /* the words come before this argument */
    gboolean takes_many, reads;
} EachVerb;

/* NULL: it is none. */
const EachVerb *each_find(const Noun *noun, const Command *command);

/* The options that such a verb has beside its own: --search, and --yes; NULL: it is none. */
const Option *each_options(const Noun *noun, const Command *command);

/* Was --search given to such a verb? */
gboolean each_is_wanted(const Args *args);

/* Ask, unless it only reads or --yes was given, and do it for each.  What fails is told, the others
 * are done all the same.  FALSE with error: before anything was done. */
gboolean each_run(struct Cli *cli, GError **error);
