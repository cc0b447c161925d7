/* completion.h: a bash completion script, made of the table of commands. */
#pragma once

#include <glib.h>

/* Append the script to out. */
void completion_bash(GString *out);
