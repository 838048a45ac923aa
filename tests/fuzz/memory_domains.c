#include "memory_domains.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/catalogue.h"

struct domain_question {
    struct domains *domains;
    char verdict;
    void (*on_answer)(void *arg, const struct ipc_domain_checked *answer);
    void *arg;
    struct task answer;
};

void domains_cancel(struct domain_question *q)
{
    if (q == NULL)
        return;
    task_cancel(&q->answer);
    q->domains->alive--;
    free(q);
}

static void answer(void *arg)
{
    struct domain_question *q = arg;
    void (*on_answer)(void *arg, const struct ipc_domain_checked *answer) = q->on_answer;
    void *whose = q->arg;
    struct ipc_domain_checked found = {.status = ROUTE_FOUND, .enhanced = "", .reply = ""};
    bool away = q->verdict == 'w';
    if (q->verdict == 'g')
        found = (struct ipc_domain_checked){
            .status = ROUTE_FAILED, .code = 556, .enhanced = "5.1.10", .reply = "the domain takes no mail"};
    else if (q->verdict == 't')
        found.status = ROUTE_TRY_LATER;
    domains_cancel(q);
    on_answer(whose, away ? NULL : &found);
}

int domains_ask(struct domains *d, const struct domain_subject *subject,
                void (*on_answer)(void *arg, const struct ipc_domain_checked *answer), void *arg,
                struct domain_question **out)
{
    char verdict = subject->domain[0];
    if (verdict == 'a' || verdict == 'k')
        return verdict == 'a' ? -EAGAIN : -EALREADY;
    struct domain_question *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    *q = (struct domain_question){.domains = d, .verdict = verdict, .on_answer = on_answer, .arg = arg};
    task_init(&q->answer, d->loop, answer, q);
    d->alive++;
    if (verdict != 's')
        task_post(&q->answer);
    *out = q;
    return 0;
}
