// Adds an op to domain `msdk`, for the devices that have a kernel of it: the last line of the op's onnxruntime.cpp.
//
// clang-format off
// Op, made from a node's attributes, has:
//   Type                  float or Half: of its tensors, but for parameters, which are float
//   kName, kInputs        how many
//   kOptionalInputs       the last ones
//   kOverwrites           which input its output may be written over; optional
//   is_moments(input)     whether that input is of doubles; optional
//   kGivesMoments         whether it has a second output, of doubles, that a node may leave out; optional
//   is_parameter(input)
//   Op(const OrtKernelInfo*)
//                         throws Ort::Exception, as do all of these
//   Call arguments(const Ort::KernelContext&) const
//                         checked inputs, and the output
//   static void on_cpu(const Call&, const cpu::Parallel&)
//   static const char* on_cuda(const Call&, const Ort::KernelContext&)
//                         null, or why the launch was refused
// clang-format on
#pragma once

#include "onnxruntime/cpu.h"
#include "onnxruntime/cuda.h"
#include "onnxruntime/node.h"

namespace msdk::ort {

// Sessions refer to the op, and may be closed as late as at exit: it lives as long as the process.
template <class Op, class Device>
void add_on(Ort::CustomOpDomain& domain) {
  static const CustomOp<Op, Device> op;
  domain.Add(&op);
}

// On the CPU, and on CUDA in both types. Without the CUDA kernels the float16 op is there all the same, see Cuda.
template <template <class> class Op>
void add_on_cpu_and_cuda(Ort::CustomOpDomain& domain) {
  add_on<Op<float>, Cpu>(domain);
#ifdef MSDK_CUDA
  add_on<Op<float>, Cuda>(domain);
#endif
  add_on<Op<Half>, Cuda>(domain);
}

}  // namespace msdk::ort
