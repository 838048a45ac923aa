#include "conf/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit durations[] = {{"ms", 1},       {"s", 1000}, {"m", 60000}, {"h", 3600000},
                                        {"d", 86400000}, {"", 1000},  {NULL, 0}};
static const struct unit sizes[] = {{"k", 1 << 10}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static int parse_number(const struct conf_param *param, const char *text, const struct unit *units, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    char number[24];
    uint64_t value;
    if (digits == 0 || digits >= sizeof(number))
        return -EINVAL;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (text_parse_u64(number, INT64_MAX, &value) < 0)
        return -EINVAL;
    for (const struct unit *u = units; u->suffix != NULL; u++) {
        if (strcmp(text + digits, u->suffix) != 0)
            continue;
        if (value > (uint64_t)(INT64_MAX / u->factor))
            return -EINVAL;
        int64_t scaled = (int64_t)value * u->factor;
        if (scaled < param->min || scaled > param->max)
            return -EINVAL;
        *out = scaled;
        return 0;
    }
    return -EINVAL;
}

static int parse_choice(const struct conf_param *param, const char *text, int *out)
{
    for (int i = 0; param->choices[i] != NULL; i++) {
        if (strcmp(param->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_bool(const char *text, bool *out)
{
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return -EINVAL;
    *out = text[0] == 'y';
    return 0;
}

static int replace_string(char **place, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return -ENOMEM;
    free(*place);
    *place = copy;
    return 0;
}

static int parse_list(const char *text, struct conf_list *out)
{
    _cleanup_(freep) char *copy = strdup(text);
    if (copy == NULL)
        return -ENOMEM;
    char *save = NULL;
    for (char *word = strtok_r(copy, " \t,", &save); word != NULL; word = strtok_r(NULL, " \t,", &save)) {
        char **grown = realloc(out->items, (out->count + 1) * sizeof(char *));
        if (grown == NULL)
            return -ENOMEM;
        out->items = grown;
        out->items[out->count] = strdup(word);
        if (out->items[out->count] == NULL)
            return -ENOMEM;
        out->count++;
    }
    return 0;
}

static void free_list(struct conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct conf_list){0};
}

static int parse_address(const char *word, uint16_t default_port, struct net_address *out)
{
    if (text_has_prefix(word, "unix:/")) {
        const char *path = word + strlen("unix:");
        if (strlen(path) >= sizeof(out->un.sun_path))
            return -EINVAL;
        *out = (struct net_address){.un.sun_family = AF_UNIX, .len = sizeof(out->un)};
        memcpy(out->un.sun_path, path, strlen(path) + 1);
        return 0;
    }
    int r = net_parse(word, default_port, out);
    return r == 0 && net_port(out) == 0 ? -EINVAL : r;
}

static int parse_addresses(const struct conf_param *param, const struct conf_list *words, struct conf_addresses *out)
{
    out->items = calloc(words->count + 1, sizeof(*out->items));
    if (out->items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < words->count; i++)
        if (parse_address(words->items[i], (uint16_t)param->min, &out->items[out->count++]) < 0)
            return -EINVAL;
    return 0;
}

static int parse_networks(const struct conf_list *words, struct conf_networks *out)
{
    out->items = calloc(words->count + 1, sizeof(*out->items));
    if (out->items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < words->count; i++)
        if (net_cidr_parse(words->items[i], &out->items[out->count++]) < 0)
            return -EINVAL;
    return 0;
}

static int set_words(const struct conf_param *param, void *place, const char *text)
{
    struct conf_list words = {0};
    int r = parse_list(text, &words);
    if (r == 0 && param->type == CONF_LIST) {
        free_list(place);
        *(struct conf_list *)place = words;
        return 0;
    }
    if (r == 0 && param->type == CONF_ADDRESSES) {
        struct conf_addresses fresh = {0}, *old = place;
        r = parse_addresses(param, &words, &fresh);
        free(r == 0 ? old->items : fresh.items);
        if (r == 0)
            *old = fresh;
    } else if (r == 0) {
        struct conf_networks fresh = {0}, *old = place;
        r = parse_networks(&words, &fresh);
        free(r == 0 ? old->items : fresh.items);
        if (r == 0)
            *old = fresh;
    }
    free_list(&words);
    return r;
}

int conf_value_set(const struct conf_param *param, void *settings, const char *text)
{
    void *place = (char *)settings + param->offset;
    switch (param->type) {
    case CONF_PATH:
        if (text[0] != '\0' && text[0] != '/')
            return -EINVAL;
        return replace_string(place, text);
    case CONF_STRING:
        return replace_string(place, text);
    case CONF_BOOL:
        return parse_bool(text, place);
    case CONF_INT:
        return parse_number(param, text, plain, place);
    case CONF_SIZE:
        return parse_number(param, text, sizes, place);
    case CONF_DURATION:
        return parse_number(param, text, durations, place);
    case CONF_ENUM:
        return parse_choice(param, text, place);
    case CONF_LIST:
    case CONF_ADDRESSES:
    case CONF_NETWORKS:
        return set_words(param, place, text);
    }
    return -EINVAL;
}

void conf_value_free(const struct conf_param *param, void *settings)
{
    void *place = (char *)settings + param->offset;
    if (param->type == CONF_STRING || param->type == CONF_PATH) {
        free(*(char **)place);
        *(char **)place = NULL;
    } else if (param->type == CONF_LIST) {
        free_list(place);
    } else if (param->type == CONF_ADDRESSES) {
        free(((struct conf_addresses *)place)->items);
        *(struct conf_addresses *)place = (struct conf_addresses){0};
    } else if (param->type == CONF_NETWORKS) {
        free(((struct conf_networks *)place)->items);
        *(struct conf_networks *)place = (struct conf_networks){0};
    }
}

static int format_unit(int64_t value, const struct unit *units, struct buf *out)
{
    const struct unit *best = NULL;
    for (const struct unit *u = units; u->suffix != NULL; u++)
        if (u->suffix[0] != '\0' && value % u->factor == 0 && (best == NULL || u->factor > best->factor))
            best = u;
    if (best == NULL || value == 0)
        return buf_printf(out, "%" PRId64, value);
    return buf_printf(out, "%" PRId64 "%s", value / best->factor, best->suffix);
}

static int format_cidr(const struct net_cidr *net, struct buf *out)
{
    struct net_address a = {.any.sa_family = (sa_family_t)net->family};
    char text[NET_TEXT_MAX];
    if (net->family == AF_INET)
        memcpy(&a.in4.sin_addr, net->bytes, 4);
    else
        memcpy(&a.in6.sin6_addr, net->bytes, 16);
    return buf_printf(out, "%s/%u", net_format_host(&a, text), net->prefix_bits);
}

static int format_words(const struct conf_param *param, const void *place, struct buf *out)
{
    const struct conf_list *list = place; /* the three list types have the same shape */
    int r = 0;
    for (size_t i = 0; i < list->count && r == 0; i++) {
        char text[NET_TEXT_MAX];
        if (i > 0)
            buf_append_char(out, ' ');
        if (param->type == CONF_LIST) {
            r = buf_append_str(out, list->items[i]);
        } else if (param->type == CONF_NETWORKS) {
            r = format_cidr(&((const struct conf_networks *)place)->items[i], out);
        } else {
            const struct net_address *a = &((const struct conf_addresses *)place)->items[i];
            r = a->any.sa_family == AF_UNIX ? buf_printf(out, "unix:%s", a->un.sun_path)
                                            : buf_append_str(out, net_format(a, text));
        }
    }
    return r;
}

/* A text as it stands behind the '=', in quotes when it would not be read back as it is. */
static int quote(const char *text, struct buf *out)
{
    static const char blanks[] = " \t\r";
    size_t len = strlen(text);
    bool plain_text = len == 0 || (strpbrk(text, "\"#") == NULL && strchr(blanks, text[0]) == NULL &&
                                   strchr(blanks, text[len - 1]) == NULL);
    if (plain_text)
        return buf_append(out, text, len);
    int r = buf_append_char(out, '"');
    for (; *text != '\0' && r == 0; text++) {
        if (*text == '"' || *text == '\\')
            r = buf_append_char(out, '\\');
        if (r == 0)
            r = buf_append_char(out, *text);
    }
    return r < 0 ? r : buf_append_char(out, '"');
}

static int format_quoted_words(const struct conf_param *param, const void *place, struct buf *out)
{
    struct buf words;
    buf_init(&words, out->limit);
    int r = format_words(param, place, &words);
    if (r == 0)
        r = quote(buf_str(&words), out);
    buf_deinit(&words);
    return r;
}

int conf_format(const struct conf_param *param, const void *settings, struct buf *out)
{
    const void *place = (const char *)settings + param->offset;
    switch (param->type) {
    case CONF_STRING:
    case CONF_PATH:
        return quote(*(char *const *)place, out);
    case CONF_BOOL:
        return buf_append_str(out, *(const bool *)place ? "yes" : "no");
    case CONF_INT:
        return buf_printf(out, "%" PRId64, *(const int64_t *)place);
    case CONF_SIZE:
        return format_unit(*(const int64_t *)place, sizes, out);
    case CONF_DURATION:
        return format_unit(*(const int64_t *)place, durations, out);
    case CONF_ENUM:
        return buf_append_str(out, param->choices[*(const int *)place]);
    case CONF_LIST:
    case CONF_ADDRESSES:
    case CONF_NETWORKS:
        return format_quoted_words(param, place, out);
    }
    return -EINVAL;
}

static int expected_range(const struct conf_param *param, const char *what, const struct unit *units, struct buf *out)
{
    buf_append_str(out, what);
    buf_append_str(out, " from ");
    format_unit(param->min, units, out);
    if (param->max == INT64_MAX)
        return buf_append_str(out, " up");
    buf_append_str(out, " to ");
    return format_unit(param->max, units, out);
}

int conf_expected(const struct conf_param *param, struct buf *out)
{
    switch (param->type) {
    case CONF_STRING:
        return buf_append_str(out, "a text");
    case CONF_PATH:
        return buf_append_str(out, "an absolute path");
    case CONF_BOOL:
        return buf_append_str(out, "yes or no");
    case CONF_INT:
        return expected_range(param, "a number", plain, out);
    case CONF_SIZE:
        return expected_range(param, "a size (a number, or with k, M or G)", sizes, out);
    case CONF_DURATION:
        return expected_range(param, "a time (a number of seconds, or with ms, s, m, h or d)", durations, out);
    case CONF_ENUM:
        for (int i = 0; param->choices[i] != NULL; i++)
            buf_printf(out, "%s%s", i == 0 ? "one of " : ", ", param->choices[i]);
        return 0;
    case CONF_LIST:
        return buf_append_str(out, "words separated by blanks or commas");
    case CONF_ADDRESSES:
        return buf_append_str(out, param->min > 0
                                       ? "numeric addresses, as in 192.0.2.1 [2001:db8::1]:53"
                                       : "numeric addresses with a port, as in 192.0.2.1:25 [::]:587, or unix:/path");
    case CONF_NETWORKS:
        return buf_append_str(out, "networks, as in 127.0.0.0/8 2001:db8::/32 (no bits set behind the prefix length)");
    }
    return -EINVAL;
}
