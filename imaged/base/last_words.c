/* last_words.c: see last_words.h. */
#include "imaged/base/last_words.h"

#include <errno.h>
#include <unistd.h>

#include "imaged/base/durable.h"

#define MAX_WORDS 1024

void last_words_read(int *fd, GString *words)
{
    char text[4096];
    ssize_t n;

    while (*fd >= 0 && (n = read(*fd, text, sizeof text)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break;
        g_string_append_len(words, text, n);
        if (words->len > MAX_WORDS)
            g_string_erase(words, 0, (gssize)(words->len - MAX_WORDS));
    }
    durable_close(fd);
}
