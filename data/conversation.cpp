#include "data/conversation.h"

#include <nlohmann/json.hpp>

#include "data/tokenizer.h"

namespace tessera {
namespace {

using nlohmann::json;

struct RoleSpelling {
  std::string_view name;
  Role role;
};
// The first of a role is the one that templates write.
constexpr RoleSpelling kRoles[] = {{"system", Role::system},
                                   {"user", Role::user},
                                   {"assistant", Role::assistant},
                                   {"human", Role::user},
                                   {"gpt", Role::assistant}};

// Where a line has its messages, and what a message calls its parts.
struct MessageList {
  const char *list, *role, *text;
};
constexpr MessageList kMessageLists[] = {{"messages", "role", "content"},
                                         {"conversations", "from", "value"}};

template <class... Args>
void check_text(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw TextError(fmt::format(format, std::forward<Args>(args)...));
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

Role parse_role(const std::string& name, size_t number) {
  for (const RoleSpelling& spelling : kRoles) {
    if (spelling.name == name) return spelling.role;
  }
  throw TextError(fmt::format(
      "message {} has the role '{}'; known are system, user (human) and assistant (gpt)", number,
      name));
}

const std::string& text_field(const json& object, const std::string& field,
                              const std::string& whose) {
  const auto found = object.find(field);
  check_text(found != object.end(), "{} has no field '{}'", whose, field);
  check_text(found->is_string(), "{} has a field '{}' that is not a string", whose, field);
  return found->get_ref<const std::string&>();
}

Conversation message_list(const json& line, const MessageList& names) {
  const json& list = line.at(names.list);
  check_text(list.is_array() && !list.empty(), "field '{}' is not a list of messages", names.list);
  Conversation conversation;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string whose = fmt::format("message {}", i + 1);
    check_text(list[i].is_object(), "{} is not a JSON object", whose);
    const Role role = parse_role(text_field(list[i], names.role, whose), i + 1);
    conversation.push_back({role, text_field(list[i], names.text, whose)});
  }
  return conversation;
}

Conversation prompt_and_response(const json& line, const ConversationFields& fields) {
  check_text(line.contains(fields.prompt),
             "the line has neither 'messages' nor 'conversations' nor the field '{}'; name another "
             "with --prompt-field",
             fields.prompt);
  check_text(line.contains(fields.response),
             "the line has no field '{}'; name another with --response-field", fields.response);
  return {{Role::user, text_field(line, fields.prompt, "the line")},
          {Role::assistant, text_field(line, fields.response, "the line")}};
}

void check_order(const Conversation& conversation) {
  Role expected = Role::user;
  for (size_t i = 0; i < conversation.size(); ++i) {
    const auto& [role, text] = conversation[i];
    if (i == 0 && role == Role::system) continue;
    check_text(role == expected, "message {} is of role {} where {} should speak", i + 1,
               role_name(role), role_name(expected));
    check_text(!is_blank(text), "message {} ({}) is empty", i + 1, role_name(role));
    expected = role == Role::user ? Role::assistant : Role::user;
  }
  check_text(!conversation.empty() && conversation.back().role == Role::assistant,
             "the last message is not the assistant's, so there is no response to learn");
}

}  // namespace

std::string_view role_name(Role role) {
  for (const RoleSpelling& spelling : kRoles) {
    if (spelling.role == role) return spelling.name;
  }
  return {};
}

Conversation parse_conversation(std::string_view line, const ConversationFields& fields) {
  try {
    const json parsed = json::parse(line);
    check_text(parsed.is_object(), "the line is not a JSON object");
    Conversation conversation;
    for (const MessageList& names : kMessageLists) {
      if (conversation.empty() && parsed.contains(names.list))
        conversation = message_list(parsed, names);
    }
    if (conversation.empty()) conversation = prompt_and_response(parsed, fields);
    check_order(conversation);
    const Message& first = conversation.front();
    if (first.role == Role::system && is_blank(first.text))
      conversation.erase(conversation.begin());
    return conversation;
  } catch (const json::exception& e) {
    throw TextError(fmt::format("not JSON: {}", e.what()));
  }
}

}  // namespace tessera
