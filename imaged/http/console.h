/* console.h: a desktop's serial console over HTTP: one connection that is upgraded to bare bytes.
 *
 * The client asks with "Connection: Upgrade" and "Upgrade: imaged-console"; after the answer 101
 * what it sends is what the guest reads, and the other way round, until either end closes.  A relay
 * is a thread of its own. */
#pragma once

#include <microhttpd.h>

#include "imaged/ops/ops.h"

typedef struct Consoles Consoles;

Consoles *consoles_new(void);

/* Ends all that are open, and returns when they have: before the daemons of libmicrohttpd stop. */
void consoles_end(Consoles *consoles);
void consoles_free(Consoles *consoles);

/* Answer with the console of the desktop in call's arguments.  Sets error instead if there is none;
 * INVALID: the request asks for no upgrade. */
enum MHD_Result consoles_answer(Consoles *consoles, struct MHD_Connection *connection,
                                OpsCall *call, GError **error);
