#include "../src/protocol.h"

#include <string.h>

#include "check.h"

static struct table *table;

static int answers(const char *request, const char *expected)
{
    char line[PROTOCOL_LINE_MAX + 1];
    char answer[PROTOCOL_LINE_MAX + 2];
    strcpy(line, request);
    protocol_answer(table, line, answer);
    return strcmp(answer, expected) == 0;
}

int main(void)
{
    table = table_new();
    CHECK(answers("get pears", "0\n"));
    CHECK(answers("add pears 2", "2\n"));
    CHECK(answers("  add\tpears 40\r", "42\n"));
    CHECK(answers("size", "1\n"));
    CHECK(answers("add pears many", "error: not a number\n"));
    CHECK(answers("add pears 9223372036854775807", "error: cannot add\n"));
    CHECK(answers("add pears 99999999999999999999", "error: not a number\n"));
    CHECK(answers("", "error: no such request\n"));
    CHECK(answers("get", "error: no such request\n"));
    CHECK(answers("get pears now please today", "error: no such request\n"));
    table_free(table);
    return 0;
}
