/* rfb_pump.h: between a VNC client and a display, until either ends, or it is told to end. */
#pragma once

#include "broker/session/rfb_filter.h"
#include "broker/session/wire.h"

/* Asked several times a second while nothing waits to be sent. */
typedef gboolean (*RfbPumpGoesOn)(gpointer user);

/* The client's side goes through the filter.  A side that takes nothing for 10 s is at its end. */
void rfb_pump(RfbFilter *filter, Wire *client, Wire *display, RfbPumpGoesOn goes_on, gpointer user);
