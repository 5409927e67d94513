/*
 * A C node: registered at epmd, and not an Erlang VM. Prints its port, then each node that connects.
 * Standard: Interoperability Tutorial, "C Nodes"; ei_connect(3erl).
 *
 * Copyright (c) beamops contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <ei.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int count, char **arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = INADDR_ANY};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ei_cnode node;

    if (count != 2 || ei_init() != 0 || ei_connect_init(&node, arguments[1], getenv("COOKIE"), 1) < 0)
        return 1;
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 5) < 0
        || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return 2;
    if (ei_publish(&node, ntohs(address.sin_port)) < 0)
        return 3;
    setlinebuf(stdout);
    printf("port %d\n", ntohs(address.sin_port));
    for (;;) {
        ErlConnect peer;
        if (ei_accept(&node, listener, &peer) < 0)
            printf("refused\n");
        else
            printf("connected %s\n", peer.nodename);
    }
}
