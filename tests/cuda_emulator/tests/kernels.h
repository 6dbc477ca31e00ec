// Kernels that exercise the emulator, right ones and wrong ones.
#pragma once

namespace kernels {

// Of blocks that wait for one another: between data and flag, and between flag and data.
struct Fences {
  bool of_writers = true, of_readers = true;
};

void block_sums(const float* x, float* sums, int blocks, int threads);
void warp_prefix(const int* x, int* prefix, int lanes);
void look_back(const int* values, int* prefix, int* flags, int* ticket, int blocks, Fences fences = {});
void last_block(int* parts, int* ticket, int* sum, int blocks, bool fenced);
void hand_on(int* out, bool synchronized);      // of 32
void write_together(int* out, unsigned apart);  // two blocks, at places so far apart
void early_exit(int* out, int threads);
void dynamic_reverse(int* values, int count);
void thread_numbers(int* out);
// a of 16 by 16 times b of 16 by 8, in whole numbers; faulty: the lanes hold rows of a in each other's place.
void small_product(const float* a, const float* b, float* sums, bool faulty);

void divergent_barrier();
void two_barriers();
void shuffle_from_an_exited_lane();
void shared_overflow();
void reads_unwritten_shared(float* out);
void powers_of_two(int* out);
void forgotten_local(const float* x, float* sums, int count);  // at most 2
void missing_barrier(int* out);
void endless_spin(int* flag);

}  // namespace kernels
