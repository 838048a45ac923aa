/* killat: ends one program, or the whole suite, by SIGKILL right before, in the middle of, or right after its n-th call
 * that changes something anybody else can see: a file below a folder, or bytes sent to a socket.
 *
 * LD_PRELOAD this and name a file in POSTHOUSE_KILLAT; the test writes its order there (struct order, mapped by all).
 * It counts the calls from the moment the state becomes ARMED and writes down what each one was. */
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interpose.h"

#define LABELS     512
#define LABEL_SIZE 120

enum state { IDLE, ARMED, FIRED };
enum when { BEFORE, HALFWAY, AFTER };

/* tests/integration/test_crash.py knows this layout. */
struct order {
    _Atomic uint32_t state;
    _Atomic uint32_t seen; /* calls since it was armed */
    uint32_t at;           /* the call to die at; the first is 1; 0 = never */
    uint32_t when;
    uint32_t everybody; /* kill the process group */
    uint32_t unused[3];
    char program[32];
    char folder[256];
    char labels[LABELS][LABEL_SIZE];
};

static struct order *order;

__attribute__((constructor)) static void map_order(void)
{
    const char *file = getenv("POSTHOUSE_KILLAT");
    int fd = file != NULL ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = fd >= 0 ? mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (mapped != MAP_FAILED)
        order = mapped;
    if (fd >= 0)
        close(fd);
}

/* Up to the first byte that is not printable. */
static int printable(const char *data, size_t len)
{
    int n = 0;
    while ((size_t)n < len && n < 40 && data[n] >= ' ' && data[n] < 0x7f)
        n++;
    return n;
}

/* "tell 19 20": the types of the messages in the record (lib/ipc/wire.h). */
static void describe_record(const unsigned char *data, size_t len, char *label)
{
    int n = snprintf(label, LABEL_SIZE, "tell");
    for (size_t at = 0; at + 8 <= len && n < LABEL_SIZE - 12;) {
        uint32_t words[2];
        memcpy(words, data + at, sizeof(words));
        n += snprintf(label + n, LABEL_SIZE - (size_t)n, " %u", words[1]);
        at += 4 + (words[0] & 0x7fffffff);
    }
}

static bool describe_send(const struct call *c, char *label)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return false;
    if (domain == AF_UNIX)
        describe_record(c->data, c->len, label);
    else
        snprintf(label, LABEL_SIZE, "send %.*s", printable(c->data, c->len), (const char *)c->data);
    return true;
}

static const char *below(const char *path)
{
    size_t n = strlen(order->folder);
    return strncmp(path, order->folder, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static bool describe(const struct call *c, char *label)
{
    char path[1024], path2[1024];
    if (c->kind == CALL_SEND)
        return describe_send(c, label);
    if (!call_path(c->fd, c->path, path, sizeof(path)) || below(path) == NULL)
        return false;
    if (c->path2 == NULL)
        snprintf(label, LABEL_SIZE, "%s %s", c->name, below(path));
    else if (!call_path(c->fd2, c->path2, path2, sizeof(path2)) || below(path2) == NULL)
        return false;
    else
        snprintf(label, LABEL_SIZE, "%s %s %s", c->name, below(path), below(path2));
    return true;
}

static void die(void)
{
    atomic_store(&order->state, FIRED);
    kill(order->everybody ? 0 : getpid(), SIGKILL);
    for (;;)
        pause();
}

bool call_begin(struct call *c)
{
    char label[LABEL_SIZE];
    if (order == NULL || atomic_load(&order->state) != ARMED ||
        strcmp(program_invocation_short_name, order->program) != 0 || !describe(c, label))
        return false;
    uint32_t number = atomic_fetch_add(&order->seen, 1) + 1;
    if (number <= LABELS)
        memcpy(order->labels[number - 1], label, LABEL_SIZE);
    if (number != order->at)
        return false;
    if (order->when == BEFORE)
        die();
    /* Only a stream can be cut in two. */
    if (order->when == HALFWAY && (c->kind == CALL_WRITE || strcmp(c->name, "send") == 0))
        c->len /= 2;
    return true;
}

void call_end(struct call *c)
{
    die();
}
