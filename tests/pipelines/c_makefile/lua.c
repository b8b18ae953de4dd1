#include <stdio.h>

#include "lua.h"

int main(void)
{
    puts("Lua 4.1");
    return 0;
}
