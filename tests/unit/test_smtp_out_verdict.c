#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "smtp-out/verdict.h"

static void replies_are_judged(void **state)
{
    static const struct {
        enum stage stage;
        unsigned code;
        const char *status;
        enum ipc_outcome outcome;
        enum ipc_blame blame;
        const char *want_status;
    } cases[] = {
        {STAGE_CONNECT, 0, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.4.1"},
        {STAGE_RCPT, 0, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.4.2"},
        {STAGE_END, 0, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.4.2"},
        {STAGE_GREETING, 554, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.0.0"},
        {STAGE_GREETING, 554, "5.7.1", OUTCOME_TRY_LATER, BLAME_SITE, "4.7.1"},
        {STAGE_EHLO, 550, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.0.0"},
        {STAGE_AUTH, 535, "5.7.8", OUTCOME_TRY_LATER, BLAME_SITE, "4.7.8"},
        {STAGE_MAIL, 421, "4.7.0", OUTCOME_TRY_LATER, BLAME_SITE, "4.7.0"},
        {STAGE_MAIL, 451, "4.3.2", OUTCOME_TRY_LATER, BLAME_SITE, "4.3.2"},
        {STAGE_MAIL, 450, "4.1.8", OUTCOME_TRY_LATER, BLAME_MESSAGE, "4.1.8"},
        {STAGE_MAIL, 552, "5.3.4", OUTCOME_FAILED, BLAME_MESSAGE, "5.3.4"},
        {STAGE_MAIL, 550, "", OUTCOME_FAILED, BLAME_MESSAGE, "5.0.0"},
        {STAGE_RCPT, 550, "5.1.1", OUTCOME_FAILED, BLAME_RECIPIENT, "5.1.1"},
        {STAGE_RCPT, 550, "", OUTCOME_FAILED, BLAME_RECIPIENT, "5.0.0"},
        {STAGE_RCPT, 550, "4.1.1", OUTCOME_FAILED, BLAME_RECIPIENT, "5.0.0"},
        {STAGE_RCPT, 450, "4.2.1", OUTCOME_TRY_LATER, BLAME_RECIPIENT, "4.2.1"},
        {STAGE_RCPT, 450, "4.7.1", OUTCOME_TRY_LATER, BLAME_SITE, "4.7.1"},
        {STAGE_RCPT, 452, "4.3.1", OUTCOME_TRY_LATER, BLAME_SITE, "4.3.1"},
        {STAGE_RCPT, 452, "4.5.3", OUTCOME_TRY_LATER, BLAME_RECIPIENT, "4.5.3"},
        {STAGE_RCPT, 552, "", OUTCOME_TRY_LATER, BLAME_RECIPIENT, "4.0.0"},
        {STAGE_RCPT, 552, "5.2.2", OUTCOME_FAILED, BLAME_RECIPIENT, "5.2.2"},
        {STAGE_RCPT, 354, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.5.0"},
        {STAGE_DATA, 451, "4.3.0", OUTCOME_TRY_LATER, BLAME_SITE, "4.3.0"},
        {STAGE_DATA, 554, "5.5.1", OUTCOME_FAILED, BLAME_MESSAGE, "5.5.1"},
        {STAGE_DATA, 250, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.5.0"},
        {STAGE_END, 250, "2.0.0", OUTCOME_DELIVERED, BLAME_NOBODY, "2.0.0"},
        {STAGE_END, 250, "", OUTCOME_DELIVERED, BLAME_NOBODY, "2.0.0"},
        {STAGE_END, 554, "5.7.1", OUTCOME_FAILED, BLAME_MESSAGE, "5.7.1"},
        {STAGE_END, 451, "4.7.1", OUTCOME_TRY_LATER, BLAME_SITE, "4.7.1"},
        {STAGE_END, 451, "4.6.0", OUTCOME_TRY_LATER, BLAME_MESSAGE, "4.6.0"},
        {STAGE_END, 354, "", OUTCOME_TRY_LATER, BLAME_SITE, "4.5.0"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct mail_status status;
        char text[MAIL_STATUS_TEXT_MAX];
        mail_status_parse(cases[i].status, strlen(cases[i].status), &status);
        struct verdict v = verdict_decide(cases[i].stage, cases[i].code, status);
        mail_status_format(&v.status, text);
        if (v.outcome != cases[i].outcome || v.blame != cases[i].blame || strcmp(text, cases[i].want_status) != 0)
            fail_msg("case %zu: outcome %d, blame %d, status %s", i, (int)v.outcome, (int)v.blame, text);
        assert_int_equal(v.code, cases[i].code);
    }
}

static void troubles_fit_together(void **state)
{
    for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++) {
        struct verdict v = verdict_of_trouble((enum trouble)trouble);
        unsigned class = v.outcome == OUTCOME_FAILED ? 5 : 4;
        assert_int_not_equal(v.outcome, OUTCOME_DELIVERED);
        assert_int_equal(v.code / 100, class);
        assert_int_equal(v.status.class, class);
    }
}

static void blame_adds_up(void **state)
{
    assert_int_equal(blame_worse(BLAME_NOBODY, BLAME_RECIPIENT), BLAME_RECIPIENT);
    assert_int_equal(blame_worse(BLAME_SITE, BLAME_MESSAGE), BLAME_SITE);
    assert_int_equal(blame_worse(BLAME_RECIPIENT, BLAME_MESSAGE), BLAME_MESSAGE);
    for (int stage = 0; stage < STAGE_COUNT; stage++)
        assert_non_null(stage_text((enum stage)stage));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_judged),
        cmocka_unit_test(troubles_fit_together),
        cmocka_unit_test(blame_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
