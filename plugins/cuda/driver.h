// Whether the NVIDIA driver can run what the CUDA toolkit of this library compiled. No CUDA header is needed to read
// this.
#pragma once

namespace msdk::cuda {

// A sentence where the driver is of an older major version of CUDA than the toolkit; else null. Null too where there
// is no driver, of which every other call says so.
const char* driver_problem();

}  // namespace msdk::cuda
