#include "log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

#define LOG_LINE_MAX    4096
#define LOG_LINE_ROOM   (LOG_LINE_MAX + 256) /* with what stands in front */
#define LOG_GATHER_MAX  (64 * 1024)
#define LOG_GATHER_FULL (LOG_GATHER_MAX - LOG_LINE_ROOM)

static struct {
    const char *ident;
    enum log_level level;
    int fd;
    bool syslog;
    pid_t pid;
    void (*want)(void *arg); /* lines gather */
    void *want_arg;
    struct buf waiting;
} target = {.ident = "posthouse", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO, .waiting = {.limit = LOG_GATHER_MAX}};

static const struct {
    const char *word;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error: ", LOG_ERR},
    [LOG_LEVEL_WARNING] = {"warning: ", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug: ", LOG_DEBUG},
};

int log_open(const char *ident, const char *destination, enum log_level level)
{
    log_close();
    target.ident = ident;
    target.level = level;
    if (strcmp(destination, "stderr") == 0)
        return 0;
    if (strcmp(destination, "syslog") == 0) {
        static char tag[64];
        snprintf(tag, sizeof(tag), "posthouse/%s", ident);
        openlog(tag, LOG_PID | LOG_NDELAY, LOG_MAIL);
        target.syslog = true;
        return 0;
    }
    int fd = open(destination, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    target.fd = fd;
    return 0;
}

void log_flush(void)
{
    /* A log that can not be written must not stop mail; there is nobody left to tell. */
    ssize_t ignored = target.waiting.len > 0 ? write(target.fd, target.waiting.data, target.waiting.len) : 0;
    (void)ignored;
    buf_clear(&target.waiting);
}

void log_gather(void (*want)(void *arg), void *arg)
{
    target.want = want;
    target.want_arg = arg;
}

void log_close(void)
{
    log_flush();
    buf_deinit(&target.waiting);
    if (target.syslog)
        closelog();
    if (target.fd != STDERR_FILENO)
        close(target.fd);
    target.syslog = false;
    target.fd = STDERR_FILENO;
}

bool log_wants(enum log_level level)
{
    return level <= target.level;
}

/* What waits is the parent's to write. */
static void begin_child(void)
{
    target.pid = 0;
    buf_clear(&target.waiting);
}

static void append_source(struct buf *line)
{
    if (target.pid == 0) {
        static bool prepared;
        if (!prepared)
            pthread_atfork(NULL, NULL, begin_child);
        prepared = true;
        target.pid = getpid();
    }
    buf_printf(line, "posthouse/%s[%d]: ", target.ident, (int)target.pid);
}

/* The calendar is asked once a second. */
static void append_time(struct buf *line)
{
    static time_t shown_s;
    static char text[64], zone[8];
    int64_t us = clock_wall_us();
    time_t s = (time_t)(us / 1000000);
    if (s != shown_s || text[0] == '\0') {
        struct tm tm;
        localtime_r(&s, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        strftime(zone, sizeof(zone), "%z", &tm);
        shown_s = s;
    }
    buf_printf(line, "%s.%03d%.3s:%.2s ", text, (int)(us / 1000 % 1000), zone, zone + 3);
}

/* Bytes of the printable character at p: 1 to 4, or 0 for a control character or what is not UTF-8 (RFC 3629). */
static size_t printable_bytes(const unsigned char *p)
{
    static const struct {
        unsigned char first, last, second_min, second_max;
        size_t bytes;
    } forms[] = {{0x20, 0x7e, 0, 0, 1},       {0xc2, 0xc2, 0xa0, 0xbf, 2}, {0xc3, 0xdf, 0x80, 0xbf, 2},
                 {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                 {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
                 {0xf4, 0xf4, 0x80, 0x8f, 4}};
    size_t i = 0;
    while (i < ARRAY_LENGTH(forms) && (p[0] < forms[i].first || p[0] > forms[i].last))
        i++;
    if (i == ARRAY_LENGTH(forms))
        return 0;
    if (forms[i].bytes > 1 && (p[1] < forms[i].second_min || p[1] > forms[i].second_max))
        return 0;
    for (size_t k = 2; k < forms[i].bytes; k++)
        if (p[k] < 0x80 || p[k] > 0xbf)
            return 0;
    return forms[i].bytes;
}

/* Control bytes and bytes that are not UTF-8 are shown, never sent to the reader's terminal. */
static void append_printable(struct buf *line, size_t end, const char *s)
{
    while (*s != '\0' && line->len < end) {
        size_t n = 0;
        while (s[n] >= 0x20 && s[n] <= 0x7e && line->len + n < end)
            n++;
        if (n == 0)
            n = printable_bytes((const unsigned char *)s);
        if (n == 0)
            buf_printf(line, "\\x%02x", (unsigned char)*s++);
        else
            buf_append(line, s, n);
        s += n;
    }
}

static void append_line(struct buf *line, enum log_level level, const char *queue_id, const char *text)
{
    size_t end = line->len + LOG_LINE_MAX - 8;
    if (!target.syslog) {
        append_time(line);
        append_source(line);
    }
    if (queue_id != NULL) {
        append_printable(line, end, queue_id);
        buf_append_str(line, ": ");
    }
    buf_append_str(line, levels[level].word);
    append_printable(line, end, text);
}

__attribute__((format(printf, 3, 0))) static void emit(enum log_level level, const char *queue_id, const char *fmt,
                                                       va_list ap)
{
    int saved_errno = errno;
    if (!log_wants(level))
        return;
    char text[LOG_LINE_MAX];
    vsnprintf(text, sizeof(text), fmt, ap); /* a text that is too long loses its end */
    struct buf *line = &target.waiting;
    bool first = line->len == 0;
    append_line(line, level, queue_id, text);
    if (target.syslog) {
        syslog(levels[level].priority, "%s", buf_str(line));
        buf_clear(line);
    } else {
        buf_append_char(line, '\n');
        if (target.want == NULL || level <= LOG_LEVEL_WARNING || line->len > LOG_GATHER_FULL)
            log_flush();
        else if (first)
            target.want(target.want_arg);
    }
    errno = saved_errno;
}

#define DEFINE_LOG(name, level)                                                                                        \
    void log_##name(const char *fmt, ...)                                                                              \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        va_start(ap, fmt);                                                                                             \
        emit(level, NULL, fmt, ap);                                                                                    \
        va_end(ap);                                                                                                    \
    }

DEFINE_LOG(error, LOG_LEVEL_ERROR)
DEFINE_LOG(warning, LOG_LEVEL_WARNING)
DEFINE_LOG(info, LOG_LEVEL_INFO)
DEFINE_LOG(debug, LOG_LEVEL_DEBUG)

void log_message(enum log_level level, const char *queue_id, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit(level, queue_id, fmt, ap);
    va_end(ap);
}

void log_delivery(const struct log_delivery *d)
{
    long long delay_ms = d->delay_ms > 0 ? d->delay_ms : 0; /* the clock may have been set back */
    log_message(LOG_LEVEL_INFO, d->queue_id,
                "to=<%s>, tenant=%s, site=%s, relay=%s, tls=%s, dkim=%s, delay=%lld.%03lld, attempts=%u, dsn=%s, "
                "status=%s (%.1000s)",
                d->recipient, d->tenant, d->site, d->relay, d->tls, d->dkim, delay_ms / 1000, delay_ms % 1000,
                d->attempts, d->enhanced, d->status, d->reply);
}
