/* send.h: one message given to one receiver: over HTTP, or to the system's sendmail.
 *
 * Both block until it is taken, refused or too slow, and give up within a second of *is_ended being
 * set (atomic; CANCELLED).  Nothing is kept between two calls.  Any thread. */
#pragma once

#include <glib.h>

typedef struct {
    const char *ca; /* file with CA certificates, or NULL: the system's */
    gint64 limit_ms;
    const gint *is_ended;
} SendLimits;

/* Is it an address that events may be posted to: http or https, and no password in it?  INVALID. */
gboolean send_check_url(const char *url, GError **error);

/* POST body; signature may be NULL.  Taken means 2xx; redirects are refused, not followed. */
gboolean send_webhook(const char *url, const char *body, const char *signature,
                      const SendLimits *limits, GError **error);

/* Give a whole mail to the program, which is started as "PROGRAM -t -i", without a shell. */
gboolean send_mail(const char *program, const char *mail, const SendLimits *limits, GError **error);
