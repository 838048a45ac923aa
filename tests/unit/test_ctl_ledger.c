/* The arithmetic of the audit: logs as they were written, queues as they were found, and what must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "ctl/ledger.h"

/* A is older than the beginning of the log, the others are younger. */
#define A "1P8MYHYQ80000"
#define B "1P8N0000000AA"
#define C "1P8N0000000BB"

#define AT              "2025-12-01T00:00:00.000+00:00 posthouse/"
#define SMTPD(id, text) AT "smtpd[1]: " id ": " text "\n"
#define QMGR(id, text)  AT "qmgr[2]: " id ": " text "\n"
#define BOUNCE(id, t)   AT "bounce[3]: " id ": " t "\n"
#define BEGIN           AT "master[1]: starting\n"
#define ACCEPTED(id, n)                                                                                                \
    SMTPD(id, "accepted: from=<a@b.test>, size=5, nrcpt=" n ", client=c[::1], message-id=<x, nrcpt=9>")
#define TO(id, rcpt, status)                                                                                           \
    QMGR(id, "to=<" rcpt ">, tenant=, site=s, relay=mx[192.0.2.1]:25, tls=none, dkim=none, delay=0.1, attempts=1, "    \
             "dsn=2.0.0, status=" status " (said, status=sent (x))")
#define REMOVED(id) QMGR(id, "removed")

struct waiting {
    const char *id;
    uint32_t recipients, waiting;
};

struct sample {
    const char *log, *log_after; /* before and after the queue was read */
    struct waiting queue[3];
    struct ledger_sums
        want; /* messages, accepted, before, class, queued, taken_over, unlogged, repeated, doubtful, missing */
    size_t problems;
};

static void read_lines(struct ledger *l, const char *text)
{
    char *copy = strdup(text != NULL ? text : ""), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        ledger_line(l, line);
    free(copy);
}

static void check(const struct sample *s, int64_t begin_us)
{
    struct ledger l = {.begin_us = begin_us};
    size_t problems = 0;
    read_lines(&l, s->log);
    ledger_first_read(&l);
    for (size_t i = 0; i < ARRAY_LENGTH(s->queue) && s->queue[i].id != NULL; i++)
        assert_non_null(ledger_queued(&l, s->queue[i].id, s->queue[i].recipients, s->queue[i].waiting));
    read_lines(&l, s->log_after);
    for (struct ledger_message *m = l.messages; m != NULL; m = m->hh.next) {
        if (m->late)
            continue;
        problems += ledger_judge(&l, m) != NULL;
        ledger_add(&l, m);
    }
    assert_int_equal(problems, s->problems);
    assert_memory_equal(&l.sums, &s->want, sizeof(s->want));
    ledger_deinit(&l);
}

static void books_balance(void **state)
{
    static const struct sample samples[] = {
        {.log = ""},
        /* One of each class, in a message that is through. */
        {.log = ACCEPTED(B, "4") TO(B, "a@x", "sent") TO(B, "b@x", "deferred") TO(B, "b@x", "bounced")
             TO(B, "c@x", "expired") TO(B, "d@x", "removed") REMOVED(B),
         .want = {.messages = 1, .accepted = 4, .class = {1, 1, 1, 0, 1}}},
        /* "removed" was never logged, the recipients were. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "sent"), .want = {.messages = 1, .accepted = 1, .class = {1}}},
        /* The same recipient twice in one envelope. */
        {.log = ACCEPTED(B, "2") TO(B, "a@x", "sent") TO(B, "a@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 2, .class = {2}}},
        /* A line said twice. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "sent") TO(B, "a@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {1}, .repeated = 1}},
        /* Deleted after it bounced and before its sender was told. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "bounced") TO(B, "a@x", "removed") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {0, 0, 0, 0, 1}}},
        /* A notice is a message; the line about it names another. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "bounced") BOUNCE(B, "bounce: notice=" C ", kind=failed, recipients=1")
             REMOVED(B) TO(C, "a@b.test", "sent") REMOVED(C),
         .want = {.messages = 2, .accepted = 2, .class = {1, 1}}},
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "bounced") BOUNCE(B, "bounce: notice=none, kind=failed") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {0, 1}}},
        /* Part of it waits. */
        {.log = ACCEPTED(B, "3") TO(B, "a@x", "sent"),
         .queue = {{B, 3, 2}},
         .want = {.messages = 1, .accepted = 3, .class = {1}, .queued = 2}},
        /* It moved on while the queue was read: listed before or after the line. */
        {.log = ACCEPTED(B, "2"),
         .log_after = TO(B, "a@x", "sent"),
         .queue = {{B, 2, 2}},
         .want = {.messages = 1, .accepted = 2, .class = {1}, .queued = 1}},
        {.log = ACCEPTED(B, "1"),
         .log_after = TO(B, "a@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {1}}},
        /* What is accepted after the first reading is for the next audit. */
        {.log = BEGIN, .log_after = ACCEPTED(B, "7")},
        /* smtpd was killed in between, or late. */
        {.log = QMGR(B, "taken over: nrcpt=2, waiting=2, sent=0, bounced=0, expired=0, removed=0") TO(B, "a@x", "sent")
             TO(B, "b@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 2, .class = {2}, .taken_over = 1}},
        {.log = QMGR(B, "taken over: nrcpt=1, waiting=1, sent=0, bounced=0, expired=0, removed=0") TO(B, "a@x", "sent")
             REMOVED(B) ACCEPTED(B, "1"),
         .want = {.messages = 1, .accepted = 1, .class = {1}}},
        /* qmgr was killed between file and line; the file knows no difference of the told ones. */
        {.log = ACCEPTED(B, "4") TO(B, "a@x", "sent") TO(B, "b@x", "expired")
             QMGR(B, "taken over: nrcpt=4, waiting=1, sent=2, bounced=1, expired=0, removed=0") TO(B, "d@x", "sent")
                 REMOVED(B),
         .want = {.messages = 1, .accepted = 4, .class = {3, 0, 1}}},
        /* After a power cut the file knew less than the log. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "sent")
             QMGR(B, "taken over: nrcpt=1, waiting=1, sent=0, bounced=0, expired=0, removed=0") TO(B, "a@x", "sent")
                 REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {1}, .repeated = 1}},
        /* Nobody knows whether the first attempt was a delivery. */
        {.log = ACCEPTED(B, "1")
             QMGR(B, "to=<a@x>, tenant=, site=, relay=none, tls=none, dkim=none, delay=0.1, attempts=1, "
                     "dsn=4.3.0, status=deferred (the delivery process ended before the reply was known)")
                 TO(B, "a@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {1}, .doubtful = 1}},
        /* Quoted local parts may say anything. */
        {.log = SMTPD(B, "accepted: from=<\"a>, nrcpt=7, \\\"\"@b.test>, size=5, nrcpt=1, client=c[::1]")
             TO(B, "\"x>, status=bounced (\"@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {1}}},
        /* From before the log: gone, waiting, and waiting in part. */
        {.log = TO(A, "a@x", "sent") REMOVED(A), .want = {.messages = 1, .before = 1, .class = {1}}},
        {.log = BEGIN, .queue = {{A, 2, 2}}, .want = {.messages = 1, .before = 2, .queued = 2}},
        {.log = TO(A, "a@x", "sent"),
         .queue = {{A, 3, 1}},
         .want = {.messages = 1, .before = 2, .class = {1}, .queued = 1}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(samples); i++)
        check(&samples[i], queue_id_time_us(B) - 1);
}

static void holes_are_found(void **state)
{
    static const struct sample samples[] = {
        /* Lost. */
        {.log = ACCEPTED(B, "2") TO(B, "a@x", "sent"),
         .want = {.messages = 1, .accepted = 2, .class = {1}, .missing = 1},
         .problems = 1},
        {.log = ACCEPTED(B, "2") TO(B, "a@x", "sent") TO(B, "b@x", "deferred") REMOVED(B),
         .want = {.messages = 1, .accepted = 2, .class = {1}, .missing = 1},
         .problems = 1},
        /* Nobody accepted it. */
        {.log = BEGIN TO(B, "a@x", "sent") REMOVED(B),
         .want = {.messages = 1, .class = {1}, .missing = -1},
         .problems = 1},
        {.log = BEGIN, .queue = {{B, 2, 2}}, .want = {.messages = 1, .accepted = 2, .queued = 2}, .problems = 1},
        /* More than there were. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "sent") TO(B, "b@x", "sent") REMOVED(B),
         .want = {.messages = 1, .accepted = 1, .class = {2}, .missing = -1},
         .problems = 1},
        /* Delivered, and waiting all the same. */
        {.log = ACCEPTED(B, "1") TO(B, "a@x", "sent"),
         .queue = {{B, 1, 1}},
         .want = {.messages = 1, .accepted = 1, .class = {1}},
         .problems = 1},
        /* Done by the queue, and no line says so. */
        {.log = ACCEPTED(B, "2"),
         .queue = {{B, 2, 1}},
         .want = {.messages = 1, .accepted = 2, .queued = 1, .missing = 1},
         .problems = 1},
        /* The file has another number of recipients. */
        {.log = ACCEPTED(B, "2"),
         .queue = {{B, 3, 3}},
         .want = {.messages = 1, .accepted = 2, .queued = 2},
         .problems = 1},
        {.log = ACCEPTED(B, "1") QMGR(B, "error: corrupt: new/A/" B " is not a whole queue file, moved to corrupt/"),
         .want = {.messages = 1, .accepted = 1, .missing = 1},
         .problems = 1},
        /* Another program's word does not count. */
        {.log = ACCEPTED(B, "1") AT "smtp-out[9]: " B ": to=<a@x>, status=sent (ok)\n" AT "smtpd[9]: " B ": removed\n",
         .want = {.messages = 1, .accepted = 1, .missing = 1},
         .problems = 1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(samples); i++)
        check(&samples[i], queue_id_time_us(B) - 1);
}

static void old_messages_are_left_out(void **state)
{
    struct ledger l = {.begin_us = 1, .since_us = queue_id_time_us(B)};
    read_lines(&l, ACCEPTED(A, "1") ACCEPTED(B, "1"));
    assert_null(ledger_queued(&l, A, 1, 1));
    assert_int_equal(HASH_COUNT(l.messages), 1);
    ledger_deinit(&l);
}

static void files_tell_what_the_log_does_not(void **state)
{
    struct envelope_recipient recipients[] = {{.status = RECIPIENT_DONE, .address = "a@x"},
                                              {.status = RECIPIENT_BOUNCED, .address = "b@x"},
                                              {.status = RECIPIENT_TODO, .address = "c@x"}};
    const struct envelope e = {.id = B, .recipients = recipients, .recipient_count = 3};
    struct ledger l = {.begin_us = 1};
    const struct ledger_sums want = {.messages = 1, .accepted = 3, .class = {1, 1}, .queued = 1, .unlogged = 1};
    read_lines(&l, ACCEPTED(B, "3") TO(B, "a@x", "sent"));
    ledger_first_read(&l);
    struct ledger_message *m = ledger_file(&l, &e);
    assert_non_null(m);
    assert_null(ledger_judge(&l, m));
    ledger_add(&l, m);
    assert_memory_equal(&l.sums, &want, sizeof(want));
    ledger_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_balance),
        cmocka_unit_test(holes_are_found),
        cmocka_unit_test(old_messages_are_left_out),
        cmocka_unit_test(files_tell_what_the_log_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
