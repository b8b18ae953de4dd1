/* The line protocol: one request a line, one answer a line.
 *
 *   add NAME AMOUNT   adds, answers the sum
 *   get NAME          answers the count
 *   size              answers how many counters there are
 *
 * Anything else is answered by `error` and a reason. */
#ifndef TALLY_PROTOCOL_H
#define TALLY_PROTOCOL_H

#include <stddef.h>

#include "table.h"

enum { PROTOCOL_LINE_MAX = 255 };

/* Answers `request`, a line without its newline. `answer` gets a line with its newline and must hold
 * PROTOCOL_LINE_MAX + 2 bytes. `request` is changed. */
void protocol_answer(struct table *table, char *request, char *answer);

#endif
