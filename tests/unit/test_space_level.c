/* test_space_level.c: the level of a store as its free space goes down and up again. */
#include "imaged/job/space_level.h"

static void test_down_and_up(void)
{
    static const struct {
        guint64 free_bytes, free_inodes;
        SpaceLevel want;
    } steps[] = {
        { 1000, 5000, SPACE_OK },     { 500, 5000, SPACE_OK },  { 499, 5000, SPACE_WARNING },
        { 520, 5000, SPACE_WARNING }, /* within the tenth */
        { 550, 5000, SPACE_OK },      { 520, 5000, SPACE_OK },  { 100, 5000, SPACE_WARNING },
        { 99, 5000, SPACE_LOW },      { 105, 5000, SPACE_LOW }, { 110, 5000, SPACE_WARNING },
        { 0, 0, SPACE_LOW },          { 1000, 5000, SPACE_OK }, { 1000, 999, SPACE_LOW },
        { 1000, 1050, SPACE_LOW },    { 1000, 1100, SPACE_OK }, { 99, 5000, SPACE_LOW },
        { 545, 5000, SPACE_WARNING }, { 551, 5000, SPACE_OK },
    };
    SpaceLevel level = SPACE_OK;

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        const SpaceFigures figures = { steps[i].free_bytes, steps[i].free_inodes, 500, 100, 1000 };
        level = space_level(level, &figures);
        g_assert_cmpint(level, ==, steps[i].want);
    }
}

/* Without limits nothing is ever told. */
static void test_none(void)
{
    const SpaceFigures figures = { 0, 0, 0, 0, 0 };

    for (SpaceLevel was = SPACE_OK; was <= SPACE_LOW; was++)
        g_assert_cmpint(space_level(was, &figures), ==, SPACE_OK);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/space-level/down-and-up", test_down_and_up);
    g_test_add_func("/space-level/none", test_none);
    return g_test_run();
}
