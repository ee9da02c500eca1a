// Any text as a manifest: it is refused, or it is exactly what its contents are written as.
#include <cstdint>
#include <cstdio>
#include <string>

#include "glog/logging.h"
#include "storage/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using skein::storage::ParseManifest;
  const std::string text(reinterpret_cast<const char*>(data), size);
  char line[32];
  std::snprintf(line, sizeof(line), "checksum %08x\n", skein::storage::Crc32c(text));
  // As it is, and with a right checksum under it.
  for (const std::string& candidate : {text, text + line}) {
    const auto manifest = ParseManifest(candidate);
    if (manifest.ok()) CHECK_EQ(EncodeManifest(*manifest), candidate);
  }
  return 0;
}
