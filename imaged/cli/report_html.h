/* report_html.h: the savings report as one page that stands by itself. */
#pragma once

#include <glib.h>
#include <jansson.h>

/* The page of a SavingsReport.  Caller frees. */
GString *report_html(const json_t *report);

/* Append text with the characters escaped that mean something in HTML. */
void report_html_escape(GString *out, const char *text);
