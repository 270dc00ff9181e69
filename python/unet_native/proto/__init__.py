"""pycaffe's package of messages: `from unet_native.proto import caffe_pb2`."""

from unet_native.proto import caffe_pb2

__all__ = ["caffe_pb2"]
