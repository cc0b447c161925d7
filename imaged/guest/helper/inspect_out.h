/* inspect_out.h: parts of an inspection's result that both ways of inspecting make. */
#pragma once

#include <jansson.h>

#include "imaged/guest/helper/disk_view.h"
#include "imaged/guest/helper/texts.h"

/* [["name", "version", "arch"], ...], sorted, and "applications_cut" if there were more. */
void inspect_out_packages(json_t *out, const Packages *packages);

/* partition_table, boot (how it can start: "bios", "uefi"), file_systems. */
void inspect_out_disk(json_t *out, const DiskView *view);

/* The guest agents among applications: [ "qemu-guest-agent", ... ]. */
void inspect_out_agents(json_t *out, const Packages *packages);

/* The architecture's name as libguestfs has it: amd64 -> x86_64. */
const char *inspect_arch(const char *name);

/* The people of a passwd file, appended to list: {name, uid, home}. */
void inspect_out_users(json_t *list, const GByteArray *passwd);
