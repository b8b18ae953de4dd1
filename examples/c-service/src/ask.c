/* ask PORT: sends standard input to a tallyd line by line and prints each answer. Waits up to five
 * seconds for the server to listen. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int connect_to(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int attempt = 0; attempt < 500; attempt++) {
        int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(socket_fd, (struct sockaddr *)&address, sizeof address) == 0)
            return socket_fd;
        close(socket_fd);
        nanosleep(&pause, NULL);
    }
    perror("ask");
    exit(1);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: ask PORT\n");
        return 2;
    }
    int server = connect_to(atoi(arguments[1]));
    FILE *in = fdopen(server, "r");
    FILE *out = fdopen(dup(server), "w");
    char line[1024];
    while (in != NULL && out != NULL && fgets(line, sizeof line, stdin) != NULL) {
        if (fputs(line, out) < 0 || fflush(out) != 0 || fgets(line, sizeof line, in) == NULL) {
            fprintf(stderr, "ask: the server hung up\n");
            return 1;
        }
        fputs(line, stdout);
    }
    return 0;
}
