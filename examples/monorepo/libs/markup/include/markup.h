/* A small markup: blocks of text between empty lines. A block that begins with `# ` is a heading,
 * all others are paragraphs; `[text](page)` is a link. */
#ifndef MARKUP_H
#define MARKUP_H

#include <stdio.h>

/* Writes `text` as HTML. */
void markup_html(const char *text, FILE *out);

#endif
