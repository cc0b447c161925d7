/* commands.c: see commands.h. */
#include "imaged/cli/commands.h"

#include "imaged/cli/client.h"

static const Noun *const nouns[] = {
    &noun_template, &noun_desktop, &noun_snapshot, &noun_archive, &noun_export,     &noun_trash,
    &noun_rollout,  &noun_host, &noun_host_group, &noun_network,
    &noun_user,     &noun_group,   &noun_role,     &noun_token,   &noun_login,    &noun_logout,
    &noun_whoami,   &noun_directory, &noun_connect, &noun_session, &noun_alert,
    &noun_pool,     &noun_search,
    &noun_store,    &noun_job,     &noun_event,    &noun_report,  &noun_catalog,    &noun_status,
    &noun_completion, &noun_version, NULL,
};

static const Option global_options[] = {
    { "state", OPTION_TEXT, "DIR", "the daemon's state folder (its socket is DIR/imaged.sock)",
      "folder" },
    { "socket", OPTION_TEXT, "PATH", "the daemon's unix socket (" CLIENT_DEFAULT_SOCKET ")",
      "file" },
    { "url", OPTION_TEXT, "URL", "a daemon elsewhere, http://HOST:PORT or https://HOST:PORT",
      NULL },
    { "token-file", OPTION_TEXT, "FILE", "its first line says who one is, for --url", "file" },
    { "ca-file", OPTION_TEXT, "FILE", "who vouches for the daemon at --url (the system's)",
      "file" },
    { "output", OPTION_CHOICE, "table|json|csv", "-o: how to print; a table is for people", NULL },
    { "help", OPTION_FLAG, NULL, "-h: explain the command", NULL },
    OPTION_END,
};

const Noun *const *commands_nouns(void)
{
    return nouns;
}

const Option *commands_global_options(void)
{
    return global_options;
}

const Noun *commands_find_noun(const char *name)
{
    for (guint i = 0; nouns[i]; i++) {
        if (g_str_equal(nouns[i]->name, name))
            return nouns[i];
    }
    return NULL;
}

const Command *commands_find_verb(const Noun *noun, const char *verb)
{
    for (const Command *c = noun->commands; c->run; c++) {
        if (c->verb && g_str_equal(c->verb, verb))
            return c;
    }
    return NULL;
}

const Command *commands_find_default(const Noun *noun)
{
    for (const Command *c = noun->commands; c->run; c++) {
        if (!c->verb)
            return c;
    }
    return NULL;
}

const Option *commands_find_option(const Option *options, const char *name)
{
    for (const Option *o = options; o && o->name; o++) {
        if (g_str_equal(o->name, name))
            return o;
    }
    return NULL;
}

gboolean commands_is_plain(const Noun *noun)
{
    return noun->commands[0].verb == NULL;
}

GPtrArray *commands_noun_names(void)
{
    GPtrArray *names = g_ptr_array_new();

    for (guint i = 0; nouns[i]; i++)
        g_ptr_array_add(names, (gpointer)nouns[i]->name);
    return names;
}

GPtrArray *commands_verb_names(const Noun *noun)
{
    GPtrArray *names = g_ptr_array_new();

    for (const Command *c = noun->commands; c->run; c++) {
        if (c->verb)
            g_ptr_array_add(names, (gpointer)c->verb);
    }
    return names;
}

GPtrArray *commands_option_names(const Command *command)
{
    GPtrArray *names = g_ptr_array_new();

    for (const Option *o = command ? command->options : NULL; o && o->name; o++)
        g_ptr_array_add(names, (gpointer)o->name);
    for (const Option *o = global_options; o->name; o++)
        g_ptr_array_add(names, (gpointer)o->name);
    return names;
}
