#include "core/config/reader.h"

#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/config/suggest_key.h"

namespace tessera {

ConfigText load_config_text(const std::filesystem::path& path) {
  constexpr size_t kLargest = size_t{1} << 20;
  const std::string name = path.string();
  check(!std::filesystem::is_directory(path), "{}: is a folder; give a YAML file", name);
  std::ifstream file(path, std::ios::binary);
  check(file.is_open(), "{}: cannot open the configuration: {}", name, std::strerror(errno));
  std::string text;
  char block[1 << 14];
  while (file.read(block, sizeof block), file.gcount() > 0) {
    text.append(block, static_cast<size_t>(file.gcount()));
    check(text.size() <= kLargest, "{}: is larger than 1 MiB; is it a configuration?", name);
  }
  check(!file.bad(), "{}: cannot read the configuration: {}", name, std::strerror(errno));
  return {name, text};
}

namespace fields {
namespace {

std::string join(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : parent + "." + name;
}

std::string describe(const YAML::Node& node) {
  if (node.IsScalar()) return excerpt(node.Scalar());
  if (node.IsNull()) return "nothing";
  return node.IsSequence() ? "a list" : "a section";
}

// Parses one YAML document. Line numbers of the text are told only where `origin` is a file.
YAML::Node parse_document(const std::string& text, const Origin& origin) {
  const auto at = [&](const YAML::Mark& mark) {
    return origin.set_key.empty() ? fmt::format("{}:{}", origin.place, mark.line + 1)
                                  : origin.place;
  };
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.empty()) return YAML::Node();
    if (documents.size() > 1) {
      fail("{}: a second YAML document begins; keep one per file", at(documents[1].Mark()));
    }
    return documents.front();
  } catch (const YAML::Exception& error) {
    fail("{}: YAML syntax: {}", at(error.mark), error.msg);
  }
}

// Walks a YAML node and the value tree side by side.
class Reader {
 public:
  Reader(const Section& root, ConfigOrigins& origins, Origin origin)
      : root_(root), origins_(origins), base_(std::move(origin)) {}

  void read(Value& value, const YAML::Node& node, const std::string& key) {
    origins_.record(key, origin(node));
    std::visit([&](auto& kind) { read_kind(kind, node, key); },
               static_cast<Value::variant&>(value));
  }

  void read_kind(Section& section, const YAML::Node& node, const std::string& key) {
    if (node.IsNull()) return;
    if (!node.IsMap()) mismatch(node, key, "a section of `key: value` lines");
    check_keys_once(node, key);
    for (const auto& entry : node) {
      const std::string& name = entry.first.Scalar();
      const std::string child_key = join(key, name);
      Field* field = find_field(section, name);
      if (!field) stop(entry.first, child_key, unknown_key(root_, section, key, name));
      read(field->value, entry.second, child_key);
    }
  }

  // Sets the value at `path` (names below `section`) from an override.
  void read_at(Section& section, const std::string& path, const YAML::Node& node,
               const std::string& parent = "") {
    const size_t dot = path.find('.');
    const std::string name = path.substr(0, dot);
    const std::string key = join(parent, name);
    Field* field = find_field(section, name);
    if (!field) stop(node, key, unknown_key(root_, section, parent, name));
    if (dot == std::string::npos) return read(field->value, node, key);
    read_below(field->value, path.substr(dot + 1), node, key);
  }

 private:
  void read_kind(Scalar& scalar, const YAML::Node& node, const std::string& key) {
    if (!node.IsScalar()) {
      mismatch(node, key, expected(scalar.type, scalar.constraint, scalar.choices));
    }
    const Problem problem = scalar.set({node.Scalar(), node.Tag() == "!"});
    if (problem) stop(node, key, *problem);
  }

  void read_kind(List& list, const YAML::Node& node, const std::string& key) {
    if (!node.IsSequence()) mismatch(node, key, "a list");
    if (node.size() < list.min_length) stop(node, key, "the list must not be empty");
    origins_.forget_inside(key);
    list.clear();
    for (size_t i = 0; i < node.size(); ++i) {
      Value element = list.append();
      read(element, node[i], fmt::format("{}[{}]", key, i));
    }
  }

  void read_kind(Optional& optional, const YAML::Node& node, const std::string& key) {
    if (node.IsNull()) {
      origins_.forget_inside(key);
      return optional.reset();
    }
    Value value = optional.value();
    read(value, node, key);
  }

  void read_below(Value& value, const std::string& path, const YAML::Node& node,
                  const std::string& key) {
    if (auto* section = std::get_if<Section>(&value)) {
      read_at(*section, path, node, key);
    } else if (auto* optional = std::get_if<Optional>(&value)) {
      Value inner = optional->value();
      read_below(inner, path, node, key);
    } else {
      const bool is_list = std::holds_alternative<List>(value);
      stop(node, key,
           is_list ? "is a list; set all of it: " + key + "=[...]"
                   : "is a single value; nothing lies below it");
    }
  }

  void check_keys_once(const YAML::Node& node, const std::string& key) {
    std::map<std::string, int> lines;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) stop(entry.first, key, "keys must be plain names");
      const int line = entry.first.Mark().line + 1;
      const auto [first, is_new] = lines.emplace(entry.first.Scalar(), line);
      if (is_new) continue;
      const std::string where =
          base_.set_key.empty() ? fmt::format(" (first at line {})", first->second) : "";
      stop(entry.first, join(key, first->first), "given twice" + where);
    }
  }

  static Field* find_field(Section& section, const std::string& name) {
    for (Field& field : section.fields) {
      if (field.name == name) return &field;
    }
    return nullptr;
  }

  Origin origin(const YAML::Node& node) const {
    if (!base_.set_key.empty()) return base_;
    return {fmt::format("{}:{}", base_.place, node.Mark().line + 1), ""};
  }

  [[noreturn]] void stop(const YAML::Node& node, const std::string& key,
                         const std::string& problem) const {
    throw Error(origin(node).message(key, problem));
  }

  [[noreturn]] void mismatch(const YAML::Node& node, const std::string& key,
                             const std::string& wanted) const {
    stop(node, key, fmt::format("expected {}, got {}", wanted, describe(node)));
  }

  const Section& root_;
  ConfigOrigins& origins_;
  Origin base_;
};

void read_document(Section& root, const ConfigText& text, ConfigOrigins& origins) {
  const Origin file{text.name, ""};
  const YAML::Node document = parse_document(text.text, file);
  const std::string sections = field_names(root);
  if (document.IsNull()) fail("{}:1: is empty; expected {}", text.name, sections);
  if (!document.IsMap()) {
    fail("{}:{}: expected `key: value` lines ({}), got {}", text.name, document.Mark().line + 1,
         sections, describe(document));
  }
  Reader(root, origins, file).read_kind(root, document, "");
}

void read_override(Section& root, const std::string& text, ConfigOrigins& origins) {
  const size_t equals = text.find('=');
  check(equals != std::string::npos && equals > 0, "--set {}: expected section.key=value", text);
  const std::string key = text.substr(0, equals);
  const Origin origin{"--set " + key, key};
  const YAML::Node value = parse_document(text.substr(equals + 1), origin);
  Reader(root, origins, origin).read_at(root, key, value);
}

}  // namespace

ConfigOrigins read(Section& root, const ConfigText& text,
                   const std::vector<std::string>& overrides) {
  ConfigOrigins origins(text.name);
  read_document(root, text, origins);
  for (const std::string& text_of_override : overrides) {
    read_override(root, text_of_override, origins);
  }
  return origins;
}

}  // namespace fields
}  // namespace tessera
