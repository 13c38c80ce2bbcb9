#include "data/tokenizers/decoder.h"

namespace tessera {
namespace {

void parse_into(const JsonValue& value, TokenDecoder& decoder) {
  const std::string& type = value.at("type").text();
  if (type == "Sequence") {
    value.at("decoders").for_each([&](const JsonValue& step) { parse_into(step, decoder); });
  } else if (type == "ByteLevel") {
    decoder.byte_level = true;
  } else if (type == "ByteFallback") {
    decoder.byte_fallback = true;
  } else if (type == "Replace") {
    const std::string& pattern = value.at("pattern").at("String").text();
    check(!pattern.empty(), "{}.pattern.String is empty", value.path());
    decoder.replacements.emplace_back(pattern, value.at("content").text());
  } else if (type == "Strip") {
    check(value.at("content").text() == " " && value.at("start").number() <= 1 &&
              value.at("stop").number() == 0,
          "{}: only one space at the start can be stripped", value.path());
    decoder.strips_space = value.at("start").number() == 1;
  } else if (type == "Metaspace") {
    decoder.replacements.emplace_back(value.text_or("replacement", "\u2581"), " ");
    check(!decoder.replacements.back().first.empty(), "{}.replacement is empty", value.path());
    decoder.strips_space =
        value.flag_or("add_prefix_space", true) && value.text_or("prepend_scheme", "") != "never";
  } else {
    // Fuse joins what is joined anyway.
    check(type == "Fuse",
          "{}: decoder '{}' is not supported; supported are ByteLevel, ByteFallback, Metaspace, "
          "Replace, Strip, Fuse and Sequence",
          value.path(), type);
  }
}

}  // namespace

TokenDecoder parse_decoder(const JsonValue& value) {
  TokenDecoder decoder;
  parse_into(value, decoder);
  return decoder;
}

}  // namespace tessera
