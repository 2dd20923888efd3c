#include "engine/stop_strings.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

uint64_t Key(StopAutomaton::State state, char c) {
  return static_cast<uint64_t>(state) << 8 | static_cast<unsigned char>(c);
}

}  // namespace

StopAutomaton::StopAutomaton(const std::vector<std::string>& strings) : nodes_(1) {
  for (const std::string& string : strings) {
    State state = kStart;
    for (const char c : string) {
      const State child = Child(state, c);
      state = child >= 0 ? child : AddChild(state, c);
    }
    nodes_[static_cast<size_t>(state)].complete = string.size();
  }
  Link();
}

StopAutomaton::State StopAutomaton::Child(State state, char c) const {
  const auto found = children_.find(Key(state, c));
  return found == children_.end() ? -1 : found->second;
}

StopAutomaton::State StopAutomaton::AddChild(State state, char c) {
  const auto child = static_cast<State>(nodes_.size());
  Node node;
  node.length = length(state) + 1;
  nodes_.push_back(node);
  children_.emplace(Key(state, c), child);
  return child;
}

// Shorter texts first: the fallback of a text is that of its beginning, continued by its last byte.
void StopAutomaton::Link() {
  struct Edge {
    State parent;
    char c;
    State child;
  };
  std::vector<Edge> edges;
  edges.reserve(children_.size());
  for (const auto& [key, child] : children_) {
    edges.push_back({static_cast<State>(key >> 8), static_cast<char>(key & 0xffu), child});
  }
  std::sort(edges.begin(), edges.end(),
            [this](const Edge& a, const Edge& b) { return length(a.child) < length(b.child); });
  for (const Edge& edge : edges) {
    Node& node = nodes_[static_cast<size_t>(edge.child)];
    if (edge.parent != kStart) {
      node.fallback = Next(nodes_[static_cast<size_t>(edge.parent)].fallback, edge.c);
    }
    node.complete = std::max(node.complete, complete(node.fallback));
  }
}

StopAutomaton::State StopAutomaton::Next(State state, char c) const {
  for (;;) {
    const State child = Child(state, c);
    if (child >= 0) return child;
    if (state == kStart) return kStart;
    state = nodes_[static_cast<size_t>(state)].fallback;
  }
}

StopStrings::StopStrings(std::shared_ptr<const StopAutomaton> automaton, bool keeps_match)
    : automaton_(std::move(automaton)), keeps_match_(keeps_match) {}

std::string StopStrings::Append(std::string_view text) {
  if (stopped_) return {};
  if (automaton_ == nullptr) return std::string(text);
  for (size_t i = 0; i < text.size(); ++i) {
    state_ = automaton_->Next(state_, text[i]);
    const size_t complete = automaton_->complete(state_);
    if (complete == 0) continue;
    stopped_ = true;
    std::string certain = std::exchange(held_, {});
    certain.append(text.substr(0, i + 1));
    match_ = certain.substr(certain.size() - complete);
    if (!keeps_match_) certain.resize(certain.size() - complete);
    return certain;
  }
  if (text.empty()) return {};
  held_.append(text);
  std::string certain = held_.substr(0, held_.size() - automaton_->length(state_));
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStrings::AppendUnsearched(std::string_view text) {
  if (stopped_) return {};
  state_ = StopAutomaton::kStart;
  return std::exchange(held_, {}).append(text);
}

std::string StopStrings::Finish() {
  state_ = StopAutomaton::kStart;
  return std::exchange(held_, {});
}

}  // namespace tessera
