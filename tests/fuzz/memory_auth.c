#include "memory_auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/identity.h"

enum { CHALLENGE_MAX = 12288 }; /* RFC 4954 section 4 */

struct auth_exchange {
    struct auth_client *client;
    const struct auth_ops *ops;
    void *arg;
    char verdict;
    bool asked;    /* the client is to answer */
    char name[64]; /* a proxy vouches for it; else "" */
    struct task answer;
};

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void exchange_free(struct auth_exchange *x)
{
    task_cancel(&x->answer);
    x->client->alive--;
    free(x);
}

static void challenge(struct auth_exchange *x, size_t len)
{
    char text[CHALLENGE_MAX + 1];
    memset(text, 'A', len);
    text[len] = '\0';
    x->asked = true;
    x->ops->on_challenge(x->arg, text);
}

static void end(struct auth_exchange *x, enum ipc_auth_result result)
{
    const struct auth_ops *ops = x->ops;
    void *arg = x->arg;
    bool ok = result == AUTH_OK;
    const struct ipc_auth_done done = {.result = result,
                                       .credential = ok                      ? MEMORY_AUTH_CREDENTIAL
                                                     : result == AUTH_NOBODY ? x->name
                                                                             : "",
                                       .tenant = ok ? MEMORY_AUTH_TENANT : "",
                                       .senders = x->verdict == 'm' ? MEMORY_AUTH_SENDERS : "",
                                       .bulk = x->verdict == 'b'};
    x->client->ok += ok;
    x->client->bound = x->verdict == 'm';
    task_cancel(&x->answer);
    ops->on_done(arg, &done);
    exchange_free(x);
}

static void answer(void *arg)
{
    struct auth_exchange *x = arg;
    switch (x->verdict) {
    case '\0':
        challenge(x, 0);
        break;
    case 'c':
        challenge(x, 40);
        break;
    case 'l':
        challenge(x, CHALLENGE_MAX);
        break;
    case 's':
        break;
    case 'o':
    case 'b':
    case 'm':
        end(x, AUTH_OK);
        break;
    case 'f':
        end(x, AUTH_FAILED);
        break;
    case 't':
    case 'w':
        end(x, AUTH_TEMPFAIL);
        break;
    case 'n':
        end(x, AUTH_NO_MECHANISM);
        break;
    default:
        end(x, AUTH_MALFORMED);
    }
}

static void look_up(void *arg)
{
    struct auth_exchange *x = arg;
    if (x->verdict == 'o' || x->verdict == 'b' || x->verdict == 'm')
        end(x, AUTH_OK);
    else if (x->verdict == 'f' || x->verdict == 't' || x->verdict == 'w')
        end(x, x->verdict == 'f' ? AUTH_FAILED : AUTH_TEMPFAIL);
    else
        end(x, AUTH_NOBODY);
}

static int judge(struct auth_exchange *x, const char *said)
{
    if (said[0] == 'a')
        return -EAGAIN;
    x->verdict = said[0];
    task_post(&x->answer);
    return 0;
}

int auth_start(struct auth_client *client, struct ipc_auth_start *start, const struct auth_ops *ops, void *arg,
               struct auth_exchange **out)
{
    require(start->secure == 1 || start->vouched, "nobody logs in without TLS");
    require(strcmp(start->mechanism, "EXTERNAL") != 0 || strlen(start->certificate) == TLS_FINGERPRINT_MAX - 1,
            "who logs in by certificate showed one");
    require(start->mechanism[0] != '\0' && start->client_address[0] != '\0', "a login tells who asks for what");
    struct auth_exchange *x = calloc(1, sizeof(*x));
    *x = (struct auth_exchange){.client = client, .ops = ops, .arg = arg};
    if (start->vouched)
        snprintf(x->name, sizeof(x->name), "%s", start->initial);
    task_init(&x->answer, client->loop, start->vouched ? look_up : answer, x);
    client->alive++;
    /* An initial response of no bytes is one. */
    if (judge(x, start->has_initial && start->initial[0] == '\0' ? "=" : start->initial) < 0) {
        exchange_free(x);
        return -EAGAIN;
    }
    *out = x;
    return 0;
}

int auth_step(struct auth_client *client, struct auth_exchange *x, const char *response)
{
    require(x->asked, "who answers was asked");
    x->asked = false;
    return judge(x, response[0] == '\0' ? "=" : response);
}

void auth_cancel(struct auth_client *client, struct auth_exchange *x)
{
    if (x != NULL)
        exchange_free(x);
}
