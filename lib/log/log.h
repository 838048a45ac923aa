/* log: one line per event, queue id first, the same key order everywhere.
 *
 * A line is "<queue id>: key=value, key=value" after a prefix with time, program and pid.  Bytes that could forge a
 * line or move a terminal's cursor are written as \xNN, so remote text may be passed as it came.  Libraries return
 * errors; daemons log them, once, where the decision is taken. */
#ifndef POSTHOUSE_LOG_LOG_H
#define POSTHOUSE_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Where lines go: "stderr", "syslog" or the absolute path of a file (appended to, one write for one or more whole
 * lines, safe for several processes).  ident is the program's name ("smtpd").  Keeps what it needs open, so call it
 * before chroot.  0 or -errno; on failure lines go on to standard error. */
int log_open(const char *ident, const char *destination, enum log_level level);
void log_close(void);

/* From now on lines gather, and leave with one write when log_flush is called, when there are many, or at once with an
 * error or a warning.  want is told when the first one waits.  A process that is killed takes with it what waits. */
void log_gather(void (*want)(void *arg), void *arg);
void log_flush(void);

bool log_wants(enum log_level level);

/* An event of the program: no queue id. */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* An event in the life of a message. */
void log_message(enum log_level level, const char *queue_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The delivery line, one per recipient and attempt; the only function that writes it (terms as in Postfix's logs). */
struct log_delivery {
    const char *queue_id;
    const char *recipient;
    const char *tenant;   /* "" = none */
    const char *site;     /* scheduling key, "" = never got one */
    const char *relay;    /* "mx.example.com[192.0.2.1]:25" or "none" */
    const char *tls;      /* "TLSv1.3/TLS_AES_256_GCM_SHA384/unverified" or "none" */
    const char *dkim;     /* "selector@domain,selector2@domain" or "none" */
    const char *status;   /* "sent", "deferred", "bounced", "expired", "removed" */
    const char *enhanced; /* RFC 3463, "2.0.0" */
    const char *reply;    /* the remote reply or our reason */
    int64_t delay_ms;     /* since arrival */
    unsigned attempts;
};
void log_delivery(const struct log_delivery *d);

#endif
