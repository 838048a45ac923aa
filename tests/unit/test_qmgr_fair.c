#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "qmgr/fair.h"
#include "qmgr/tenant.h"

#define MANY 100000

static struct tenant big = {.name = (char[]){"big"}, .weight = 1}, small = {.name = (char[]){"small"}, .weight = 1},
                     heavy = {.name = (char[]){"heavy"}, .weight = 3};
static struct fair_item items[MANY], other[1000];

static void fill(struct fair_queue *q, struct fair_item *first, size_t count, struct tenant *tenant, enum lane lane)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fair_push(q, &first[i], tenant, lane), 0);
}

/* Takes the next item out, as a scheduler does; returns whose it was. */
static const struct tenant *take(struct fair_queue *q, int64_t cost)
{
    struct fair_item *item = fair_next(q, NULL, NULL);
    if (item == NULL)
        return NULL;
    const struct tenant *whose = item->share->key.tenant;
    fair_charge(item, cost);
    fair_remove(item);
    return whose;
}

static void drain(struct fair_queue *q)
{
    while (take(q, 1) != NULL)
        ;
    assert_int_equal(q->count, 0);
    fair_deinit(q);
}

static void a_campaign_delays_another_tenant_by_one_turn(void **state)
{
    struct fair_queue q;
    fair_init(&q);
    fill(&q, items, MANY, &big, LANE_TRANSACTIONAL);
    for (int i = 0; i < 7; i++)
        take(&q, 1);
    fill(&q, other, 1, &small, LANE_TRANSACTIONAL);
    int before = 0;
    while (take(&q, 1) != &small)
        before++;
    assert_in_range(before, 0, 10);
    drain(&q);
}

static void transactional_leaves_before_any_bulk(void **state)
{
    struct fair_queue q;
    fair_init(&q);
    fill(&q, items, MANY, &big, LANE_BULK);
    take(&q, 1);
    fill(&q, other, 1, &big, LANE_TRANSACTIONAL); /* even of the same tenant */
    assert_ptr_equal(fair_next(&q, NULL, NULL), &other[0]);
    drain(&q);
}

static void weights_and_costs_decide_how_much(void **state)
{
    static const struct {
        int64_t cost_big, cost_heavy;
        double share_of_heavy; /* in items */
    } cases[] = {{1, 1, 0.75}, {1, 3, 0.5}, {3, 1, 0.9}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct fair_queue q;
        int taken = 0, by_heavy = 0;
        fair_init(&q);
        fill(&q, items, 50000, &big, LANE_BULK);
        fill(&q, items + 50000, 50000, &heavy, LANE_BULK);
        for (; taken < 20000; taken++) {
            struct fair_item *item = fair_next(&q, NULL, NULL);
            bool is_heavy = item->share->key.tenant == &heavy;
            fair_charge(item, is_heavy ? cases[c].cost_heavy : cases[c].cost_big);
            fair_remove(item);
            by_heavy += is_heavy;
        }
        assert_in_range(by_heavy, (int)((cases[c].share_of_heavy - 0.02) * taken),
                        (int)((cases[c].share_of_heavy + 0.02) * taken));
        drain(&q);
    }
}

static bool not_big(void *arg, const struct fair_share *share)
{
    return share->key.tenant != arg;
}

static void who_may_not_be_served_is_passed_over(void **state)
{
    struct fair_queue q;
    fair_init(&q);
    fill(&q, items, 5, &big, LANE_TRANSACTIONAL);
    assert_null(fair_next(&q, not_big, &big));
    fill(&q, other, 5, &small, LANE_BULK);
    assert_ptr_equal(fair_next(&q, not_big, &big), &other[0]);
    drain(&q);
}

static void order_within_a_tenant_is_kept(void **state)
{
    struct fair_queue q;
    fair_init(&q);
    fill(&q, items, 3, &big, LANE_BULK);
    assert_int_equal(fair_push_front(&q, &other[0], &big, LANE_BULK), 0);
    fair_remove(&items[1]);
    fair_remove(&items[1]); /* harmless twice */
    struct fair_item *want[] = {&other[0], &items[0], &items[2]};
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(fair_next(&q, NULL, NULL), want[i]);
        take(&q, 1);
    }
    assert_null(fair_next(&q, NULL, NULL));
    fair_deinit(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_campaign_delays_another_tenant_by_one_turn),
        cmocka_unit_test(transactional_leaves_before_any_bulk),
        cmocka_unit_test(weights_and_costs_decide_how_much),
        cmocka_unit_test(who_may_not_be_served_is_passed_over),
        cmocka_unit_test(order_within_a_tenant_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
