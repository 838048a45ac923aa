/* text: small helpers for strings and numbers that several folders need. */
#ifndef POSTHOUSE_BASE_TEXT_H
#define POSTHOUSE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* ASCII only, whatever the locale: protocol text is compared with these and never with strcasecmp. */
bool text_equal_nocase(const char *a, const char *b);
bool text_equal_nocase_n(const char *a, const char *b, size_t n);
bool text_has_prefix(const char *s, const char *prefix);
bool text_has_suffix_nocase(const char *s, const char *suffix);
char text_lower_char(char c);
void text_lower(char *s);
bool text_is_ascii(const char *s, size_t len);

/* Whole-string decimal numbers: 0, or -EINVAL (no number, trailing bytes), -ERANGE (above max). */
int text_parse_u64(const char *s, uint64_t max, uint64_t *out);

/* malloc'ed copies; NULL when memory is short. */
char *text_dup_n(const char *s, size_t len);
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What strerror would say, thread safe and constant: "No space left on device". */
const char *text_errno(int err);

#endif
