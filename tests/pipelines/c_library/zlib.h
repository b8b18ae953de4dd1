#include "zconf.h"

int compress(int c);
