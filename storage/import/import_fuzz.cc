// Any bytes as what Redis left: the manifest of a folder, a file of commands, the list of a flip's moves.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "storage/flip.h"
#include "storage/import/redis_manifest.h"
#include "storage/import/resp_aof.h"

namespace {

class BytesFile : public skein::storage::File {
 public:
  explicit BytesFile(std::string_view bytes) : bytes_(bytes) {}
  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    if (offset >= bytes_.size()) return size_t{0};
    const std::string_view piece = bytes_.substr(offset, size);
    std::memcpy(out, piece.data(), piece.size());
    return piece.size();
  }
  absl::Status WriteAt(uint64_t, const std::vector<iovec>&) override { return absl::UnimplementedError("read only"); }
  absl::Status Truncate(uint64_t) override { return absl::UnimplementedError("read only"); }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::StatusOr<uint64_t> Size() override { return bytes_.size(); }

 private:
  const std::string_view bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using skein::storage::RespAof;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  skein::storage::ParseRedisManifest(bytes).status().IgnoreError();
  const auto moves = skein::storage::ParseMoves(bytes);
  if (moves.ok() && skein::storage::EncodeMoves(*moves) != bytes) __builtin_trap();

  BytesFile file(bytes);
  RespAof reader(&file, "fuzz", 0, size);
  uint64_t before = 0;
  auto found = reader.Next();
  for (; found.ok() && *found == RespAof::Found::kCommand; found = reader.Next()) {
    // Every command lies behind the one before it and inside the file, and its words inside the command.
    if (reader.command_offset() < before || reader.offset() > size) __builtin_trap();
    before = reader.offset();
    size_t words = 0;
    for (const std::string_view word : reader.argv()) words += word.size();
    if (reader.argv().empty() || words > reader.offset() - reader.command_offset()) __builtin_trap();
  }
  return 0;
}
