#include "markup.h"

#include <string.h>

#include "escape.h"

/* Writes a link and returns what follows it, or NULL if there is none at `text`. */
static const char *link_at(const char *text, const char *end, FILE *out)
{
    const char *middle = *text == '[' ? strstr(text, "](") : NULL;
    const char *close = middle != NULL ? strchr(middle, ')') : NULL;
    if (close == NULL || close >= end)
        return NULL;
    fputs("<a href=\"", out);
    escape(middle + 2, close, out);
    fputs(".html\">", out);
    escape(text + 1, middle, out);
    fputs("</a>", out);
    return close + 1;
}

static void inline_text(const char *text, const char *end, FILE *out)
{
    while (text < end) {
        const char *next = link_at(text, end, out);
        if (next == NULL) {
            next = text + 1;
            escape(text, next, out);
        }
        text = next;
    }
}

void markup_html(const char *text, FILE *out)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        if (end == NULL)
            end = text + strlen(text);
        const char *last = end;
        while (last > text && last[-1] == '\n')
            last--;
        if (last > text) {
            int is_heading = strncmp(text, "# ", 2) == 0;
            fputs(is_heading ? "<h1>" : "<p>", out);
            inline_text(is_heading ? text + 2 : text, last, out);
            fputs(is_heading ? "</h1>\n" : "</p>\n", out);
        }
        for (text = end; *text == '\n'; text++)
            ;
    }
}
