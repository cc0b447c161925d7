/* schema_quota.h: what counts for quotas, reckoned up where it changes (migration 16).
 *
 * A group may have 10,000 members, and what they have is asked for at each pick, in the catalog's
 * writer.  So triggers keep it: held has a row for each desktop that counts for somebody, always as
 * the view held_now computes it; quota.used_* are the sums of it. */
#pragma once

extern const char schema_quota_use[];
