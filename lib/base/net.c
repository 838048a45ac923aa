#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int net_parse(const char *text, uint16_t default_port, struct net_address *out)
{
    char host[NET_TEXT_MAX];
    const char *port_text = NULL;
    size_t host_len;
    *out = (struct net_address){0};
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return -EINVAL;
        text++;
        host_len = (size_t)(close - text);
        port_text = close[1] == ':' ? close + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        bool bare_ipv6 = colon != NULL && strchr(colon + 1, ':') != NULL;
        host_len = colon != NULL && !bare_ipv6 ? (size_t)(colon - text) : strlen(text);
        port_text = colon != NULL && !bare_ipv6 ? colon + 1 : NULL;
    }
    if (host_len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    uint64_t port = default_port;
    if (port_text != NULL && text_parse_u64(port_text, 65535, &port) < 0)
        return -EINVAL;
    if (inet_pton(AF_INET, host, &out->in4.sin_addr) == 1) {
        out->in4.sin_family = AF_INET;
        out->len = sizeof(out->in4);
    } else if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
        out->in6.sin6_family = AF_INET6;
        out->len = sizeof(out->in6);
    } else {
        return -EINVAL;
    }
    net_set_port(out, (uint16_t)port);
    return 0;
}

const char *net_format_host(const struct net_address *a, char text[NET_TEXT_MAX])
{
    if (a->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->in4.sin_addr, text, NET_TEXT_MAX);
    else if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        inet_ntop(AF_INET, a->in6.sin6_addr.s6_addr + 12, text, NET_TEXT_MAX);
    else if (a->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a->in6.sin6_addr, text, NET_TEXT_MAX);
    else
        snprintf(text, NET_TEXT_MAX, "%s", a->len > 0 ? "unix" : "unknown");
    return text;
}

static void clear_behind(unsigned char *bytes, unsigned size, unsigned bits)
{
    for (unsigned i = bits; i < size * 8; i++)
        bytes[i / 8] &= (unsigned char)~(0x80U >> i % 8);
}

const char *net_format_network(const struct net_address *a, unsigned ipv4_bits, unsigned ipv6_bits,
                               char text[NET_TEXT_MAX])
{
    unsigned char bytes[16];
    if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6) {
        snprintf(text, NET_TEXT_MAX, "%s", a->len > 0 ? "local" : "unknown");
        return text;
    }
    bool mapped = a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
    int family = mapped ? AF_INET : a->any.sa_family;
    unsigned size = family == AF_INET ? 4 : 16, bits = family == AF_INET ? ipv4_bits : ipv6_bits;
    const unsigned char *ipv6 = a->in6.sin6_addr.s6_addr;
    memcpy(bytes, mapped ? ipv6 + 12 : family == AF_INET ? (const unsigned char *)&a->in4.sin_addr : ipv6, size);
    clear_behind(bytes, size, bits);
    inet_ntop(family, bytes, text, NET_TEXT_MAX);
    size_t len = strlen(text);
    if (bits < size * 8)
        snprintf(text + len, NET_TEXT_MAX - len, "/%u", bits);
    return text;
}

const char *net_format_client(const struct net_address *a, char text[NET_TEXT_MAX])
{
    return net_format_network(a, 32, 64, text);
}

const char *net_format(const struct net_address *a, char text[NET_TEXT_MAX])
{
    char host[NET_TEXT_MAX];
    net_format_host(a, host);
    if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6)
        snprintf(text, NET_TEXT_MAX, "%.100s", host);
    else if (strchr(host, ':') != NULL)
        snprintf(text, NET_TEXT_MAX, "[%.100s]:%u", host, net_port(a));
    else
        snprintf(text, NET_TEXT_MAX, "%.100s:%u", host, net_port(a));
    return text;
}

const char *net_format_literal(const struct net_address *a, char text[NET_TEXT_MAX])
{
    char host[NET_TEXT_MAX];
    net_format_host(a, host);
    snprintf(text, NET_TEXT_MAX, strchr(host, ':') != NULL ? "[IPv6:%.100s]" : "[%.100s]", host);
    return text;
}

uint16_t net_port(const struct net_address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohs(a->in4.sin_port);
    return a->any.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void net_set_port(struct net_address *a, uint16_t port)
{
    if (a->any.sa_family == AF_INET)
        a->in4.sin_port = htons(port);
    else if (a->any.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
}

static bool prefix_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

int net_cidr_parse(const char *text, struct net_cidr *out)
{
    char host[NET_TEXT_MAX];
    const char *slash = strchr(text, '/');
    size_t host_len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    *out = (struct net_cidr){0};
    if (host_len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (inet_pton(AF_INET, host, out->bytes) == 1)
        out->family = AF_INET;
    else if (inet_pton(AF_INET6, host, out->bytes) == 1)
        out->family = AF_INET6;
    else
        return -EINVAL;
    uint64_t max_bits = out->family == AF_INET ? 32 : 128, bits = max_bits;
    if (slash != NULL && text_parse_u64(slash + 1, max_bits, &bits) < 0)
        return -EINVAL;
    out->prefix_bits = (unsigned)bits;
    for (unsigned i = out->prefix_bits; i < max_bits; i++)
        if (out->bytes[i / 8] & (0x80 >> i % 8))
            return -EINVAL;
    return 0;
}

bool net_cidr_contains(const struct net_cidr *net, const struct net_address *a)
{
    const unsigned char *bytes = NULL;
    int family = a->any.sa_family;
    if (family == AF_INET) {
        bytes = (const unsigned char *)&a->in4.sin_addr;
    } else if (family == AF_INET6) {
        bytes = a->in6.sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
            family = AF_INET;
            bytes += 12;
        }
    }
    return bytes != NULL && family == net->family && prefix_equal(net->bytes, bytes, net->prefix_bits);
}
