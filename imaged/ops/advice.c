/* advice.c: the advisor's verbs: the report, a stand-in base, a version proposed from a donor. */
#include "snapshot/advice.h"

#include "imaged/base/error.h"
#include "imaged/ops/args.h"
#include "imaged/ops/submit.h"

json_t *ops_report_advice(OpsCall *call, GError **error)
{
    JobRequest request = { 0 };
    gint64 share;

    if (!args_check(call, "template share", error) || !args_are_texts(call, "template", error) ||
        !args_int(call, "share", ADVICE_SHARE, 1, 100, &share, error) ||
        submit_is_repeat(call, error) || (error && *error) ||
        !advice_plan(call->world, args_text(call, "template", FALSE, NULL), share, &request, error))
        return NULL;
    return submit_request(call, &request, error);
}
