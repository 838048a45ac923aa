#include "smtp/proxy.h"

#include <netinet/in.h>
#include <string.h>

#include "base/text.h"

#define LINE_MAX_V1 107 /* with CRLF */
#define HEAD_V2     16

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* -- version 1: "PROXY TCP4 client server client-port server-port\r\n" -- */

static int parse_line(char *line, struct smtp_proxy *out)
{
    char *save = NULL, *word[6] = {0};
    uint64_t port;
    for (int i = 0; i < 6; i++)
        word[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
    if (word[0] == NULL || strcmp(word[0], "PROXY") != 0 || word[1] == NULL)
        return SMTP_PROXY_WRONG;
    if (strcmp(word[1], "UNKNOWN") == 0) {
        out->local = true;
        return 0;
    }
    int family = strcmp(word[1], "TCP4") == 0 ? AF_INET : strcmp(word[1], "TCP6") == 0 ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC || word[5] == NULL || text_parse_u64(word[4], 65535, &port) < 0 ||
        net_parse(word[2], 0, &out->client) < 0 || out->client.any.sa_family != family)
        return SMTP_PROXY_WRONG;
    net_set_port(&out->client, (uint16_t)port);
    return 0;
}

static int parse_v1(const char *data, size_t len, struct smtp_proxy *out, size_t *used)
{
    char line[LINE_MAX_V1 + 1];
    size_t most = len < LINE_MAX_V1 ? len : LINE_MAX_V1;
    const char *end = memmem(data, most, "\r\n", 2);
    if (end == NULL)
        return len < LINE_MAX_V1 ? SMTP_PROXY_MORE : SMTP_PROXY_WRONG;
    size_t n = (size_t)(end - data);
    if (memchr(data, '\0', n) != NULL)
        return SMTP_PROXY_WRONG;
    memcpy(line, data, n);
    line[n] = '\0';
    *used = n + 2;
    return parse_line(line, out);
}

/* -- version 2: signature, version and command, family, length, addresses, what we pass over -- */

static int take_addresses(unsigned family, const char *at, size_t len, struct net_address *client)
{
    if (family == 1 && len >= 12) { /* two addresses, two ports */
        client->in4.sin_family = AF_INET;
        memcpy(&client->in4.sin_addr, at, 4);
        memcpy(&client->in4.sin_port, at + 8, 2);
        client->len = sizeof(client->in4);
        return 0;
    }
    if (family == 2 && len >= 36) {
        client->in6.sin6_family = AF_INET6;
        memcpy(&client->in6.sin6_addr, at, 16);
        memcpy(&client->in6.sin6_port, at + 32, 2);
        client->len = sizeof(client->in6);
        return 0;
    }
    /* Unspecified, or a Unix socket of the balancer: the client stays unknown. */
    return family == 0 || (family == 3 && len >= 216) ? 0 : SMTP_PROXY_WRONG;
}

static int parse_v2(const char *data, size_t len, struct smtp_proxy *out, size_t *used)
{
    if (len < HEAD_V2)
        return SMTP_PROXY_MORE;
    unsigned version = (unsigned char)data[12] >> 4, command = (unsigned char)data[12] & 15;
    unsigned family = (unsigned char)data[13] >> 4;
    size_t rest = (size_t)(unsigned char)data[14] << 8 | (unsigned char)data[15];
    if (version != 2 || command > 1 || HEAD_V2 + rest > SMTP_PROXY_MAX)
        return SMTP_PROXY_WRONG;
    if (len < HEAD_V2 + rest)
        return SMTP_PROXY_MORE;
    *used = HEAD_V2 + rest;
    out->local = command == 0;
    return out->local ? 0 : take_addresses(family, data + HEAD_V2, rest, &out->client);
}

int smtp_proxy_parse(const char *data, size_t len, struct smtp_proxy *out, size_t *used)
{
    static const char word[] = "PROXY ";
    *out = (struct smtp_proxy){0};
    *used = 0;
    size_t two = len < sizeof(signature) ? len : sizeof(signature), one = len < strlen(word) ? len : strlen(word);
    if (memcmp(data, signature, two) == 0)
        return two < sizeof(signature) ? SMTP_PROXY_MORE : parse_v2(data, len, out, used);
    if (memcmp(data, word, one) == 0)
        return one < strlen(word) ? SMTP_PROXY_MORE : parse_v1(data, len, out, used);
    return SMTP_PROXY_WRONG;
}
