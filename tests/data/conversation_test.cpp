#include "data/conversation.h"

#include <gtest/gtest.h>

#include "tests/data/support.h"

namespace tessera {
namespace {

using test::contains;

// "user:Hi assistant:Hello".
std::string parse(const std::string& line, const ConversationFields& fields = {}) {
  std::string text;
  for (const Message& message : parse_conversation(line, fields))
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", role_name(message.role), message.text);
  return text;
}

std::string error_of(const std::string& line) {
  try {
    return "no error: " + parse(line);
  } catch (const TextError& e) {
    return e.what();
  }
}

std::string messages(const std::string& list) {
  return fmt::format(R"({{"messages": [{}]}})", list);
}
std::string message(const std::string& role, const std::string& text) {
  return fmt::format(R"({{"role": "{}", "content": "{}"}})", role, text);
}

TEST(Conversation, IsReadInEverySpelling) {
  EXPECT_EQ(parse(R"({"prompt": "Hi", "response": "Hello", "id": 3})"), "user:Hi assistant:Hello");
  EXPECT_EQ(parse(R"({"q": "Hi", "a": "Hello"})", {.prompt = "q", .response = "a"}),
            "user:Hi assistant:Hello");
  EXPECT_EQ(parse(messages(message("system", "S") + "," + message("user", "U") + "," +
                           message("assistant", "A") + "," + message("user", "V") + "," +
                           message("assistant", "B"))),
            "system:S user:U assistant:A user:V assistant:B");
  EXPECT_EQ(parse(R"({"conversations": [{"from": "human", "value": "U"},
                                        {"from": "gpt", "value": "A"}]})"),
            "user:U assistant:A");
}

TEST(Conversation, AnEmptySystemMessageIsLeftOut) {
  EXPECT_EQ(parse(messages(message("system", " ") + "," + message("user", "U") + "," +
                           message("assistant", "A"))),
            "user:U assistant:A");
}

TEST(Conversation, MissingAndMistypedFieldsAreNamed) {
  EXPECT_TRUE(contains(error_of("{"), "not JSON"));
  EXPECT_TRUE(contains(error_of("[]"), "not a JSON object"));
  EXPECT_TRUE(contains(error_of(R"({"text": "x"})"), "--prompt-field"));
  EXPECT_TRUE(contains(error_of(R"({"prompt": "x"})"), "no field 'response'"));
  EXPECT_TRUE(contains(error_of(R"({"prompt": 1, "response": "x"})"), "'prompt' that is not a"));
  EXPECT_TRUE(contains(error_of(R"({"messages": "x"})"), "not a list of messages"));
  EXPECT_TRUE(contains(error_of(messages("")), "not a list of messages"));
  EXPECT_TRUE(contains(error_of(messages("1")), "message 1 is not a JSON object"));
  EXPECT_TRUE(contains(error_of(messages(R"({"role": "user"})")), "no field 'content'"));
  EXPECT_TRUE(contains(error_of(messages(R"({"content": "x"})")), "no field 'role'"));
  EXPECT_TRUE(contains(error_of(messages(R"({"role": "user", "content": [1]})")),
                       "'content' that is not a string"));
}

TEST(Conversation, RolesMustSpeakInTurns) {
  const std::string user = message("user", "U"), assistant = message("assistant", "A");
  EXPECT_TRUE(contains(error_of(messages(assistant)), "message 1 is of role assistant where user"));
  EXPECT_TRUE(contains(error_of(messages(user + "," + user)), "message 2 is of role user where"));
  EXPECT_TRUE(contains(error_of(messages(user + "," + assistant + "," + message("system", "S"))),
                       "message 3 is of role system"));
  EXPECT_TRUE(contains(error_of(messages(user)), "the last message is not the assistant's"));
  EXPECT_TRUE(contains(error_of(messages(message("tool", "x"))), "the role 'tool'"));
}

TEST(Conversation, EmptyTurnsAreErrors) {
  EXPECT_TRUE(
      contains(error_of(R"({"prompt": "x", "response": ""})"), "message 2 (assistant) is empty"));
  EXPECT_TRUE(contains(error_of(R"({"prompt": " \n", "response": "x"})"), "message 1 (user) is"));
}

}  // namespace
}  // namespace tessera
