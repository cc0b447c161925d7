/* objects.c: looking things up; the tables are in objects_*.c. */
#include "broker/search/objects.h"

#include <string.h>

#include "broker/search/tables.h"

const SearchObject *const search_objects[] = {
    &search_desktops, &search_templates, &search_users,
    &search_groups,   &search_hosts,     &search_networks,
    &search_pools,    &search_sessions,  &search_snapshots,
    &search_archives, &search_jobs,      &search_events,
    &search_layers,   &search_versions,  &search_applications,
    &search_stores,   &search_roles,     NULL,
};

/* Is typed (n bytes) this word?  CPU_Usage, cpu-usage and cpuusage are one. */
static gboolean same_word(const char *typed, const char *word, gsize n)
{
    const char *end = word + n;

    for (;;) {
        while (*typed == '_' || *typed == '-')
            typed++;
        while (word < end && *word == '_')
            word++;
        if (word == end || !*typed)
            return word == end && !*typed;
        if (g_ascii_tolower(*typed++) != *word++)
            return FALSE;
    }
}

static gboolean is_one_of(const char *typed, const char *name, const char *synonyms)
{
    if (same_word(typed, name, strlen(name)))
        return TRUE;
    for (const char *p = synonyms; p && *p;) {
        gsize n = strcspn(p, " ");
        if (same_word(typed, p, n))
            return TRUE;
        p += n + (p[n] == ' ');
    }
    return FALSE;
}

const SearchObject *objects_find(const char *name)
{
    for (guint i = 0; search_objects[i]; i++) {
        const SearchObject *o = search_objects[i];
        if (is_one_of(name, o->name, o->synonyms))
            return o;
    }
    return NULL;
}

const SearchField *objects_field(const SearchObject *object, const char *name)
{
    for (const SearchField *f = object->fields; f->name; f++) {
        if (is_one_of(name, f->name, f->synonyms))
            return f;
    }
    return NULL;
}

const SearchLink *objects_link(const SearchObject *object, const char *name)
{
    for (const SearchLink *l = object->links; l->name; l++) {
        if (is_one_of(name, l->name, l->synonyms))
            return l;
    }
    return NULL;
}
