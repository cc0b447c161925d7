/* answer.c: see answer.h. */
#include "imaged/http/answer.h"

#include <string.h>

#include "imaged/base/error.h"
#include "imaged/job/job.h"

enum MHD_Result answer_text(struct MHD_Connection *c, unsigned status, const char *type, char *text)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);

    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

enum MHD_Result answer_json(struct MHD_Connection *c, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);

    json_decref(body);
    return answer_text(c, status, "application/json", text ? text : strdup("null"));
}

enum MHD_Result answer_unauthorized(struct MHD_Connection *c, const GError *error)
{
    json_t *body = job_error_json(error);
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    enum MHD_Result result = MHD_queue_response(c, 401, r);
    MHD_destroy_response(r);
    return result;
}

static unsigned status_of(const GError *error)
{
    static const unsigned table[IMAGED_N_ERRORS] = {
        [IMAGED_ERROR_FAILED] = 500,    [IMAGED_ERROR_INVALID] = 400,
        [IMAGED_ERROR_NOT_FOUND] = 404, [IMAGED_ERROR_EXISTS] = 409,
        [IMAGED_ERROR_BUSY] = 409,      [IMAGED_ERROR_DENIED] = 403,
        [IMAGED_ERROR_CORRUPT] = 422,   [IMAGED_ERROR_UNSUPPORTED] = 422,
        [IMAGED_ERROR_NO_SPACE] = 507,  [IMAGED_ERROR_UNAVAILABLE] = 503,
        [IMAGED_ERROR_CANCELLED] = 409, [IMAGED_ERROR_RESCUE] = 503,
    };

    return error->domain == IMAGED_ERROR && error->code < IMAGED_N_ERRORS ? table[error->code]
                                                                          : 500;
}

enum MHD_Result answer_error(struct MHD_Connection *c, const GError *error)
{
    return answer_json(c, status_of(error), job_error_json(error));
}

enum MHD_Result answer_refusal(struct MHD_Connection *c, unsigned status, gint code,
                               const char *message)
{
    g_autoptr(GError) error = g_error_new_literal(IMAGED_ERROR, code, message);

    return answer_json(c, status, job_error_json(error));
}
