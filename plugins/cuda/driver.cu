#include "cuda/driver.h"

#include "cuda/driver.cuh"

namespace msdk::cuda {

const char* driver_problem() { return problem_of_driver(); }

}  // namespace msdk::cuda
