/* The message is read with pread and not through a mapping: what somebody truncates under a mapping is SIGBUS for
 * whoever reads it, so one damaged queue file would end the signer again and again.  pread only comes back short.
 * Copying 64 KiB costs a few microseconds beside the hash over it. */
#include "dkim-signer/message.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mail/from.h"

static int look_at_field(void *arg, const struct mail_field *field)
{
    struct message *m = arg;
    struct buf domain;
    if (!mail_field_is(field, "From") || ++m->from_fields > 1)
        return 0;
    buf_init(&domain, 4 * MAIL_DNS_NAME_MAX);
    int r = mail_from_domain(field->value, field->value_len, &domain);
    if (r == 0 && mail_domain_to_ascii(buf_str(&domain), m->from_domain) < 0)
        m->from_domain[0] = '\0';
    buf_deinit(&domain);
    return r == -ENOMEM ? r : 0;
}

/* Fills in at most size bytes from position at of the content. */
static int read_piece(const struct message *m, uint64_t at, char *data, size_t size, size_t *n)
{
    uint64_t rest = m->offset + m->length - at;
    ssize_t got = pread(m->fd, data, rest < size ? (size_t)rest : size, (off_t)at);
    *n = got > 0 ? (size_t)got : 0;
    return got < 0 ? -errno : got == 0 ? MESSAGE_TRUNCATED : 0;
}

static int header_result(int r)
{
    return r == MAIL_HEADER_MALFORMED || r == MAIL_HEADER_TOO_LARGE ? MESSAGE_MALFORMED : r;
}

/* Feeds the walker until the header ends; what it used is kept. */
static int read_header(struct message *m, struct mail_header_walker *walker)
{
    char piece[MESSAGE_PIECE];
    uint64_t at = m->offset, end = m->offset + m->length;
    int r = 0;
    while (r == 0 && at < end) {
        size_t n, used = 0;
        r = read_piece(m, at, piece, sizeof(piece), &n);
        if (r != 0)
            return r;
        r = mail_header_feed(walker, piece, n, &used);
        int kept = buf_append(&m->header, piece, used);
        if (kept < 0)
            return kept == -ENOBUFS ? MESSAGE_MALFORMED : kept;
        at += used;
    }
    m->body_at = at;
    return r == MAIL_HEADER_ENDED ? 0 : r != 0 ? header_result(r) : header_result(mail_header_finish(walker));
}

static void cut_empty_line(struct buf *header)
{
    if (header->len >= 2 && memcmp(header->data + header->len - 2, "\r\n", 2) == 0 &&
        (header->len == 2 || header->data[header->len - 3] == '\n'))
        buf_truncate(header, header->len - 2);
}

int message_init(struct message *m, int fd, uint64_t offset, uint64_t length)
{
    struct stat st;
    struct mail_header_walker walker;
    *m = (struct message){.fd = fd, .offset = offset, .length = length};
    buf_init(&m->header, MESSAGE_HEADER_MAX);
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < 0 || offset > (uint64_t)st.st_size || length > (uint64_t)st.st_size - offset)
        return MESSAGE_TRUNCATED;
    mail_header_init(&walker, MESSAGE_HEADER_MAX, MESSAGE_HEADER_MAX, look_at_field, m);
    int r = read_header(m, &walker);
    mail_header_deinit(&walker);
    if (r == 0)
        cut_empty_line(&m->header);
    return r;
}

void message_deinit(struct message *m)
{
    buf_deinit(&m->header);
}

int message_fields(const struct message *m, mail_field_fn *fn, void *arg)
{
    struct mail_header_walker walker;
    size_t used;
    mail_header_init(&walker, MESSAGE_HEADER_MAX, MESSAGE_HEADER_MAX, fn, arg);
    int r = m->header.len > 0 ? mail_header_feed(&walker, m->header.data, m->header.len, &used) : 0;
    if (r == 0)
        r = mail_header_finish(&walker);
    mail_header_deinit(&walker);
    return r;
}

int message_body(const struct message *m, int (*fn)(void *arg, const char *data, size_t len), void *arg)
{
    char piece[MESSAGE_PIECE];
    int r = 0;
    for (uint64_t at = m->body_at; r == 0 && at < m->offset + m->length;) {
        size_t n;
        r = read_piece(m, at, piece, sizeof(piece), &n);
        if (r == 0)
            r = fn(arg, piece, n);
        at += n;
    }
    return r;
}
