/* create_from.h: a template version out of a desktop's disk. */
#pragma once

#include "imaged/job/job.h"

extern const JobType create_from_job;
