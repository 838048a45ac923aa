#include "master/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "log/log.h"

static int set_option(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int bind_socket(const struct net_address *a, int64_t backlog)
{
    bool local = a->any.sa_family == AF_UNIX;
    _cleanup_(fd_closep) int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (local)
        unlink(a->un.sun_path);
    int r = local ? 0 : set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (r == 0 && !local)
        r = set_option(fd, SOL_SOCKET, SO_REUSEPORT);
    if (r == 0 && a->any.sa_family == AF_INET6)
        r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (r == 0 && (bind(fd, &a->any, a->len) < 0 || listen(fd, (int)backlog) < 0))
        r = -errno;
    if (r == 0 && local && chmod(a->un.sun_path, 0666) < 0)
        r = -errno;
    return r < 0 ? r : TAKE_FD(fd);
}

static bool same_address(const struct net_address *a, const struct net_address *b)
{
    return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

static struct listen_socket *find(struct listen_set *set, const char *name, const struct net_address *a, unsigned slot)
{
    for (size_t i = 0; i < set->count; i++) {
        struct listen_socket *s = &set->items[i];
        if (s->slot == slot && strcmp(s->name, name) == 0 && same_address(&s->address, a))
            return s;
    }
    return NULL;
}

/* SO_REUSEPORT would happily share the port with another suite of ours; a plain bind tells. */
static int check_unused(const struct listen_set *set, const struct net_address *a)
{
    if (a->any.sa_family == AF_UNIX)
        return 0;
    for (size_t i = 0; i < set->count; i++)
        if (same_address(&set->items[i].address, a))
            return 0;
    _cleanup_(fd_closep) int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (r == 0 && a->any.sa_family == AF_INET6)
        r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    return r == 0 && bind(fd, &a->any, a->len) < 0 ? -errno : r;
}

static int add(struct listen_set *set, const char *name, const struct net_address *a, unsigned slot, int64_t backlog)
{
    struct listen_socket *grown = realloc(set->items, (set->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    set->items = grown;
    char *copy = strdup(name);
    int fd = copy == NULL ? -ENOMEM : bind_socket(a, backlog);
    if (fd < 0) {
        free(copy);
        return fd;
    }
    set->items[set->count++] =
        (struct listen_socket){.name = copy, .address = *a, .slot = slot, .fd = fd, .wanted = true};
    return 0;
}

static int want(struct listen_set *set, const char *name, const struct net_address *a, unsigned slots, int64_t backlog)
{
    bool local = a->any.sa_family == AF_UNIX;
    int r = find(set, name, a, 0) != NULL ? 0 : check_unused(set, a);
    for (unsigned slot = 0; slot < (local ? 1 : slots) && r == 0; slot++) {
        struct listen_socket *kept = find(set, name, a, slot);
        if (kept != NULL)
            kept->wanted = true;
        else
            r = add(set, name, a, slot, backlog);
    }
    return r;
}

static void drop_unwanted(struct listen_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!set->items[i].wanted) {
            close(set->items[i].fd);
            free(set->items[i].name);
        } else {
            set->items[kept++] = set->items[i];
        }
    }
    set->count = kept;
}

static int want_listener(struct listen_set *set, const struct settings_listener *l, unsigned slots, int64_t backlog)
{
    for (size_t i = 0; i < l->address.count; i++) {
        _cleanup_(freep) char *name = text_format("listen:%s:%zu", l->name, i);
        int r = name == NULL ? -ENOMEM : want(set, name, &l->address.items[i], slots, backlog);
        if (r < 0) {
            char text[NET_TEXT_MAX];
            log_error("smtpd.conf: listener \"%s\": %s: can not listen: %s", l->name,
                      l->address.items[i].any.sa_family == AF_UNIX ? l->address.items[i].un.sun_path
                                                                   : net_format(&l->address.items[i], text),
                      text_errno(r));
            return r;
        }
    }
    return 0;
}

int listen_apply(struct listen_set *set, const struct configuration *c, unsigned slots)
{
    size_t before = set->count;
    int r = 0;
    for (size_t i = 0; i < set->count; i++)
        set->items[i].wanted = false;
    for (size_t i = 0; i < c->smtpd.listeners.count && r == 0; i++)
        r = want_listener(set, c->smtpd.listeners.items[i], slots, c->master.listen_backlog);
    if (r < 0) {
        /* Back to what was: the new ones stand behind the old ones. */
        for (size_t i = 0; i < set->count; i++)
            set->items[i].wanted = i < before;
    }
    drop_unwanted(set);
    return r;
}

void listen_close(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->items[i].wanted = false;
    drop_unwanted(set);
    free(set->items);
    *set = (struct listen_set){0};
}

int listen_local(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, name, len + 1);
    _cleanup_(fd_closep) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlink(name);
    /* Who may say what is checked on each connection (SO_PEERCRED). */
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || chmod(name, 0666) < 0 || listen(fd, 128) < 0)
        return -errno;
    return TAKE_FD(fd);
}
