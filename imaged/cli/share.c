/* share.c: see share.h. */
#include "imaged/cli/share.h"

#include <stdlib.h>

#include "imaged/cli/args.h"

gboolean verbs_put_share(Cli *cli, json_t *body, GError **error)
{
    const char *text = args_text(cli->args, "share");
    char *end;

    if (!text)
        return TRUE;
    long percent = strtol(text, &end, 10);
    if (end == text || percent < 1 || percent > 100 || (*end && !g_str_equal(end, "%"))) {
        args_usage_error(cli->args, error,
                         "--share wants a part in percent, 1%% to 100%%, not '%.40s'", text);
        return FALSE;
    }
    json_object_set_new(body, "share", json_integer(percent));
    return TRUE;
}
