// Replies that are owed, and questions to all loops or all shards.
#include <string>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "node/loop_impl.h"
#include "node/node_impl.h"

namespace skein::node {

// ---- DeferredReply -------------------------------------------------------------------------------------------------

struct DeferredReply::State {
  NodeImpl* node;
  uint32_t loop;
  uint64_t session_id;
  uint64_t ticket;

  void Answer(std::function<void(ReplyWriter&)> write) {
    node->Post(loop, [id = session_id, ticket = ticket, write = std::move(write)](LoopImpl& loop) {
      loop.CompleteDeferred(id, ticket, [&](ClientSession&, ReplyWriter& reply) { write(reply); });
    });
  }
};

DeferredReply::DeferredReply() = default;
DeferredReply::DeferredReply(std::unique_ptr<State> state) : state_(std::move(state)) {}
DeferredReply::DeferredReply(DeferredReply&&) noexcept = default;

DeferredReply& DeferredReply::operator=(DeferredReply&& o) noexcept {
  std::swap(state_, o.state_);
  return *this;
}

DeferredReply::~DeferredReply() {
  if (state_ == nullptr) return;
  state_->Answer([](ReplyWriter& reply) { reply.Error("ERR the command was abandoned"); });
}

void DeferredReply::Complete(std::function<void(ReplyWriter&)> write) {
  CHECK(state_ != nullptr) << "a deferred reply was completed twice";
  std::unique_ptr<State> state = std::move(state_);
  state->Answer(std::move(write));
}

DeferredReply NodeImpl::Defer(Call& call) {
  auto& loop = static_cast<LoopImpl&>(*call.loop);
  auto& session = static_cast<ClientSession&>(*call.session);
  return DeferredReply(std::unique_ptr<DeferredReply::State>(
      new DeferredReply::State{this, loop.index(), session.st.id, loop.DeferReply(session)}));
}

// ---- The session's loop --------------------------------------------------------------------------------------------

uint64_t LoopImpl::DeferReply(ClientSession& s) {
  DCHECK(s.segments.empty());
  s.park = Park::kDeferred;
  s.deferred_ticket = next_ticket_++;
  return s.deferred_ticket;
}

void LoopImpl::CompleteDeferred(uint64_t session_id, uint64_t ticket,
                                const std::function<void(ClientSession&, ReplyWriter&)>& write) {
  ClientSession* s = Find(session_id);
  if (s == nullptr || s->park != Park::kDeferred || s->deferred_ticket != ticket) return;
  const size_t start = s->out.size();
  ReplyWriter reply(&s->out, s->st.resp);
  write(*s, reply);
  if (s->out.size() > start && s->out.data()[start] == '-') {
    CountError(std::string_view(s->out.data() + start, s->out.size() - start));
  }
  if (s->st.reply_mode != ClientReplyMode::kOn) {
    // Nothing is gated behind bytes that were never there.
    if (s->barriers.empty() || s->barriers.back().end <= s->out_base + start) s->out.Truncate(start);
    if (s->st.reply_mode == ClientReplyMode::kSkipThis) s->st.reply_mode = ClientReplyMode::kOn;
  }
  s->deferred_ticket = 0;
  resume_later_.push_back(session_id);
}

// ---- All loops, all shards -----------------------------------------------------------------------------------------

void LoopImpl::RunOnShards(const ShardTask& part, bool write, std::vector<ShardPart>* out) {
  RefreshClock();
  for (ShardHost* host : own_hosts_) {
    ShardPart& p = out->emplace_back();
    p.shard = host->index;
    if (write) {
      const absl::Status room = MayWrite(*host);
      // A full buffer alone is no reason: what is appended here is small.
      if (room.code() == absl::StatusCode::kFailedPrecondition) {
        p.error = std::string(room.message());
        continue;
      }
      if (frozen_until_ms_ != 0) {
        p.error = "TRYAGAIN writes are held back for a moment, a failover is under way";
        continue;
      }
    }
    host->shard->Begin(unix_ms_, write);
    p.bytes = part(*this, *host->shard);
    const storage::Lsn end = host->shard->End();
    if (end != 0) host->dirty = true;
    p.wrote = end;
    p.lsn = gating_ ? Requirement(*host, storage::kNoSlot, end) : 0;
  }
}

void NodeImpl::AskShards(LoopImpl& home, bool write, ShardTask part,
                         std::function<void(LoopImpl&, std::vector<ShardPart>)> done) {
  struct Gather {
    explicit Gather(NodeImpl* node) : counted(node) {}
    Gathering counted;
    std::vector<ShardPart> parts;
    uint32_t left = 0;
    std::function<void(LoopImpl&, std::vector<ShardPart>)> done;
  };
  auto gather = std::make_shared<Gather>(this);
  gather->parts.resize(shard_count());
  gather->left = loop_count();
  gather->done = std::move(done);
  const auto take = [gather](LoopImpl& loop, std::vector<ShardPart> parts) {
    for (ShardPart& p : parts) gather->parts[p.shard] = std::move(p);
    if (--gather->left == 0) gather->done(loop, std::move(gather->parts));
  };
  for (uint32_t i = 0; i < loop_count(); ++i) {
    if (i == home.index()) continue;
    Post(i, [this, part, write, take, home = home.index()](LoopImpl& loop) {
      std::vector<ShardPart> parts;
      loop.RunOnShards(part, write, &parts);
      Post(home, [take, parts = std::move(parts)](LoopImpl& loop) mutable { take(loop, std::move(parts)); });
    });
  }
  std::vector<ShardPart> parts;
  home.RunOnShards(part, write, &parts);
  take(home, std::move(parts));
}

void NodeImpl::GatherLoops(Call& call, std::function<std::string(Loop&)> part,
                           std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) {
  auto& home = static_cast<LoopImpl&>(*call.loop);
  if (loop_count() == 1) {
    whole(*call.reply, {part(home)});
    return;
  }
  struct Gather {
    explicit Gather(NodeImpl* node) : counted(node) {}
    Gathering counted;
    std::vector<std::string> parts;
    uint32_t left = 0;
    std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole;
    uint64_t session_id = 0, ticket = 0;
  };
  auto& session = static_cast<ClientSession&>(*call.session);
  auto gather = std::make_shared<Gather>(this);
  gather->parts.resize(loop_count());
  gather->left = loop_count();
  gather->whole = std::move(whole);
  gather->session_id = session.st.id;
  gather->ticket = home.DeferReply(session);
  const auto take = [gather](LoopImpl& loop, uint32_t from, std::string text) {
    gather->parts[from] = std::move(text);
    if (--gather->left != 0) return;
    loop.CompleteDeferred(gather->session_id, gather->ticket,
                          [&](ClientSession&, ReplyWriter& reply) { gather->whole(reply, gather->parts); });
  };
  for (uint32_t i = 0; i < loop_count(); ++i) {
    if (i == home.index()) continue;
    Post(i, [this, part, take, home = home.index()](LoopImpl& loop) {
      Post(home, [take, from = loop.index(), text = part(loop)](LoopImpl& loop) mutable {
        take(loop, from, std::move(text));
      });
    });
  }
  take(home, home.index(), part(home));
}

void NodeImpl::CollectShards(Loop& from, std::function<std::string(storage::Shard&)> part,
                             std::function<void(std::vector<std::string>)> done) {
  AskShards(
      static_cast<LoopImpl&>(from), /*write=*/false,
      [part = std::move(part)](LoopImpl&, storage::Shard& shard) { return part(shard); },
      [done = std::move(done)](LoopImpl&, std::vector<ShardPart> parts) {
        std::vector<std::string> texts;
        for (ShardPart& p : parts) texts.push_back(std::move(p.bytes));
        done(std::move(texts));
      });
}

void NodeImpl::GatherShards(Call& call, std::function<std::string(storage::Shard&)> part,
                            std::function<void(ReplyWriter&, const std::vector<std::string>&)> whole) {
  auto& session = static_cast<ClientSession&>(*call.session);
  auto& home = static_cast<LoopImpl&>(*call.loop);
  AskShards(
      home, /*write=*/false, [part = std::move(part)](LoopImpl&, storage::Shard& shard) { return part(shard); },
      [whole = std::move(whole), id = session.st.id, ticket = home.DeferReply(session)](LoopImpl& loop,
                                                                                        std::vector<ShardPart> parts) {
        loop.CompleteDeferred(id, ticket, [&](ClientSession& s, ReplyWriter& reply) {
          std::vector<std::string> texts;
          for (ShardPart& p : parts) texts.push_back(std::move(p.bytes));
          const size_t start = s.out.size();
          whole(reply, texts);
          loop.AddBarriers(s, start, parts);
        });
      });
}

}  // namespace skein::node
