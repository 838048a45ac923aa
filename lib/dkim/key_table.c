#include "dkim/key_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "mail/domain.h"

#define LINE_TEXT_MAX 8192

static const char blanks[] = " \t\r";

void key_table_deinit(struct key_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        struct key_table_row *row = &table->rows[i];
        free(row->domain);
        free(row->selector);
        free(row->path);
        signing_key_deinit(&row->key);
    }
    free(table->rows);
    *table = (struct key_table){0};
}

/* Cuts the next word off *text, or the rest of the line. */
static char *take_word(char **text, bool rest)
{
    char *word = *text + strspn(*text, blanks);
    if (rest) {
        size_t len = strlen(word);
        while (len > 0 && strchr(blanks, word[len - 1]) != NULL)
            word[--len] = '\0';
        return word;
    }
    *text = word + strcspn(word, blanks);
    if (**text != '\0')
        *(*text)++ = '\0';
    return word;
}

static char *join_folder(const char *table_path, const char *path)
{
    const char *slash = strrchr(table_path, '/');
    if (path[0] == '/' || slash == NULL)
        return strdup(path);
    return text_format("%.*s/%s", (int)(slash - table_path), table_path, path);
}

static bool is_selector(const char *s)
{
    return text_is_ascii(s, strlen(s)) && strlen(s) <= 128 && mail_domain_is_valid(s, strlen(s));
}

static int add_row(struct key_table *table, const char *table_path, const char *domain, const char *selector,
                   const char *path, unsigned line)
{
    if ((table->count & (table->count + 1)) == 0) { /* full at 0, 1, 3, 7, … rows */
        struct key_table_row *more = realloc(table->rows, (2 * table->count + 1) * sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        table->rows = more;
    }
    struct key_table_row row = {
        .domain = strdup(domain), .selector = strdup(selector), .path = join_folder(table_path, path), .line = line};
    if (row.domain != NULL)
        text_lower(row.domain);
    table->rows[table->count++] = row;
    return row.domain != NULL && row.selector != NULL && row.path != NULL ? 0 : -ENOMEM;
}

/* 0, -EINVAL with what was expected in why, or -ENOMEM. */
static int parse_line(struct key_table *table, const char *table_path, char *text, unsigned line, const char **why)
{
    char ascii[MAIL_DNS_NAME_MAX + 1];
    char *domain = take_word(&text, false);
    if (domain[0] == '\0' || domain[0] == '#')
        return 0;
    char *selector = take_word(&text, false), *path = take_word(&text, true);
    *why = NULL;
    if (path[0] == '\0')
        *why = "expected: domain selector path-to-private-key";
    else if (!mail_domain_is_valid(domain, strlen(domain)) || mail_domain_to_ascii(domain, ascii) < 0)
        *why = "the first word is no domain name";
    else if (!is_selector(selector))
        *why = "the second word is no selector: expected labels of letters, digits and hyphens";
    return *why != NULL ? -EINVAL : add_row(table, table_path, ascii, selector, path, line);
}

static int compare_rows(const void *a, const void *b)
{
    const struct key_table_row *x = a, *y = b;
    int by_domain = strcmp(x->domain, y->domain);
    return by_domain != 0 ? by_domain : x->line < y->line ? -1 : x->line > y->line;
}

/* Rows of one domain stand together now. */
static int check_domains(const char *path, const struct key_table *table, struct buf *errors)
{
    int r = 0;
    size_t first = 0;
    for (size_t i = 1; i < table->count; i++) {
        const struct key_table_row *row = &table->rows[i];
        if (strcmp(table->rows[first].domain, row->domain) != 0)
            first = i;
        if (i - first == KEY_TABLE_PER_DOMAIN_MAX) {
            buf_printf(errors, "%s:%u: more than %d keys for %s\n", path, row->line, KEY_TABLE_PER_DOMAIN_MAX,
                       row->domain);
            r = -EINVAL;
        }
        /* no more than a few rows are looked at, whatever the file holds */
        for (size_t k = first; k < i && i - first <= KEY_TABLE_PER_DOMAIN_MAX; k++) {
            if (!text_equal_nocase(table->rows[k].selector, row->selector))
                continue;
            buf_printf(errors, "%s:%u: selector %s of %s stands in line %u already\n", path, row->line, row->selector,
                       row->domain, table->rows[k].line);
            r = -EINVAL;
        }
    }
    return r;
}

int key_table_parse(const char *path, char *text, struct key_table *out, struct buf *errors)
{
    int r = 0;
    unsigned line = 0;
    *out = (struct key_table){0};
    for (char *next; text != NULL && r != -ENOMEM; text = next) {
        const char *why;
        next = strchr(text, '\n');
        if (next != NULL)
            *next++ = '\0';
        int one = parse_line(out, path, text, ++line, &why);
        if (one == -EINVAL)
            buf_printf(errors, "%s:%u: %s\n", path, line, why);
        r = one < 0 ? one : r;
    }
    if (out->count > 0)
        qsort(out->rows, out->count, sizeof(*out->rows), compare_rows);
    if (r == 0)
        r = check_domains(path, out, errors);
    if (r == -ENOMEM)
        buf_printf(errors, "%s: %s\n", path, text_errno(r));
    if (r < 0)
        key_table_deinit(out);
    return r;
}

static int read_text(const char *path, struct buf *text)
{
    _cleanup_(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        int r = buf_reserve(text, 65536);
        if (r < 0)
            return r == -ENOBUFS ? -EFBIG : r;
        ssize_t n = read(fd, buf_tail(text), 65536);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        buf_added(text, (size_t)n);
    }
    return memchr(text->data, '\0', text->len) != NULL ? -EILSEQ : 0;
}

int key_table_load(const char *path, struct key_table *out, struct buf *errors)
{
    struct buf text;
    *out = (struct key_table){0};
    buf_init(&text, KEY_TABLE_BYTES_MAX);
    int r = read_text(path, &text);
    if (r < 0)
        buf_printf(errors, "%s: %s\n", path, r == -EILSEQ ? "holds a NUL: expected text" : text_errno(r));
    else if (text.len > 0)
        r = key_table_parse(path, text.data, out, errors);
    buf_deinit(&text);
    return r;
}

static void warn_about(const char *path, const struct key_table_row *row, struct buf *warnings)
{
    if (row->key.exposed)
        buf_printf(warnings, "%s:%u: %s: others than its owner can read this private key: expected mode 0600\n", path,
                   row->line, row->path);
    if (row->key.type == SIGNING_KEY_RSA && row->key.bits < SIGNING_KEY_RSA_BITS_ADVISED)
        buf_printf(warnings, "%s:%u: %s: RSA key of %d bits: expected %d or more (RFC 8301)\n", path, row->line,
                   row->path, row->key.bits, SIGNING_KEY_RSA_BITS_ADVISED);
}

int key_table_load_keys(const char *path, struct key_table *table, struct buf *errors, struct buf *warnings)
{
    int r = 0;
    struct buf why;
    buf_init(&why, LINE_TEXT_MAX);
    for (size_t i = 0; i < table->count; i++) {
        struct key_table_row *row = &table->rows[i];
        buf_clear(&why);
        if (signing_key_load(row->path, &row->key, &why) < 0) {
            buf_printf(errors, "%s:%u: %s\n", path, row->line, buf_str(&why));
            r = -EINVAL;
        } else {
            warn_about(path, row, warnings);
        }
    }
    buf_deinit(&why);
    return r;
}

const struct key_table_row *key_table_find(const struct key_table *table, const char *domain, size_t *count)
{
    size_t low = 0, high = table->count;
    while (low < high) { /* first row that does not sort before the domain */
        size_t middle = low + (high - low) / 2;
        if (strcmp(table->rows[middle].domain, domain) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (*count = 0; low + *count < table->count && strcmp(table->rows[low + *count].domain, domain) == 0;)
        ++*count;
    return *count > 0 ? &table->rows[low] : NULL;
}

const struct key_table_row *key_table_find_signer(const struct key_table *table, const char *from_domain, size_t *count)
{
    const struct key_table_row *rows = key_table_find(table, from_domain, count);
    for (const char *dot; rows == NULL && (dot = strchr(from_domain, '.')) != NULL;) {
        from_domain = dot + 1;
        if (strchr(from_domain, '.') == NULL)
            break;
        rows = key_table_find(table, from_domain, count);
    }
    return rows;
}

static int append_line(const char *path, const char *line, size_t len)
{
    char last = '\n';
    _cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        return -EIO;
    if (last != '\n' && write(fd, "\n", 1) != 1)
        return -EIO;
    if (write(fd, line, len) != (ssize_t)len)
        return -EIO;
    return fsync(fd) < 0 ? -errno : 0;
}

/* Would the table still be well with this line added? */
static int check_addition(const char *path, const char *domain, const char *selector, struct buf *why)
{
    struct key_table table = {0};
    char ascii[MAIL_DNS_NAME_MAX + 1];
    size_t count = 0;
    int r = access(path, F_OK) == 0 ? key_table_load(path, &table, why) : 0;
    if (r < 0)
        return r;
    if (!mail_domain_is_valid(domain, strlen(domain)) || mail_domain_to_ascii(domain, ascii) < 0 ||
        !is_selector(selector)) {
        buf_printf(why, "%s %s: expected a domain name and a selector", domain, selector);
        r = -EINVAL;
    }
    const struct key_table_row *rows = r == 0 ? key_table_find(&table, ascii, &count) : NULL;
    if (count == KEY_TABLE_PER_DOMAIN_MAX) {
        buf_printf(why, "%s: %s has %d keys already, which is the most", path, domain, KEY_TABLE_PER_DOMAIN_MAX);
        r = -EINVAL;
    }
    for (size_t i = 0; i < count && r == 0; i++) {
        if (!text_equal_nocase(rows[i].selector, selector))
            continue;
        buf_printf(why, "%s:%u: selector %s of %s is there already", path, rows[i].line, selector, domain);
        r = -EEXIST;
    }
    key_table_deinit(&table);
    return r;
}

int key_table_add(const char *path, const char *domain, const char *selector, const char *key_path, struct buf *why)
{
    int r = check_addition(path, domain, selector, why);
    if (r < 0)
        return r;
    struct buf line;
    buf_init(&line, LINE_TEXT_MAX);
    r = strchr(key_path, '\n') != NULL ? -EINVAL : buf_printf(&line, "%s %s %s\n", domain, selector, key_path);
    if (r == 0)
        r = append_line(path, line.data, line.len);
    if (r < 0)
        buf_printf(why, "%s: %s", path, text_errno(r));
    buf_deinit(&line);
    return r;
}
