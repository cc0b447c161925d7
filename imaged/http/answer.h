/* answer.h: what a request is answered with. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <microhttpd.h>

/* text (taken over, from malloc) as it is. */
enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *type,
                            char *text);

/* body is taken over. */
enum MHD_Result answer_json(struct MHD_Connection *c, unsigned status, json_t *body);

/* The error as an object, with the status that its code has in HTTP. */
enum MHD_Result answer_error(struct MHD_Connection *c, const GError *error);

/* 401: over TCP, and nobody has said who he is. */
enum MHD_Result answer_unauthorized(struct MHD_Connection *c, const GError *error);

/* An error of our own: the code's name, and message (with its hint behind a newline). */
enum MHD_Result answer_refusal(struct MHD_Connection *c, unsigned status, gint code,
                               const char *message);
