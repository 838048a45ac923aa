#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "qmgr/message.h"
#include "qmgr/timetable.h"

#define COUNT 2000

/* The first must always be the least of all, whatever is added and removed in whichever order. */
static void assert_first_is_least(const struct timetable *t, const struct message *all, const char *in)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < COUNT; i++)
        if (in[i] && all[i].due_s < least)
            least = all[i].due_s;
    struct message *first = timetable_first(t);
    assert_true(first == NULL ? least == INT64_MAX : first->due_s == least);
}

static void first_is_always_the_one_due_first(void **state)
{
    static struct message all[COUNT];
    static char in[COUNT];
    struct timetable t = {0};
    srand(7);
    for (int step = 0; step < 20000; step++) {
        int i = rand() % COUNT;
        if (in[i]) {
            timetable_remove(&t, &all[i]);
        } else {
            all[i].due_s = rand() % 500;
            assert_int_equal(timetable_add(&t, &all[i]), 0);
        }
        in[i] = !in[i];
        if (step % 50 == 0)
            assert_first_is_least(&t, all, in);
    }
    int64_t last = INT64_MIN;
    for (struct message *m; (m = timetable_first(&t)) != NULL;) {
        assert_true(m->due_s >= last);
        last = m->due_s;
        timetable_remove(&t, m);
    }
    assert_int_equal(t.count, 0);
    timetable_deinit(&t);
}

static void an_empty_timetable_has_no_first(void **state)
{
    struct timetable t = {0};
    struct message one = {.due_s = 5};
    assert_null(timetable_first(&t));
    assert_int_equal(timetable_add(&t, &one), 0);
    assert_ptr_equal(timetable_first(&t), &one);
    timetable_remove(&t, &one);
    assert_null(timetable_first(&t));
    timetable_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_is_always_the_one_due_first),
        cmocka_unit_test(an_empty_timetable_has_no_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
