/* ident.h: 128-bit ids and the names that people give.  Safe from any thread. */
#pragma once

#include <glib.h>

#define ID_LEN 32          /* hexadecimal digits */
#define NAME_MAX_LEN 63    /* characters of a name */

typedef struct {
    char s[ID_LEN + 1];
} Id;

/* A fresh id, never used twice: 48 bits of time (so that new ones lie together in the catalog's
 * indexes) and 80 bits from the kernel's random source. */
Id id_new(void);

/* An id made from others: the same ones give the same id.  For what a job may have to remake. */
Id id_derive(const char *first, const char *second, const char *third);

/* TRUE if text is exactly 32 lower-case hexadecimal digits. */
gboolean id_is_valid(const char *text);

/* The id in the form of a UUID (8-4-4-4-12).  Caller frees. */
char *id_to_uuid(const char *id);

/* A locally administered MAC address, 56: and the id's last 40 bits (QEMU's own prefix would leave
 * 24, of which ten thousand desktops would share some).  Caller frees. */
char *id_to_mac(const char *id);

/* Check a name against [A-Za-z0-9][A-Za-z0-9._-]{0,62}; what ("template") is for the message.
 * IMAGED_ERROR_INVALID; the message quotes at most 40 printable characters of it. */
gboolean name_check(const char *what, const char *name, GError **error);

/* A copy of text for a message: control characters and what lies beyond max characters
 * are replaced; NULL, as in a row that somebody changed, is "(nothing)".  Caller frees. */
char *text_for_message(const char *text, gsize max);

/* Check free text (owner, description, OS): valid UTF-8, no control characters, max bytes. */
gboolean text_check(const char *what, const char *text, gsize max, GError **error);
