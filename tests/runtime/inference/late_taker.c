/* Takes a DLPack tensor as a library in C++ does, and lets go of it when the process ends, after Python. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  float* data;
  int32_t device_type, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} Tensor;

typedef struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(struct Managed*);
} Managed;

static Managed* taken;

__attribute__((visibility("default"))) void take(Managed* managed) { taken = managed; }

__attribute__((destructor)) static void let_go(void) {
  printf("%g at the end\n", taken->tensor.data[0]);
  if (taken->deleter) taken->deleter(taken);
  printf("let go\n");
  fflush(stdout);
}
