#include "simt/finding.h"

#include <dlfcn.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace unet::simt {
namespace {

struct Noted {
  Finding finding;
  const void* pc;
  int line;
};

std::vector<Noted> noted;

}  // namespace

void report(const char* kind, const std::string& text, const void* pc, int line) {
  for (Noted& known : noted) {
    if (known.pc == pc && known.line == line && known.finding.kind == kind) {
      ++known.finding.count;
      return;
    }
  }
  noted.push_back({{kind, text, "", 1}, pc, line});
}

std::vector<Finding> take_findings() {
  std::vector<Finding> findings;
  for (Noted& known : noted) {
    known.finding.where = known.pc ? place_of(known.pc) : "line " + std::to_string(known.line);
    findings.push_back(std::move(known.finding));
  }
  noted.clear();
  return findings;
}

bool has_findings() { return !noted.empty(); }

std::string place_of(const void* pc) {
  Dl_info module;
  if (!dladdr(pc, &module) || !module.dli_fname) return "";
  // The instruction before a return address is the one that made the call.
  const std::uintptr_t offset =
      reinterpret_cast<std::uintptr_t>(pc) - reinterpret_cast<std::uintptr_t>(module.dli_fbase) - 1;
  char command[1024];
  std::snprintf(command, sizeof command, "addr2line -s -e '%s' 0x%" PRIxPTR " 2>/dev/null",
                module.dli_fname, offset);
  std::string answer;
  if (FILE* tool = popen(command, "r")) {
    char line[512];
    if (std::fgets(line, sizeof line, tool)) answer.assign(line, std::strcspn(line, " \n"));
    pclose(tool);
  }
  return answer.rfind("??", 0) == 0 ? "" : answer;
}

}  // namespace unet::simt
