#include "smtp/command.h"

#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "mail/date.h"
#include "smtp/ehlo.h"

static const char *const verb_names[SMTP_VERBS] = {
    [SMTP_VERB_UNKNOWN] = "unknown",   [SMTP_VERB_HELO] = "HELO", [SMTP_VERB_EHLO] = "EHLO",
    [SMTP_VERB_STARTTLS] = "STARTTLS", [SMTP_VERB_AUTH] = "AUTH", [SMTP_VERB_MAIL] = "MAIL",
    [SMTP_VERB_RCPT] = "RCPT",         [SMTP_VERB_DATA] = "DATA", [SMTP_VERB_RSET] = "RSET",
    [SMTP_VERB_NOOP] = "NOOP",         [SMTP_VERB_VRFY] = "VRFY", [SMTP_VERB_EXPN] = "EXPN",
    [SMTP_VERB_HELP] = "HELP",         [SMTP_VERB_QUIT] = "QUIT", [SMTP_VERB_BDAT] = "BDAT",
    [SMTP_VERB_XCLIENT] = "XCLIENT",
};

const char *smtp_verb_name(enum smtp_verb verb)
{
    return verb_names[verb];
}

enum smtp_verb smtp_command_parse(char *line, size_t len, char **argument)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        line[--len] = '\0';
    size_t verb_len = strcspn(line, " \t");
    *argument = line + verb_len;
    *argument += strspn(*argument, " \t");
    for (enum smtp_verb v = SMTP_VERB_HELO; v < SMTP_VERBS; v++)
        if (strlen(verb_names[v]) == verb_len && text_equal_nocase_n(line, verb_names[v], verb_len))
            return v;
    return SMTP_VERB_UNKNOWN;
}

/* A parameter's value: NULL when there was no '='. */
struct parameter {
    const char *keyword, *value;
    size_t keyword_len, value_len;
};

/* Each returns false for a value that is not of its grammar. */
typedef bool parameter_fn(void *out, const struct parameter *p);

static bool parameter_copy(char *to, size_t size, const struct parameter *p)
{
    if (p->value == NULL || p->value_len == 0 || p->value_len >= size)
        return false;
    memcpy(to, p->value, p->value_len);
    to[p->value_len] = '\0';
    return true;
}

static bool value_is(const struct parameter *p, const char *word)
{
    return p->value != NULL && strlen(word) == p->value_len && text_equal_nocase_n(p->value, word, p->value_len);
}

static bool mail_size(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    char digits[21]; /* RFC 1870 section 3: 1*20DIGIT, which may be more than 64 bits hold */
    int r = parameter_copy(digits, sizeof(digits), p) ? text_parse_u64(digits, UINT64_MAX, &m->size_bytes) : -EINVAL;
    if (r == -ERANGE)
        m->size_bytes = UINT64_MAX;
    m->has_size = r != -EINVAL;
    return m->has_size;
}

static bool mail_body(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    m->body = value_is(p, "7BIT")         ? SMTP_BODY_7BIT
              : value_is(p, "8BITMIME")   ? SMTP_BODY_8BITMIME
              : value_is(p, "BINARYMIME") ? SMTP_BODY_BINARYMIME
                                          : SMTP_BODY_UNSET;
    return m->body != SMTP_BODY_UNSET;
}

static bool mail_smtputf8(void *out, const struct parameter *p)
{
    ((struct smtp_mail *)out)->smtputf8 = true;
    return p->value == NULL;
}

static bool mail_ret(void *out, const struct parameter *p)
{
    return p->value != NULL && mail_dsn_ret_parse(p->value, p->value_len, &((struct smtp_mail *)out)->ret) == 0;
}

static bool mail_envid(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    return parameter_copy(m->envid, sizeof(m->envid), p) && mail_dsn_envid_check(p->value, p->value_len) == 0;
}

/* RFC 4954 section 5: "<>", or a mailbox in xtext. */
static bool mail_auth(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    struct mail_address mailbox;
    _cleanup_(buf_deinit) struct buf plain;
    buf_init(&plain, sizeof(m->auth));
    if (!parameter_copy(m->auth, sizeof(m->auth), p))
        return false;
    return value_is(p, "<>") ||
           (xtext_decode(p->value, p->value_len, &plain) == 0 &&
            mail_address_parse(buf_str(&plain), plain.len, MAIL_ADDRESS_ALLOW_UTF8, &mailbox) == 0);
}

static bool mail_requiretls(void *out, const struct parameter *p)
{
    ((struct smtp_mail *)out)->requiretls = true;
    return p->value == NULL;
}

/* RFC 4865 section 4: future-release-integer = 1*9DIGIT. */
static bool mail_holdfor(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    char digits[10];
    uint64_t seconds = 0;
    bool fits = parameter_copy(digits, sizeof(digits), p) && text_parse_u64(digits, 999999999, &seconds) == 0;
    m->hold_for_s = (uint32_t)seconds;
    return fits && seconds > 0 && m->hold_until_s == 0;
}

/* RFC 4865 section 4: an RFC 3339 date-time. */
static bool mail_holduntil(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    char text[40];
    return parameter_copy(text, sizeof(text), p) && mail_date_time_parse(text, &m->hold_until_s) == 0 &&
           m->hold_until_s > 0 && m->hold_for_s == 0;
}

/* RFC 2852 section 4: by-value = by-time ";" by-mode [by-trace]; by-time = ["-" / "+"] 1*9digit. */
static bool mail_by(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    char text[16];
    uint64_t seconds;
    if (!parameter_copy(text, sizeof(text), p))
        return false;
    char *mode = strchr(text, ';'), *digits = text + (text[0] == '-' || text[0] == '+');
    if (mode == NULL || mode - digits > 9)
        return false;
    *mode++ = '\0';
    if (text_parse_u64(digits, 999999999, &seconds) < 0 ||
        (mode[0] != '\0' && mode[1] != '\0' && !text_equal_nocase(mode + 1, "T")))
        return false;
    m->by_s = text[0] == '-' ? -(int32_t)seconds : (int32_t)seconds;
    m->by_mode = mode[0] == 'R' || mode[0] == 'r'   ? SMTP_BY_RETURN
                 : mode[0] == 'N' || mode[0] == 'n' ? SMTP_BY_NOTIFY
                                                    : SMTP_BY_NONE;
    /* Section 4: a message can not be returned because it is late already. */
    return m->by_mode == SMTP_BY_NOTIFY || (m->by_mode == SMTP_BY_RETURN && m->by_s > 0);
}

/* RFC 6710 section 4: priority-value = ["-"] NZDIGIT / "0". */
static bool mail_mt_priority(void *out, const struct parameter *p)
{
    struct smtp_mail *m = out;
    char text[3];
    if (!parameter_copy(text, sizeof(text), p))
        return false;
    const char *digit = text + (text[0] == '-');
    m->has_mt_priority = digit[0] >= '0' && digit[0] <= '9' && digit[1] == '\0' && !(digit > text && digit[0] == '0');
    m->mt_priority = digit > text ? -(digit[0] - '0') : digit[0] - '0';
    return m->has_mt_priority;
}

static bool rcpt_notify(void *out, const struct parameter *p)
{
    return p->value != NULL && mail_dsn_notify_parse(p->value, p->value_len, &((struct smtp_rcpt *)out)->notify) == 0;
}

static bool rcpt_orcpt(void *out, const struct parameter *p)
{
    struct smtp_rcpt *r = out;
    return parameter_copy(r->orcpt, sizeof(r->orcpt), p) && mail_dsn_orcpt_check(p->value, p->value_len) == 0;
}

struct parameter_row {
    const char *keyword;
    parameter_fn *fn;
    unsigned extension; /* any of these has to be offered */
};

static const struct parameter_row mail_parameters[] = {
    {"SIZE", mail_size, SMTP_EXT_SIZE},                           /* RFC 1870 */
    {"BODY", mail_body, SMTP_EXT_8BITMIME | SMTP_EXT_BINARYMIME}, /* RFC 6152, RFC 3030 */
    {"SMTPUTF8", mail_smtputf8, SMTP_EXT_SMTPUTF8},               /* RFC 6531 */
    {"RET", mail_ret, SMTP_EXT_DSN},                              /* RFC 3461 section 4.3 */
    {"ENVID", mail_envid, SMTP_EXT_DSN},                          /* RFC 3461 section 4.4 */
    {"AUTH", mail_auth, SMTP_EXT_ALL},                            /* RFC 4954 section 5: also from who did not log in */
    {"REQUIRETLS", mail_requiretls, SMTP_EXT_REQUIRETLS},         /* RFC 8689 */
    {"HOLDFOR", mail_holdfor, SMTP_EXT_FUTURERELEASE},            /* RFC 4865 */
    {"HOLDUNTIL", mail_holduntil, SMTP_EXT_FUTURERELEASE},        /* RFC 4865 */
    {"BY", mail_by, SMTP_EXT_DELIVERBY},                          /* RFC 2852 */
    {"MT-PRIORITY", mail_mt_priority, SMTP_EXT_MT_PRIORITY},      /* RFC 6710 */
};

static const struct parameter_row rcpt_parameters[] = {
    {"NOTIFY", rcpt_notify, SMTP_EXT_DSN}, /* RFC 3461 section 4.1 */
    {"ORCPT", rcpt_orcpt, SMTP_EXT_DSN},   /* RFC 3461 section 4.2 */
};

static int fault_set(struct smtp_argument_fault *fault, int result, const char *problem, const struct parameter *p)
{
    fault->problem = problem;
    fault->parameter[0] = '\0';
    if (p != NULL) {
        size_t n = p->keyword_len < sizeof(fault->parameter) ? p->keyword_len : sizeof(fault->parameter) - 1;
        memcpy(fault->parameter, p->keyword, n);
        fault->parameter[n] = '\0';
    }
    return result;
}

static int parameter_apply(const struct parameter *p, const struct parameter_row *rows, size_t row_count,
                           unsigned offered, void *out, unsigned *given, struct smtp_argument_fault *fault)
{
    for (size_t i = 0; i < row_count; i++) {
        if ((rows[i].extension & offered) == 0 || strlen(rows[i].keyword) != p->keyword_len ||
            !text_equal_nocase_n(p->keyword, rows[i].keyword, p->keyword_len))
            continue;
        if ((*given & 1u << i) != 0)
            return fault_set(fault, SMTP_ARGUMENT_BAD_PARAMETER, "parameter is given twice", p);
        *given |= 1u << i;
        if (!rows[i].fn(out, p))
            return fault_set(fault, SMTP_ARGUMENT_BAD_PARAMETER, "parameter has no valid value", p);
        return 0;
    }
    return fault_set(fault, SMTP_ARGUMENT_UNKNOWN_PARAMETER, "parameter is not known here", p);
}

/* esmtp-param = esmtp-keyword ["=" esmtp-value]; keyword and value hold no blanks. */
static int parameters_parse(const char *text, const struct parameter_row *rows, size_t row_count, unsigned offered,
                            void *out, unsigned *given, struct smtp_argument_fault *fault)
{
    if (*text != '\0' && *text != ' ')
        return fault_set(fault, SMTP_ARGUMENT_SYNTAX, "no blank between the address and what follows it", NULL);
    for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        struct parameter p = {.keyword = text, .keyword_len = strcspn(text, " =")};
        if (p.keyword_len < len) {
            p.value = text + p.keyword_len + 1;
            p.value_len = len - p.keyword_len - 1;
        }
        int r = parameter_apply(&p, rows, row_count, offered, out, given, fault);
        if (r != 0)
            return r;
        text += len;
    }
    return 0;
}

/* "FROM:" or "TO:", then the path.  Blanks behind the colon are against section 3.3, but old clients send them. */
static int path_after(const char *argument, const char *prefix, unsigned allow, struct mail_address *out,
                      const char **rest, struct smtp_argument_fault *fault)
{
    size_t prefix_len = strlen(prefix), used;
    if (!text_equal_nocase_n(argument, prefix, prefix_len))
        return fault_set(fault, SMTP_ARGUMENT_SYNTAX, "argument does not begin as the command's grammar says", NULL);
    argument += prefix_len;
    argument += strspn(argument, " ");
    int r = mail_path_parse(argument, strlen(argument), allow, out, &used);
    if (r != 0)
        return fault_set(fault, SMTP_ARGUMENT_ADDRESS, mail_address_problem(r), NULL);
    *rest = argument + used;
    return 0;
}

int smtp_mail_parse(const char *argument, unsigned offered, struct smtp_mail *out, struct smtp_argument_fault *fault)
{
    const char *rest;
    *out = (struct smtp_mail){0};
    int r = path_after(argument, "FROM:", MAIL_ADDRESS_ALLOW_UTF8 | MAIL_ADDRESS_ALLOW_NULL, &out->from, &rest, fault);
    if (r == 0)
        r = parameters_parse(rest, mail_parameters, ARRAY_LENGTH(mail_parameters), offered, out, &out->given, fault);
    if (r == 0 && out->body == SMTP_BODY_BINARYMIME && (offered & SMTP_EXT_BINARYMIME) == 0)
        r = fault_set(fault, SMTP_ARGUMENT_BAD_PARAMETER, "BINARYMIME is not offered here", NULL);
    if (r == 0 && out->from.needs_utf8 && !out->smtputf8)
        r = fault_set(fault, SMTP_ARGUMENT_NEEDS_UTF8, mail_address_problem(MAIL_ADDRESS_NEEDS_UTF8), NULL);
    return r;
}

int smtp_bdat_parse(const char *argument, uint64_t *size, bool *last)
{
    char digits[21];
    size_t len = strcspn(argument, " ");
    if (len == 0 || len >= sizeof(digits))
        return -1;
    memcpy(digits, argument, len);
    digits[len] = '\0';
    argument += len + strspn(argument + len, " ");
    *last = text_equal_nocase(argument, "LAST");
    return (*argument != '\0' && !*last) || text_parse_u64(digits, INT64_MAX, size) < 0 ? -1 : 0;
}

int smtp_rcpt_parse(const char *argument, unsigned offered, bool smtputf8, struct smtp_rcpt *out,
                    struct smtp_argument_fault *fault)
{
    const char *rest;
    *out = (struct smtp_rcpt){0};
    int r =
        path_after(argument, "TO:", MAIL_ADDRESS_ALLOW_UTF8 | MAIL_ADDRESS_ALLOW_POSTMASTER, &out->to, &rest, fault);
    if (r == 0)
        r = parameters_parse(rest, rcpt_parameters, ARRAY_LENGTH(rcpt_parameters), offered, out, &out->given, fault);
    /* RFC 6533 section 3: else it is the form with "\\x{NNNN}". */
    if (r == 0 && !smtputf8 && !text_is_ascii(out->orcpt, strlen(out->orcpt)))
        r = fault_set(fault, SMTP_ARGUMENT_BAD_PARAMETER, "ORCPT beyond ASCII needs SMTPUTF8", NULL);
    if (r == 0 && out->to.needs_utf8 && !smtputf8)
        r = fault_set(fault, SMTP_ARGUMENT_NEEDS_UTF8, mail_address_problem(MAIL_ADDRESS_NEEDS_UTF8), NULL);
    return r;
}
