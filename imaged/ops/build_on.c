/* build_on.c: see build_on.h. */
#include "imaged/ops/build_on.h"

#include "imaged/base/error.h"

gboolean build_on_plan(OpsCall *call, const TemplateBuild *build, gboolean is_flat,
                       JobRequest *ret_request, GError **error)
{
    g_set_error(error, IMAGED_ERROR, IMAGED_ERROR_UNSUPPORTED,
                "building on another version is not there yet");
    return FALSE;
}
