// Options described once: what can be written (YAML, JSON, help), read back, and which mistakes are
// refused with which words. The options here are made up; those of the tool are tested in
// tests/tools.
#include "kvalign/core/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "kvalign/core/options_json.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

struct SplitOptions {
  double validation = 0.1;
  std::vector<int64_t> layers = {1, 2};

  void describe(OptionVisitor& visitor) {
    visitor.field({.name = "validation",
                   .help = "share of the sequences",
                   .minimum = 0,
                   .maximum = 1,
                   .exclusive_maximum = true},
                  validation);
    visitor.field({"layers", "which layers", /*minimum=*/0}, layers);
  }
  bool operator==(const SplitOptions&) const = default;
};

struct ProjectorOptions {
  std::string kind = "linear";
  int64_t hidden_size = 1024;
  SplitOptions split;

  void describe(OptionVisitor& visitor) {
    visitor.field({.name = "kind", .help = "kind of map", .one_of = {"linear", "mlp"}}, kind);
    visitor.field({"hidden_size", "width of the layer in between", /*minimum=*/1}, hidden_size);
    visitor.section("split", "how sequences are divided", split);
  }
  bool operator==(const ProjectorOptions&) const = default;
};

struct RecipeOptions {
  std::string run_folder;
  bool shuffle = true;
  double learning_rate = 1e-4;
  std::vector<std::string> rows = {"mean"};
  ProjectorOptions projector;
  int64_t seed = 1;

  void describe(OptionVisitor& visitor) {
    visitor.field({.name = "run_folder", .help = "where the run is written", .required = true},
                  run_folder);
    visitor.field({.name = "shuffle", .help = "whether the order changes"}, shuffle);
    visitor.field(
        {.name = "learning_rate", .help = "step size", .minimum = 0, .exclusive_minimum = true},
        learning_rate);
    visitor.field({.name = "rows", .help = "rows of the table", .one_of = {"mean", "pad"}}, rows);
    visitor.section("projector", "the map", projector);
    visitor.field({.name = "seed", .help = "of every random number", .maximum = 99}, seed);
  }
  bool operator==(const RecipeOptions&) const = default;
};

// A recipe file of the given text, in a folder that only this test uses.
class OptionsTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return (folder_ / "recipe.yaml").string(); }
  RecipeOptions read(const std::string& yaml, const std::vector<std::string>& sets = {}) const {
    std::ofstream(path(), std::ios::binary) << yaml;
    RecipeOptions options;
    read_options(options, path(), sets);
    return options;
  }
  static RecipeOptions read_sets(const std::vector<std::string>& sets) {
    RecipeOptions options;
    read_options(options, "", sets);
    return options;
  }

 private:
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      ("kvalign_options_" +
       std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
};

TEST_F(OptionsTest, RecipeSetsWhatItNames) {
  const RecipeOptions options = read(
      "# a comment\n"
      "run_folder: runs/a b\n"
      "shuffle: false\n"
      "learning_rate: 3e-4\n"
      "rows: [pad, mean]\n"
      "projector: {kind: mlp, split: {validation: 0.25, layers: []}}\n");
  RecipeOptions expected;
  expected.run_folder = "runs/a b";
  expected.shuffle = false;
  expected.learning_rate = 3e-4;
  expected.rows = {"pad", "mean"};
  expected.projector.kind = "mlp";
  expected.projector.split = {.validation = 0.25, .layers = {}};
  EXPECT_EQ(options, expected);
}

TEST_F(OptionsTest, LaterSetWinsOverEarlierAndOverTheFile) {
  const RecipeOptions options = read("projector: {hidden_size: 3}\nseed: 4\n",
                                     {"projector.hidden_size=5", "projector.hidden_size=6",
                                      "projector.split.layers=[7, 8]", "run_folder=a=b"});
  EXPECT_EQ(options.projector.hidden_size, 6);
  EXPECT_EQ(options.projector.split.layers, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(options.run_folder, "a=b");
  EXPECT_EQ(options.seed, 4);
}

TEST_F(OptionsTest, SetTakesAWholeSectionAndAnEmptyString) {
  EXPECT_EQ(read_sets({"projector={kind: mlp, hidden_size: 2}"}).projector.hidden_size, 2);
  EXPECT_EQ(read_sets({"run_folder=x", "run_folder="}).run_folder, "");
}

TEST_F(OptionsTest, YamlReadsBackToTheSameBits) {
  RecipeOptions options;
  options.learning_rate = 0.1 + 0.2;
  options.projector.split.validation = std::numeric_limits<double>::denorm_min();
  options.projector.hidden_size = std::numeric_limits<int64_t>::max();
  options.seed = std::numeric_limits<int64_t>::min();
  options.rows = {};
  options.projector.split.layers = {0, 5};
  for (const std::string text :
       {"",       "~",     "null",   "true",    "no",   "12",      "1e3",
        "a: b",   "a #b",  "- x",    "[x]",     " x ",  "\"q\\\"", "line\nbreak\ttab",
        "cuda:1", "größe", "*alias", "&anchor", "!tag", "x.",      ".5",
        "\x01"}) {
    options.run_folder = text;
    EXPECT_EQ(read(options_to_yaml(options)), options) << options_to_yaml(options);
  }
}

TEST_F(OptionsTest, YamlKeepsTheOrderOfTheDescription) {
  EXPECT_EQ(options_to_yaml(RecipeOptions()),
            "run_folder: \"\"\n"
            "shuffle: true\n"
            "learning_rate: 0.0001\n"
            "rows: [mean]\n"
            "projector:\n"
            "  kind: linear\n"
            "  hidden_size: 1024\n"
            "  split:\n"
            "    validation: 0.1\n"
            "    layers: [1, 2]\n"
            "seed: 1\n");
}

// PyYAML reads 1e-05 as a string, 1.0e-05 as a number.
TEST_F(OptionsTest, DoublesAlwaysShowADot) {
  RecipeOptions options;
  options.learning_rate = 1e-5;
  EXPECT_THAT(options_to_yaml(options), ::testing::HasSubstr("learning_rate: 1.0e-05\n"));
  options.learning_rate = 2;
  EXPECT_THAT(options_to_yaml(options), ::testing::HasSubstr("learning_rate: 2.0\n"));
}

TEST_F(OptionsTest, JsonReadsBack) {
  RecipeOptions options;
  options.run_folder = "a \"quoted\" größe\n12";
  options.learning_rate = 0.1 + 0.2;
  options.rows = {};
  options.projector.split.layers = {3};
  const nlohmann::json json = options_to_json(options);
  EXPECT_EQ(json["projector"]["split"]["layers"], nlohmann::json::array({3}));
  RecipeOptions read_back;
  options_from_json(read_back, nlohmann::json::parse(json.dump()));
  EXPECT_EQ(read_back, options);
}

TEST_F(OptionsTest, JsonMistakesNameTheirSource) {
  RecipeOptions options;
  EXPECT_THROWS_WITH(options_from_json(options, {{"sed", 1}}, "a.safetensors, metadata"),
                     "a.safetensors, metadata: unknown option 'sed'; did you mean 'seed'?");
  EXPECT_THROWS_WITH(options_from_json(options, {{"seed", "1"}}),
                     "JSON options: option 'seed': expected a whole number <= 99, got '1'");
}

TEST_F(OptionsTest, HelpShowsKeyLimitsDefaultAndMeaning) {
  const std::string help = options_help(RecipeOptions());
  for (const char* text : {"  run_folder  (a string; required)\n      where the run is written\n",
                           "projector: the map\n", "projector.split: how sequences are divided\n",
                           "  projector.kind  (one of linear, mlp; default linear)\n",
                           "  projector.hidden_size  (a whole number >= 1; default 1024)\n",
                           "  projector.split.validation  (a number in [0, 1); default 0.1)\n",
                           "  learning_rate  (a number > 0; default 0.0001)\n",
                           "  rows  (a list of mean, pad; default [mean])\n",
                           "  shuffle  (true or false; default true)"}) {
    EXPECT_THAT(help, ::testing::HasSubstr(text));
  }
}

TEST_F(OptionsTest, UnknownKeyNamesFileLineAndWhatIsKnown) {
  EXPECT_THROWS_WITH(read("seed: 1\nprojector:\n  hiden_size: 3\n"),
                     path() +
                         ":3: unknown option 'projector.hiden_size'; did you mean "
                         "'projector.hidden_size'? Known in 'projector': kind, hidden_size, split");
  EXPECT_THROWS_WITH(read("turtle: 1\n"), path() +
                                              ":1: unknown option 'turtle'. Known: run_folder, "
                                              "shuffle, learning_rate, rows, projector, seed");
  EXPECT_THROWS_WITH(read("[a]: 1\n"), "unknown option 'a list'");
}

TEST_F(OptionsTest, UnknownKeyOfAnotherSectionIsPointedTo) {
  EXPECT_THROWS_WITH(read("hidden_size: 3\n"), "did you mean 'projector.hidden_size'?");
  EXPECT_THROWS_WITH(read("projector: {learning_rate: 1}\n"), "did you mean 'learning_rate'?");
}

TEST_F(OptionsTest, UnknownKeyOfASetNamesTheSet) {
  EXPECT_THROWS_WITH(read_sets({"projector.knd=mlp"}),
                     "--set projector.knd=mlp: unknown option 'projector.knd'; did you mean "
                     "'projector.kind'?");
}

TEST_F(OptionsTest, WrongTypeNamesKeyExpectedAndGot) {
  EXPECT_THROWS_WITH(read("\nseed: ten\n"),
                     path() + ":2: option 'seed': expected a whole number <= 99, got 'ten'");
  EXPECT_THROWS_WITH(read("seed: 1.5\n"), "expected a whole number <= 99, got '1.5'");
  EXPECT_THROWS_WITH(read("seed: 9223372036854775808\n"), "expected a whole number");
  EXPECT_THROWS_WITH(read("seed: '1'\n"), "expected a whole number <= 99, got '1'");
  EXPECT_THROWS_WITH(read("seed: [1]\n"), "expected a whole number <= 99, got a list");
  EXPECT_THROWS_WITH(read("seed:\n"), "expected a whole number <= 99, got nothing");
  EXPECT_THROWS_WITH(read("shuffle: yes\n"), "expected true or false, got 'yes'");
  EXPECT_THROWS_WITH(read("learning_rate: fast\n"), "expected a number > 0, got 'fast'");
  EXPECT_THROWS_WITH(read("run_folder: {a: 1}\n"), "expected a string, got a map");
  EXPECT_THROWS_WITH(read("run_folder: ~\n"), "expected a string, got nothing");
  EXPECT_THROWS_WITH(read("rows: mean\n"), "expected a list of mean, pad, got 'mean'");
  EXPECT_THROWS_WITH(read("projector: mlp\n"),
                     "option 'projector': expected a map of options (kind, hidden_size, split), "
                     "got 'mlp'");
  EXPECT_THROWS_WITH(read_sets({"seed="}), "--set seed=: option 'seed': expected a whole number");
}

TEST_F(OptionsTest, ElementsOfListsAreTyped) {
  EXPECT_THROWS_WITH(read("projector: {split: {layers: [1, two]}}\n"),
                     "option 'projector.split.layers': element 1: expected a whole number");
  EXPECT_THROWS_WITH(read("rows: [mean, [pad]]\n"), "element 1: expected ");
}

TEST_F(OptionsTest, ValuesOutOfRangeNameTheRange) {
  EXPECT_THROWS_WITH(read("projector: {hidden_size: 0}\n"),
                     path() +
                         ":1: option 'projector.hidden_size': expected a whole number >= 1, "
                         "got 0");
  EXPECT_THROWS_WITH(read("learning_rate: 0\n"), "expected a number > 0, got 0.0");
  EXPECT_THROWS_WITH(read("learning_rate: inf\n"), "expected a number > 0, got .inf");
  EXPECT_THROWS_WITH(read("learning_rate: nan\n"), "expected a number > 0, got .nan");
  EXPECT_THROWS_WITH(read("seed: 100\n"), "expected a whole number <= 99, got 100");
  EXPECT_THROWS_WITH(read_sets({"projector.split.validation=1"}),
                     "expected a number in [0, 1), got 1.0");
  EXPECT_THROWS_WITH(read("projector: {split: {layers: [1, -1]}}\n"),
                     "element 1: expected a whole number >= 0, got -1");
}

TEST_F(OptionsTest, ValuesThatAreNoChoiceNameTheChoices) {
  EXPECT_THROWS_WITH(read("projector: {kind: mpl}\n"),
                     "option 'projector.kind': expected one of linear, mlp, got mpl");
  EXPECT_THROWS_WITH(read("rows: [mean, median]\n"),
                     "option 'rows': element 1: expected one of mean, pad, got median");
}

TEST_F(OptionsTest, FilesThatAreNoRecipeAreRefused) {
  RecipeOptions options;
  EXPECT_THROWS_WITH(read_options(options, "/no/such.yaml"),
                     "recipe: cannot open '/no/such.yaml': No such file or directory");
  EXPECT_THROWS_WITH(read_options(options, "/"), "recipe: cannot read '/': Is a directory");
  EXPECT_THROWS_WITH(read("- a\n- b\n"),
                     "expected a map of options (run_folder, shuffle, "
                     "learning_rate, rows, projector, seed), got a list");
  EXPECT_THROWS_WITH(read("# only a comment\n"), "got nothing");
  EXPECT_THROWS_WITH(read(""), "got nothing");
  EXPECT_THROWS_WITH(read("seed: 1\nrows: [mean\n"), path() + ":3: not YAML: ");
  EXPECT_THROWS_WITH(read("seed: 1\n---\nseed: 2\n"), "expected one YAML document, got 2");
}

TEST_F(OptionsTest, DuplicateKeysAreRefused) {
  EXPECT_THROWS_WITH(read("seed: 1\nprojector: {kind: mlp}\nseed: 2\n"),
                     path() + ":3: option 'seed' is given twice");
  EXPECT_THROWS_WITH(read("projector: {kind: mlp, kind: mlp}\n"),
                     "option 'projector.kind' is given twice");
}

TEST_F(OptionsTest, MalformedSetsAreRefused) {
  EXPECT_THROWS_WITH(read_sets({"seed"}), "--set seed: expected key.path=value, got no '='");
  EXPECT_THROWS_WITH(read_sets({"=1"}), "--set =1: empty name in the key ''");
  EXPECT_THROWS_WITH(read_sets({".seed=1"}), "empty name in the key '.seed'");
  EXPECT_THROWS_WITH(read_sets({"projector..kind=mlp"}), "empty name in the key 'projector..kind'");
  EXPECT_THROWS_WITH(read_sets({"projector.=1"}), "empty name in the key 'projector.'");
  EXPECT_THROWS_WITH(read_sets({"rows=[mean"}), "--set rows=[mean: not YAML: ");
  EXPECT_THROWS_WITH(read_sets({"seed.deep=1"}), "option 'seed': expected a whole number");
}

TEST_F(OptionsTest, ErrorLeavesTheOptionsAlone) {
  RecipeOptions options;
  EXPECT_THROWS_WITH(read_options(options, "", {"seed=7", "nonsense=1"}), "unknown option");
  EXPECT_EQ(options, RecipeOptions());
}

TEST_F(OptionsTest, ValidationFindsWhatCodeHasSet) {
  RecipeOptions options;
  EXPECT_THROWS_WITH(validate_options(options),
                     "option 'run_folder' is required (where the run is written): set it in the "
                     "recipe, or with --set run_folder=VALUE");
  options.run_folder = "runs/a";
  EXPECT_NO_THROW(validate_options(options));
  options.projector.hidden_size = 0;
  EXPECT_THROWS_WITH(validate_options(options),
                     "option 'projector.hidden_size': expected a whole number >= 1, got 0");
  options.projector.hidden_size = 1;
  options.learning_rate = std::nan("");
  EXPECT_THROWS_WITH(validate_options(options), "expected a number > 0, got .nan");
}

}  // namespace
}  // namespace kvalign
