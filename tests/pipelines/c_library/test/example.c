#include "zlib.h"

int main(void)
{
    return compress('a') != 'n';
}
