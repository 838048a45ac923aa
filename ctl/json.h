/* json: writes one JSON text (RFC 8259) to a buffer.  Bytes that are not UTF-8 become U+FFFD. */
#ifndef POSTHOUSE_CTL_JSON_H
#define POSTHOUSE_CTL_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct json {
    struct buf *out;
    bool need_comma;
};

/* In each: key NULL = an element of an array, or the whole text. */
void json_begin_object(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_begin_array(struct json *j, const char *key);
void json_end_array(struct json *j);
void json_string(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);
/* Seconds since 1970 as "2026-01-31T23:59:59Z"; 0 is null. */
void json_time(struct json *j, const char *key, int64_t value_s);

#endif
