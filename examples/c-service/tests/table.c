#include "../src/table.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static void counters_begin_at_zero(struct table *table)
{
    CHECK(table_get(table, "apples") == 0);
    CHECK(table_size(table) == 0);
}

static void sums_add_up(struct table *table)
{
    long long sum = 0;
    CHECK(table_add(table, "apples", 3, &sum) && sum == 3);
    CHECK(table_add(table, "apples", -5, &sum) && sum == -2);
    CHECK(table_get(table, "apples") == -2);
    CHECK(table_size(table) == 1);
}

static void a_refused_sum_changes_nothing(struct table *table)
{
    long long sum = 7;
    CHECK(table_add(table, "full", LLONG_MAX, &sum));
    CHECK(!table_add(table, "full", 1, &sum));
    CHECK(table_get(table, "full") == LLONG_MAX);
    CHECK(!table_add(table, "", 1, &sum));
    char name[TABLE_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[TABLE_NAME_MAX + 1] = '\0';
    CHECK(!table_add(table, name, 1, &sum));
}

static void many_counters_fit(struct table *table)
{
    char name[16];
    long long sum = 0;
    for (int at = 0; at < 10000; at++) {
        snprintf(name, sizeof name, "n%d", at);
        CHECK(table_add(table, name, at, &sum));
    }
    for (int at = 0; at < 10000; at++) {
        snprintf(name, sizeof name, "n%d", at);
        CHECK(table_get(table, name) == at);
    }
}

int main(void)
{
    struct table *table = table_new();
    CHECK(table != NULL);
    counters_begin_at_zero(table);
    sums_add_up(table);
    a_refused_sum_changes_nothing(table);
    many_counters_fit(table);
    table_free(table);
    return 0;
}
