/* units.h: sizes and times as people write them.  Safe from any thread. */
#pragma once

#include <glib.h>

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)
#define TIB (1024ull * GIB)

/* Parse "512", "512M", "10GiB", "1.5T" (powers of 1024) into bytes.  IMAGED_ERROR_INVALID. */
gboolean units_parse_size(const char *text, guint64 *ret_bytes, GError **error);

/* "1.5 GiB".  Caller frees. */
char *units_format_size(guint64 bytes);

/* Parse "90s", "15m", "12h", "7d", "2w" into milliseconds.  IMAGED_ERROR_INVALID. */
gboolean units_parse_duration(const char *text, gint64 *ret_ms, GError **error);

/* "2d 3h", "15s": two units at most.  Caller frees. */
char *units_format_duration(gint64 ms);

/* Wall-clock time in milliseconds since 1970. */
gint64 units_now_ms(void);

/* Milliseconds of CLOCK_BOOTTIME: runs on in suspend, never jumps. */
gint64 units_boottime_ms(void);

/* RFC 3339 in UTC, "2026-11-21T02:24:00Z".  Caller frees. */
char *units_format_time(gint64 ms);
