/* driver_libvirt.h: hosts by libvirt. */
#pragma once

#include "broker/host/driver.h"

extern const HostDriver driver_libvirt;

/* The element of a domain's <metadata> that is ours. */
#define DRIVER_METADATA_URI "urn:imaged:run"
#define DRIVER_METADATA_PREFIX "imaged"
