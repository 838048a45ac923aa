/* Command lines as a client sends them, and the arguments of MAIL, RCPT and BDAT: what is accepted can be said again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Goes into queue files and to the next host. */
static bool is_word(const char *s)
{
    while (*s > 0x20 && *s < 0x7f)
        s++;
    return *s == '\0';
}

static void check_mail(const struct smtp_mail *m, const char *argument)
{
    struct smtp_mail again;
    struct smtp_argument_fault fault;
    char path[MAIL_ADDRESS_MAX + sizeof("FROM:<> SMTPUTF8")];
    require(is_word(m->envid) && is_word(m->auth));
    require(m->mt_priority >= -9 && m->mt_priority <= 9 && (m->has_mt_priority || m->mt_priority == 0));
    require(m->smtputf8 || !m->from.needs_utf8);
    /* As smtp-out says it. */
    snprintf(path, sizeof(path), "FROM:<%s>%s", m->from.text, m->smtputf8 ? " SMTPUTF8" : "");
    require(smtp_mail_parse(path, SMTP_EXT_ALL, &again, &fault) == 0 && strcmp(again.from.text, m->from.text) == 0);
    /* With fewer extensions it is the same or it is refused. */
    if (smtp_mail_parse(argument, 0, &again, &fault) == 0)
        require(strcmp(again.from.text, m->from.text) == 0 && again.given == m->given);
}

static void check_rcpt(const struct smtp_rcpt *r)
{
    struct smtp_rcpt again;
    struct smtp_argument_fault fault;
    char path[MAIL_ADDRESS_MAX + sizeof("TO:<>")];
    for (const char *p = r->orcpt; *p != '\0'; p++)
        require(*p != '\r' && *p != '\n' && *p != ' ');
    snprintf(path, sizeof(path), "TO:<%s>", r->to.text);
    require(smtp_rcpt_parse(path, SMTP_EXT_ALL, true, &again, &fault) == 0 && strcmp(again.to.text, r->to.text) == 0);
    require(!r->to.needs_utf8 || smtp_rcpt_parse(path, SMTP_EXT_ALL, false, &again, &fault) != 0);
}

static void one_line(char *line, size_t len)
{
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    struct smtp_argument_fault fault;
    char *argument;
    uint64_t size;
    bool last;
    switch (smtp_command_parse(line, len, &argument)) {
    case SMTP_VERB_MAIL:
        if (smtp_mail_parse(argument, SMTP_EXT_ALL, &mail, &fault) == 0)
            check_mail(&mail, argument);
        break;
    case SMTP_VERB_RCPT:
        if (smtp_rcpt_parse(argument, SMTP_EXT_ALL, true, &rcpt, &fault) == 0)
            check_rcpt(&rcpt);
        break;
    case SMTP_VERB_BDAT:
        smtp_bdat_parse(argument, &size, &last);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_line_reader reader;
    struct buf in;
    char *line;
    size_t len;
    smtp_line_reader_init(&reader);
    buf_init(&in, 1024 * 1024);
    if (buf_append(&in, data, size) == 0)
        for (int r; (r = smtp_line_take(&reader, &in, SMTP_COMMAND_LINE_MAX, false, &line, &len)) != SMTP_LINE_MORE;)
            if (r == 0)
                one_line(line, len);
    buf_deinit(&in);
    smtp_line_reader_deinit(&reader);
    return 0;
}
