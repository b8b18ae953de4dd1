#include "protocol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_SIZE = PROTOCOL_LINE_MAX + 2, WORDS_MAX = 4 };

/* Cuts `line` into words. Returns how many there are, at most WORDS_MAX. */
static int split(char *line, char *words[WORDS_MAX])
{
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " \t\r", &rest))
        words[count++] = word;
    return count;
}

static bool number(const char *text, long long *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

void protocol_answer(struct table *table, char *request, char *answer)
{
    char *words[WORDS_MAX];
    int count = split(request, words);
    long long value;
    if (count == 3 && strcmp(words[0], "add") == 0) {
        if (!number(words[2], &value))
            snprintf(answer, ANSWER_SIZE, "error: not a number\n");
        else if (!table_add(table, words[1], value, &value))
            snprintf(answer, ANSWER_SIZE, "error: cannot add\n");
        else
            snprintf(answer, ANSWER_SIZE, "%lld\n", value);
    } else if (count == 2 && strcmp(words[0], "get") == 0) {
        snprintf(answer, ANSWER_SIZE, "%lld\n", table_get(table, words[1]));
    } else if (count == 1 && strcmp(words[0], "size") == 0) {
        snprintf(answer, ANSWER_SIZE, "%zu\n", table_size(table));
    } else {
        snprintf(answer, ANSWER_SIZE, "error: no such request\n");
    }
}
