/* job_log.c: see job_log.h.  A log is read in parts, each from where the last one ended. */
#include "imaged/cli/job_log.h"

#include <stdio.h>
#include <string.h>

#include "imaged/cli/interrupt.h"
#include "imaged/cli/output.h"

#define FOLLOW_US 500000

static json_t *get_part(Cli *cli, const char *id, gint64 offset, GError **error)
{
    g_autoptr(GString) path = client_path("/v1/jobs", "job", id, "log", error);
    g_autofree char *from = g_strdup_printf("%" G_GINT64_FORMAT, offset);

    if (!path)
        return NULL;
    client_query(path, "offset", from);
    return client_get(cli->client, path->str, error);
}

/* What a recipe's command printed must not drive the terminal. */
static char *harmless(const char *text)
{
    char *out = g_strdup(text);

    for (char *c = out; *c; c++) {
        /* U+0080 to U+009F begin sequences, too. */
        gboolean is_c1 = c[0] == '\xc2' && (guchar)c[1] >= 0x80 && (guchar)c[1] < 0xa0;
        if (is_c1)
            c[1] = '?';
        if (is_c1 || (g_ascii_iscntrl(*c) && *c != '\n'))
            *c = '?';
    }
    return out;
}

gboolean job_log_show(Cli *cli, const char *id, gint64 *offset, Progress *progress)
{
    for (;;) {
        json_auto_t *part = get_part(cli, id, *offset, NULL);
        g_autofree char *text = part ? harmless(json_text(part, "text")) : NULL;
        if (!part || !*text)
            return !part || !json_truth(part, "is_complete");
        if (progress)
            progress_clear(progress);
        fputs(text, stderr);
        *offset = json_number(part, "next_offset");
    }
}

gboolean job_log_verb(Cli *cli, GError **error)
{
    const char *id = args_word(cli->args, 0);
    gboolean is_following = args_has(cli->args, "follow");
    gint64 offset = 0;

    interrupt_catch();
    for (;;) {
        json_auto_t *part = get_part(cli, id, offset, error);
        if (!part)
            return FALSE;
        g_autofree char *text = harmless(json_text(part, "text"));
        fputs(text, stdout);
        fflush(stdout);
        offset = json_number(part, "next_offset");
        if (interrupt_seen() || (!*text && (!is_following || json_truth(part, "is_complete"))))
            return TRUE;
        if (!*text)
            g_usleep(FOLLOW_US);
    }
}
