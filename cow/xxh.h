/* xxh.h: xxHash with the widest instructions of the processor, where the library can choose. */
#pragma once

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif
