#include "smtp-out/route.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { CREDENTIALS_FILE_MAX = 2048 };

static char *take_line(char **text)
{
    char *line = *text;
    char *end = strchr(line, '\n');
    *text = end != NULL ? end + 1 : line + strlen(line);
    size_t len = end != NULL ? (size_t)(end - line) : strlen(line);
    if (len > 0 && line[len - 1] == '\r')
        len--;
    return text_dup_n(line, len);
}

static int parse_credentials(struct route *r, char *text)
{
    r->user = take_line(&text);
    r->password = take_line(&text);
    if (r->user == NULL || r->password == NULL)
        return -ENOMEM;
    return r->user[0] != '\0' && r->password[0] != '\0' ? 0 : -EINVAL;
}

/* Text that fits, or -errno; nobody but owner and group may read the file. */
static int read_secret_file(const char *path, char text[CREDENTIALS_FILE_MAX])
{
    struct stat st;
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_mode & (S_IROTH | S_IWOTH))
        return -EPERM;
    ssize_t n = read(fd, text, CREDENTIALS_FILE_MAX - 1);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    return 0;
}

static int read_credentials(struct route *r, const char *path, struct buf *why)
{
    char text[CREDENTIALS_FILE_MAX];
    int result = read_secret_file(path, text);
    if (result == 0)
        result = parse_credentials(r, text);
    explicit_bzero(text, sizeof(text));
    if (result == -EINVAL)
        buf_printf(why,
                   "route \"%s\": credentials_file = %s: expected the user name in the first line and the password "
                   "in the second",
                   r->name, path);
    else if (result == -EPERM)
        buf_printf(why, "route \"%s\": credentials_file = %s: everybody can read it; expected mode 0600 or 0640",
                   r->name, path);
    else if (result < 0)
        buf_printf(why, "route \"%s\": credentials_file = %s: %s", r->name, path, text_errno(result));
    return result;
}

static struct tls_client *open_client(const char *ca_file, const char *whose, struct buf *why)
{
    char error[TLS_ERROR_MAX];
    struct tls_client_options options = {.ca_file = ca_file[0] != '\0' ? ca_file : NULL};
    struct tls_client *client = tls_client_new(&options, error);
    if (client == NULL)
        buf_printf(why, "%sca_file = %s: %s", whose, ca_file, error);
    return client;
}

static int open_route(struct route *r, const struct route_table *t, const struct settings_smtp_out *settings,
                      const struct settings_route *block, struct buf *why)
{
    *r = (struct route){
        .name = block->name,
        .hosts = block->hosts.count > 0 ? &block->hosts : NULL,
        .port = (uint16_t)(block->port != 0 ? block->port : settings->delivery_port),
        .tls = (enum settings_tls_policy)(block->tls == TLS_POLICY_DEFAULT ? settings->tls : block->tls),
        .client = t->default_client,
        .plaintext_auth = block->plaintext_auth,
    };
    if (block->ca_file[0] != '\0') {
        char whose[300];
        snprintf(whose, sizeof(whose), "route \"%.255s\": ", block->name);
        r->client = open_client(block->ca_file, whose, why);
        if (r->client == NULL)
            return -EINVAL;
    }
    return block->credentials_file[0] != '\0' ? read_credentials(r, block->credentials_file, why) : 0;
}

int route_table_init(struct route_table *t, const struct settings_smtp_out *settings, struct buf *why)
{
    *t = (struct route_table){0};
    t->default_client = open_client(settings->ca_file, "", why);
    t->items = calloc(settings->routes.count + 1, sizeof(t->items[0]));
    int r = t->default_client == NULL ? -EINVAL : t->items == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < settings->routes.count && r == 0; i++, t->count++)
        r = open_route(&t->items[i], t, settings, settings->routes.items[i], why);
    if (r < 0) {
        route_table_deinit(t);
        return r;
    }
    t->items[t->count++] = (struct route){
        .name = "",
        .port = (uint16_t)settings->delivery_port,
        .tls = (enum settings_tls_policy)settings->tls,
        .client = t->default_client,
    };
    return 0;
}

static void wipe(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void route_table_deinit(struct route_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].client != t->default_client)
            tls_client_free(t->items[i].client);
        wipe(t->items[i].user);
        wipe(t->items[i].password);
    }
    free(t->items);
    tls_client_free(t->default_client);
    *t = (struct route_table){0};
}

/* How well a route's name fits: 0 = not at all. */
static size_t route_fit(const char *name, const char *domain)
{
    enum { ANY = 1, BELOW, EXACT = 1000 };
    if (name[0] == '\0')
        return 0;
    if (text_equal_nocase(name, domain))
        return EXACT;
    if (name[0] == '.' && text_has_suffix_nocase(domain, name))
        return BELOW + strlen(name);
    return strcmp(name, "*") == 0 ? ANY : 0;
}

const struct route *route_find(const struct route_table *t, const char *domain)
{
    const struct route *best = &t->items[t->count - 1];
    size_t best_fit = 0;
    for (size_t i = 0; i < t->count; i++) {
        size_t fit = route_fit(t->items[i].name, domain);
        if (fit > best_fit) {
            best = &t->items[i];
            best_fit = fit;
        }
    }
    return best;
}

const struct route *route_find_name(const struct route_table *t, const char *name)
{
    for (size_t i = 0; i + 1 < t->count; i++)
        if (text_equal_nocase(t->items[i].name, name))
            return &t->items[i];
    return NULL;
}

const struct route *route_default(const struct route_table *t)
{
    return &t->items[t->count - 1];
}
