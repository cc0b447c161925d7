/* rollouts.h: the job of roll-outs, composed of two domains' work. */
#pragma once

#include "imaged/job/job.h"

extern const JobType rollout_job;
