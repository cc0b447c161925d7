/* nearest.c: see nearest.h. */
#include "imaged/base/nearest.h"

#include <string.h>

#define MAX_LEN 40 /* no word of ours is longer; keeps the table small */

guint nearest_distance(const char *a, const char *b)
{
    guint table[MAX_LEN + 1][MAX_LEN + 1];
    gsize n = strlen(a), m = strlen(b);

    if (n > MAX_LEN || m > MAX_LEN)
        return MAX_LEN;
    for (gsize i = 0; i <= n; i++)
        table[i][0] = (guint)i;
    for (gsize j = 0; j <= m; j++)
        table[0][j] = (guint)j;
    for (gsize i = 1; i <= n; i++) {
        for (gsize j = 1; j <= m; j++) {
            guint best = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, table[i - 1][j] + 1);
            best = MIN(best, table[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, table[i - 2][j - 2] + 1);
            table[i][j] = best;
        }
    }
    return table[n][m];
}

const char *nearest_word(const char *typed, const GPtrArray *words)
{
    guint limit = (guint)strlen(typed) / 3 + 1, best = G_MAXUINT;
    const char *found = NULL;

    for (guint i = 0; i < words->len; i++) {
        const char *word = words->pdata[i];
        guint distance = nearest_distance(typed, word);
        /* A word that was begun and not ended is meant more surely than one with other letters. */
        if (strlen(typed) >= 2 && g_str_has_prefix(word, typed))
            distance = 0;
        if (distance <= limit && distance < strlen(word) && distance < best) {
            best = distance;
            found = word;
        }
    }
    return found;
}
