#include "data/tokenizers/sentencepiece_model.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "core/check.h"
#include "data/tokenizers/character_map.h"
#include "data/utf8.h"

namespace tessera {
namespace {

constexpr size_t kMaxPieceBytes = 4096;  // the trainer's limit is 16 characters by default

// Reads the fields of a protobuf message one by one.
class Message {
 public:
  Message(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    number_ = key >> 3;
    type_ = key & 7;
    check(number_ > 0 && number_ < uint64_t{1} << 29, "{} has a field number {}", name_, number_);
    if (type_ == kVarint) {
      value_ = varint();
    } else if (type_ == kBytes) {
      payload_ = take(varint());
    } else if (type_ == kFixed32) {
      payload_ = take(4);
    } else {
      check(type_ == kFixed64, "{} field {} has wire type {}", name_, number_, type_);
      payload_ = take(8);
    }
    return true;
  }

  uint64_t number() const { return number_; }
  size_t end() const { return at_; }  // of the field, in the message's bytes

  std::string_view text() const {
    expect(kBytes, "text");
    return payload_;
  }
  uint64_t integer() const {
    expect(kVarint, "an integer");
    return value_;
  }
  float number32() const {
    expect(kFixed32, "a float");
    float value = 0;
    std::memcpy(&value, payload_.data(), sizeof value);  // little-endian, as this machine
    return value;
  }

 private:
  enum : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  void expect(uint64_t type, const char* what) const {
    check(type_ == type, "{} field {} is not {}", name_, number_, what);
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = uint8_t(take(1)[0]);
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("{} has a damaged integer at byte {}", name_, at_);
  }

  std::string_view take(uint64_t count) {
    check(count <= bytes_.size() - at_, "{} ends within a field; the file is truncated", name_);
    const std::string_view result = bytes_.substr(at_, count);
    at_ += count;
    return result;
  }

  std::string_view bytes_, name_;
  size_t at_ = 0;
  uint64_t number_ = 0, type_ = 0, value_ = 0;
  std::string_view payload_;
};

Vocabulary::TokenType piece_type(uint64_t value, size_t id) {
  using enum Vocabulary::TokenType;
  switch (value) {
    case 1:
      return normal;
    case 2:
      return unknown;
    case 3:
      return control;
    case 4:
      return user_defined;
    case 5:
      return unused;
    case 6:
      return byte;
    default:
      fail("piece {} has type {}; known are 1 to 6", id, value);
  }
}

Vocabulary::Token parse_piece(std::string_view bytes, size_t id) {
  Vocabulary::Token piece;
  for (Message message(bytes, "piece"); message.next();) {
    if (message.number() == 1) piece.text = message.text();
    if (message.number() == 2) piece.score = message.number32();
    if (message.number() == 3) piece.type = piece_type(message.integer(), id);
  }
  check(!piece.text.empty() && piece.text.size() <= kMaxPieceBytes,
        "piece {} has {} bytes; it must have 1 to {}", id, piece.text.size(), kMaxPieceBytes);
  check(std::isfinite(piece.score), "piece {} has the score {}", id, piece.score);
  check(is_utf8(piece.text) && piece.text.find('\0') == std::string::npos,
        "piece {} is not UTF-8 text", id);
  return piece;
}

void parse_trainer(std::string_view bytes, SentencePieceModel& model) {
  for (Message message(bytes, "trainer_spec"); message.next();) {
    switch (message.number()) {
      case 3:
        check(message.integer() == 1 || message.integer() == 2,
              "trainer_spec.model_type is {}; supported are 1 (unigram) and 2 (bpe)",
              message.integer());
        model.bpe = message.integer() == 2;
        break;
      case 24:
        model.whitespace_as_suffix = message.integer() != 0;
        break;
      case 35:
        model.byte_fallback = message.integer() != 0;
        break;
      case 44:
        model.unknown_surface = message.text();
        break;
      case 46:
        model.begin_piece = message.text();
        break;
      case 47:
        model.end_piece = message.text();
        break;
      case 48:
        model.padding_piece = message.text();
        break;
      default:
        break;
    }
  }
}

void parse_normalizer(std::string_view bytes, SentencePieceModel& model) {
  for (Message message(bytes, "normalizer_spec"); message.next();) {
    if (message.number() == 2) {
      check_character_map(message.text());
      model.character_map = message.text();
    }
    if (message.number() == 3) model.add_dummy_prefix = message.integer() != 0;
    if (message.number() == 4) model.remove_extra_whitespaces = message.integer() != 0;
    if (message.number() == 5) model.escape_whitespaces = message.integer() != 0;
  }
}

// The library also restores text with a table of its own; such models are not made by its trainer.
void parse_denormalizer(std::string_view bytes) {
  for (Message message(bytes, "denormalizer_spec"); message.next();) {
    check(message.number() != 2 || message.text().empty(),
          "denormalizer_spec.precompiled_charsmap is not supported");
  }
}

void check_pieces(SentencePieceModel& model) {
  using enum Vocabulary::TokenType;
  std::set<std::string_view> seen;
  size_t unknowns = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Vocabulary::Token& piece = model.pieces[id];
    check(seen.insert(piece.text).second, "piece {} '{}' occurs twice", id, piece.text);
    if (piece.type == unknown) {
      model.unknown = TokenId(id);
      ++unknowns;
    }
    if (piece.type == byte) {
      check(byte_of_piece(piece.text) >= 0, "piece {} '{}' is not a byte", id, piece.text);
    }
  }
  check(unknowns == 1, "there are {} unknown pieces; a model has one", unknowns);
}

}  // namespace

int byte_of_piece(std::string_view text) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const size_t high = kHex.find(text[3]), low = kHex.find(text[4]);
  return high > 15 || low > 15 ? -1 : int(high * 16 + low);
}

std::optional<TokenId> SentencePieceModel::control(std::string_view text) const {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].text == text && pieces[id].type == Vocabulary::TokenType::control) {
      return TokenId(id);
    }
  }
  return std::nullopt;
}

SentencePieceModel parse_sentencepiece_model(std::string_view bytes) {
  SentencePieceModel model;
  for (Message message(bytes, "the SentencePiece model"); message.next();) {
    switch (message.number()) {
      case 1:
        model.pieces.push_back(parse_piece(message.text(), model.pieces.size()));
        break;
      case 2:
        parse_trainer(message.text(), model);
        break;
      case 3:
        parse_normalizer(message.text(), model);
        break;
      case 5:
        parse_denormalizer(message.text());
        break;
      default:
        break;
    }
  }
  check(!model.pieces.empty(), "there are no pieces; this is not a SentencePiece model");
  check_pieces(model);
  return model;
}

std::string without_self_test(std::string_view bytes) {
  constexpr uint64_t kSelfTestData = 4;
  std::string result;
  size_t begin = 0;
  for (Message message(bytes, "the SentencePiece model"); message.next(); begin = message.end()) {
    if (message.number() == kSelfTestData) continue;
    result += bytes.substr(begin, message.end() - begin);
  }
  return result;
}

}  // namespace tessera
