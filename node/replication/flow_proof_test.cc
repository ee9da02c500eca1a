#include "node/replication/flow_proof.h"

#include <gtest/gtest.h>

namespace skein::node {
namespace {

const std::string kReplica(40, 'a'), kPrimary(40, 'b');

bus::SecretsPtr Make(const std::vector<std::string>& secrets) { return *bus::Secrets::Create(secrets); }

// One LOGSYNC of a replica with `theirs` to a primary with `ours`: what each says, as bytes on the wire.
struct Exchange {
  bus::SecretsPtr ours, theirs;
  std::atomic<uint64_t> unproven{0};
  std::vector<std::string> words = EncodeLogsync([] {
    LogsyncRequest r;
    r.replica_id = kReplica;
    return r;
  }());
  std::unique_ptr<FlowProver> prover;
  std::unique_ptr<FlowChallenge> challenge;

  Exchange(bus::SecretsPtr o, bus::SecretsPtr t) : ours(std::move(o)), theirs(std::move(t)) {
    prover = std::make_unique<FlowProver>(words, kReplica, theirs);
    challenge = MakeChallenge(words);
  }
  std::unique_ptr<FlowChallenge> MakeChallenge(const std::vector<std::string>& said) {
    const std::vector<std::string_view> views(said.begin(), said.end());
    return std::make_unique<FlowChallenge>(views, *DecodeLogsync(views), &unproven);
  }
  std::optional<std::string> Prove(const std::vector<std::string>& said) {
    const std::vector<std::string_view> views(said.begin(), said.end());
    return challenge->Prove(views, *ours, kPrimary);
  }
};

const std::string kSecret = "correct horse battery staple", kOther = "another secret of some length";

TEST(FlowProof, BothEndsShowThatTheyKnowTheSecret) {
  Exchange e(Make({kSecret}), Make({kSecret}));
  const auto said = e.prover->Answer(e.challenge->Line());
  ASSERT_TRUE(said.ok()) << said.status();
  const auto shown = e.Prove(*said);
  ASSERT_TRUE(shown);
  const std::string answer = "CONTINUE 1 " + kPrimary;
  const std::string full = answer + " " + *shown;
  std::string_view line = full;
  EXPECT_EQ(FlowProver::AcceptorId(line), kPrimary);
  EXPECT_TRUE(e.prover->Check(&line, kPrimary).ok());
  EXPECT_EQ(line, answer);
  e.challenge.reset();
  EXPECT_EQ(e.unproven, 0u);
}

TEST(FlowProof, AnySecretOfTheListIsAcceptedWhileItIsChanged) {
  Exchange e(Make({kOther, kSecret}), Make({kSecret}));
  const auto shown = e.Prove(*e.prover->Answer(e.challenge->Line()));
  ASSERT_TRUE(shown);
  const std::string full = "FULL 1 " + kPrimary + " " + *shown;
  std::string_view line = full;
  EXPECT_TRUE(e.prover->Check(&line, kPrimary).ok());
}

TEST(FlowProof, AWrongSecretIsRefusedAndCounted) {
  Exchange e(Make({kSecret}), Make({kOther}));
  EXPECT_FALSE(e.Prove(*e.prover->Answer(e.challenge->Line())));
  EXPECT_EQ(e.unproven, 0u);
  e.challenge.reset();
  EXPECT_EQ(e.unproven, 1u);
}

// What is proven is this connection, these words, this end.
TEST(FlowProof, AProofIsGoodForNothingElse) {
  Exchange e(Make({kSecret}), Make({kSecret}));
  const std::vector<std::string> said = *e.prover->Answer(e.challenge->Line());
  e.challenge = e.MakeChallenge(e.words);  // another nonce
  EXPECT_FALSE(e.Prove(said));

  Exchange words(Make({kSecret}), Make({kSecret}));
  const std::vector<std::string> proof = *words.prover->Answer(words.challenge->Line());
  ASSERT_TRUE(words.Prove(proof));
  std::vector<std::string> turned = proof;
  turned[3][5] = turned[3][5] == '0' ? '1' : '0';
  EXPECT_FALSE(words.Prove(turned));
  turned = proof;
  turned[2][5] = turned[2][5] == '0' ? '1' : '0';
  EXPECT_FALSE(words.Prove(turned));
  for (const size_t at : {2, 3}) {
    turned = proof;
    turned[at].pop_back();
    EXPECT_FALSE(words.Prove(turned));
    turned[at] += 'G';
    EXPECT_FALSE(words.Prove(turned));
  }
  const auto shown = words.Prove(proof);
  // Its own proof, said back to it; another node's answer.
  for (const std::string& end : {proof[3], std::string(64, '0'), std::string("x"), std::string()}) {
    const std::string full = "CONTINUE 1 " + kPrimary + " " + end;
    std::string_view line = full;
    EXPECT_FALSE(words.prover->Check(&line, kPrimary).ok()) << end;
  }
  const std::string full = "CONTINUE 1 " + kPrimary + " " + *shown;
  std::string_view line = full;
  EXPECT_FALSE(words.prover->Check(&line, std::string(40, 'c')).ok());
}

TEST(FlowProof, OtherWordsAreNotProven) {
  Exchange e(Make({kSecret}), Make({kSecret}));
  std::vector<std::string> other = e.words;
  other[8] = "7";
  const std::vector<std::string_view> views(other.begin(), other.end());
  const bus::Nonce nonce{};
  EXPECT_NE(
      AboutFlow(views, kReplica, nonce, nonce, "").purpose,
      AboutFlow(std::vector<std::string_view>(e.words.begin(), e.words.end()), kReplica, nonce, nonce, "").purpose);
}

TEST(FlowProof, WhoHasASecretTakesNoLessThanAProof) {
  Exchange e(Make({kSecret}), Make({kSecret}));
  const std::string full = "CONTINUE 1 " + kPrimary;
  std::string_view line = full;
  EXPECT_FALSE(e.prover->Check(&line, kPrimary).ok()) << "never challenged";
  EXPECT_FALSE(FlowProver(e.words, kReplica, nullptr).Answer(e.challenge->Line()).ok());
  EXPECT_TRUE(FlowProver(e.words, kReplica, nullptr).Check(&line, kPrimary).ok());
  // A challenge is answered once a connection.
  EXPECT_TRUE(e.prover->Answer(e.challenge->Line()).ok());
  EXPECT_FALSE(e.prover->Answer(e.challenge->Line()).ok());
  for (const char* bad : {"CHALLENGE ", "CHALLENGE 1 ", "CHALLENGE 2 00", "CHALLENGE 1 00"}) {
    EXPECT_FALSE(FlowProver(e.words, kReplica, e.theirs).Answer(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace skein::node
