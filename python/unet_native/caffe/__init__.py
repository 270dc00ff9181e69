"""Caffe's own files: weights and the states of its solvers, read and written without Caffe."""
