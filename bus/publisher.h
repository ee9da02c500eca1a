// Published messages between nodes: on links of their own class, so that a heartbeat never stands behind one.
//
// A link to a peer is dialled when there is something to publish and closed when it has been idle. What waits for a
// peer is bounded; what does not fit any more, or is on a link that ends, is dropped and counted: publishing is at most
// once. Order of one publisher's messages to one peer is kept. The bus thread's.
#ifndef SKEIN_BUS_PUBLISHER_H_
#define SKEIN_BUS_PUBLISHER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "bus/link/links.h"
#include "bus/published.h"
#include "bus/topology.h"

namespace skein::bus {

struct PublisherOptions {
  size_t peer_limit = 16u << 20;     // bytes that may wait for one peer
  size_t partial_limit = 64u << 20;  // bytes of messages that have come in part, of all peers together
  int64_t idle_ms = 15000;           // after which a link is closed
  int64_t first_retry_ms = 200, last_retry_ms = 10000;
  size_t max_connecting = 16;  // links on their way at a time
};

struct PublisherCounters {
  uint64_t dropped = 0;                                    // messages to a peer that it did not get: no room, no link
  uint64_t refused = 0;                                    // messages from who is not a member, or out of order
  size_t links = 0, waiting_bytes = 0, partial_bytes = 0;  // now
};

class Publisher {
 public:
  using Deliver = std::function<void(std::vector<PublishedMessage>)>;
  Publisher(Links* links, PublisherOptions options, Deliver deliver)
      : links_(links), options_(options), deliver_(std::move(deliver)) {}

  void SetTopology(TopologyPtr topology);
  void SetPeerLimit(size_t bytes) { options_.peer_limit = bytes; }
  void Publish(PublishedMessage published, int64_t now_ms);
  void Tick(int64_t now_ms);

  // What Links tells of links of the class for publishing.
  void OnMessage(LinkId link, const proto::BusMessage& message);
  void OnMessagesEnd();
  void OnLinkUp(LinkId link);
  void OnLinkDown(LinkId link, size_t unsent, int64_t now_ms);

  PublisherCounters counters() const;

 private:
  struct Peer {
    std::string id, ip;
    uint16_t bus_port = 0;
    LinkId link = 0;  // 0: none
    bool up = false;
    bool queued = false;             // in to_dial_
    std::deque<MessagePtr> waiting;  // until it is up
    size_t waiting_messages = 0;     // published ones among them, parts not counted
    size_t waiting_bytes = 0;
    int64_t used_ms = 0, retry_ms = 0, backoff_ms = 0;
  };
  // Of a link that somebody publishes on.
  struct Source {
    TopologyPtr checked;  // by which it is a member
    bool partial = false;
    size_t missing = 0;  // bytes of the message that have not come
    PublishedMessage message;
  };

  void Retarget();
  void Offer(Peer* peer, const std::vector<MessagePtr>& frames, size_t bytes, int64_t now_ms);
  void DropWaiting(Peer* peer);
  void DialSome(int64_t now_ms);
  bool FromMember(LinkId link, Source* source);
  void Forget(Source* source);

  Links* const links_;
  PublisherOptions options_;
  const Deliver deliver_;
  TopologyPtr topology_;
  bool stale_ = true;  // the targets are of an older topology
  std::unordered_map<std::string, Peer> peers_;
  std::vector<Peer*> everyone_, group_;
  std::map<LinkId, Peer*> by_link_;
  std::deque<std::string> to_dial_;
  size_t connecting_ = 0;
  LinkId next_link_ = kPublishLinks + 1;
  std::map<LinkId, Source> sources_;
  size_t partial_bytes_ = 0;
  std::vector<PublishedMessage> arrived_;
  std::mt19937_64 jitter_{std::random_device{}()};
  PublisherCounters counters_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_PUBLISHER_H_
