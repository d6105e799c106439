// kvalign dataset generate | inspect | verify | stats: makes and looks at paired datasets.
#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "kvalign/dataset/summary.h"

namespace kvalign::tools {
namespace {

struct DatasetFlags : Flags {
  std::string folder;
};

template <class Result>
void print(const Result& result, const Flags& flags) {
  flags.json ? print_result(to_json(result)) : print_result(to_text(result));
}

int generate(const GenerateRecipe& options, const Flags& flags) {
  Console console;
  generate_paired_dataset(
      options.generate, options.dataset.folder,
      [&](int64_t done, int64_t total) { console.progress("generate", done, total, "sequences"); });
  print(inspect_dataset(*PairedDataset::open(options.dataset.folder)), flags);
  return kDone;
}

int inspect(const DatasetRecipe& options, const Flags& flags) {
  print(inspect_dataset(*PairedDataset::open(options.dataset.folder), options.split), flags);
  return kDone;
}

int verify(const DatasetRecipe& options, const Flags& flags) {
  Console console;
  const DatasetVerification verification = verify_dataset(
      options.dataset.folder,
      [&](int64_t done, int64_t total) { console.progress("verify", done, total, "shards"); });
  print(verification, flags);
  return verification.sound() ? kDone : kFailed;
}

int stats(const DatasetRecipe& options, const Flags& flags) {
  print(compute_statistics(*PairedDataset::open(options.dataset.folder)), flags);
  return kDone;
}

template <class Options>
void add(CLI::App& dataset, Command& chosen, const std::string& name, const std::string& help,
         int (*run)(const Options&, const Flags&)) {
  CLI::App* command = dataset.add_subcommand(name, help);
  auto flags = std::make_shared<DatasetFlags>();
  command->add_option("DIR", flags->folder, "the dataset; default: dataset.folder of the recipe")
      ->type_name("");
  add_flags(*command, *flags, [] { return options_help(Options()); });
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<Options>(
          *flags,
          [&](Options& options) {
            if (!flags->folder.empty()) options.dataset.folder = flags->folder;
          },
          [&](const Options& options) { return run(options, *flags); });
    };
  });
}

}  // namespace

void add_dataset(CLI::App& app, Command& chosen) {
  CLI::App* dataset = app.add_subcommand("dataset", "makes and looks at paired datasets");
  add<GenerateRecipe>(*dataset, chosen, "generate", "makes up a dataset with known structure",
                      generate);
  add<DatasetRecipe>(*dataset, chosen, "inspect", "shows what is in a dataset", inspect);
  add<DatasetRecipe>(*dataset, chosen, "verify", "reads every byte; exit code 1 where one is wrong",
                     verify);
  add<DatasetRecipe>(*dataset, chosen, "stats",
                     "shows how the values of each stream are distributed", stats);
}

}  // namespace kvalign::tools
