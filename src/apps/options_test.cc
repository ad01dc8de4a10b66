#include "apps/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "apps/command.h"
#include "apps/command_line.h"
#include "apps/engine_flags.h"
#include "apps/frontend_flags.h"

namespace dynamo::apps {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Gives the option a value that is not its default, of those that it takes.
void store_other(const Option& option) {
  if (option.value.is_on != nullptr) {
    *option.value.is_on = !*option.value.is_on;
    return;
  }
  std::vector<std::string> values = {"1", "2", "some.text"};
  if (option.value.kind.starts_with('{')) {
    std::istringstream choices(option.value.kind.substr(1, option.value.kind.size() - 2));
    values.clear();
    for (std::string choice; std::getline(choices, choice, ',');) values.push_back(choice);
  }
  for (const std::string& value : values)
    if (option.value.store(value).is_ok() && option.value.stored() != option.usual) return;
  FAIL() << option.flag;
}

// `command` with the options of Flags; what it is told, it keeps in `flags`.
template <class Flags>
Command command_with(Flags* flags) {
  Command command{.name = "test", .meaning = "", .options = options_of(flags)};
  command.run = [] { return 0; };
  return command;
}

int status_of(const Command& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"dynamo", "test"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int status = 0;
  const Command* named = read_command_line(program, static_cast<int>(arguments.size()), argv.data(), &status);
  return named == nullptr ? status : named->run();
}

template <class Flags>
class HandedOn : public testing::Test {};
using AllFlags = testing::Types<FrontendFlags, EngineFlags>;
TYPED_TEST_SUITE(HandedOn, AllFlags);

TYPED_TEST(HandedOn, EveryOptionReachesTheProcessThatIsToldByArguments) {
  TypeParam parent;
  const OptionSet told = options_of(&parent);
  EXPECT_THAT(told.to_arguments(), IsEmpty());
  for (const Option& option : told.all()) store_other(option);
  TypeParam child;
  const Command program{.name = "dynamo", .meaning = "", .commands = {command_with(&child)}};
  ASSERT_EQ(status_of(program, told.to_arguments()), 0) << testing::PrintToString(told.to_arguments());
  const auto& read = program.commands.front().options.all();
  auto here = told.all().begin();
  for (const Option& option : read) {
    EXPECT_EQ(option.value.stored(), here->value.stored()) << option.flag;
    EXPECT_NE(option.value.stored(), option.usual) << option.flag;
    ++here;
  }
}

struct Few {
  uint32_t count = 4;
  std::string place = "here";
  bool is_on = true;
  std::vector<std::string> names = {"first"};
};
OptionSet options_of(Few* few) {
  OptionSet options;
  options.add("--few-count", number(&few->count, 1U, 9U), "").called("how_many");
  options.add("--few-place", text(&few->place), "");
  options.add("--few-on", on_or_off(&few->is_on), "").off_by("--few-off");
  options.add("--few-name", texts(&few->names), "");
  return options;
}

class FewTest : public testing::Test {
 protected:
  ~FewTest() override { ::unsetenv("DYN_FEW_COUNT"); }
  int read(std::vector<std::string> arguments) {
    testing::internal::CaptureStderr();
    const int status = status_of(program_, std::move(arguments));
    said_ = testing::internal::GetCapturedStderr();
    return status;
  }
  Few few_;
  Command program_{.name = "dynamo", .meaning = "", .commands = {command_with(&few_)}};
  std::string said_;
};

TEST_F(FewTest, TheLastValueWinsAndAListKeepsAll) {
  EXPECT_EQ(read({"--few-count", "5", "--few-off", "--few-count=6", "--few-on", "--few-off", "--few-name", "a",
                  "--few-name", "b"}),
            0);
  EXPECT_EQ(few_.count, 6U);
  EXPECT_FALSE(few_.is_on);
  EXPECT_THAT(few_.names, ElementsAre("a", "b"));
  EXPECT_THAT(program_.commands.front().options.to_arguments(),
              ElementsAre("--few-count", "6", "--few-off", "--few-name", "a", "--few-name", "b"));
}

TEST_F(FewTest, AValueThatIsRefusedIsSaidWithItsFlagAndItsRange) {
  for (const char* wrong : {"0", "10", "-1", "many", "5x", "", "1e300", "4294967297"}) {
    EXPECT_EQ(read({"--few-count", wrong}), kWrongUsage) << wrong;
    EXPECT_THAT(said_, HasSubstr(std::string("--few-count: '") + wrong + "' is no whole number in [1, 9]"));
    EXPECT_EQ(few_.count, 4U);
  }
}

TEST_F(FewTest, AVariableIsReadUnlessItsFlagIsGiven) {
  ::setenv("DYN_FEW_COUNT", "7", 1);
  EXPECT_EQ(read({}), 0);
  EXPECT_EQ(few_.count, 7U);
  EXPECT_EQ(read({"--few-count", "8"}), 0);
  EXPECT_EQ(few_.count, 8U);
  ::setenv("DYN_FEW_COUNT", "99", 1);
  EXPECT_EQ(read({}), kWrongUsage);
  EXPECT_THAT(said_, HasSubstr("Unset DYN_FEW_COUNT, or give --few-count, which wins."));
  program_.commands.front().options.forget_variables();
  EXPECT_EQ(std::getenv("DYN_FEW_COUNT"), nullptr);
}

TEST_F(FewTest, AFailureThatNamesAFieldGetsTheFlag) {
  const OptionSet& options = program_.commands.front().options;
  EXPECT_EQ(options.with_flag(invalid("how_many 0: too few")).text(), "--few-count: how_many 0: too few");
  EXPECT_EQ(options.with_flag(invalid("m: how_many 0: too few")).text(), "--few-count: m: how_many 0: too few");
  EXPECT_EQ(options.with_flag(invalid("no idea how_many")).text(), "no idea how_many");
  EXPECT_TRUE(options.with_flag(Status()).is_ok());
}

}  // namespace
}  // namespace dynamo::apps
