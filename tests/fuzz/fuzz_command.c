/* Command lines as a client sends them, and the arguments of MAIL and RCPT. */
#include <string.h>

#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(char *line, size_t len)
{
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    struct smtp_argument_fault fault;
    char *argument;
    switch (smtp_command_parse(line, len, &argument)) {
    case SMTP_VERB_MAIL:
        smtp_mail_parse(argument, SMTP_EXT_ALL, &mail, &fault);
        break;
    case SMTP_VERB_RCPT:
        smtp_rcpt_parse(argument, SMTP_EXT_ALL, true, &rcpt, &fault);
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
