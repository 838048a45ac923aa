#include "smtp-out/failure.h"

#include <stdio.h>

static void failure_init(struct failure *f, const struct session *s, struct verdict verdict)
{
    *f = (struct failure){.verdict = verdict};
    snprintf(f->relay, sizeof(f->relay), "%s", s != NULL ? s->relay : "none");
    snprintf(f->tls, sizeof(f->tls), "%s", s != NULL ? s->tls : "none");
}

void failure_from_loss(struct failure *f, const struct session *s, enum stage stage, const char *why)
{
    failure_init(f, s, verdict_decide(stage, 0, (struct mail_status){0}));
    snprintf(f->reason, sizeof(f->reason), "%.500s %s", why, stage_text(stage));
}

void failure_from_trouble(struct failure *f, const struct session *s, enum trouble trouble, const char *why)
{
    failure_init(f, s, verdict_of_trouble(trouble));
    f->verdict.code = 0; /* a result's code is what the server replied */
    snprintf(f->reason, sizeof(f->reason), "%.900s", why);
}

void failure_from_reply(struct failure *f, const struct session *s, enum stage stage, const struct smtp_reply *reply)
{
    struct buf text;
    buf_init(&text, SMTP_REPLY_TEXT_MAX + 1024);
    smtp_reply_flatten(reply, &text);
    failure_init(f, s, verdict_decide(stage, reply->code, reply->status));
    snprintf(f->reason, sizeof(f->reason), "%.*s", (int)sizeof(f->reason) - 1, buf_str(&text));
    buf_deinit(&text);
}
