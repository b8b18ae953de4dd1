#include "table.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char name[TABLE_NAME_MAX + 1]; /* empty in a free place */
    long long count;
};

struct table {
    struct entry *entries;
    size_t capacity; /* a power of two */
    size_t size;     /* at most three quarters of it */
};

struct table *table_new(void)
{
    struct table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->capacity = 8;
    table->entries = calloc(table->capacity, sizeof *table->entries);
    if (table->entries == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

void table_free(struct table *table)
{
    if (table != NULL)
        free(table->entries);
    free(table);
}

static uint32_t hash(const char *name)
{
    uint32_t sum = 2166136261u;
    for (; *name != '\0'; name++)
        sum = (sum ^ (unsigned char)*name) * 16777619u;
    return sum;
}

/* Returns the place of `name`, or the free place where it belongs. */
static struct entry *place(struct entry *entries, size_t capacity, const char *name)
{
    size_t at = hash(name) & (capacity - 1);
    while (entries[at].name[0] != '\0' && strcmp(entries[at].name, name) != 0)
        at = (at + 1) & (capacity - 1);
    return &entries[at];
}

static bool grow(struct table *table)
{
    size_t capacity = table->capacity * 2;
    struct entry *entries = calloc(capacity, sizeof *entries);
    if (entries == NULL)
        return false;
    for (size_t at = 0; at < table->capacity; at++) {
        const struct entry *old = &table->entries[at];
        if (old->name[0] != '\0')
            *place(entries, capacity, old->name) = *old;
    }
    free(table->entries);
    table->entries = entries;
    table->capacity = capacity;
    return true;
}

static bool overflows(long long a, long long b)
{
    return b > 0 ? a > LLONG_MAX - b : a < LLONG_MIN - b;
}

bool table_add(struct table *table, const char *name, long long amount, long long *sum)
{
    size_t length = strlen(name);
    if (length == 0 || length > TABLE_NAME_MAX)
        return false;
    struct entry *entry = place(table->entries, table->capacity, name);
    if (overflows(entry->count, amount))
        return false;
    if (entry->name[0] == '\0') {
        if ((table->size + 1) * 4 > table->capacity * 3) {
            if (!grow(table))
                return false;
            entry = place(table->entries, table->capacity, name);
        }
        memcpy(entry->name, name, length + 1);
        table->size++;
    }
    entry->count += amount;
    *sum = entry->count;
    return true;
}

long long table_get(const struct table *table, const char *name)
{
    return place(table->entries, table->capacity, name)->count;
}

size_t table_size(const struct table *table)
{
    return table->size;
}
