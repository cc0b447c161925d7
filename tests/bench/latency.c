/* latency.c: re-image one desktop after the other and print how long each took.
 *
 *   latency SOCKET [UNTIL-FILE] < NAMES
 *
 * One connection, kept alive; each request waits for its job's end.  Prints milliseconds, one line
 * for each desktop.  Stops early once UNTIL-FILE exists: what should run beside it has ended. */
#include <curl/curl.h>

#include "tests/bench/bench.h"

typedef struct {
    char text[512]; /* the answer's beginning, for messages */
    size_t len;
} Answer;

static size_t take_answer(char *data, size_t size, size_t n, void *user)
{
    Answer *answer = user;
    size_t len = MIN(size * n, sizeof answer->text - 1 - answer->len);

    memcpy(answer->text + answer->len, data, len);
    answer->len += len;
    answer->text[answer->len] = 0;
    return size * n;
}

static void reset(CURL *curl, const char *name)
{
    g_autofree char *body = g_strdup_printf("{\"names\":[\"%s\"]}", name);
    Answer answer = { "", 0 };
    long code = 0;

    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        die("%s: %s", name, curl_easy_strerror(result));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    if (code != 200 || !strstr(answer.text, "\"state\":\"done\""))
        die("%s: HTTP %ld: %s", name, code, answer.text);
}

int main(int argc, char **argv)
{
    g_set_prgname("latency");
    if (argc < 2 || argc > 3)
        die("usage: latency SOCKET [UNTIL-FILE] < NAMES");
    g_autoptr(GPtrArray) names = bench_lines();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, argv[1]);
    curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/v1/desktops/reset?wait=60");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);

    for (guint i = 0; i < names->len; i++) {
        double start = bench_now_ms();
        reset(curl, names->pdata[i]);
        double took = bench_now_ms() - start;
        if (argc == 3 && access(argv[2], F_OK) == 0)
            break;
        printf("%.3f\n", took);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return 0;
}
