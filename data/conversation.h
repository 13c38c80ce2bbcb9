// Instruction data: conversations from lines of JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class Role : uint8_t { system, user, assistant };
std::string_view role_name(Role role);

struct Message {
  Role role;
  std::string text;  // not empty
};

// At most one system message, at the beginning; then user and assistant in turns, user first.
using Conversation = std::vector<Message>;

// The fields of a line that is a prompt and a response. Lines with a list of messages name them
// `messages` ({"role", "content"}) or, as ShareGPT does, `conversations` ({"from", "value"}; human
// and gpt stand for user and assistant).
struct ConversationFields {
  std::string prompt = "prompt", response = "response";
};

// A conversation that ends with the assistant. An empty system message is left out. Throws
// TextError for a line that is not JSON, lacks the fields, or has its messages empty or out of
// order.
Conversation parse_conversation(std::string_view line, const ConversationFields& fields);

}  // namespace tessera
