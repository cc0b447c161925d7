/* test_image_lock.c: QEMU sees our locks, and we see QEMU's. */
#include "tests/unit/image_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "cow/image_lock.h"
#include "imaged/base/durable.h"

static int open_path(const char *name, int flags)
{
    g_autofree char *path = fixture_path(name);
    int fd = open(path, flags | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* TRUE if we get the writer's lock; it is let go at once. */
static gboolean can_lock(const char *name)
{
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_autoptr(GError) error = NULL;
    gboolean ok = image_lock_take_writer(&lock, open_path(name, O_RDONLY), &error);

    g_assert_true(ok == (lock.fd >= 0));
    if (!ok)
        g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_BUSY);
    return ok;
}

/* TRUE if qemu-io can open it. */
static gboolean qemu_can(const char *option, const char *name)
{
    const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", "read -q 0 512", name, option, NULL };
    g_autofree char *err = NULL;
    int status = -1;

    g_spawn_sync(fixture_folder, (char **)argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err, &status,
                 NULL);
    if (status != 0)
        g_assert_nonnull(strstr(err, "lock"));
    return status == 0;
}

/* ---- A QEMU that holds an image: qemu-storage-daemon ---- */

static GPid start_holder(const char *name, gboolean read_only)
{
    g_autofree char *node =
        g_strdup_printf("driver=qcow2,node-name=n,read-only=%s,file.driver=file,"
                        "file.filename=%s",
                        read_only ? "on" : "off", name);
    const char *argv[] = { "qemu-storage-daemon",
                           "--nbd-server",
                           "addr.type=unix,addr.path=held.sock",
                           "--blockdev",
                           node,
                           "--export",
                           read_only ? "type=nbd,id=e,node-name=n,writable=off"
                                     : "type=nbd,id=e,node-name=n,writable=on",
                           "--pidfile",
                           "held.pid",
                           NULL };
    g_autofree char *pidfile = fixture_path("held.pid");
    g_autoptr(GError) error = NULL;
    GPid pid;

    g_unlink(pidfile);
    g_spawn_async(fixture_folder, (char **)argv, NULL,
                  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &error);
    g_assert_no_error(error);
    gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (!g_file_test(pidfile, G_FILE_TEST_EXISTS)) { /* written when all is open */
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_assert_cmpint(waitpid(pid, NULL, WNOHANG), ==, 0);
        g_usleep(2000);
    }
    return pid;
}

static void stop_holder(GPid pid)
{
    g_autofree char *socket = fixture_path("held.sock");

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    g_unlink(socket);
}

static void make_images(void)
{
    g_free(run("qemu-img create -q -f qcow2 base.qcow2 8M"));
    g_free(run("qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2"));
}

static void test_theirs(void)
{
    make_images();
    auto_fd over = open_path("over.qcow2", O_RDONLY), base = open_path("base.qcow2", O_RDONLY);
    g_assert_true(can_lock("over.qcow2"));
    g_assert_false(image_lock_has_writer(over));

    GPid pid = start_holder("over.qcow2", FALSE);
    g_assert_false(can_lock("over.qcow2"));
    g_assert_true(image_lock_has_writer(over));
    g_assert_false(can_lock("base.qcow2")); /* it reads the backing file and lets nobody write */
    g_assert_false(image_lock_has_writer(base));
    g_assert_false(qemu_can(NULL, "over.qcow2"));
    stop_holder(pid);
    g_assert_true(can_lock("over.qcow2")); /* killed: its locks went with it */
    g_assert_true(can_lock("base.qcow2"));
    g_assert_false(image_lock_has_writer(over));
}

static void test_readers(void)
{
    make_images();
    auto_fd over = open_path("over.qcow2", O_RDONLY);
    GPid pid = start_holder("over.qcow2", TRUE);

    g_assert_false(image_lock_has_writer(over)); /* no writer, and yet the base must stay */
    g_assert_false(can_lock("base.qcow2"));
    g_assert_true(qemu_can("-r", "over.qcow2"));
    stop_holder(pid);
}

static void test_ours(void)
{
    ImageLock lock = IMAGE_LOCK_INIT;

    make_images();
    g_assert_true(qemu_can(NULL, "over.qcow2"));
    g_assert_true(image_lock_take_writer(&lock, open_path("over.qcow2", O_RDONLY), NULL));
    auto_fd other = open_path("over.qcow2", O_RDONLY);
    g_assert_true(image_lock_has_writer(other));
    g_assert_false(image_lock_has_writer(lock.fd)); /* one's own does not count */
    g_assert_false(qemu_can(NULL, "over.qcow2"));
    g_assert_false(qemu_can("-r", "over.qcow2"));
    g_assert_false(can_lock("over.qcow2")); /* two of ours */
    g_assert_true(can_lock("base.qcow2"));
    image_lock_release(&lock);
    image_lock_release(&lock);
    g_assert_false(image_lock_has_writer(other));
    g_assert_true(can_lock("over.qcow2"));
    g_assert_true(qemu_can(NULL, "over.qcow2"));
}

/* A refused try leaves nothing behind that would hinder the one who has it. */
static void test_refused_leaves_nothing(void)
{
    make_images();
    GPid pid = start_holder("over.qcow2", FALSE);
    for (guint i = 0; i < 20; i++)
        g_assert_false(can_lock("over.qcow2"));
    stop_holder(pid);
    pid = start_holder("over.qcow2", FALSE); /* would not start if a byte was still held */
    stop_holder(pid);
}

static void test_probe(void)
{
    make_images();
    auto_fd one = open_path("base.qcow2", O_RDWR), two = open_path("base.qcow2", O_RDWR);
    g_auto(ImageLock) lock = IMAGE_LOCK_INIT;
    g_autoptr(GError) error = NULL;
    int pipes[2];

    g_assert_true(image_lock_probe(one, two));
    g_assert_cmpint(pipe(pipes), ==, 0);
    close(pipes[1]);
    close(pipes[0]); /* a descriptor that is none */
    g_assert_false(image_lock_take_writer(&lock, pipes[0], &error));
    g_assert_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED);
    g_assert_cmpint(lock.fd, ==, -1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_start();
    g_test_add_func("/image-lock/theirs", test_theirs);
    g_test_add_func("/image-lock/readers", test_readers);
    g_test_add_func("/image-lock/ours", test_ours);
    g_test_add_func("/image-lock/refused-leaves-nothing", test_refused_leaves_nothing);
    g_test_add_func("/image-lock/probe", test_probe);
    int ret = g_test_run();
    fixture_end();
    return ret;
}
