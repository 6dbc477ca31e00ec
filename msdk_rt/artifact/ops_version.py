"""The ops of ONNX domain `msdk`, and the version of their contract. C++ has both in plugins/."""

OPS_DOMAIN = "msdk"
OPS_VERSION = 1
