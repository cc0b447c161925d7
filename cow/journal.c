/* journal.c: a record is { magic, length, seq, hash, payload, padding to 8 }.  The hash covers seq
 * and payload.  The file is allocated ahead in steps with its length kept (FALLOC_FL_KEEP_SIZE). */
#include "cow/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cow/xxh.h"
#include "imaged/base/durable.h"
#include "imaged/base/error.h"
#include "imaged/base/units.h"

#define MAGIC 0x314a4d49u /* "IMJ1" */
#define MAX_RECORD (256 * MIB)
#define RESERVE (8 * MIB)

typedef struct {
    guint32 magic;
    guint32 length; /* of the payload */
    guint64 seq;
    guint64 hash;
} RecordHead; /* little-endian on disk, as on every machine we run on */

G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN && sizeof(RecordHead) == 24);

struct Journal {
    int dirfd; /* borrowed */
    int fd;
    char *name;
    guint64 end, allocated, base_size, last_seq;
    gboolean is_broken; /* a flush failed: what is on disk is unknown */
};

static guint64 hash_of(guint64 seq, const void *data, gsize len)
{
    return XXH3_64bits_withSeed(data, len, seq);
}

static gsize padded(gsize len)
{
    return (len + 7) & ~(gsize)7;
}

/* Read the record at offset: 1 and its payload (caller frees), 0 if there is no sound record,
 * -1 on an I/O error. */
static int read_record(const Journal *j, guint64 offset, guint64 file_size, RecordHead *head,
                       char **ret_data)
{
    gsize got;

    if (!durable_pread(j->fd, head, sizeof *head, offset, &got))
        return -1;
    if (got < sizeof *head || head->magic != MAGIC || head->length > MAX_RECORD ||
        head->length > file_size - offset - sizeof *head)
        return 0;
    g_autofree char *data = g_try_malloc(head->length + 1);
    if (!data || !durable_pread(j->fd, data, head->length, offset + sizeof *head, &got) ||
        got < head->length)
        return -1;
    data[head->length] = '\0';
    if (hash_of(head->seq, data, head->length) != head->hash)
        return 0;
    *ret_data = g_steal_pointer(&data);
    return 1;
}

/* Is there a sound record anywhere behind offset?  Then what is at offset is damage, not a tear. */
static gboolean has_record_behind(const Journal *j, guint64 offset, guint64 file_size)
{
    for (guint64 at = offset + 8; at + sizeof(RecordHead) <= file_size; at += 8) {
        g_autofree char *data = NULL;
        RecordHead head;
        guint32 magic;
        gsize got;
        if (durable_pread(j->fd, &magic, sizeof magic, at, &got) && got == sizeof magic &&
            magic == MAGIC && read_record(j, at, file_size, &head, &data) == 1)
            return TRUE;
    }
    return FALSE;
}

static gboolean scan(Journal *j, guint64 after, JournalVisit visit, gpointer user, GError **error)
{
    struct stat st;
    guint64 at = 0, seq = 0, base = 0;

    if (fstat(j->fd, &st) < 0) {
        imaged_error_set_errno(error, errno, "cannot read the journal");
        return FALSE;
    }
    for (;;) {
        g_autofree char *data = NULL;
        RecordHead head;
        int state = at < (guint64)st.st_size ? read_record(j, at, st.st_size, &head, &data) : 0;
        if (state < 0) {
            imaged_error_set_errno(error, errno ? errno : EIO, "cannot read the journal");
            return FALSE;
        }
        if (state == 0)
            break;
        if (head.seq <= seq) {
            g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                        "the journal's records are out of order");
            return FALSE;
        }
        seq = head.seq;
        if (visit && seq > after && !visit(seq, data, head.length, user, error))
            return FALSE;
        at += sizeof head + padded(head.length);
        if (!base)
            base = at;
    }
    if (at < (guint64)st.st_size && has_record_behind(j, at, st.st_size)) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_CORRUPT,
                    "the journal is damaged at offset %" G_GUINT64_FORMAT, at);
        return FALSE;
    }
    j->end = at;
    j->last_seq = seq;
    j->base_size = base;
    j->allocated = (guint64)st.st_blocks * 512;
    return TRUE;
}

/* Keep RESERVE bytes allocated behind the end; a full disk is no error until they are used up. */
static void reserve(Journal *j)
{
    if (j->allocated < j->end + RESERVE / 2 && durable_reserve(j->fd, j->end, RESERVE))
        j->allocated = j->end + RESERVE;
}

Journal *journal_open(int dirfd, const char *name, gboolean create, GError **error)
{
    g_autoptr(Journal) j = g_new0(Journal, 1);
    struct stat st;

    j->dirfd = dirfd;
    j->name = g_strdup(name);
    j->fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (j->fd < 0 && errno == ENOENT && create) {
        j->fd = durable_create(dirfd, name, 0, 0640, error);
        if (j->fd < 0 || !durable_sync(j->fd, error) || !durable_sync_dir(dirfd, error))
            return NULL;
    } else if (j->fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open the journal");
        return NULL;
    }
    if (!scan(j, 0, NULL, NULL, error))
        return NULL;
    if (fstat(j->fd, &st) == 0 && (guint64)st.st_size > j->end &&
        (!durable_truncate(j->fd, j->end, error) || !durable_sync(j->fd, error)))
        return NULL; /* the torn tail is cut off */
    reserve(j);
    return g_steal_pointer(&j);
}

void journal_free(Journal *j)
{
    if (!j)
        return;
    durable_close(&j->fd);
    g_free(j->name);
    g_free(j);
}

guint64 journal_last_seq(const Journal *j)
{
    return j->last_seq;
}

gboolean journal_is_broken(const Journal *j)
{
    return j->is_broken;
}

guint64 journal_size(const Journal *j)
{
    return j->end;
}

guint64 journal_base_size(const Journal *j)
{
    return j->base_size;
}

/* One record in one buffer: a single write.  Caller frees. */
static guint8 *make_record(guint64 seq, const void *data, gsize len, gsize *ret_len)
{
    RecordHead head = { MAGIC, (guint32)len, seq, hash_of(seq, data, len) };
    guint8 *record = g_malloc0(sizeof head + padded(len));

    memcpy(record, &head, sizeof head);
    memcpy(record + sizeof head, data, len);
    *ret_len = sizeof head + padded(len);
    return record;
}

static gboolean check_writable(const Journal *j, guint64 seq, gsize len, GError **error)
{
    if (j->is_broken) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNAVAILABLE,
                    "the store's journal failed before; it is used again after a restart");
        return FALSE;
    }
    if (seq <= j->last_seq || len > MAX_RECORD) {
        g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_FAILED, "a journal record does not fit");
        return FALSE;
    }
    return TRUE;
}

gboolean journal_append(Journal *j, guint64 seq, const void *data, gsize len, GError **error)
{
    gsize record_len;

    if (!check_writable(j, seq, len, error))
        return FALSE;
    g_autofree guint8 *record = make_record(seq, data, len, &record_len);
    if (!durable_write(j->fd, record, record_len, j->end, error)) {
        /* What was written stands behind the end: cut it off, or never trust this file again. */
        if (!durable_truncate(j->fd, j->end, NULL))
            j->is_broken = TRUE;
        j->allocated = 0;
        return FALSE;
    }
    if (!durable_sync(j->fd, error)) {
        /* Nobody knows whether the record will be there after a power failure.  Take it back; if
         * even that cannot be made sure of, only a new start can tell (journal_is_broken). */
        if (!durable_truncate(j->fd, j->end, NULL) || !durable_sync(j->fd, NULL))
            j->is_broken = TRUE;
        j->allocated = 0;
        return FALSE;
    }
    j->end += record_len;
    j->last_seq = seq;
    if (!j->base_size)
        j->base_size = record_len;
    reserve(j);
    return TRUE;
}

/* Is our file still the one with the journal's name?  A replacing that failed at its last flush may
 * have left a new one there, and what we append to ours would be found by nobody. */
static gboolean is_in_place(const Journal *j)
{
    struct stat ours, named;

    return fstat(j->fd, &ours) == 0 &&
           fstatat(j->dirfd, j->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

gboolean journal_compact(Journal *j, guint64 seq, const void *data, gsize len, GError **error)
{
    gsize record_len;

    if (!check_writable(j, seq, len, error))
        return FALSE;
    g_autofree guint8 *record = make_record(seq, data, len, &record_len);
    if (!durable_replace(j->dirfd, j->name, record, record_len, 0640, error)) {
        j->is_broken = !is_in_place(j);
        return FALSE;
    }
    int fd = openat(j->dirfd, j->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        imaged_error_set_errno(error, errno, "cannot open the journal");
        j->is_broken = TRUE;
        return FALSE;
    }
    durable_close(&j->fd);
    j->fd = fd;
    j->end = j->base_size = record_len;
    j->last_seq = seq;
    j->allocated = 0;
    reserve(j);
    return TRUE;
}

gboolean journal_read(Journal *j, guint64 after, JournalVisit visit, gpointer user, GError **error)
{
    return scan(j, after, visit, user, error);
}
