/* texts.h: files of a Linux guest that say what it is: parsers of hostile text.
 *
 * Each takes bytes as they were found.  What they yield is valid UTF-8 without control characters,
 * at most TEXT_MAX bytes each, and bounded in number.  Any thread. */
#pragma once

#include <glib.h>

#define TEXT_MAX 200u /* bytes of one text */

/* A bounded, clean copy of len bytes.  Caller frees. */
char *texts_clean(const char *bytes, gsize len);

/* ---- Installed applications ---- */

#define PACKAGES_MAX 20000u

typedef struct {
    char *name, *version, *arch;
} Package;

typedef struct {
    GPtrArray *list; /* of Package */
    gboolean is_cut; /* there were more */
} Packages;

void packages_init(Packages *packages);
void packages_clear(Packages *packages);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Packages, packages_clear)
void packages_add(Packages *packages, const char *name, const char *version, const char *arch);
gboolean packages_have(const Packages *packages, const char *name);

/* dpkg's status file: what is installed, not what only left its configuration behind. */
void dpkg_status_parse(const char *text, gsize len, Packages *packages);

/* Alpine's lib/apk/db/installed. */
void apk_installed_parse(const char *text, gsize len, Packages *packages);

/* ---- The system ---- */

/* The value of key in os-release(5), unquoted; NULL if it is not there.  Caller frees. */
char *os_release_get(const char *text, gsize len, const char *key);

/* The first word of a hostname file; NULL if there is none.  Caller frees. */
char *hostname_parse(const char *text, gsize len);

#define USERS_MAX 1000u

typedef struct {
    char *name, *home;
    guint32 uid;
} GuestUser;

/* People of passwd(5): root, and ids from 1000 to 59999.  Array of GuestUser. */
GPtrArray *passwd_parse(const char *text, gsize len);

/* The name that passwd(5) or group(5) gives to an id, or NULL.  Caller frees. */
char *id_name_parse(const char *text, gsize len, guint32 id);

#define MOUNTS_MAX 64u

typedef struct {
    char *device, *where, *type; /* "UUID=...", "/home", "ext4" */
} GuestMount;

/* fstab(5): what is mounted in a folder, in its order.  Array of GuestMount. */
GPtrArray *fstab_parse(const char *text, gsize len);
