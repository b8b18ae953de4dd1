#include <stdio.h>

#include "zlib.h"

int main(void)
{
    int c;
    while ((c = getchar()) != EOF)
        putchar(compress(c));
    return 0;
}
