// A libcuda.so.1 that knows GPUs of the capabilities in $CAPABILITIES, such as "90 80 90".
#include <stdlib.h>

static int capability(int device) {
  const char* list = getenv("CAPABILITIES");
  char* rest = (char*)(list ? list : "");
  long value = 0;
  for (int i = 0; i <= device; ++i) {
    char* const begin = rest;
    value = strtol(begin, &rest, 10);
    if (rest == begin) return 0;
  }
  return (int)value;
}

int cuInit(unsigned flags) { return flags == 0 && capability(0) ? 0 : 100; }

int cuDeviceGetCount(int* count) {
  for (*count = 0; capability(*count); ++*count) {
  }
  return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? capability(device) / 10 : capability(device) % 10;
  return 0;
}
