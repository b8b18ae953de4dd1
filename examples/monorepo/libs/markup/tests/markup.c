#include "markup.h"

#include <stdlib.h>
#include <string.h>

static void becomes(const char *text, const char *expected)
{
    char html[512] = "";
    FILE *out = tmpfile();
    if (out == NULL)
        exit(2);
    markup_html(text, out);
    rewind(out);
    html[fread(html, 1, sizeof html - 1, out)] = '\0';
    fclose(out);
    if (strcmp(html, expected) != 0) {
        fprintf(stderr, "%s\nbecame\n%s\nnot\n%s\n", text, html, expected);
        exit(1);
    }
}

int main(void)
{
    becomes("", "");
    becomes("one\ntwo\n\n\nthree\n", "<p>one\ntwo</p>\n<p>three</p>\n");
    becomes("# 1 < 2\n", "<h1>1 &lt; 2</h1>\n");
    becomes("see [R&D](rd), [no link\n", "<p>see <a href=\"rd.html\">R&amp;D</a>, [no link</p>\n");
    return 0;
}
