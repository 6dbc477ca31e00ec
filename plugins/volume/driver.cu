#include "cuda/driver.cuh"
#include "volume/volume.h"

extern "C" const char* msdk_volume_driver_problem() { return msdk::cuda::problem_of_driver(); }
