/* template_diff.h: what differs between two template versions: applications and bytes. */
#pragma once

#include "imaged/job/job.h"

extern const JobType template_diff_job;
