# Uses ccache where it is installed. Precompiled headers need two of its checks relaxed, see ccache(1).
find_program(KVALIGN_CCACHE ccache)
mark_as_advanced(KVALIGN_CCACHE)
if(KVALIGN_CCACHE AND PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros "${KVALIGN_CCACHE}")
endif()
