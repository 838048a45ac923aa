/* Every schema of the suite: its defaults load, its rows are sound, and what it formats reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "settings/posthouse.h"
#include "settings/settings.h"

static void check_rows(const char *file, const struct conf_param *params, size_t size)
{
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        size_t help = p->help != NULL ? strlen(p->help) : 0;
        if (help == 0 || p->help[help - 1] == '.' || p->help[0] == ' ')
            fail_msg("%s: %s: help is one sentence without a full stop", file, p->name);
        if (p->name[strspn(p->name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
            fail_msg("%s: %s: a name is lower case with underscores", file, p->name);
        if (p->default_value == NULL || p->offset >= size)
            fail_msg("%s: %s: default or offset", file, p->name);
        bool numeric = p->type == CONF_INT || p->type == CONF_SIZE || p->type == CONF_DURATION;
        if ((numeric && p->min >= p->max) || (p->type == CONF_ENUM) != (p->choices != NULL))
            fail_msg("%s: %s: range or choices", file, p->name);
        for (const struct conf_param *q = params; q < p; q++)
            if (strcmp(p->name, q->name) == 0 || p->offset == q->offset)
                fail_msg("%s: %s and %s: twice", file, q->name, p->name);
    }
}

static void rows_are_sound(void **state)
{
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++) {
        check_rows((*s)->file, (*s)->params, (*s)->size);
        for (const struct conf_block *b = (*s)->blocks; b != NULL && b->kind != NULL; b++)
            check_rows((*s)->file, b->params, b->size);
        assert_ptr_equal(settings_find((*s)->file), *s);
        for (const struct conf_schema *const *t = settings_all; t < s; t++)
            assert_string_not_equal((*s)->file, (*t)->file);
    }
    assert_null(settings_find("nothing.conf"));
}

static void dump(const struct conf_param *params, const void *settings, struct buf *out)
{
    for (const struct conf_param *p = params; p->name != NULL; p++) {
        buf_printf(out, "%s = ", p->name);
        assert_int_equal(conf_format(p, settings, out), 0);
        assert_int_equal(buf_append_char(out, '\n'), 0);
    }
}

static void dump_all(const struct conf_schema *schema, const char *settings, struct buf *out)
{
    dump(schema->params, settings, out);
    for (const struct conf_block *b = schema->blocks; b != NULL && b->kind != NULL; b++) {
        const struct conf_blocks *all = (const struct conf_blocks *)(settings + b->offset);
        for (size_t i = 0; i < all->count; i++) {
            buf_printf(out, "%s \"%s\" {\n", b->kind, *(char **)all->items[i]);
            dump(b->params, all->items[i], out);
            assert_int_equal(buf_append_str(out, "}\n"), 0);
        }
    }
}

static void defaults_load_and_read_back(void **state)
{
    for (const struct conf_schema *const *s = settings_all; *s != NULL; s++) {
        void *settings = malloc((*s)->size);
        struct buf errors, first, second;
        buf_init(&errors, 10000);
        buf_init(&first, 100000);
        buf_init(&second, 100000);
        if (conf_parse(*s, (*s)->file, "", settings, &errors) != 0)
            fail_msg("%s", buf_str(&errors));
        dump_all(*s, settings, &first);
        conf_free(*s, settings);
        if (conf_parse(*s, (*s)->file, buf_str(&first), settings, &errors) != 0)
            fail_msg("%s", buf_str(&errors));
        dump_all(*s, settings, &second);
        conf_free(*s, settings);
        assert_string_equal(buf_str(&first), buf_str(&second));
        buf_deinit(&errors);
        buf_deinit(&first);
        buf_deinit(&second);
        free(settings);
    }
}

static void shared_settings_are_completed(void **state)
{
    struct settings_posthouse s;
    struct buf errors;
    buf_init(&errors, 10000);
    assert_int_equal(settings_posthouse_load("/nonexistent", &s, &errors), 0);
    assert_true(strlen(s.hostname) > 0);
    assert_string_equal(s.queue_directory, "/var/lib/posthouse/queue");
    assert_string_equal(s.run_directory, "/var/lib/posthouse/run");
    assert_string_equal(s.credentials_database, "/var/lib/posthouse/auth/credentials.db");
    assert_string_equal(s.suppression_database, "/var/lib/posthouse/suppression/suppression.db");
    settings_posthouse_free(&s);
    buf_deinit(&errors);
}

static void users_by_name_or_number(void **state)
{
    struct settings_user user;
    uint32_t gid;
    assert_int_equal(settings_user_find("root", &user), 0);
    assert_int_equal(user.uid, 0);
    assert_int_equal(settings_user_find("4711", &user), 0);
    assert_int_equal(user.uid, 4711);
    assert_int_equal(user.gid, 4711);
    assert_true(settings_user_find("no-such-user-here", &user) < 0);
    assert_true(settings_user_find("", &user) < 0);
    assert_true(settings_user_find("4294967295", &user) < 0); /* (uid_t)-1 means "leave as it is" to chown */
    assert_int_equal(settings_group_find("4711", &gid), 0);
    assert_int_equal(gid, 4711);
    assert_true(settings_group_find("no-such-group-here", &gid) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(defaults_load_and_read_back),
        cmocka_unit_test(shared_settings_are_completed),
        cmocka_unit_test(users_by_name_or_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
