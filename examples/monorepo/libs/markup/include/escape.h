#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdio.h>

/* Writes the characters from `text` up to `end` so that HTML shows them as they are. */
void escape(const char *text, const char *end, FILE *out);

#endif
