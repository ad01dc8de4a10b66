#include "base/name_form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dynamo {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr NameForm kKey{'/', "/root/<namespace>/kind/<id>", "", ""};
constexpr NameForm kSubject{'.', "root.<namespace>.all", "", ""};

TEST(NameForm, BuildsWhatItReads) {
  EXPECT_EQ(kKey.name({"ns", "7"}), "/root/ns/kind/7");
  EXPECT_THAT(kKey.read("/root/ns/kind/7"), Optional(ElementsAre("ns", "7")));
  EXPECT_EQ(kSubject.name({"*"}), "root.*.all");
  EXPECT_THAT(kSubject.read("root.a/b.all"), Optional(ElementsAre("a/b")));
}

TEST(NameForm, APrefixEndsBeforeTheNextField) {
  EXPECT_EQ(kKey.prefix({}), "/root/");
  EXPECT_EQ(kKey.prefix({"ns"}), "/root/ns/kind/");
}

TEST(NameForm, NamesOfOtherFormsAreNotRead) {
  for (const char* name : {"", "/", "/root", "/root/ns/kind", "/root/ns/kind/", "/root//kind/7", "/root/ns/kinds/7",
                           "/root/ns/kind/7/8", "/root/ns/kind/7/", "root/ns/kind/7", "//root/ns/kind/7"})
    EXPECT_EQ(kKey.read(name), std::nullopt) << name;
}

}  // namespace
}  // namespace dynamo
