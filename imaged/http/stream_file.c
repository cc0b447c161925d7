/* stream_file.c: see stream_file.h.  The reader is called in the connection's own thread and may
 * block. */
#include "imaged/http/stream_file.h"

#include "imaged/base/error.h"
#include "imaged/base/units.h"
#include "imaged/ops/args.h"
#include "imaged/ops/files.h"

static ssize_t read_some(void *user, uint64_t pos, char *buffer, size_t max)
{
    gssize n = files_stream_read(user, buffer, max);

    return n > 0    ? n
           : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void close_file(void *user)
{
    files_stream_close(user);
}

enum MHD_Result stream_file(World *world, const gint *stopping, struct MHD_Connection *c,
                            json_t *args, GError **error)
{
    OpsCall call = { .world = world, .args = args };
    const char *ref = args_text(&call, "ref", TRUE, error);
    const char *path = ref ? args_text(&call, "path", TRUE, error) : NULL;
    FilesStream *stream = path && args_check(&call, "ref path", error)
                              ? files_stream_open(world, ref, path, stopping, error)
                              : NULL;

    if (!stream)
        return MHD_NO;
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 256 * KIB,
                                                               read_some, stream, close_file);
    MHD_add_response_header(r, "Content-Type", "application/octet-stream");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return result;
}
