#include "train/convert/convert.h"

#include "core/files/output_file.h"
#include "core/files/output_folder.h"
#include "model/formats/gguf.h"
#include "model/formats/huggingface.h"
#include "train/checkpoint/checkpoint.h"
#include "train/convert/gguf_tokenizer.h"
#include "train/convert/special_tokens.h"
#include "train/convert/tokenizer_files.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// What a writer needs besides its place.
struct Conversion {
  const ModelSource& source;
  const ConvertOptions& options;
  StoredType type;
  WriteProgress progress;
};

ModelForm form_of(const ModelSource& source, const fs::path& output,
                  const ConvertOptions& options) {
  if (options.to) return *options.to;
  if (output.extension() == ".gguf") return ModelForm::gguf;
  return source.form == ModelForm::checkpoint ? ModelForm::huggingface : ModelForm::checkpoint;
}

StoredType type_of(const ModelSource& source, ModelForm to, const ConvertOptions& options) {
  const bool f32 = options.type.value_or(StoredType::f32) == StoredType::f32;
  check(to != ModelForm::checkpoint || f32,
        "--dtype {}: a checkpoint holds f32; precision.mode chooses what a run computes in",
        f32 ? "" : name_of(*options.type));
  if (to == ModelForm::checkpoint) return StoredType::f32;
  if (options.type) return *options.type;
  const StoredType stored = source.weights->weights().front().type;
  return stored == StoredType::q8_0 && to != ModelForm::gguf ? StoredType::f16 : stored;
}

// A run's settings that change what the model computes and that no other form can say.
void check_exportable(const ModelSource& source) {
  const double softcap = source.config.attention.softcap;
  check(softcap == 0, "{}: attention.softcap is {}; no other form of a Llama has it",
        source.path.string(), softcap);
}

void write_huggingface_folder(const Conversion& conversion, const fs::path& output) {
  const ModelSource& source = conversion.source;
  check_exportable(source);
  OutputFolder folder(output);
  const SafetensorsOptions options{.type = conversion.type,
                                   .max_shard_bytes = conversion.options.max_shard_bytes};
  write_huggingface(folder.temporary(), source.config.model, special_tokens(source),
                    *source.weights, options, conversion.progress);
  write_tokenizer_files(source, folder.temporary());
  folder.publish();
}

void write_gguf_file(const Conversion& conversion, const fs::path& output) {
  const ModelSource& source = conversion.source;
  check_exportable(source);
  OutputFile file(output);
  const GgufOptions options{.type = conversion.type,
                            .name = output.stem().string(),
                            .tokenizer = gguf_tokenizer(source),
                            .own_tokenizer = source.tokenizer ? source.tokenizer->to_json() : ""};
  write_gguf_model(file.temporary(), source.config.model, *source.weights, options,
                   conversion.progress);
  file.commit();
}

std::vector<StreamedTensor> streamed_weights(const Conversion& conversion) {
  const WeightSource& weights = *conversion.source.weights;
  std::vector<StreamedTensor> tensors;
  for (const WeightInfo& info : weights.weights()) {
    const int64_t row_elements = info.shape.elements() / info.shape[0];
    StreamedTensor& tensor = tensors.emplace_back();
    tensor.info = {"model/" + info.name, info.shape, DType::f32};
    tensor.block_rows = rows_of_block(row_elements);
    tensor.read = [&weights, &conversion, name = info.name, row_elements](
                      int64_t first, int64_t rows, std::byte* into) {
      weights.read_rows(name, first, rows, reinterpret_cast<float*>(into));
      conversion.progress(uint64_t(rows * row_elements) * sizeof(float));
    };
  }
  return tensors;
}

// A folder of one checkpoint, of step 0: weights without an optimizer's state or a place in data.
void write_checkpoint_folder(const Conversion& conversion, const fs::path& output) {
  const ModelSource& source = conversion.source;
  OutputFolder folder(output);
  RunConfig config = source.config;
  if (config.run.name.empty()) config.run.name = output.filename().string();
  const CheckpointMeta meta{
      .config_yaml = to_yaml(config),
      .tokenizer_json = source.tokenizer ? source.tokenizer->to_json() : std::string(),
      .state_json = state_of_special_tokens(special_tokens(source), source.form)};
  CheckpointStore(folder.temporary(), 1).save(meta, {}, streamed_weights(conversion));
  folder.publish();
}

uint64_t total_bytes(const WeightSource& weights, StoredType type) {
  uint64_t bytes = 0;
  for (const WeightInfo& info : weights.weights())
    bytes += stored_bytes(type, info.shape.elements()).value_or(0);
  return bytes;
}

}  // namespace

ConvertSummary convert_model(const fs::path& input, const fs::path& output,
                             const ConvertOptions& options, const ConvertProgress& progress) {
  check(!fs::exists(output), "{}: already exists; remove it or choose another name",
        output.string());
  ModelSource source = open_model(input);
  if (!options.tokenizer.empty()) give_tokenizer(source, options.tokenizer);
  ConvertSummary summary{.to = form_of(source, output, options)};
  summary.type = type_of(source, summary.to, options);
  const uint64_t total = total_bytes(*source.weights, summary.type);
  const Conversion conversion{source, options, summary.type, [&](uint64_t bytes) {
                                summary.bytes += bytes;
                                progress(summary.bytes, total);
                              }};
  switch (summary.to) {
    case ModelForm::checkpoint:
      write_checkpoint_folder(conversion, output);
      break;
    case ModelForm::huggingface:
      write_huggingface_folder(conversion, output);
      break;
    case ModelForm::gguf:
      write_gguf_file(conversion, output);
      break;
    case ModelForm::llama2c:
      fail("{}: the form of llama2.c is only read", output.string());
  }
  summary.tokenizer_problem = source.tokenizer_problem;
  if (summary.to == ModelForm::gguf) summary.gguf_limits = gguf_limits(source);
  summary.tensors = int64_t(source.weights->weights().size());
  summary.parameters = parameter_count(source.config.model);
  return summary;
}

}  // namespace tessera
