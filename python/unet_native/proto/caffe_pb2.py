"""Caffe's messages under pycaffe's name: caffe_pb2.NetParameter() and its like."""

from unet_native.caffe import schema

globals().update({name: schema.message_class(name) for name in schema.message_names()})

TRAIN, TEST = 0, 1  # the enumeration Phase
