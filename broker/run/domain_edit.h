/* domain_edit.h: reads and changes the XML that a host gives of a domain.
 *
 * Pure.  A host's XML is libvirt's own, but a host may be taken: what is malformed is refused. */
#pragma once

#include <glib.h>

/* One of its disks. */
typedef struct {
    char *dev;         /* vda */
    char *path;        /* of the file that QEMU writes to, or NULL: it is empty, or no file */
    char *copy_path;   /* of the file that it is being copied to, or NULL */
    gboolean is_ready; /* that copy has all there is, and gets what is written from now on */
} DomainDisk;

/* Its disks (DomainDisk) in their order, CD-ROMs too.  CORRUPT.  Caller unrefs. */
GPtrArray *domain_disks(const char *xml, GError **error);

/* The disk whose file this is, or which is just being copied there; NULL. */
const DomainDisk *domain_disk_find(const GPtrArray *disks, const char *path);

/* "<source/><backingStore/>..." of a chain: paths end with NULL, the uppermost first.  One that is
 * not of a kind that stands on others (a CD-ROM's) has one path.  Caller frees. */
char *domain_chain_xml(const char *const *paths);

/* What is different where it goes. */
typedef struct {
    GHashTable *chains;   /* dev -> paths there (char **, ends with NULL); other disks stay */
    const char *listen;   /* the address for its displays, or NULL */
    const char *valid_to; /* until when the display's password holds ("2026-11-22T10:00:00"), or
                           * NULL: as it is */
    const char *nvram_path; /* of the file that UEFI keeps its variables in, or NULL: as it is */
} DomainMove;

/* The same domain for another host.  CORRUPT.  Caller frees. */
char *domain_moved_xml(const char *xml, const DomainMove *move, GError **error);

/* The path of what UEFI keeps, or NULL: nothing.  Caller frees. */
char *domain_nvram(const char *xml);

/* The password of its first display, or NULL (of the XML that a host gives with secrets).  Caller
 * frees. */
char *domain_display_password(const char *xml);
