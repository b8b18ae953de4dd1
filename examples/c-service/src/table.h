/* A table of named counters. */
#ifndef TALLY_TABLE_H
#define TALLY_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_NAME_MAX = 63 };

struct table;

/* Returns an empty table, or NULL without memory. */
struct table *table_new(void);

void table_free(struct table *table);

/* Adds `amount` to the counter `name`, which begins at 0, and stores the sum in `sum`.
 * Returns false, and changes nothing, if the sum overflows, the name is empty or too long, or there
 * is no memory. */
bool table_add(struct table *table, const char *name, long long amount, long long *sum);

/* Returns the counter `name`; 0 for one that was never added to. */
long long table_get(const struct table *table, const char *name);

/* Returns how many counters there are. */
size_t table_size(const struct table *table);

#endif
