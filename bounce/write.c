#include "bounce/write.h"

#include <string.h>

#include "base/text.h"
#include "mail/domain.h"

#define LINE_WISHED 76
#define WORD_MAX    500 /* RFC 5322 section 2.1.1 allows lines of 998; nothing that names or answers is longer */

int write_clean(struct buf *out, const char *s, bool utf8)
{
    bool keep = utf8 && mail_utf8_is_valid(s, strlen(s));
    int r = 0;
    for (; *s != '\0' && r == 0; s++) {
        unsigned char c = (unsigned char)*s;
        r = buf_append_char(out, c < ' ' || c == 0x7f ? ' ' : c > 0x7f && !keep ? '?' : *s);
    }
    return r;
}

/* Bytes of the next word, cut between two characters when it is longer than a line may be. */
static size_t word_length(const char *s)
{
    size_t len = strcspn(s, " ");
    if (len > WORD_MAX)
        for (len = WORD_MAX; len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80;)
            len--;
    return len;
}

static int fold_words(struct buf *out, size_t line_start, const char *rest, const char *s)
{
    bool begun = false;
    int r = 0;
    for (s += strspn(s, " "); *s != '\0' && r == 0; s += strspn(s, " ")) {
        size_t len = word_length(s), used = out->len - line_start;
        if (begun && used + 1 + len > LINE_WISHED) {
            line_start = out->len + 2;
            r = buf_printf(out, "\r\n%s", rest);
        } else if (begun) {
            r = buf_append_char(out, ' ');
        }
        if (r == 0)
            r = buf_append(out, s, len);
        begun = true;
        s += len;
    }
    return r;
}

int write_folded(struct buf *out, const char *first, const char *rest, const char *s, bool utf8)
{
    struct buf clean;
    size_t line_start = out->len;
    buf_init(&clean, 64 * 1024);
    int r = write_clean(&clean, s, utf8);
    if (r == 0 && (r = buf_append_str(out, first)) == 0 &&
        (r = fold_words(out, line_start, rest, buf_str(&clean))) == 0)
        r = buf_append_str(out, "\r\n");
    buf_deinit(&clean);
    return r;
}

int write_field(struct buf *out, const char *name, const char *value, bool utf8)
{
    if (value[0] == '\0')
        return 0;
    int r = buf_printf(out, "%s:", name);
    return r < 0 ? r : write_folded(out, " ", " ", value, utf8);
}

int write_exact(struct buf *out, const char *name, const char *value, bool utf8)
{
    int r = buf_printf(out, "%s: ", name);
    if (r == 0 && (r = write_clean(out, value, utf8)) == 0)
        r = buf_append_str(out, "\r\n");
    return r;
}
