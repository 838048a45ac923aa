#include "master/certificates.h"

#include <errno.h>
#include <stdlib.h>

#include "log/log.h"
#include "master/master.h"

static void look(const char *path, struct stat *st)
{
    if (stat(path, st) < 0)
        *st = (struct stat){0};
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool look_again(struct certificates *c)
{
    bool changed = false;
    for (size_t i = 0; i < c->count; i++) {
        struct stat now;
        look(c->files[i].path, &now);
        if (is_same(&now, &c->files[i].seen))
            continue;
        c->files[i].seen = now;
        changed = true;
        log_info("certificate changed: file=%s%s", c->files[i].path, now.st_ino == 0 ? ", it is not there" : "");
    }
    return changed;
}

static void set_timer(struct certificates *c)
{
    uint64_t interval_ms = (uint64_t)c->master->configuration.master.certificate_check_ms;
    if (interval_ms > 0)
        timer_set_ms(&c->timer, interval_ms);
    else
        timer_stop(&c->timer);
}

/* A chain and its key are two files: smtpd is replaced when a whole interval has passed without a change.  Were they
 * not a pair, the new one would not start, and the old one goes on. */
static void on_timer(void *arg)
{
    struct certificates *c = arg;
    set_timer(c);
    if (look_again(c)) {
        c->changed = true;
    } else if (c->changed && !c->master->stopping && !c->master->reloading) {
        c->changed = false;
        master_replace_smtpd(c->master);
    }
}

static void add(struct certificates *c, const char *path)
{
    if (path[0] == '\0')
        return;
    c->files[c->count].path = path;
    look(path, &c->files[c->count++].seen);
}

int certificates_watch(struct certificates *c)
{
    const struct settings_smtpd *s = &c->master->configuration.smtpd;
    struct certificate_file *files = calloc(3 + 2 * s->certificates.count, sizeof(*files));
    free(c->files);
    c->files = files;
    c->count = 0;
    c->changed = false;
    if (files == NULL)
        return -ENOMEM;
    add(c, s->certificate);
    add(c, s->key);
    add(c, s->client_ca);
    for (size_t i = 0; i < s->certificates.count; i++) {
        const struct settings_certificate *certificate = s->certificates.items[i];
        add(c, certificate->chain);
        add(c, certificate->key);
    }
    set_timer(c);
    return 0;
}

int certificates_init(struct certificates *c, struct master *m)
{
    c->master = m;
    return timer_init(&c->timer, m->loop, on_timer, c);
}

void certificates_deinit(struct certificates *c)
{
    timer_deinit(&c->timer);
    free(c->files);
    c->files = NULL;
}
