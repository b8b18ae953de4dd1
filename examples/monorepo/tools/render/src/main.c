/* render TITLE: reads markup, writes a page. */
#include <stdlib.h>

#include "markup.h"

int main(int count, char **arguments)
{
    static char text[1 << 20];
    if (count != 2) {
        fprintf(stderr, "usage: render TITLE\n");
        return 2;
    }
    size_t length = fread(text, 1, sizeof text - 1, stdin);
    if (!feof(stdin)) {
        fprintf(stderr, "render: the page is too long\n");
        return 1;
    }
    text[length] = '\0';
    printf("<!doctype html>\n<title>%s</title>\n", arguments[1]);
    markup_html(text, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
