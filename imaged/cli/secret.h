/* secret.h: passwords that are typed or come from a file, and tokens that are kept for the next
 * call. */
#pragma once

#include "imaged/cli/cli.h"

/* The first line of the file that the option names; else what a person types without seeing it;
 * else the first line of standard input.  twice: a new one, to be typed again.  Caller frees. */
char *secret_read(const Cli *cli, const char *option, const char *prompt, gboolean twice,
                  GError **error);

/* The first line of a file.  Caller frees. */
char *secret_read_file(const char *path, GError **error);

/* Where the token for this URL is kept: imaged/tokens/ in the user's configuration.  Caller frees.
 */
char *secret_token_path(const char *url);
gboolean secret_token_save(const char *url, const char *token, GError **error);
