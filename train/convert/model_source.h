// A model to read, whatever its form.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "model/formats/huggingface_config.h"
#include "model/formats/weight_source.h"
#include "train/config.h"

namespace tessera {

enum class ModelForm { checkpoint, huggingface, gguf, llama2c };
std::string_view name_of(ModelForm form);
// Names of the forms that can be written.
std::vector<std::string> model_forms_written();
// One of those.
ModelForm model_form_named(std::string_view name);

struct ModelSource {
  ModelForm form = ModelForm::checkpoint;
  std::filesystem::path path;            // the checkpoint, folder or file itself
  RunConfig config;                      // the run's; of a foreign model all but `model` is default
  SpecialTokens tokens;                  // of a foreign model
  std::unique_ptr<Tokenizer> tokenizer;  // null where the model has none that is known
  std::string tokenizer_problem;         // why it is null
  std::unique_ptr<WeightSource> weights;
  int64_t step = 0;  // of training; 0 for a foreign model
};

// `path` is one of our checkpoints, a folder of them (the newest good one is taken), a run's
// folder, a Hugging Face folder, a GGUF file or a legacy .bin of llama2.c. Reads everything but the
// weights. Throws Error naming the file.
ModelSource open_model(const std::filesystem::path& path);

// Gives a model that carries no tokenizer the one of `path`, see load_tokenizer(). Throws Error if
// the model has its own, or fewer ids than the tokenizer.
void give_tokenizer(ModelSource& source, const std::filesystem::path& path);

}  // namespace tessera
