"""Caffe's own files: prototxt, weights and the states of its solvers, without Caffe."""
