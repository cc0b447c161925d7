/* seal_report.h: what was removed from a disk when it was sealed, as a job's answer tells it. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* What is taken over of the helper's report, which is as hostile as the disk that it read: its
 * known keys, within bounds; missing or wrong ones are empty.  Caller unrefs. */
json_t *seal_report(const json_t *said);

/* Such a report in a line: "sealed: 14 things removed (3.4 MiB)".  Caller frees. */
char *seal_report_line(const json_t *report);
