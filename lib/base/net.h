/* net: socket addresses and networks as text and back. */
#ifndef POSTHOUSE_BASE_NET_H
#define POSTHOUSE_BASE_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct net_address {
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    };
    socklen_t len; /* 0 = no address */
};

#define NET_TEXT_MAX 128 /* bytes any of the texts below needs, NUL included */

/* "192.0.2.1", "[2001:db8::1]:25", "192.0.2.1:25" (a bare IPv6 address without port needs no brackets).  A missing port
 * is default_port.  Numeric only: never a name look-up.  0 or -EINVAL. */
int net_parse(const char *text, uint16_t default_port, struct net_address *out);
/* "192.0.2.1" or "2001:db8::1"; "unix" for a Unix socket. */
const char *net_format_host(const struct net_address *a, char text[NET_TEXT_MAX]);
/* Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, as each subscriber has one: "192.0.2.1",
 * "2001:db8::/64".  "local" for a Unix socket. */
const char *net_format_client(const struct net_address *a, char text[NET_TEXT_MAX]);
/* The network of so many bits that a client is in: "192.0.2.0/24", "2001:db8::/56"; without the slash where an address
 * is all of it.  "local" for a Unix socket. */
const char *net_format_network(const struct net_address *a, unsigned ipv4_bits, unsigned ipv6_bits,
                               char text[NET_TEXT_MAX]);
/* "192.0.2.1:25" or "[2001:db8::1]:25". */
const char *net_format(const struct net_address *a, char text[NET_TEXT_MAX]);
/* RFC 5321 section 4.1.3 address literal: "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
const char *net_format_literal(const struct net_address *a, char text[NET_TEXT_MAX]);
uint16_t net_port(const struct net_address *a);
void net_set_port(struct net_address *a, uint16_t port);

struct net_cidr {
    int family;
    unsigned char bytes[16];
    unsigned prefix_bits;
};

/* "127.0.0.0/8", "::1", "192.0.2.7".  0 or -EINVAL (bits set behind the prefix are an error too). */
int net_cidr_parse(const char *text, struct net_cidr *out);
/* An IPv4-mapped IPv6 address counts as its IPv4 address. */
bool net_cidr_contains(const struct net_cidr *net, const struct net_address *a);

#endif
