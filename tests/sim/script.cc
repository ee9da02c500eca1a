#include "tests/sim/script.h"

#include <algorithm>
#include <memory>
#include <sstream>

#include "tests/sim/world.h"

namespace skein::sim {
namespace {

using Words = std::vector<std::string>;

class Script {
 public:
  Script() { options_.node_timeout_ms = 1000; }

  // The answer to one step; lines end with "\n".
  std::string Do(const Words& w) {
    const std::string& verb = w[0];
    if (verb == "timeout") return options_.node_timeout_ms = Number(w, 1), "";
    if (verb == "coverage") return options_.require_full_coverage = w.at(1) == "yes", "";
    if (verb == "seed") return seed_ = Number(w, 1), "";
    if (verb == "seeds") return options_.seeds = {{"members", 17000}}, "";
    if (verb == "nodes") {
      if (world_ == nullptr) world_ = std::make_unique<World>(seed_, options_);
      for (int64_t i = Number(w, 1); i > 0; --i) world_->AddNode();
      world_->Run(200);
      Learn();
      return "";
    }
    if (world_ == nullptr) return "no nodes yet\n";
    if (verb == "run") {
      world_->Run(Number(w, 1));
      return Failure();
    }
    if (verb == "heal") return world_->Heal(), "";
    if (verb == "agree") {
      bool agreed = world_->RunUntil(Number(w, 1), [&] { return world_->Disagreement().empty(); });
      return Failure() + (agreed ? "agreed\n" : Names(world_->Disagreement()) + "\n");
    }
    if (verb == "notes") {
      std::string all;
      for (const auto& [n, text] : world_->TakeNotes()) all += Names("n" + std::to_string(n) + ": " + text) + "\n";
      return all;
    }
    if (verb == "view") return View(Node(w, 1));
    if (verb == "cut") return world_->Cut(Node(w, 1), Node(w, 2)), "";
    if (verb == "part") {
      world_->Cut(Node(w, 1), Node(w, 2));
      return world_->Cut(Node(w, 2), Node(w, 1)), "";
    }
    if (verb == "crash") return world_->Crash(Node(w, 1)), "";
    if (verb == "restart") return world_->Restart(Node(w, 1)), "";
    if (verb == "move") return world_->Restart(Node(w, 1), true), "";
    if (verb == "wipe") return world_->Restart(Node(w, 1), true, true), "";
    if (verb == "writes") return world_->write_rate = static_cast<int>(Number(w, 1)), "";
    if (verb == "data") {
      return std::to_string(world_->data().written) + " written, " + std::to_string(world_->data().lost) + " lost\n";
    }
    if (verb == "skew") return world_->SetClock(Node(w, 1), Number(w, 2), Number(w, 3)), "";
    if (verb == "freeze") return world_->Freeze(Node(w, 1)), "";
    if (verb == "thaw") return world_->Thaw(Node(w, 1)), "";
    if (verb == "stall") return world_->SetHealthy(Node(w, 1), false), "";
    if (verb == "unstall") return world_->SetHealthy(Node(w, 1), true), "";
    return Command(Node(w, 0), Words(w.begin() + 1, w.end()));
  }

 private:
  static int64_t Number(const Words& w, size_t i) { return std::stoll(w.at(i)); }
  int Node(const Words& w, size_t i) const {
    int n = static_cast<int>(std::stoll(w.at(i).substr(1)));
    return std::clamp(n, 0, world_->size() - 1);
  }
  std::string Failure() const { return world_->failure().empty() ? "" : "BROKEN: " + world_->failure() + "\n"; }

  // A node keeps its name for whatever id it has had.
  void Learn() {
    for (int n = 0; n < world_->size(); ++n) {
      std::string id = world_->id(n), name = "n" + std::to_string(n);
      if (id.empty()) continue;
      bool known = std::any_of(names_.begin(), names_.end(), [&](const auto& x) { return x.first == id; });
      if (!known) names_.emplace_back(id, name);
    }
  }

  std::string Names(std::string text) {
    Learn();
    for (const auto& [id, name] : names_) {
      for (size_t at; (at = text.find(id)) != std::string::npos;) text.replace(at, id.size(), name);
    }
    return text;
  }

  // The newest id of a node; what is not a node's name stands for itself.
  std::string Id(const std::string& name) {
    Learn();
    for (auto it = names_.rbegin(); it != names_.rend(); ++it) {
      if (it->second == name) return it->first;
    }
    return name;
  }

  static std::vector<bus::SlotRange> Ranges(const Words& w) {
    std::vector<bus::SlotRange> ranges;
    for (size_t i = 1; i < w.size(); ++i) {
      size_t dash = w[i].find('-');
      uint16_t first = static_cast<uint16_t>(std::stoul(w[i]));
      ranges.push_back(
          {first, dash == std::string::npos ? first : static_cast<uint16_t>(std::stoul(w[i].substr(dash + 1)))});
    }
    return ranges;
  }

  std::string Command(int n, const Words& w) {
    bus::OperatorCommand c;
    const std::string& verb = w.at(0);
    if (verb == "meet") {
      c = bus::MeetCommand{world_->ip(Node(w, 1)), 7000, 17000};
    } else if (verb == "seeds") {
      c = bus::SeedsCommand{{{"members", 17000}}};
    } else if (verb == "forget") {
      c = bus::ForgetCommand{Id(w.at(1))};
    } else if (verb == "reset") {
      c = bus::ResetCommand{w.at(1) == "hard", false};
    } else if (verb == "addslots") {
      c = bus::AddSlotsCommand{Ranges(w)};
    } else if (verb == "delslots") {
      c = bus::DelSlotsCommand{Ranges(w)};
    } else if (verb == "flushslots") {
      c = bus::FlushSlotsCommand{false};
    } else if (verb == "bumpepoch") {
      c = bus::BumpEpochCommand{};
    } else if (verb == "set-config-epoch") {
      c = bus::SetConfigEpochCommand{static_cast<uint64_t>(Number(w, 1))};
    } else if (verb == "saveconfig") {
      c = bus::SaveConfigCommand{};
    } else if (verb == "count-failure-reports") {
      c = bus::CountFailureReportsCommand{Id(w.at(1))};
    } else if (verb == "setslot") {
      bus::SetSlotKind kind = w.at(2) == "migrating"   ? bus::SetSlotKind::kMigrating
                              : w.at(2) == "importing" ? bus::SetSlotKind::kImporting
                              : w.at(2) == "stable"    ? bus::SetSlotKind::kStable
                                                       : bus::SetSlotKind::kNode;
      c = bus::SetSlotCommand{static_cast<uint16_t>(Number(w, 1)), kind, w.size() > 3 ? Id(w[3]) : "", 0};
    } else if (verb == "replicate") {
      c = bus::ReplicateCommand{Id(w.at(1)), false};
    } else if (verb == "failover") {
      c = bus::FailoverCommand{w.size() < 2         ? bus::FailoverKind::kAgreed
                               : w[1] == "takeover" ? bus::FailoverKind::kTakeover
                                                    : bus::FailoverKind::kForce};
    } else {
      return "unknown step\n";
    }
    ReplyPtr reply = world_->Command(n, std::move(c));
    world_->RunUntil(1000, [&] { return reply->done; });
    if (!reply->done) return Failure() + "(no reply)\n";
    if (reply->reply.kind == bus::OperatorReply::Kind::kInteger) return std::to_string(reply->reply.number) + "\n";
    return Names(reply->reply.text) + "\n";
  }

  std::string View(int n) {
    bus::TopologyPtr t = world_->topology(n);
    std::vector<std::string> lines;
    for (const bus::TopologyNode& node : t->nodes) {
      std::string line = node.handshake ? "(handshake)" : Names(node.id());
      if (node.myself) line += " myself";
      line += node.primary ? " primary" : " replica";
      if (node.fail) line += " fail";
      if (node.pfail) line += " fail?";
      if (node.no_address) line += " noaddr";
      line += " epoch " + std::to_string(node.config_epoch) + (node.link_up ? " connected" : " disconnected");
      for (bus::SlotRange r : node.slots) {
        line += " " + std::to_string(r.first) + (r.first == r.last ? "" : "-" + std::to_string(r.last));
      }
      lines.push_back(line + "\n");
    }
    std::sort(lines.begin(), lines.end());
    std::string all = t->ok ? "ok" : Names("fail: " + t->why_not_ok);
    all += "; epoch " + std::to_string(t->current_epoch) + ", " + std::to_string(t->size) + " voters, " +
           std::to_string(t->slots_assigned) + " slots\n";
    for (const std::string& line : lines) all += line;
    for (const bus::SlotMove& m : t->migrating)
      all += "migrating " + std::to_string(m.slot) + " to " + Names(m.peer_id) + "\n";
    for (const bus::SlotMove& m : t->importing) {
      all += "importing " + std::to_string(m.slot) + " from " + Names(m.peer_id) + "\n";
    }
    return all;
  }

  bus::EngineOptions options_;
  uint64_t seed_ = 1;
  std::unique_ptr<World> world_;
  std::vector<std::pair<std::string, std::string>> names_;  // id, name
};

}  // namespace

std::string RunScript(const std::string& script) {
  Script run;
  std::istringstream in(script);
  std::string out, line;
  bool skipping = false;  // an old answer
  while (std::getline(in, line)) {
    if (skipping) {
      skipping = !line.empty();
      if (skipping) continue;
    }
    if (line == "----") {
      skipping = true;
      continue;
    }
    std::istringstream split(line);
    Words words;
    for (std::string word; split >> word;) words.push_back(word);
    out += line + "\n";
    if (words.empty() || words[0][0] == '#') continue;
    std::string answer = run.Do(words);
    if (!answer.empty()) out += "----\n" + answer;
  }
  return out;
}

}  // namespace skein::sim
