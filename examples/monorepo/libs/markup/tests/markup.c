#define _POSIX_C_SOURCE 200809L

#include "markup.h"

#include <stdlib.h>
#include <string.h>

static void becomes(const char *text, const char *expected)
{
    char *html = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&html, &length);
    if (out == NULL)
        exit(2);
    markup_html(text, out);
    fclose(out);
    if (strcmp(html, expected) != 0) {
        fprintf(stderr, "%s\nbecame\n%s\nnot\n%s\n", text, html, expected);
        exit(1);
    }
    free(html);
}

int main(void)
{
    becomes("", "");
    becomes("one\ntwo\n\n\nthree\n", "<p>one\ntwo</p>\n<p>three</p>\n");
    becomes("# 1 < 2\n", "<h1>1 &lt; 2</h1>\n");
    becomes("see [R&D](rd), [no link\n", "<p>see <a href=\"rd.html\">R&amp;D</a>, [no link</p>\n");
    return 0;
}
