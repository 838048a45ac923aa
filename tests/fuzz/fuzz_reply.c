/* Replies of a remote server, and what EHLO makes of them. */
#include "smtp/ehlo.h"
#include "smtp/reply.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_reply reply;
    struct smtp_ehlo ehlo;
    struct buf in, line;
    smtp_reply_init(&reply);
    buf_init(&in, 1024 * 1024);
    buf_init(&line, 65536);
    if (buf_append(&in, data, size) == 0) {
        while (smtp_reply_take(&reply, &in) == 0) {
            smtp_ehlo_parse(&reply, &ehlo);
            smtp_reply_flatten(&reply, &line);
            buf_clear(&line);
        }
    }
    buf_deinit(&in);
    buf_deinit(&line);
    smtp_reply_deinit(&reply);
    return 0;
}
