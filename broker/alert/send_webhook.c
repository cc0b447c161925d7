/* send_webhook.c: see send.h.  The receiver's answer is only counted: nothing that it says is
 * kept but the status. */
#include <curl/curl.h>
#include <string.h>

#include "broker/alert/send.h"
#include "imaged/base/error.h"
#include "imaged/base/ident.h"

#define CONNECT_MS 10000
#define URL_MAX_BYTES 2000
#define ANSWER_MAX (1 << 20)

static void init_once(void)
{
    static gsize begun;

    if (g_once_init_enter(&begun)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&begun, 1);
    }
}

static gboolean has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    gboolean has = curl_url_get(url, part, &text, 0) == CURLUE_OK && text && *text;

    curl_free(text);
    return has;
}

static const char *why_not(const char *text)
{
    CURLU *url;
    char *scheme = NULL;
    const char *why = NULL;

    if (strlen(text) > URL_MAX_BYTES)
        return "it is too long";
    for (const char *c = text; *c; c++) {
        if (!g_ascii_isgraph(*c))
            return "it has a blank or a character that must be encoded";
    }
    init_once();
    url = curl_url();
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        !has_part(url, CURLUPART_HOST))
        why = "it is no URL";
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        why = "it is neither http nor https";
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
        why = "it has a user or a password in it, which everybody could see";
    curl_free(scheme);
    curl_url_cleanup(url);
    return why;
}

gboolean send_check_url(const char *url, GError **error)
{
    const char *why = why_not(url);

    if (!why)
        return TRUE;
    g_autofree char *shown = text_for_message(url, 80);
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_INVALID, "nothing can be posted to '%s': %s",
                shown, why);
    imaged_error_hint(error,
                      "https://HOST/PATH; who posts is proved by a signature: --secret-file");
    return FALSE;
}

static size_t count_answer(char *bytes, size_t size, size_t n, void *data)
{
    size_t *total = data;

    *total += size * n;
    return *total > ANSWER_MAX ? 0 : size * n;
}

static int look_up(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return g_atomic_int_get((const gint *)data);
}

static struct curl_slist *headers(const char *signature)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");

    list = curl_slist_append(list, "Expect:"); /* no waiting for a "go on" */
    if (signature) {
        g_autofree char *line = g_strconcat("Imaged-Signature: sha256=", signature, NULL);
        list = curl_slist_append(list, line);
    }
    return list;
}

static gboolean judge(CURLcode code, long status, const char *why, const SendLimits *limits,
                      GError **error)
{
    if (code == CURLE_OK && status >= 200 && status < 300)
        return TRUE;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CANCELLED, "cancelled");
    else if (code == CURLE_OPERATION_TIMEDOUT)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "no answer within %d s",
                    (int)(limits->limit_ms / 1000));
    else if (code != CURLE_OK)
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE, "%s",
                    *why ? why : curl_easy_strerror(code));
    else
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the receiver answered with status %ld%s", status,
                    status >= 300 && status < 400 ? ": a redirect, which is not followed" : "");
    return FALSE;
}

gboolean send_webhook(const char *url, const char *body, const char *signature,
                      const SendLimits *limits, GError **error)
{
    char why[CURL_ERROR_SIZE] = "";
    size_t n_answered = 0;
    long status = 0;

    if (!send_check_url(url, error))
        return FALSE;
    init_once();
    CURL *curl = curl_easy_init();
    struct curl_slist *list = headers(signature);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* a name server that hangs is left behind */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)limits->limit_ms);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "imaged/" IMAGED_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, count_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &n_answered);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)limits->is_ended);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    if (limits->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, limits->ca);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    gboolean ok = judge(code, status, why, limits, error);
    curl_easy_cleanup(curl);
    curl_slist_free_all(list);
    return ok;
}
