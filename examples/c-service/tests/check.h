/* One check of a unit test: it ends the test with the place and the claim that is false. */
#ifndef TALLY_CHECK_H
#define TALLY_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(claim)                                                        \
    do {                                                                    \
        if (!(claim)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

#endif
