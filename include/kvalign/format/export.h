// KVALIGN_API marks what a shared library offers; everything else stays hidden, so that no internal
// symbol becomes something that users depend on. It is not a dllexport dance: ELF and Mach-O only.
#pragma once

#define KVALIGN_API __attribute__((visibility("default")))
