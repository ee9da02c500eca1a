#include "ops/aof_tool/offline.h"

#include <memory>
#include <string>

namespace skein::ops {

storage::OfflinePlace PlaceOf(const Tool& tool, const Folder& folder) {
  const storage::DataSetOptions options = OptionsOf(tool, folder.place);
  return {.dir = options.dir, .append_dir = options.append_dir, .fs = tool.fs};
}

storage::OfflineProgress DrawPhases(Console* console) {
  struct Phase {
    std::string name;
    std::unique_ptr<Progress> bar;
  };
  return [console, phase = std::make_shared<Phase>()](std::string_view name, uint64_t done, uint64_t total) {
    if (phase->bar == nullptr || phase->name != name) {
      phase->bar.reset();  // clears its line before the next one draws
      phase->name = name;
      phase->bar = std::make_unique<Progress>(console, phase->name, total, Progress::Unit::kOther);
    }
    phase->bar->Reach(done);
  };
}

}  // namespace skein::ops
