// Vocabularies for tests.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace tessera::testing {

// All bytes, and pieces of JSON and words of several bytes, some of them twice.
std::vector<std::string> SmallVocabulary(size_t size, std::mt19937* random);

// As many as today's models have (128,000), of the same kind: words with and without a space,
// digits, and long runs of one character.
std::vector<std::string> LargeVocabulary(std::mt19937* random);

}  // namespace tessera::testing
