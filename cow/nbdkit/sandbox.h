/* sandbox.h: from sandbox_enter() on the process can read what it holds open, talk to who connects,
 * and nothing else: no file is opened, no program started, no socket made or connected.
 *
 * For the nbdkit plugin alone.  One call, from the main thread. */
#pragma once

#include <glib.h>

/* GnuTLS reads the file of pre-shared keys at every handshake.  So the one "file" that can still be
 * opened is a name, answered from memory: psk_path (NULL for none) reads as psk. */
typedef struct {
    const char *psk_path;
    const char *psk;
    gsize psk_len; /* at most SANDBOX_PSK_MAX */
} SandboxKeys;

#define SANDBOX_PSK_MAX (48u << 10) /* bytes; fits a pipe */

/* Returns NULL, or what could not be locked (static storage).  keys is borrowed for good. */
const char *sandbox_enter(const SandboxKeys *keys);
