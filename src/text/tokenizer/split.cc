#include "text/tokenizer/split.h"

namespace tessera::tokenization {
namespace {

// Takes text's segments, matched or not, from left to right and groups them into pieces.
class Grouper {
 public:
  Grouper(SplitBehavior behavior, std::vector<std::pair<size_t, size_t>>* out)
      : behavior_(behavior), out_(out) {}

  void Add(size_t begin, size_t end, bool matched) {
    if (!open_) {
      Open(begin, end);
    } else if (Joins(matched)) {
      end_ = end;
    } else {
      Close();
      Open(begin, end);
    }
    last_matched_ = matched;
  }

  void Close() {
    const bool removed = behavior_ == SplitBehavior::kRemoved && last_matched_;
    if (open_ && begin_ < end_ && !removed) out_->emplace_back(begin_, end_);
    open_ = false;
  }

 private:
  void Open(size_t begin, size_t end) {
    open_ = true;
    begin_ = begin;
    end_ = end;
  }

  // Whether the next segment belongs to the open piece. Of several matches in a row only the one
  // that touches the unmatched text joins it.
  bool Joins(bool matched) const {
    switch (behavior_) {
      case SplitBehavior::kMergedWithPrevious:
        return matched && !last_matched_;
      case SplitBehavior::kMergedWithNext:
        return !matched && last_matched_;
      case SplitBehavior::kContiguous:
        return matched == last_matched_;
      default:
        return false;
    }
  }

  SplitBehavior behavior_;
  std::vector<std::pair<size_t, size_t>>* out_;
  bool open_ = false;
  bool last_matched_ = false;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace

void Split(const SplitStep& step, std::string_view text, size_t begin, size_t end,
           std::vector<std::pair<size_t, size_t>>* out) {
  // The pattern sees this piece alone: look-around does not reach beyond it.
  const std::string_view piece = text.substr(begin, end - begin);
  Grouper grouper(step.behavior, out);
  size_t done = 0;
  size_t match_begin = 0;
  size_t match_end = 0;
  for (Regex::Matches matches(step.pattern, piece); matches.Next(&match_begin, &match_end);) {
    if (done < match_begin) grouper.Add(begin + done, begin + match_begin, step.invert);
    grouper.Add(begin + match_begin, begin + match_end, !step.invert);
    done = match_end;
  }
  if (done < piece.size()) grouper.Add(begin + done, end, step.invert);
  grouper.Close();
}

}  // namespace tessera::tokenization
