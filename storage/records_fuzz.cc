// Whatever comes from a peer: records are taken as they are, or refused; a log that takes them holds them, or nothing.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "storage/history.h"
#include "storage/memory_log.h"
#include "storage/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skein::storage;  // NOLINT(google-build-using-namespace)
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t whole = WholeRecords(bytes);
  if (whole > size) abort();
  MemoryLog log(0);
  log.KeepBacklog(1 << 20);
  const absl::Status status = log.AppendRecords(bytes);
  log.Kick();
  if (log.end() != (status.ok() ? size : 0)) abort();
  if (status.ok() && whole != size) abort();
  if (log.backlog()->bytes() != log.end()) abort();
  if (!status.ok() && !log.history().empty()) abort();
  for (const Reign& reign : log.history()) {
    if (reign.first_lsn >= log.end()) abort();
  }
  // Histories from the wire may be anything.
  const std::vector<Reign> other = {Reign{.first_lsn = size}, Reign{.first_lsn = ~Lsn{0}}};
  CommonPoint(log.history(), log.end(), other, whole);
  return 0;
}
