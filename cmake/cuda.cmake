# The CUDA backend: sat/cuda, where SAT_CUDA is on; otherwise its door, which says that there is none.
# Machine code for sm_80 and sm_90a, and PTX of both, so that newer devices find something to translate.
if(NOT SAT_CUDA)
  target_sources(sat PRIVATE sat/cuda/absent.cpp sat/cuda/device_name.cpp)
  return()
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90a)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
find_package(CUDAToolkit 12.5 REQUIRED)
string(APPEND CMAKE_CUDA_FLAGS " -std=c++20")  # before CMake 3.26, cuda_std_20 is not known for nvcc

file(GLOB cuda_sources CONFIGURE_DEPENDS sat/cuda/*.cu sat/cuda/*.cpp)
list(FILTER cuda_sources EXCLUDE REGEX "/absent\\.cpp$")
if(NOT SAT_CUDNN)
  list(FILTER cuda_sources EXCLUDE REGEX "/conv3d_cudnn\\.cpp$")
else()
  list(FILTER cuda_sources EXCLUDE REGEX "/conv3d_no_cudnn\\.cpp$")
  find_path(SAT_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
  find_library(SAT_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDAToolkit_LIBRARY_DIR} REQUIRED)
  target_link_libraries(sat PRIVATE ${SAT_CUDNN_LIBRARY})
  set_source_files_properties(sat/cuda/conv3d_cudnn.cpp PROPERTIES INCLUDE_DIRECTORIES ${SAT_CUDNN_INCLUDE})
endif()
target_sources(sat PRIVATE ${cuda_sources})
target_link_libraries(sat PRIVATE CUDA::cudart CUDA::cublas)
set_target_properties(sat PROPERTIES CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}" CUDA_RUNTIME_LIBRARY Shared)
