/* Signatures made by dkim-signer, verified by libopendkim's own verifier and by dkimpy. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <opendkim/dkim.h>

#include <cmocka.h>

#include "dkim-signer/arena.h"
#include "base/text.h"
#include "dkim-signer/handle.h"
#include "dkim-signer/message.h"
#include "dkim-signer/self_test.h"
#include "dkim-signer/signer.h"

static char rsa_domain[] = "example.com", second_domain[] = "second.example.com", rsa[] = "r1", ed25519[] = "e1";
static struct key_table_row rows[] = {
    {.domain = rsa_domain, .selector = rsa},
    {.domain = rsa_domain, .selector = ed25519},
    {.domain = second_domain, .selector = rsa},
};
static struct key_table table = {rows, ARRAY_LENGTH(rows)};
static char records[ARRAY_LENGTH(rows)][1024];
static char folder[] = "/tmp/test-dkim-signer-XXXXXX";
static unsigned written; /* messages in folder */

#define HEADER                                                                                                         \
    "Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n"                                                        \
    "From: Some Body <some.body@Example.COM>\r\n"                                                                      \
    "To: a@example.net,\r\n\tb@example.net\r\n"                                                                        \
    "Subject:   folded\r\n  and   spaced \t \r\n"                                                                      \
    "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"                                                                         \
    "Message-ID: <1@example.com>\r\n"

static char *huge_header, *long_line;

/* Without handles libopendkim forgets the key of each Ed25519 signature (2.11.0 beta 2): not ours to mend. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define FORGIVE_LEAKS(on) ((on) ? __lsan_disable() : __lsan_enable())
#else
#define FORGIVE_LEAKS(on) ((void)(on))
#endif

/* --- helpers --------------------------------------------------------------------------------------------------------
 */

static struct signer *new_signer(int canonicalization, bool by_handle)
{
    struct settings_dkim_signer settings;
    struct signer *signer;
    struct buf errors;
    const bool both[] = {by_handle, by_handle};
    buf_init(&errors, 4096);
    memset(&settings, 0, sizeof(settings));
    assert_int_equal(conf_parse(&settings_dkim_signer_schema, "dkim-signer.conf", "", &settings, &errors), 0);
    settings.canonicalization = canonicalization;
    assert_int_equal(signer_build(&settings, &table, both, &signer), 0);
    conf_free(&settings_dkim_signer_schema, &settings);
    return signer;
}

/* A queue file in memory: something before the content and something behind it. */
static int queue_file(const char *content, size_t len)
{
    int fd = memfd_create("message", MFD_CLOEXEC);
    assert_int_equal(write(fd, "envelope", 8), 8);
    assert_int_equal(write(fd, content, len), len);
    assert_int_equal(write(fd, "trailer", 7), 7);
    return fd;
}

static enum ipc_sign_status sign(struct signer *signer, const char *content, size_t len, struct signer_answer *answer)
{
    int fd = queue_file(content, len);
    enum ipc_sign_status status = signer_sign(signer, &(struct signer_request){"1234", fd, 8, len}, answer);
    close(fd);
    return status;
}

static DKIM_CBSTAT look_up(DKIM *dkim, DKIM_SIGINFO *signature, unsigned char *out, size_t size)
{
    for (size_t i = 0; i < table.count; i++) {
        if (strcmp((char *)dkim_sig_getselector(signature), rows[i].selector) != 0 ||
            strcmp((char *)dkim_sig_getdomain(signature), rows[i].domain) != 0)
            continue;
        snprintf((char *)out, size, "%s", records[i]);
        return DKIM_CBSTAT_CONTINUE;
    }
    return DKIM_CBSTAT_NOTFOUND;
}

static int verify_field(void *arg, const struct mail_field *field)
{
    return dkim_header(arg, (unsigned char *)(uintptr_t)field->raw, field->raw_len - 2) == DKIM_STAT_OK ? 0 : -EIO;
}

static int verify_body(void *arg, const char *data, size_t len)
{
    return dkim_body(arg, (unsigned char *)(uintptr_t)data, len) == DKIM_STAT_OK ? 0 : -EIO;
}

static DKIM_STAT verify(const char *message, size_t len)
{
    DKIM_STAT status;
    struct message m;
    DKIM_LIB *library = dkim_init(NULL, NULL);
    dkim_set_key_lookup(library, look_up);
    DKIM *verifier = dkim_verify(library, (const unsigned char *)"test", NULL, &status);
    int fd = queue_file(message, len);
    assert_int_equal(message_init(&m, fd, 8, len), 0);
    assert_int_equal(message_fields(&m, verify_field, verifier), 0);
    assert_int_equal(dkim_eoh(verifier), DKIM_STAT_OK);
    assert_int_equal(message_body(&m, verify_body, verifier), 0);
    status = dkim_eom(verifier, NULL);
    message_deinit(&m);
    close(fd);
    dkim_free(verifier);
    dkim_close(library);
    return status;
}

/* Each DKIM-Signature field alone in front of the content. */
static unsigned verify_each(const struct buf *headers, const char *content, size_t len, DKIM_STAT want)
{
    unsigned count = 0;
    for (const char *at = buf_str(headers); *at != '\0';) {
        const char *next = strstr(at + 1, "DKIM-Signature: ");
        size_t n = next != NULL ? (size_t)(next - at) : strlen(at);
        struct buf message;
        buf_init(&message, 64 << 20);
        assert_int_equal(buf_append(&message, at, n), 0);
        assert_int_equal(buf_append(&message, content, len), 0);
        DKIM_STAT got = verify(message.data, message.len);
        if (got != want)
            fail_msg("%.*s%s", (int)n, at, dkim_getresultstr(got));
        buf_deinit(&message);
        at += n;
        count++;
    }
    return count;
}

static void keep_for_dkimpy(const struct buf *headers, const char *content, size_t len)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%02u.eml", folder, written++);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, headers->data, headers->len), headers->len);
    assert_int_equal(write(fd, content, len), len);
    close(fd);
}

/* --- tests ----------------------------------------------------------------------------------------------------------
 */

static void test_arena(void **state)
{
    struct arena a;
    arena_init(&a);
    for (int round = 0; round < 3; round++) {
        unsigned char *last = NULL;
        for (size_t n = 0; n < 300000; n = n * 3 + 1) {
            unsigned char *p = arena_alloc(&a, n);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, 0xaa, n);
            last = p;
        }
        assert_non_null(last);
        arena_reset(&a);
    }
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_deinit(&a);
}

static void test_self_test_passes(void **state)
{
    struct settings_dkim_signer settings = {0};
    struct buf why;
    bool by_handle[2];
    buf_init(&why, 4096);
    assert_int_equal(self_test(&settings, by_handle, &why), 0);
    assert_string_equal(buf_str(&why), "");
    assert_true(by_handle[SIGNING_KEY_RSA] && by_handle[SIGNING_KEY_ED25519]);
    buf_deinit(&why);
}

static void test_signatures_verify(void **state)
{
    const struct {
        const char *content;
        size_t len;
    } cases[] = {
#define TEXT(s) {s, sizeof(s) - 1}
        TEXT(HEADER "\r\nHello\r\n"),
        TEXT(HEADER "\r\n"),
        TEXT(HEADER),
        TEXT(HEADER "\r\n\r\n\r\n"),
        TEXT(HEADER "\r\n  two   words \t \r\n \t \r\n\r\n\r\n"),
        TEXT(HEADER "\r\n.leading dots\r\n..\r\n.\r\n"),
        TEXT(HEADER "\r\nGr\xc3\xbc\xc3\x9f"
                    "e \xff\x00\x01 end\r\n"),
        TEXT("From: a@example.com\r\nX:\r\nX:\r\nEmpty:\r\n\r\nbody\r\n"),
        TEXT("Subject: one\r\nFrom: a@example.com\r\nSubject: two\r\nTo: x@example.net\r\nTo: "
             "y@example.net\r\n\r\n1\r\n"),
        TEXT("FROM : a@example.com\r\nsubject :x\r\n\r\nblanks before the colon\r\n"),
        {huge_header, strlen(huge_header)},
        {long_line, strlen(long_line)},
    };
    for (int i = 0; i < 4; i++) {
        struct signer *signer = new_signer(i % 2, i < 2);
        struct signer_answer answer;
        signer_answer_init(&answer);
        for (size_t k = 0; k < ARRAY_LENGTH(cases); k++) {
            if (i >= 2)
                FORGIVE_LEAKS(true);
            assert_int_equal(sign(signer, cases[k].content, cases[k].len, &answer), SIGN_SIGNED);
            if (i >= 2)
                FORGIVE_LEAKS(false);
            assert_string_equal(buf_str(&answer.keys), "r1@example.com,e1@example.com");
            assert_string_equal(buf_str(&answer.reason), "");
            assert_int_equal(verify_each(&answer.headers, cases[k].content, cases[k].len, DKIM_STAT_OK), 2);
            /* obsolete syntax, which dkimpy refuses to read */
            if (strstr(cases[k].content, "FROM :") == NULL)
                keep_for_dkimpy(&answer.headers, cases[k].content, cases[k].len);
        }
        signer_answer_deinit(&answer);
        signer_free(signer);
    }
}

static void test_form_of_the_field(void **state)
{
    struct signer *signer = new_signer(CANONICALIZATION_RELAXED_RELAXED, true);
    struct signer_answer answer;
    static const char content[] = HEADER "\r\nHello\r\n";
    signer_answer_init(&answer);
    assert_int_equal(sign(signer, content, strlen(content), &answer), SIGN_SIGNED);
    const char *text = buf_str(&answer.headers);
    assert_true(text_has_prefix(text, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com;"));
    assert_non_null(strstr(text, "a=ed25519-sha256"));
    assert_null(strstr(text, "l="));
    assert_string_equal(text + answer.headers.len - 2, "\r\n");
    for (size_t i = 0; i < answer.headers.len; i++)
        if (text[i] == '\n')
            assert_true(text[i - 1] == '\r');
    /* oversigned: once where present and once more; Reply-To is absent and named all the same */
    assert_non_null(strstr(text, "Reply-To"));
    signer_answer_deinit(&answer);
    signer_free(signer);
}

static void test_changes_break_the_signature(void **state)
{
    static const char good[] = HEADER "\r\nHello\r\n";
    static const char *const bad[] = {
        HEADER "\r\nHellO\r\n",
        HEADER "From: evil@example.org\r\n\r\nHello\r\n",
        "Subject: another\r\n" HEADER "\r\nHello\r\n",
        HEADER "Reply-To: evil@example.org\r\n\r\nHello\r\n",
        HEADER "\r\nHello\r\nmore\r\n",
    };
    struct signer *signer = new_signer(CANONICALIZATION_RELAXED_RELAXED, true);
    struct signer_answer answer;
    signer_answer_init(&answer);
    assert_int_equal(sign(signer, good, strlen(good), &answer), SIGN_SIGNED);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_int_equal(verify_each(&answer.headers, bad[i], strlen(bad[i]), DKIM_STAT_BADSIG), 2);
    static const char traced[] = "Received: added later\r\nX-Unsigned: x\r\n" HEADER "\r\nHello\r\n";
    assert_int_equal(verify_each(&answer.headers, traced, strlen(traced), DKIM_STAT_OK), 2);
    signer_answer_deinit(&answer);
    signer_free(signer);
}

static void test_choice_of_domain(void **state)
{
    static const struct {
        const char *content;
        enum ipc_sign_status want;
        const char *text; /* keys or reason */
    } cases[] = {
        {"From: a@second.example.com\r\n\r\nx\r\n", SIGN_SIGNED, "r1@second.example.com"},
        {"From: a@x.second.example.com\r\n\r\nx\r\n", SIGN_SIGNED, "r1@second.example.com"},
        {"From: a@deep.down.example.com\r\n\r\nx\r\n", SIGN_SIGNED, "r1@example.com,e1@example.com"},
        {"From: \"a@example.com\" <b@example.org>\r\n\r\nx\r\n", SIGN_NO_KEY,
         "no key for the domain of its From field"},
        {"From: nobody\r\n\r\nx\r\n", SIGN_NO_KEY, "no domain in the From field"},
        {"Subject: x\r\n\r\nx\r\n", SIGN_NO_KEY, "no From field"},
        {"From: a@example.com\r\nFrom: a@example.com\r\n\r\nx\r\n", SIGN_NO_KEY,
         "more than one From field (RFC 5322 section 3.6)"},
        {"From: a@example.com\r\nno colon here\r\n\r\nx\r\n", SIGN_NO_KEY, "its header is malformed"},
        {" starts with a blank\r\n\r\nx\r\n", SIGN_NO_KEY, "its header is malformed"},
        {"\r\nno header\r\n", SIGN_NO_KEY, "no From field"},
        {"", SIGN_NO_KEY, "no From field"},
        /* what smtpd never lets through: libopendkim would sign something else than is sent */
        {"From: a@example.com\r\n\r\nlast line not ended", SIGN_NO_KEY, "r1@example.com: signature: "},
    };
    struct signer *signer = new_signer(CANONICALIZATION_RELAXED_RELAXED, true);
    struct signer_answer answer;
    signer_answer_init(&answer);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        enum ipc_sign_status got = sign(signer, cases[i].content, strlen(cases[i].content), &answer);
        const char *text = buf_str(got == SIGN_SIGNED ? &answer.keys : &answer.reason);
        if (got != cases[i].want || !text_has_prefix(text, cases[i].text))
            fail_msg("case %zu: status %d, %s", i, got, text);
        if (got != SIGN_SIGNED)
            assert_int_equal(answer.headers.len, 0);
    }
    signer_answer_deinit(&answer);
    signer_free(signer);
}

static void test_bad_requests(void **state)
{
    struct signer *signer = new_signer(CANONICALIZATION_RELAXED_RELAXED, true);
    struct signer_answer answer;
    int fd = queue_file(HEADER "\r\nx\r\n", strlen(HEADER) + 5);
    int folder_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct signer_request cases[] = {
        {"1", fd, 8, 1000000},    {"1", fd, 1000000, 1},  {"1", fd, UINT64_MAX, 2},
        {"1", fd, 2, UINT64_MAX}, {"1", folder_fd, 0, 1}, {"1", -1, 0, 1},
    };
    signer_answer_init(&answer);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(signer_sign(signer, &cases[i], &answer), SIGN_FAILED);
        assert_string_not_equal(buf_str(&answer.reason), "");
    }
    close(fd);
    close(folder_fd);
    signer_answer_deinit(&answer);
    signer_free(signer);
}

static void test_file_that_shrinks(void **state)
{
    struct message m;
    int fd = queue_file(long_line, strlen(long_line));
    assert_int_equal(message_init(&m, fd, 8, strlen(long_line)), 0);
    assert_int_equal(ftruncate(fd, 70000), 0);
    DKIM_LIB *library = dkim_init(NULL, NULL);
    DKIM_STAT status;
    DKIM *verifier = dkim_verify(library, (const unsigned char *)"test", NULL, &status);
    assert_int_equal(message_fields(&m, verify_field, verifier), 0);
    dkim_eoh(verifier);
    assert_int_equal(message_body(&m, verify_body, verifier), MESSAGE_TRUNCATED);
    dkim_free(verifier);
    dkim_close(library);
    message_deinit(&m);
    close(fd);
}

/* Nothing may pile up: handles are reused, the arena is reset. */
static void test_many_messages(void **state)
{
    struct signer *signer = new_signer(CANONICALIZATION_RELAXED_SIMPLE, true);
    struct signer_answer answer;
    static const char content[] = HEADER "\r\nHello\r\n";
    signer_answer_init(&answer);
    for (int i = 0; i < 300; i++)
        assert_int_equal(sign(signer, content, strlen(content), &answer), SIGN_SIGNED);
    assert_int_equal(verify_each(&answer.headers, content, strlen(content), DKIM_STAT_OK), 2);
    signer_answer_deinit(&answer);
    signer_free(signer);
}

static void test_dkimpy_agrees(void **state)
{
    char command[512], path[128];
    if (system("/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null") != 0)
        skip(); /* needs python3-dkim and python3-nacl */
    snprintf(path, sizeof(path), "%s/records", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < table.count; i++)
        fprintf(f, "%s._domainkey.%s. %s\n", rows[i].selector, rows[i].domain, records[i]);
    fclose(f);
    assert_true(written > 0);
    snprintf(command, sizeof(command), "/usr/bin/python3 %s %s", VERIFY_DKIM, folder);
    assert_int_equal(system(command), 0);
}

static char *fill(const char *before, char c, size_t n, const char *after)
{
    char *filler = malloc(n + 1);
    memset(filler, c, n);
    filler[n] = '\0';
    char *text = text_format("%s%s%s", before, filler, after);
    free(filler);
    return text;
}

static int set_up(void **state)
{
    struct buf record;
    buf_init(&record, 1023);
    for (size_t i = 0; i < table.count; i++) {
        buf_clear(&record);
        if (signing_key_generate(i == 1 ? SIGNING_KEY_ED25519 : SIGNING_KEY_RSA, 2048, &rows[i].key) < 0 ||
            signing_key_record(&rows[i].key, &record) < 0)
            return -1;
        snprintf(records[i], sizeof(records[i]), "%s", buf_str(&record));
    }
    buf_deinit(&record);
    huge_header = fill("X-Huge: ", 'h', 80000, "\r\n" HEADER "\r\nbody\r\n");
    long_line = fill(HEADER "\r\n", 'l', 200000, "\r\n");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    char path[128];
    for (unsigned i = 0; i < written; i++) {
        snprintf(path, sizeof(path), "%s/%02u.eml", folder, i);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/records", folder);
    unlink(path);
    for (size_t i = 0; i < table.count; i++)
        signing_key_deinit(&rows[i].key);
    free(huge_header);
    free(long_line);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_self_test_passes),
        cmocka_unit_test(test_signatures_verify),
        cmocka_unit_test(test_form_of_the_field),
        cmocka_unit_test(test_changes_break_the_signature),
        cmocka_unit_test(test_choice_of_domain),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_file_that_shrinks),
        cmocka_unit_test(test_many_messages),
        cmocka_unit_test(test_dkimpy_agrees),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
