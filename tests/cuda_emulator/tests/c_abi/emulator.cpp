#include "emulator.h"

#include "c_abi.h"

EXPORT void emulator_order(uint64_t seed) {
  seed == 0 ? cuda_emulator::run_in_launch_order() : cuda_emulator::run_shuffled(seed);
}
