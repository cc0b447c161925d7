/* nearest.h: what somebody who mistyped a word may have meant.  Any thread. */
#pragma once

#include <glib.h>

/* The number of letters to insert, delete, replace or swap with their neighbour to get from a to b
 * (the "optimal string alignment" distance). */
guint nearest_distance(const char *a, const char *b);

/* The word of words (const char *) nearest to typed, or NULL if none is near enough to be meant. */
const char *nearest_word(const char *typed, const GPtrArray *words);
