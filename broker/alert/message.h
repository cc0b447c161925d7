/* message.h: events as a receiver gets them: a webhook's body, or a mail.  Pure functions.
 *
 * What stands in an event comes from anybody: nothing of it can end a header or begin another.  Any
 * thread. */
#pragma once

#include <glib.h>

typedef struct {
    gint64 id, time; /* time: ms of the epoch */
    char *kind, *severity, *object, *who, *message;
} AlertEvent;
void alert_event_free(gpointer event);

typedef struct {
    const char *alert, *manager; /* the alert's name; the id of this imaged */
    const GPtrArray *events;     /* of AlertEvent, at least one, the oldest first */
    gint64 n_lost;               /* deleted before they could be told of */
} AlertMessage;

/* The JSON body.  Caller frees. */
char *alert_message_json(const AlertMessage *message, gint64 now_ms);

/* A whole mail with its headers, lines ended by a newline.  from: an address, or NULL: sendmail
 * knows.  The same events give the same Message-ID.  Caller frees. */
char *alert_message_mail(const AlertMessage *message, const char *from, const char *to,
                         const char *hostname, gint64 now_ms);

/* HMAC-SHA256 of body in hexadecimal digits.  Caller frees. */
char *alert_message_sign(const char *body, const char *secret);

/* Is it the address of a mailbox (NAME@DOMAIN, or NAME of this machine)?  INVALID. */
gboolean alert_check_address(const char *address, GError **error);
