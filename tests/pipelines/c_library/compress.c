#include "zlib.h"

/* A letter for the one 13 places on, so that twice is once. */
int compress(int c)
{
    if (c >= 'a' && c <= 'z')
        return 'a' + (c - 'a' + 13) % 26;
    return c;
}
