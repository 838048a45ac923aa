/* What real replies are taken for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "bounce/classify.h"

static const struct {
    unsigned code;
    const char *enhanced, *text;
    bool expired;
    enum failure_class want;
} cases[] = {
    {550, "5.1.1", "550 5.1.1 <a@b>: Recipient address rejected: User unknown in local recipient table", false,
     FAILURE_BAD_MAILBOX},
    {550, "5.1.1", "550-5.1.1 The email account that you tried to reach does not exist.", false, FAILURE_BAD_MAILBOX},
    {550, "5.1.6", "mailbox has moved", false, FAILURE_BAD_MAILBOX},
    {550, "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", false,
     FAILURE_BAD_MAILBOX},
    {550, "5.4.1", "550 5.4.1 Recipient address rejected: Access denied. [x.prod.protection.outlook.com]", false,
     FAILURE_BAD_MAILBOX},
    {550, "5.7.1", "550 5.7.1 user unknown", false, FAILURE_BAD_MAILBOX},
    {554, "", "554 delivery error: dd This user doesn't have a yahoo.com account", false, FAILURE_BAD_MAILBOX},
    {550, "", "550 No such user here", false, FAILURE_BAD_MAILBOX},
    {550, "", "550 NO SUCH USER HERE", false, FAILURE_BAD_MAILBOX},
    {556, "5.1.10", "domain takes no mail (null MX)", false, FAILURE_BAD_DOMAIN},
    {0, "5.1.2", "the domain does not exist", false, FAILURE_BAD_DOMAIN},
    {521, "", "521 mail.example.com does not accept mail", false, FAILURE_BAD_DOMAIN},
    {550, "5.1.3", "bad syntax", false, FAILURE_BAD_ADDRESS},
    {553, "", "553 mailbox name not allowed", false, FAILURE_BAD_ADDRESS},
    {550, "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.", false, FAILURE_DISABLED},
    {550, "", "550 Account disabled", false, FAILURE_DISABLED},
    {552, "5.2.2", "552-5.2.2 The email account that you tried to reach is over quota", false, FAILURE_FULL},
    {554, "5.2.2", "mailbox full", false, FAILURE_FULL},
    {550, "5.1.1", "mailbox is full", false, FAILURE_FULL},
    {552, "5.3.4", "552 5.3.4 Message size exceeds fixed limit", false, FAILURE_TOO_LARGE},
    {552, "", "552 too much mail data", false, FAILURE_TOO_LARGE},
    {554, "5.7.1", "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org", false, FAILURE_SPAM},
    {550, "5.1.1", "550 5.1.1 rejected, considered spam", false, FAILURE_SPAM},
    {550, "5.7.26", "This mail has been blocked because the sender is unauthenticated (DMARC)", false, FAILURE_POLICY},
    {550, "5.7.1", "550 5.7.1 Message rejected", false, FAILURE_POLICY},
    {554, "", "554 relay access denied", false, FAILURE_POLICY},
    {550, "5.1.8", "sender domain does not exist", false, FAILURE_POLICY},
    {550, "", "550 Sender address rejected: domain not found", false, FAILURE_POLICY},
    {530, "", "530 Authentication required", false, FAILURE_POLICY},
    {550, "5.4.4", "no route", false, FAILURE_NETWORK},
    {554, "5.6.0", "bad MIME", false, FAILURE_PROTOCOL},
    {501, "", "501 what?", false, FAILURE_PROTOCOL},
    {550, "5.1.1", "550 5.1.1 no such user", true, FAILURE_EXPIRED},
    {450, "4.2.1", "450 4.2.1 mailbox busy", false, FAILURE_EXPIRED},
    {0, "4.4.1", "connection timed out", false, FAILURE_EXPIRED},
    {550, "5.1.1", "address is on the suppression list since 2026-11-23", false, FAILURE_SUPPRESSED},
    {550, "", "550 mailbox unavailable", false, FAILURE_OTHER},
    {550, "5.0.0", "no", false, FAILURE_OTHER},
    {0, "", "", false, FAILURE_OTHER},
    {554, "nonsense", "\xff\xfe", false, FAILURE_OTHER},
};

static void test_classify(void **state)
{
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        const struct failure_reply reply = {cases[i].code, cases[i].enhanced, cases[i].text, cases[i].expired};
        enum failure_class got = failure_classify(&reply);
        if (got != cases[i].want)
            print_error("\"%s\": got %s, want %s\n", cases[i].text, failure_name(got), failure_name(cases[i].want));
        assert_int_equal(got, cases[i].want);
    }
}

/* Every class can be told to people, and only those that are about the address itself are hard. */
static void test_classes(void **state)
{
    unsigned hard = 0;
    for (int c = 0; c < FAILURE_CLASS_COUNT; c++) {
        assert_true(strlen(failure_name((enum failure_class)c)) > 0);
        assert_true(strlen(failure_name((enum failure_class)c)) <= 31);
        assert_true(strlen(failure_why((enum failure_class)c)) > 10);
        assert_true(strlen(failure_advice((enum failure_class)c)) > 10);
        hard += failure_is_hard((enum failure_class)c);
    }
    assert_int_equal(hard, 4);
    assert_false(failure_is_hard(FAILURE_FULL));
    assert_false(failure_is_hard(FAILURE_SPAM));
    assert_false(failure_is_hard(FAILURE_POLICY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_classify), cmocka_unit_test(test_classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
