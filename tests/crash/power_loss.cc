// One cell of the matrix under loss of power; tests/crash/run --power-loss calls it.
//
// power_loss SHARDS always|everysec|no calm|rewrite LOOPS SEED ROUNDS prints "ROUNDS ACKNOWLEDGED LOST REWRITES" and,
// if something is wrong, a second line that says what; the exit code is then 1. A round is one life of a data set.
#include <cstdint>
#include <iostream>
#include <random>
#include <string>

#include "glog/logging.h"
#include "tests/crash/power_world.h"

namespace skein::storage {
namespace {

// A disk is left for a new one after so many lives.
constexpr uint64_t kLives = 8;

int Run(PowerOptions options, uint64_t rounds) {
  uint64_t done = 0;
  uint64_t acknowledged = 0;
  uint64_t lost = 0;
  uint64_t rewrites = 0;
  std::string wrong;
  for (uint64_t disk = 0; done < rounds && wrong.empty(); ++disk) {
    PowerOptions mine = options;
    mine.seed = options.seed + disk;
    PowerWorld world(mine);
    std::mt19937_64 rng(mine.seed);
    for (uint64_t life = 0; life <= kLives && wrong.empty(); ++life) {
      // The first life says how many operations there are in one; the last one only looks.
      const uint64_t cut_at = life == 0 || life == kLives ? PowerWorld::kNever : rng() % (world.operations() + 1);
      wrong = world.Live(cut_at, life == kLives ? 0 : 1 + rng() % 300);
      if (!wrong.empty()) {
        wrong = "seed " + std::to_string(mine.seed) + ", life " + std::to_string(life) + ", cut at " +
                std::to_string(cut_at) + ": " + wrong;
      }
    }
    done += kLives;
    acknowledged += world.acknowledged();
    lost += world.lost();
    rewrites += world.rewrites();
  }
  std::cout << done << ' ' << acknowledged << ' ' << lost << ' ' << rewrites << '\n';
  if (wrong.empty()) return 0;
  std::cout << wrong << '\n';
  return 1;
}

int Main(const std::vector<std::string>& words) {
  if (words.size() != 6) {
    std::cerr << "usage: power_loss SHARDS always|everysec|no calm|rewrite LOOPS SEED ROUNDS\n";
    return 2;
  }
  PowerOptions options;
  options.shards = static_cast<uint32_t>(std::stoul(words[0]));
  options.fsync = words[1] == "always"     ? AppendFsync::kAlways
                  : words[1] == "everysec" ? AppendFsync::kEverySec
                                           : AppendFsync::kNo;
  options.rewrite = words[2] == "rewrite";
  options.loops = static_cast<uint32_t>(std::stoul(words[3]));
  options.seed = std::stoull(words[4]);
  return Run(options, std::stoull(words[5]));
}

}  // namespace
}  // namespace skein::storage

int main(int argc, char** argv) {
  // Torn tails are cut thousands of times, and each is reported.
  FLAGS_minloglevel = google::GLOG_FATAL;
  google::InitGoogleLogging(argv[0]);
  return skein::storage::Main({argv + 1, argv + argc});
}
