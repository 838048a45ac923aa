#include "smtp/ehlo.h"

#include <string.h>

#include "base/text.h"

static void ehlo_size(struct smtp_ehlo *e, const char *parameters)
{
    if (text_parse_u64(parameters, UINT64_MAX, &e->size_bytes) < 0)
        e->size_bytes = 0;
}

static void ehlo_deliverby(struct smtp_ehlo *e, const char *parameters)
{
    if (text_parse_u64(parameters, UINT32_MAX, &e->by_min_s) < 0)
        e->by_min_s = 0;
}

/* A server may announce AUTH twice, once in the old form "AUTH=LOGIN PLAIN"; the mechanisms add up. */
static void ehlo_auth(struct smtp_ehlo *e, const char *parameters)
{
    while (*parameters != '\0') {
        char mechanism[64];
        size_t len = strcspn(parameters, " \t");
        size_t have = strlen(e->auth);
        if (len > 0 && len < sizeof(mechanism) && have + len + 2 <= sizeof(e->auth)) {
            memcpy(mechanism, parameters, len);
            mechanism[len] = '\0';
            for (size_t i = 0; i < len; i++)
                if (mechanism[i] >= 'a' && mechanism[i] <= 'z')
                    mechanism[i] = (char)(mechanism[i] - ('a' - 'A'));
            if (!smtp_ehlo_has_mechanism(e, mechanism)) {
                if (have > 0)
                    e->auth[have++] = ' ';
                memcpy(e->auth + have, mechanism, len + 1);
            }
        }
        parameters += len;
        parameters += strspn(parameters, " \t");
    }
}

static const struct {
    const char *keyword;
    enum smtp_extension extension;
    void (*parameters)(struct smtp_ehlo *e, const char *parameters);
} ehlo_keywords[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING, NULL},
    {"SIZE", SMTP_EXT_SIZE, ehlo_size},
    {"8BITMIME", SMTP_EXT_8BITMIME, NULL},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8, NULL},
    {"STARTTLS", SMTP_EXT_STARTTLS, NULL},
    {"AUTH", SMTP_EXT_AUTH, ehlo_auth},
    {"DSN", SMTP_EXT_DSN, NULL},
    {"CHUNKING", SMTP_EXT_CHUNKING, NULL},
    {"BINARYMIME", SMTP_EXT_BINARYMIME, NULL},
    {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCEDSTATUSCODES, NULL},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS, NULL},
    {"LIMITS", SMTP_EXT_LIMITS, NULL},
    {"FUTURERELEASE", SMTP_EXT_FUTURERELEASE, NULL},
    {"DELIVERBY", SMTP_EXT_DELIVERBY, ehlo_deliverby},
    {"MT-PRIORITY", SMTP_EXT_MT_PRIORITY, NULL},
    {"XCLIENT", SMTP_EXT_XCLIENT, NULL},
    {"HELP", SMTP_EXT_HELP, NULL},
};

unsigned smtp_extension_named(const char *keyword)
{
    for (size_t i = 0; i < ARRAY_LENGTH(ehlo_keywords); i++)
        if (text_equal_nocase(keyword, ehlo_keywords[i].keyword))
            return ehlo_keywords[i].extension;
    return 0;
}

static void ehlo_line(struct smtp_ehlo *e, char *line)
{
    size_t keyword_len = strcspn(line, " \t=");
    char *parameters = line + keyword_len;
    parameters += strspn(parameters, " \t=");
    line[keyword_len] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(ehlo_keywords); i++) {
        if (!text_equal_nocase(line, ehlo_keywords[i].keyword))
            continue;
        e->extensions |= ehlo_keywords[i].extension;
        if (ehlo_keywords[i].parameters != NULL)
            ehlo_keywords[i].parameters(e, parameters);
    }
}

void smtp_ehlo_parse(const struct smtp_reply *reply, struct smtp_ehlo *out)
{
    *out = (struct smtp_ehlo){0};
    const char *text = buf_str(&reply->text);
    const char *next = strchr(text, '\n'); /* the first line is the server's name */
    while (next != NULL) {
        char line[512];
        const char *start = next + 1;
        next = strchr(start, '\n');
        size_t len = next != NULL ? (size_t)(next - start) : strlen(start);
        if (len >= sizeof(line))
            continue;
        memcpy(line, start, len);
        line[len] = '\0';
        while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
            line[--len] = '\0';
        ehlo_line(out, line);
    }
    if (out->auth[0] == '\0')
        out->extensions &= ~(unsigned)SMTP_EXT_AUTH;
}

bool smtp_ehlo_has_mechanism(const struct smtp_ehlo *e, const char *mechanism)
{
    size_t len = strlen(mechanism);
    for (const char *p = e->auth; *p != '\0';) {
        size_t n = strcspn(p, " ");
        if (n == len && text_equal_nocase_n(p, mechanism, n))
            return true;
        p += n;
        p += strspn(p, " ");
    }
    return false;
}
