/* client_private.h: what client.c and client_stream.c share.  For those files alone. */
#pragma once

#include <curl/curl.h>

#include "imaged/cli/client.h"

#define CLIENT_ANSWER_MAX (512u << 20) /* bytes; a page of a list is far below that */

struct Client {
    CURL *curl;
    char *socket_path; /* NULL with a URL */
    char *base;        /* "http://localhost" or the URL without a slash at its end */
    char *token;       /* sent with each request to an https URL, or NULL */
    char *ca_file;     /* who vouches for the daemon, or NULL: the system's authorities */
    gboolean was_lost;
    char why[CURL_ERROR_SIZE];
};

/* What each request begins with: where the daemon is, and nothing of the environment's proxies. */
void client_prepare(Client *client, CURL *curl, const char *url);

/* libcurl's write function for answers that are kept: data is a GString. */
size_t client_take_bytes(char *bytes, size_t size, size_t n, void *data);

/* No answer came: say why, by libcurl's code and its words for the last request.  DENIED for a
 * socket that we may not use, else UNAVAILABLE. */
void client_set_unreachable(Client *client, CURL *curl, CURLcode code, GError **error);
