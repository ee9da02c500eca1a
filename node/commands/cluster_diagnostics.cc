// CLUSTER INFO, LINKS and EVENTS: what the bus thread has to tell of itself.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "fmt/format.h"
#include "node/commands/cluster.h"
#include "node/commands/cluster_view.h"
#include "node/commands/parse.h"
#include "node/node.h"
#include "node/replication/replication.h"

namespace skein::node {
namespace {

std::optional<bus::EventKind> EventKindOf(std::string_view word) {
  for (uint8_t kind = 0; kind <= static_cast<uint8_t>(bus::EventKind::kLast); ++kind) {
    if (IsWord(word, bus::EventKindName(static_cast<bus::EventKind>(kind)))) return static_cast<bus::EventKind>(kind);
  }
  return std::nullopt;
}

void WriteLink(const bus::LinkInfo& link, ReplyWriter& reply) {
  reply.Map(9);
  reply.Bulk("direction");
  reply.Bulk(link.outbound ? "to" : "from");
  reply.Bulk("class");
  reply.Bulk(link.publishes ? "publish" : "control");
  reply.Bulk("node");
  reply.Bulk(link.node);
  reply.Bulk("create-time");
  reply.Integer(link.create_time_ms);
  reply.Bulk("events");
  reply.Bulk(link.events);
  reply.Bulk("send-buffer-allocated");
  reply.Integer(static_cast<int64_t>(link.send_buffer_allocated));
  reply.Bulk("send-buffer-used");
  reply.Integer(static_cast<int64_t>(link.send_buffer_used));
  reply.Bulk("io-jobs");
  reply.Integer(link.jobs);
  reply.Bulk("closing");
  reply.Integer(link.closing ? 1 : 0);
}

void WriteEvent(const bus::ClusterEvent& event, ReplyWriter& reply) {
  reply.Map(5);
  reply.Bulk("id");
  reply.Integer(static_cast<int64_t>(event.id));
  reply.Bulk("time");
  reply.Integer(event.unix_ms);
  reply.Bulk("kind");
  reply.Bulk(bus::EventKindName(event.kind));
  reply.Bulk("times");
  reply.Integer(static_cast<int64_t>(event.times));
  reply.Bulk("text");
  reply.Bulk(event.text);
}

}  // namespace

void ClusterInfo(Call& call) {
  auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
  call.node->bus()->GetStats([owed, node = call.node](bus::BusStats stats) {
    owed->Complete([stats = std::move(stats), node](ReplyWriter& reply) {
      const bool serves = node->replication() == nullptr || !node->replication()->catching_up();
      reply.Verbatim("txt", InfoText(*node->topology(), stats, serves));
    });
  });
}

void ClusterLinks(Call& call) {
  auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
  call.node->bus()->GetLinks([owed](std::vector<bus::LinkInfo> links) {
    owed->Complete([links = std::move(links)](ReplyWriter& reply) {
      reply.Array(links.size());
      for (const bus::LinkInfo& link : links) WriteLink(link, reply);
    });
  });
}

// CLUSTER EVENTS [COUNT count] [KIND kind], CLUSTER EVENTS RESET. Newest first.
void ClusterEvents(Call& call) {
  if (call.argv.size() == 3 && IsWord(call.argv[2], "RESET")) {
    call.node->bus()->ResetEvents();
    return call.reply->Ok();
  }
  int64_t count = 100;
  std::optional<bus::EventKind> kind;
  for (size_t i = 2; i < call.argv.size(); i += 2) {
    if (i + 1 == call.argv.size()) return call.reply->SyntaxError();
    const std::string_view value = call.argv[i + 1];
    if (IsWord(call.argv[i], "COUNT")) {
      if (!ParseInt64(value, &count) || count < 1) return call.reply->Error("ERR count should be greater than 0");
    } else if (IsWord(call.argv[i], "KIND")) {
      kind = EventKindOf(value);
      if (!kind.has_value()) return call.reply->Error(fmt::format("ERR Unknown kind of event '{}'", value));
    } else {
      return call.reply->SyntaxError();
    }
  }
  auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
  call.node->bus()->GetEvents([owed, count, kind](std::vector<bus::ClusterEvent> events) {
    if (kind.has_value()) std::erase_if(events, [kind](const bus::ClusterEvent& e) { return e.kind != *kind; });
    owed->Complete([events = std::move(events), count](ReplyWriter& reply) {
      const size_t n = std::min<size_t>(events.size(), static_cast<size_t>(count));
      reply.Array(n);
      for (size_t i = 0; i < n; ++i) WriteEvent(events[events.size() - 1 - i], reply);
    });
  });
}

}  // namespace skein::node
