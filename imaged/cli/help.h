/* help.h: the help of imagectl, of a noun and of a verb, made of the table of commands. */
#pragma once

#include <glib.h>

#include "imaged/cli/commands.h"

/* Append the help of command, or of noun if command is NULL, or of all if noun is NULL, too. */
void help_append(GString *out, const Noun *noun, const Command *command);
