// Nothing but a place for CMake to build the shared precompiled header of LibTorch's headers.
