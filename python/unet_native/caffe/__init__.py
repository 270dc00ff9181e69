"""Caffe's files: prototxt, caffemodel, solverstate, and their HDF5 twins."""
