// Memory of every kind, and what must not be done to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "device/gpu/gfx942/testing/wave_fixture.h"

namespace tessera::gfx942 {
namespace {

using U = uint32_t;
using ::testing::HasSubstr;

std::string Range(int first, int count) {
  return count == 1 ? "v" + std::to_string(first)
                    : "v[" + std::to_string(first) + ":" + std::to_string(first + count - 1) + "]";
}

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    for (size_t i = 0; i < std::size(words_); ++i)
      words_[i] = static_cast<U>(i * 0x01030507u + 0x80u);
    test_.Allow(words_, sizeof(words_));
    test_.wave.SetScalar64(2, reinterpret_cast<uint64_t>(words_));
    test_.SetAddress(4, words_, 16);
    for (int l = 0; l < kLanes; ++l) {
      test_.wave.v(6)[l] = static_cast<U>(16 * l);  // an offset to the base
      for (int k = 0; k < 4; ++k) test_.wave.v(12 + k)[l] = static_cast<U>(l << 16 | k << 8 | 0x9a);
    }
  }
  U got(int reg, int lane) const { return test_.wave.v(reg)[lane]; }

  TestWave test_{1024};
  U words_[kLanes * 4 + 16];
};

TEST_F(Memory, LoadsOfWholeRegisters) {
  const std::string suffix[] = {"", "x2", "x3", "x4"};
  for (int count = 1; count <= 4; ++count) {
    const std::string name = "load_dword" + suffix[count - 1] + " " + Range(20, count);
    for (const std::string& text :
         {"global_" + name + ", v[4:5], off offset:8", "global_" + name + ", v6, s[2:3] offset:8",
          "flat_" + name + ", v[4:5] offset:8"}) {
      test_.Must(text);
      for (int l = 0; l < kLanes; ++l) {
        for (int k = 0; k < count; ++k) EXPECT_EQ(got(20 + k, l), words_[4 * l + 2 + k]) << text;
      }
    }
    test_.Must("global_" + name + ", v[4:5], off");
    test_.Must("flat_" + name + ", v[4:5]");
    test_.Must("global_" + name + ", v6, s[2:3]");
    for (int l = 0; l < kLanes; ++l) EXPECT_EQ(got(20, l), words_[4 * l]);
  }
  test_.Must("global_load_dword v20, v6, s[2:3] offset:16 sc0 sc1 nt");
  for (int l = 0; l < kLanes; ++l) EXPECT_EQ(got(20, l), words_[4 * l + 4]);
}

TEST_F(Memory, LoadsOfParts) {
  const auto* const bytes = reinterpret_cast<const unsigned char*>(words_);
  const auto byte = [&](int l) { return U{bytes[16 * l + 1]}; };
  const auto half = [&](int l) { return byte(l) | U{bytes[16 * l + 2]} << 8; };
  const auto expect = [&](const std::string& name, auto want) {
    for (const char* const form : {" v20, v[4:5], off offset:1", " v20, v6, s[2:3] offset:1"}) {
      for (int l = 0; l < kLanes; ++l) test_.wave.v(20)[l] = 0x12345678;
      test_.Must("global_load_" + name + form);
      for (int l = 0; l < kLanes; ++l) EXPECT_EQ(got(20, l), want(l)) << name;
    }
    for (const char* form : {"global_load_%s v20, v[4:5], off", "global_load_%s v20, v6, s[2:3]",
                             "flat_load_%s v20, v[4:5]", "flat_load_%s v20, v[4:5] offset:0"}) {
      std::string text = form;
      test_.Must(text.replace(text.find("%s"), 2, name));
    }
  };
  expect("ubyte", [&](int l) { return byte(l); });
  expect("sbyte", [&](int l) { return static_cast<U>(static_cast<int8_t>(byte(l))); });
  expect("ushort", [&](int l) { return half(l); });
  expect("sshort", [&](int l) { return static_cast<U>(static_cast<int16_t>(half(l))); });
  expect("short_d16", [&](int l) { return 0x12340000 | half(l); });
  expect("short_d16_hi", [&](int l) { return half(l) << 16 | 0x5678; });
  expect("ubyte_d16", [&](int l) { return 0x12340000 | byte(l); });
}

TEST_F(Memory, StoresOfLanesThatAreOn) {
  test_.wave.SetScalar64(kExec, 0xffff0000ffff0001);
  const U before = words_[4 * 1];
  const std::string suffix[] = {"", "x2", "x3", "x4"};
  for (int count = 1; count <= 4; ++count) {
    const std::string data = ", " + Range(12, count);
    for (const std::string& text :
         {"global_store_dword" + suffix[count - 1] + " v[4:5]" + data + ", off",
          "global_store_dword" + suffix[count - 1] + " v6" + data + ", s[2:3]",
          "global_store_dword" + suffix[count - 1] + " v[4:5]" + data + ", off offset:0",
          "global_store_dword" + suffix[count - 1] + " v6" + data + ", s[2:3] offset:0",
          "flat_store_dword" + suffix[count - 1] + " v[4:5]" + data,
          "flat_store_dword" + suffix[count - 1] + " v[4:5]" + data + " offset:0"}) {
      words_[0] = 0;
      test_.Must(text);
      EXPECT_EQ(words_[0], got(12, 0)) << text;
      EXPECT_EQ(words_[static_cast<size_t>(4 * 63 + count - 1)], got(11 + count, 63)) << text;
      EXPECT_EQ(words_[4], before);
    }
  }
  words_[0] = 0x11111111;
  test_.Must("global_store_byte v6, v12, s[2:3]");
  test_.Must("global_store_byte v[4:5], v12, off");
  EXPECT_EQ(words_[0], 0x1111119au);
  test_.Must("global_store_short v[4:5], v13, off");
  test_.Must("global_store_short v[4:5], v13, off offset:2");
  EXPECT_EQ(words_[0], 0x019a019au);
  test_.wave.v(13)[0] = 0xabcd0000;
  test_.Must("global_store_short_d16_hi v6, v13, s[2:3]");
  test_.Must("global_store_short v6, v14, s[2:3] offset:2");
  test_.Must("global_store_short v6, v14, s[2:3]");
  test_.Must("global_store_short_d16_hi v[4:5], v13, off");
  EXPECT_EQ(words_[0], 0x029aabcdu);
  test_.Must("flat_store_short v[4:5], v14 offset:2");
  test_.Must("flat_store_short v[4:5], v14");
  for (const char* part :
       {"store_byte", "store_byte_d16_hi", "store_short", "store_short_d16_hi"}) {
    for (const char* form : {"flat_%s v[4:5], v12", "flat_%s v[4:5], v12 offset:8",
                             "global_%s v[4:5], v12, off", "global_%s v[4:5], v12, off offset:8",
                             "global_%s v6, v12, s[2:3]", "global_%s v6, v12, s[2:3] offset:8"}) {
      words_[0] = words_[2] = 0x77777777;
      std::string text = form;
      test_.Must(text.replace(text.find("%s"), 2, part));
      const std::string name = part;
      const U data = name.ends_with("hi") ? got(12, 0) >> 16 : got(12, 0);
      const U mask = name.starts_with("store_byte") ? 0xff : 0xffff;
      EXPECT_EQ(words_[text.find("offset") != std::string::npos ? 2 : 0],
                (0x77777777 & ~mask) | (data & mask))
          << text;
    }
  }
}

TEST_F(Memory, OutsideOfBuffersIsAFault) {
  test_.wave.v(6)[63] = sizeof(words_) - 2;
  EXPECT_THAT(test_.Run("global_load_dword v20, v6, s[2:3]"), HasSubstr("a read of 4 bytes at 0x"));
  EXPECT_THAT(test_.Run("global_store_dword v6, v12, s[2:3]"),
              HasSubstr("a write of 4 bytes at 0x"));
  test_.wave.SetScalar64(kExec, ~(uint64_t{1} << 63));  // a lane that is off does no harm
  test_.Must("global_load_dword v20, v6, s[2:3]");
  EXPECT_THAT(test_.Run("global_load_dwordx2 v[20:21], v6, s[2:3] offset:-4"),
              HasSubstr("a read of 8"));
  EXPECT_THAT(test_.Run("s_load_dwordx2 s[10:11], s[2:3], 0x440"),
              HasSubstr("outside of every buffer"));
  U constant = 5;
  test_.Allow(&constant, 4, false);
  test_.wave.SetScalar64(2, reinterpret_cast<uint64_t>(&constant));
  test_.wave.SetScalar64(kExec, 1);
  test_.Must("global_load_dword v20, v6, s[2:3]");
  EXPECT_THAT(test_.Run("global_store_dword v6, v12, s[2:3]"), HasSubstr("a write of 4 bytes"));
}

TEST_F(Memory, ScalarLoads) {
  const std::string suffix[] = {"", "x2", "x4", "x8", "x16"};
  for (int log = 0; log < 5; ++log) {
    const int count = 1 << log;
    const std::string to = count == 1 ? "s16" : "s[16:" + std::to_string(15 + count) + "]";
    test_.Must("s_load_dword" + suffix[log] + " " + to + ", s[2:3], 0x10");
    for (int k = 0; k < count; ++k)
      EXPECT_EQ(test_.wave.s[static_cast<size_t>(16 + k)], words_[4 + k]);
  }
  test_.wave.s[9] = 8;
  test_.Must("s_load_dword s16, s[2:3], s9 offset:4");
  EXPECT_EQ(test_.wave.s[16], words_[3]);
  EXPECT_THAT(test_.Run("s_load_dword s16, s[2:3], 0x2"), HasSubstr("no multiple of 4"));
}

TEST_F(Memory, RawBuffersReadZeroOutsideAlsoByTheScalarOffset) {
  test_.wave.s[8] = test_.wave.s[2], test_.wave.s[9] = test_.wave.s[3];
  test_.wave.s[10] = 64, test_.wave.s[11] = 0, test_.wave.s[12] = 16;
  const std::string suffix[] = {"", "x2", "x3", "x4"};
  for (int count = 1; count <= 4; ++count) {
    test_.Must("buffer_load_dword" + suffix[count - 1] + " " + Range(20, count) +
               ", v6, s[8:11], s12 offen offset:4");
    for (int l = 0; l < kLanes; ++l) {
      for (int k = 0; k < count; ++k) {
        const int at = 16 * l + 20 + 4 * k;
        EXPECT_EQ(got(20 + k, l), at + 4 <= 64 ? words_[at / 4] : 0u);
      }
    }
  }
  const U kept = words_[16];
  test_.Must("buffer_store_dwordx4 v[12:15], v6, s[8:11], s12 offen");
  EXPECT_EQ(words_[4], got(12, 0));
  EXPECT_EQ(words_[15], got(15, 2));
  EXPECT_EQ(words_[16], kept);
  test_.Must("buffer_store_dword v12, off, s[8:11], 0 offset:8");
  EXPECT_EQ(words_[2], got(12, 63));
  test_.wave.s[11] = 0, test_.wave.s[9] |= 0x40000;
  EXPECT_THAT(test_.Run("buffer_load_dword v20, v6, s[8:11], 0 offen"), HasSubstr("raw"));
  test_.wave.s[9] &= 0xffff;
  test_.wave.s[kM0] = 256;
  test_.Must("buffer_load_dword v6, s[8:11], 0 offen lds");
  U word = 0;
  ASSERT_TRUE(test_.group.lds.Read<4>(256 + 4 * 3, 0, &word));
  EXPECT_EQ(word, words_[12]);
}

TEST_F(Memory, LdsWholeRegistersAndTwoAtATime) {
  TestWave test(16384);
  for (int l = 0; l < kLanes; ++l) {
    test.wave.v(1)[l] = static_cast<U>(32 * l);
    for (int k = 0; k < 4; ++k)
      test.wave.v(12 + k)[l] = static_cast<U>(l * 100 + k),
                       test.wave.v(16 + k)[l] = static_cast<U>(7000 + l * 100 + k);
  }
  const auto expect = [&](int reg, int first, const std::string& text) {
    for (int l = 0; l < kLanes; ++l) EXPECT_EQ(test.wave.v(reg)[l], test.wave.v(first)[l]) << text;
  };
  const std::string bits[] = {"b32", "b64", "b96", "b128"};
  for (int count = 1; count <= 4; ++count) {
    const std::string b = bits[count - 1];
    test.Must("ds_write_" + b + " v1, " + Range(12, count));
    test.Must("ds_read_" + b + " " + Range(20, count) + ", v1");
    test.Must("ds_write_" + b + " v1, " + Range(12, count) + " offset:16");
    test.Must("ds_read_" + b + " " + Range(20, count) + ", v1 offset:16");
    for (int k = 0; k < count; ++k) expect(20 + k, 12 + k, b);
  }
  for (int count = 1; count <= 2; ++count) {
    const std::string b = bits[count - 1], one = Range(12, count), two = Range(16, count);
    for (const char* st : {"", "st64"}) {
      // Lanes' places do not overlap: four units each, or one in each 64.
      const int step = *st != 0 ? 4 * count : 32;
      for (int l = 0; l < kLanes; ++l) test.wave.v(1)[l] = static_cast<U>(step * l);
      test.Must("ds_write2" + std::string(st) + "_" + b + " v1, " + one + ", " + two +
                " offset0:1 offset1:3");
      test.Must("ds_write2" + std::string(st) + "_" + b + " v1, " + one + ", " + two +
                " offset1:1");
      test.Must("ds_read2" + std::string(st) + "_" + b + " " + Range(20, 2 * count) +
                ", v1 offset1:1");
      for (int k = 0; k < count; ++k) expect(20 + k, 12 + k, b), expect(20 + count + k, 16 + k, b);
      test.Must("ds_write2" + std::string(st) + "_" + b + " v1, " + one + ", " + two +
                " offset0:1 offset1:3");
      test.Must("ds_read2" + std::string(st) + "_" + b + " " + Range(20, 2 * count) +
                ", v1 offset0:1 offset1:3");
      expect(20 + count, 16, b);
    }
  }
  for (int l = 0; l < kLanes; ++l) test.wave.v(1)[l] = static_cast<U>(32 * l);
  test.wave.v(12)[0] = 0xa1b2c3d4;
  test.Must("ds_write_b8 v1, v12 offset:1");
  test.Must("ds_write_b16 v1, v12 offset:2");
  test.Must("ds_read_u8 v20, v1 offset:1");
  test.Must("ds_read_u16 v21, v1 offset:2");
  test.Must("ds_read_i8 v22, v1 offset:1");
  test.Must("ds_read_i16 v23, v1 offset:2");
  EXPECT_EQ(test.wave.v(20)[0], 0xd4u);
  EXPECT_EQ(test.wave.v(21)[0], 0xc3d4u);
  EXPECT_EQ(test.wave.v(22)[0], 0xffffffd4u);
  EXPECT_EQ(test.wave.v(23)[0], 0xffffc3d4u);
  test.wave.v(20)[0] = 0x55556666;
  test.Must("ds_write_b16_d16_hi v1, v12");
  test.Must("ds_read_u16_d16_hi v20, v1");
  EXPECT_EQ(test.wave.v(20)[0], 0xa1b26666u);
  test.Must("ds_read_u16_d16 v20, v1 offset:2");
  EXPECT_EQ(test.wave.v(20)[0], 0xa1b2c3d4u);
}

class Races : public ::testing::Test {
 protected:
  Races() : other_(0, 1) {
    other_.wave.group = &test_.group;
    for (int l = 0; l < kLanes; ++l) {
      test_.wave.v(1)[l] = other_.wave.v(1)[l] = static_cast<U>(4 * l);
      test_.wave.v(2)[l] = static_cast<U>(l), other_.wave.v(2)[l] = static_cast<U>(l + 1);
    }
  }
  TestWave test_{256}, other_;
};

TEST_F(Races, ReadOfWhatNobodyWrote) {
  EXPECT_THAT(test_.Run("ds_read_b32 v0, v1"), HasSubstr("nobody has written"));
  test_.Must("ds_write_b32 v1, v2");
  test_.Must("ds_read_b32 v0, v1");
  EXPECT_THAT(test_.Run("ds_read_b32 v0, v1 offset:4"),
              HasSubstr("outside of the workgroup's LDS"));
}

TEST_F(Races, WriteThenReadOfAnotherWave) {
  test_.Must("ds_write_b32 v1, v2");
  EXPECT_THAT(other_.Run("ds_read_b32 v0, v1"), HasSubstr("no barrier after another wave's write"));
  test_.group.lds.Barrier();
  other_.Must("ds_read_b32 v0, v1");
  EXPECT_THAT(test_.Run("ds_write_b32 v1, v2"), HasSubstr("no barrier after another wave's read"));
}

TEST_F(Races, TwoWritersOfDifferentBytes) {
  test_.Must("ds_write_b32 v1, v2");
  EXPECT_THAT(other_.Run("ds_write_b32 v1, v2"),
              HasSubstr("no barrier after another wave's write"));
}

TEST_F(Races, TwoWritersOfEqualBytesAreNoRace) {
  for (int l = 0; l < kLanes; ++l) other_.wave.v(2)[l] = test_.wave.v(2)[l];
  test_.Must("ds_write_b32 v1, v2");
  other_.Must("ds_write_b32 v1, v2");
}

TEST_F(Races, NeighbouringBytesOfAWordAreNoRace) {
  test_.Must("ds_write_b16 v1, v2");
  other_.Must("ds_write_b16 v1, v2 offset:2");
  test_.group.lds.Barrier();
  test_.Must("ds_read_b32 v0, v1");
  EXPECT_EQ(test_.wave.v(0)[5], 6u << 16 | 5u);
}

TEST_F(Races, AtomicsOfSeveralWavesNeedNoBarrier) {
  test_.Must("ds_write_b32 v1, v2");
  EXPECT_THAT(other_.Run("ds_add_u32 v1, v2"), HasSubstr("a race"));
  test_.group.lds.Barrier();
  test_.Must("ds_add_u32 v1, v2");
  other_.Must("ds_add_u32 v1, v2");
  other_.Must("ds_add_rtn_u32 v3, v1, v2");
  EXPECT_EQ(other_.wave.v(3)[5], 5u + 5u + 6u);
  EXPECT_THAT(test_.Run("ds_read_b32 v0, v1"), HasSubstr("another wave's atomic"));
  test_.group.lds.Barrier();
  test_.Must("ds_read_b32 v0, v1");
  EXPECT_EQ(test_.wave.v(0)[5], 5u + 5u + 6u + 6u);
}

TEST_F(Races, MisalignedAccess) {
  test_.Must("ds_write_b32 v1, v2");
  test_.wave.SetScalar64(kExec, 1);
  EXPECT_THAT(test_.Run("ds_read_b32 v0, v1 offset:2"), HasSubstr("not aligned"));
}

TEST_F(Races, FlatAddressesOfLds) {
  for (int l = 0; l < kLanes; ++l) test_.SetPair(4, l, kLdsAperture + static_cast<uint64_t>(4 * l));
  test_.Must("s_mov_b64 s[4:5], src_shared_base");
  EXPECT_EQ(test_.wave.Scalar64(4), kLdsAperture);
  test_.Must("flat_store_dword v[4:5], v2");
  test_.Must("flat_load_dword v0, v[4:5]");
  EXPECT_EQ(test_.wave.v(0)[9], 9u);
  EXPECT_THAT(other_.Run("ds_read_b32 v0, v1"), HasSubstr("a race"));
}

TEST(Atomics, Lds) {
  struct Case {
    const char *name, *type;
    uint64_t old, data, want;
  };
  const uint64_t minus = ~uint64_t{15};
  for (const Case& c : std::vector<Case>{{"add", "u", minus, 0x20, 0x10},
                                         {"sub", "u", 5, 7, ~uint64_t{1}},
                                         {"min", "u", minus, 3, 3},
                                         {"max", "u", 3, minus, minus},
                                         {"min", "i", 3, minus, minus},
                                         {"max", "i", minus, 3, 3},
                                         {"and", "b", 0xff, 0x1f0, 0xf0},
                                         {"or", "b", 0xff, 0x1f0, 0x1ff},
                                         {"xor", "b", 0xff, 0x1f0, 0x10f}}) {
    for (int words = 1; words <= 2; ++words) {
      for (const char* form : {"", " offset:8"}) {
        TestWave test(64);
        test.wave.SetScalar64(kExec, 1);
        test.SetPair(2, 0, c.old), test.SetPair(4, 0, c.data);
        const std::string bits = words == 1 ? "32" : "64", type = c.type + bits;
        test.Must("ds_write_b" + bits + " v1, " + Range(2, words) + form);
        test.Must("ds_" + std::string(c.name) + "_" + type + " v1, " + Range(4, words) + form);
        test.Must("ds_" + std::string(c.name) + "_rtn_" + type + " " + Range(6, words) + ", v1, " +
                  Range(4, words) + form);
        EXPECT_EQ(words == 1 ? test.wave.v(6)[0] : test.Pair(6, 0),
                  words == 1 ? c.want & 0xffffffff : c.want)
            << c.name;
      }
    }
  }
}

TEST(Atomics, Global) {
  const auto run = [](const std::string& text, U old, U data, U want) {
    for (const char* form : {"", " offset:4"}) {
      TestWave test;
      alignas(8) U words[4] = {old, old, old, old};
      test.Allow(words, sizeof(words));
      test.wave.SetScalar64(2, reinterpret_cast<uint64_t>(words));
      test.wave.SetScalar64(kExec, 1);
      test.wave.v(4)[0] = data;
      test.Must("global_atomic_" + text + " v1, v4, s[2:3]" + form);
      EXPECT_EQ(words[*form != 0 ? 1 : 0], want) << text;
      EXPECT_EQ(words[2], old);
      test.Must("global_atomic_" + text + " v0, v1, v4, s[2:3]" + form + " sc0");
      EXPECT_EQ(test.wave.v(0)[0], want) << text;
      test.SetAddress(8, words, 0);
      words[*form != 0 ? 1 : 0] = old;
      test.Must("global_atomic_" + text + " v[8:9], v4, off" + form);
      EXPECT_EQ(words[*form != 0 ? 1 : 0], want) << text;
      test.Must("global_atomic_" + text + " v0, v[8:9], v4, off" + form + " sc0");
      EXPECT_EQ(test.wave.v(0)[0], want) << text;
      EXPECT_THAT(test.Run("global_atomic_" + text + " v1, v4, s[2:3] offset:2"),
                  HasSubstr("not aligned"));
      EXPECT_THAT(test.Run("global_atomic_" + text + " v1, v4, s[2:3] offset:16"),
                  HasSubstr("outside of every"));
    }
  };
  const U minus = 0xfffffff0;
  run("add", minus, 0x20, 0x10);
  run("sub", 5, 7, 0xfffffffe);
  run("umin", minus, 3, 3);
  run("umax", 3, minus, minus);
  run("smin", 3, minus, minus);
  run("smax", minus, 3, 3);
  run("and", 0xff, 0x1f0, 0xf0);
  run("or", 0xff, 0x1f0, 0x1ff);
  run("xor", 0xff, 0x1f0, 0x10f);
  run("swap", 1, 9, 9);
  run("add_f32", std::bit_cast<U>(1.5f), std::bit_cast<U>(2.0f), std::bit_cast<U>(3.5f));
}

TEST(Atomics, GlobalOf64BitsAndComparisons) {
  TestWave test;
  alignas(8) uint64_t place[2] = {uint64_t{1} << 40, 3};
  test.Allow(place, sizeof(place));
  test.wave.SetScalar64(2, reinterpret_cast<uint64_t>(place));
  test.wave.SetScalar64(kExec, 1);
  test.SetPair(4, 0, 0xffffffff);
  test.Must("global_atomic_add_x2 v1, v[4:5], s[2:3]");
  EXPECT_EQ(place[0], (uint64_t{1} << 40) + 0xffffffff);
  test.Must("global_atomic_swap_x2 v[6:7], v1, v[4:5], s[2:3] offset:8 sc0");
  EXPECT_EQ(test.Pair(6, 0), 3u);
  EXPECT_EQ(place[1], 0xffffffffu);
  test.wave.v(4)[0] = 8, test.wave.v(5)[0] = 1;
  test.Must("global_atomic_cmpswap v6, v1, v[4:5], s[2:3] offset:8 sc0");
  EXPECT_EQ(place[1], 0xffffffffu);
  test.wave.v(5)[0] = 0xffffffff;
  test.Must("global_atomic_cmpswap v6, v1, v[4:5], s[2:3] offset:8 sc0");
  EXPECT_EQ(place[1], 8u);
}

}  // namespace
}  // namespace tessera::gfx942
