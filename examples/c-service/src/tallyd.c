/* tallyd PORT: counts for all who connect on the loopback, one client at a time. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol.h"

static int listen_on(int port)
{
    int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (socket_fd < 0 || setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(socket_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(socket_fd, 16) != 0) {
        perror("tallyd");
        exit(1);
    }
    return socket_fd;
}

static void serve(struct table *table, int client)
{
    char request[PROTOCOL_LINE_MAX + 2];
    char answer[PROTOCOL_LINE_MAX + 2];
    FILE *in = fdopen(client, "r");
    FILE *out = fdopen(dup(client), "w");
    while (in != NULL && out != NULL && fgets(request, sizeof request, in) != NULL) {
        size_t length = strcspn(request, "\n");
        if (request[length] == '\0' && !feof(in)) {
            fputs("error: line too long\n", out);
            break;
        }
        request[length] = '\0';
        protocol_answer(table, request, answer);
        if (fputs(answer, out) < 0 || fflush(out) != 0)
            break;
    }
    if (in != NULL)
        fclose(in);
    if (out != NULL)
        fclose(out);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: tallyd PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct table *table = table_new();
    int socket_fd = listen_on(atoi(arguments[1]));
    while (table != NULL) {
        int client = accept(socket_fd, NULL, NULL);
        if (client >= 0)
            serve(table, client);
    }
    return 1;
}
