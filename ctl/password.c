#include "ctl/password.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl.h"
#include "store/credentials.h"

#define GENERATED_CHARACTERS 24 /* of 57: 139 bits */

void password_wipe(struct buf *password)
{
    if (password->base != NULL)
        explicit_bzero(password->base, password->capacity);
    buf_deinit(password);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    interrupted = 1;
}

/* One line without its line end, byte by byte so that nothing of what follows is taken. */
static int read_line(int fd, struct buf *line)
{
    for (char c; line->len <= CREDENTIAL_PASSWORD_MAX;) {
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR && !interrupted)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || c == '\n')
            return 0;
        int r = buf_append_char(line, c);
        if (r < 0)
            return r;
    }
    return -EMSGSIZE;
}

/* Ctrl-C must not leave a terminal behind that shows nothing of what is typed. */
static int ask(const char *prompt, const char *name, struct buf *line)
{
    const struct sigaction catch = {.sa_handler = on_interrupt};
    struct sigaction usual;
    struct termios before, silent;
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return -errno;
    sigaction(SIGINT, &catch, &usual);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    fprintf(stderr, "%s for %s: ", prompt, name);
    int r = read_line(STDIN_FILENO, line);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    sigaction(SIGINT, &usual, NULL);
    return r;
}

static int ask_twice(const char *name, struct buf *password)
{
    struct buf again;
    buf_init(&again, CREDENTIAL_PASSWORD_MAX + 1);
    int r = buf_reserve(&again, CREDENTIAL_PASSWORD_MAX + 1);
    if (r == 0)
        r = ask("New password", name, password);
    if (r == 0)
        r = ask("The same again", name, &again);
    if (r == 0 && (password->len != again.len || memcmp(buf_str(password), buf_str(&again), again.len) != 0))
        r = -EKEYREJECTED;
    password_wipe(&again);
    return r;
}

int password_read(const char *name, struct buf *password)
{
    buf_init(password, CREDENTIAL_PASSWORD_MAX + 1);
    int r = buf_reserve(password, CREDENTIAL_PASSWORD_MAX + 1); /* grows never, so no copy stays behind */
    if (r == 0)
        r = isatty(STDIN_FILENO) ? ask_twice(name, password) : read_line(STDIN_FILENO, password);
    if (r == -EKEYREJECTED)
        return ctl_say(CTL_FAILED, "the two passwords differ; nothing was changed");
    if (r < 0 && r != -EMSGSIZE && r != -ENOBUFS)
        return ctl_say(CTL_FAILED, "the password can not be read: %s", text_errno(r));
    if (r < 0 || !credential_password_valid(buf_str(password), password->len))
        return ctl_say(CTL_FAILED,
                       "not accepted as a password: expected one line of 1 to %d bytes of UTF-8 without control "
                       "characters; nothing was changed",
                       CREDENTIAL_PASSWORD_MAX);
    return CTL_OK;
}

int password_generate(struct buf *password)
{
    /* Without those that look alike, so that it can be read out. */
    static const char alphabet[] = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
    const unsigned fair = 256 - 256 % (sizeof(alphabet) - 1);
    buf_init(password, CREDENTIAL_PASSWORD_MAX);
    while (password->len < GENERATED_CHARACTERS) {
        unsigned char byte;
        if (scram_random(&byte, 1) < 0)
            return ctl_say(CTL_FAILED, "the system has no random numbers");
        if (byte < fair && buf_append_char(password, alphabet[byte % (sizeof(alphabet) - 1)]) < 0)
            return ctl_say(CTL_FAILED, "not enough memory");
    }
    return CTL_OK;
}
