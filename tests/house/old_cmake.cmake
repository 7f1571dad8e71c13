# Configures the CUDA backend as a CMake that does not know the architecture 90a would: cmake -P old_cmake.cmake
set(CMAKE_VERSION 3.24.4)
set(SAT_CUDA ON)
include(${CMAKE_CURRENT_LIST_DIR}/../../cmake/cuda.cmake)
