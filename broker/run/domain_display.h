/* domain_display.h: of domain_xml.c, what a user's client meets: display, sound, channels. */
#pragma once

#include "broker/run/domain_xml.h"

void domain_add_display(GString *out, const DomainSpec *spec);
void domain_add_channels(GString *out, const DomainSpec *spec);

/* g_markup_printf_escaped() onto the end: every text of ours or others' is escaped. */
void domain_add(GString *out, const char *format, ...) G_GNUC_PRINTF(2, 3);
